//! Problem ids of every class of types, in columns and tables with awkward names.

use landbridge_flow::ports::{Mode, Store};
use landbridge_stores::Numbering;

use super::desk::{self, Desk, entry, id, mapping, marker, note, numbers};

#[tokio::test]
async fn an_id_of_each_class_is_found_in_its_own_spelling_only() {
    let Some(server) = desk::server() else { return };
    server.sql("postgres", "create extension if not exists citext");
    let uuid = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
    let upper = uuid.to_uppercase();
    for (at, (ticket, good, strangers)) in [
        ("int", "17", &["017", "+17", "17.0", "A", "99999999999", " 17"][..]),
        ("bigint", "9007199254740993", &["9007199254740992", "1e3"]),
        ("numeric(10, 2)", "17.50", &["17.5", "017.50", "NaN"]),
        ("char(8)", "ABC", &["ABC ", "abc", "ABCDEFGHI"]),
        ("varchar(3)", "ABC", &["ABCD", "abc"]),
        ("text", "ä'\\ \"x", &["A\0B", "Ä'\\ \"x"]),
        ("uuid", uuid, &["not-a-uuid", upper.as_str()]),
        ("date", "2026-11-22", &["22.11.2026", "never"]),
        ("name", "desk", &["desk "]),
    ]
    .into_iter()
    .enumerate()
    {
        for numbering in [Numbering::PerProblem, Numbering::Generated] {
            let name = format!("ids_{at}_{numbering:?}");
            let desk = Desk::new(&server, &name, &note(numbering, ticket), mapping("note", numbering)).await;
            let works = desk.append(&[entry(good, "one"), marker(good, "copy in system N: 1")]).await;
            let works = works.unwrap_or_else(|e| panic!("{ticket}: {e}"));
            let mut asked = vec![id(good)];
            asked.extend(strangers.iter().map(|stranger| id(stranger)));
            let mut txn = desk.store.begin(Mode::Write).await.unwrap();
            let rows = txn.rows(&asked, None).await.unwrap();
            assert_eq!(numbers(&rows[0]), works.iter().map(|w| w.get()).collect::<Vec<_>>(), "{ticket}");
            assert!(rows[0].visible && rows[0].rows[0].open && !rows[0].rows[1].open, "{ticket}");
            assert!(rows[1..].iter().all(|p| p.rows.is_empty()), "{ticket}: {rows:?}");
            let pairs: Vec<_> = asked.iter().map(|problem| (problem.clone(), works[0])).collect();
            let bodies = txn.bodies(&pairs).await.unwrap();
            assert_eq!(bodies[0].as_ref().and_then(|b| b.text.as_deref()), Some("one"), "{ticket}");
            assert!(bodies[1..].iter().all(Option::is_none), "{ticket}");
            drop(txn);
            for stranger in strangers {
                // Some of them are ids that the column holds, of other problems.
                if let Ok(works) = desk.append(&[entry(stranger, "no")]).await {
                    assert_eq!(numbers(&desk.rows(stranger).await).len(), works.len(), "{ticket} {stranger}");
                }
            }
            let swept = desk.store.sweep(None, 100).await.unwrap();
            assert!(swept.iter().any(|s| s.problem == id(good)), "{ticket}: {swept:?}");
            let mut paged = Vec::new();
            while let Some(one) = desk.store.sweep(paged.last(), 1).await.unwrap().pop() {
                paged.push(one.problem);
            }
            assert_eq!(paged, swept.iter().map(|s| s.problem.clone()).collect::<Vec<_>>(), "{ticket}");
        }
    }
}

#[tokio::test]
async fn ids_that_the_database_holds_for_equal_are_numbered_together_and_told_apart() {
    let Some(server) = desk::server() else { return };
    let sql = format!("create extension citext; {}", note(Numbering::PerProblem, "citext"));
    let desk = Desk::new(&server, "citext", &sql, mapping("note", Numbering::PerProblem)).await;
    desk.append(&[entry("abc", "small"), entry("abc", "small again")]).await.unwrap();
    let works = desk.append(&[entry("ABC", "large")]).await.unwrap();
    assert_eq!(works[0].get(), 3);
    assert_eq!(numbers(&desk.rows("abc").await), [1, 2]);
    assert_eq!(numbers(&desk.rows("ABC").await), [3]);
    let swept = desk.store.sweep(None, 10).await.unwrap();
    assert_eq!(swept.iter().map(|s| s.problem.as_str()).collect::<Vec<_>>(), ["ABC", "abc"]);
}

#[tokio::test]
async fn names_may_be_reserved_words_in_mixed_case_in_any_schema() {
    let Some(server) = desk::server() else { return };
    let sql = r#"create schema "Desk ""1"""; create table "Desk ""1"""."Order" (
        "from" text not null, "select" int not null, "Text" text, "table" text, "Group" boolean,
        unique ("from", "select"))"#;
    let mut m = mapping(r#""Desk ""1""".Order"#, Numbering::PerProblem);
    (m.problem, m.work, m.text) = ("from".into(), "select".into(), "Text".into());
    m.share = Some(r#""Group" and "Order"."Text" <> 'secret'"#.into());
    m.fields = [("author".into(), "table".into())].into();
    let table = desk::table(&mut m);
    table.insert = [("Group".into(), "true -- a comment".into())].into();
    table.marker = [("Group".into(), "false".into())].into();
    let desk = Desk::new(&server, "names", sql, m).await;
    let row = desk::with_field(entry("A", "x"), "author", Some("Ann"));
    desk.append(&[row, entry("A", "secret"), marker("A", "copy in system N: 1")]).await.unwrap();
    let rows = desk.rows("A").await.rows;
    assert_eq!(rows.iter().map(|row| row.open).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!(desk.bodies(&[("A", 1)]).await[0].as_ref().unwrap().fields["author"].as_deref(), Some("Ann"));
    let conditions = desk.store.conditions(&id("A"), 2.to_string().parse().unwrap()).await.unwrap().unwrap();
    assert!(!conditions[0].passes, "{conditions:?}");
}
