//! Which rows are entries, which are markers, which are open, and which columns are read at all.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use landbridge_flow::ports::Store;
use rusqlite::hooks::{AuthAction, Authorization};

use super::*;
use crate::sqlite::fault::Trouble;
use crate::sqlite::{statements, values};

#[tokio::test]
async fn ids_of_any_column_type_are_found_by_their_text_and_only_by_it() {
    for (ty, stored) in [
        ("integer", "17"),
        ("text", "'17'"),
        ("", "17"),
        ("", "'17'"),
        ("varchar(9) collate nocase", "'17'"),
        ("numeric", "17"),
        ("blob", "17"),
    ] {
        let desk = Desk::with(&format!(
            "create table WORK_HISTORY (PROBLEM_ID {ty}, WORK_ID integer, WORK_HISTORY text, unique (PROBLEM_ID, WORK_ID));
             insert into WORK_HISTORY values ({stored}, 1, 'a'), ('ABC', 1, 'b'), ('abc', 2, 'c'), (null, 4, 'd')"
        ));
        let store = desk.store(mapping());
        let mut txn = store.begin(Mode::Read).await.unwrap();
        let rows = txn.rows(&[p("ABC"), p("017"), p("17"), p("17.0"), p("abc"), p("17")], None).await.unwrap();
        let found: Vec<Vec<i64>> = rows.iter().map(works).collect();
        assert_eq!(found, [vec![1], vec![], vec![1], vec![], vec![2], vec![1]], "{ty} {stored}");
        let bodies = txn.bodies(&[(p("abc"), w(2)), (p("17"), w(1)), (p("017"), w(1)), (p("17"), w(2))]).await.unwrap();
        let texts: Vec<Option<String>> = bodies.into_iter().map(|b| b.and_then(|b| b.text)).collect();
        assert_eq!(texts, [Some("c".into()), Some("a".into()), None, None], "{ty} {stored}");
        drop(txn);
        let swept: Vec<String> = sweep_all(&store, 2).await.into_iter().map(|s| s.problem.to_string()).collect();
        assert_eq!(swept, ["17", "ABC", "abc"], "{ty} {stored}");
        assert_eq!(append(&store, &[entry("17", "more")]).await.unwrap(), [2], "{ty} {stored}");
        assert_eq!(works(&read(&store, "17", None).await), [1, 2]);
        let kinds = "select count(distinct typeof(PROBLEM_ID)) from WORK_HISTORY where cast(PROBLEM_ID as text) = '17'";
        assert_eq!(desk.ask(kinds), "Integer(1)", "{ty} {stored}");
    }
}

#[tokio::test]
async fn every_look_at_problems_uses_an_index() {
    for ty in ["integer", "text", "", "varchar(9)", "blob"] {
        for (numbering, schema) in [
            (Numbering::PerProblem, "WORK_ID integer, primary key (PROBLEM_ID, WORK_ID)"),
            (Numbering::Generated, "WORK_ID integer primary key"),
        ] {
            let desk = Desk::with(&format!(
                "create table WORK_HISTORY (PROBLEM_ID {ty}, WORK_HISTORY text, KIND text, {schema});
                 create index BY_PROBLEM on WORK_HISTORY (PROBLEM_ID);
                 create table PROBLEM (ID {ty} unique);
                 with recursive n(n) as (select 1 union all select n + 1 from n where n < 20000)
                 insert into WORK_HISTORY (PROBLEM_ID, WORK_ID, WORK_HISTORY) select n % 5, n, 'a text' from n;
                 insert into PROBLEM select distinct PROBLEM_ID from WORK_HISTORY;
                 analyze"
            ));
            let problems = problem_table("PROBLEM", "ID", Some("ID <> 'x'"));
            let m = Mapping {
                within: Some("KIND = 'work'".into()),
                share: Some("KIND is not null".into()),
                ..with(mapping(), |table| table.numbering = numbering)
            };
            let is_text = desk.store(m.clone()).pool.plan.found.problem.text;
            let mut all = vec![
                statements::rows(&m, &[statements::open_to(&m, false, None)]),
                statements::bodies(&m),
                statements::highest(&m),
                statements::problems(&problems),
                statements::conditions(&m, &["KIND = 'work'"]),
            ];
            all.extend(is_text.then(|| statements::page(&m, true)));
            for sql in all {
                let plan: Vec<String> = desk
                    .app
                    .prepare(&format!("explain query plan {sql}"))
                    .and_then(|mut s| s.raw_query().mapped(|r| r.get(3)).collect())
                    .unwrap();
                let tables = ["WORK_HISTORY", "PROBLEM"];
                let searched = plan.iter().any(|l| tables.iter().any(|t| l.starts_with(&format!("SEARCH {t} USING"))));
                let scanned = plan.iter().any(|l| tables.iter().any(|t| l.starts_with(&format!("SCAN {t}"))));
                assert!(searched && !scanned, "{ty} {numbering:?}\n{sql}\n{plan:#?}");
                let sorted = plan.iter().any(|l| l.contains("TEMP B-TREE"));
                let ordered = sql == statements::highest(&m) && numbering == Numbering::PerProblem
                    || is_text && sql == statements::page(&m, true);
                assert!(!(ordered && sorted), "{ty} {numbering:?}\n{sql}\n{plan:#?}");
            }
        }
    }
}

#[tokio::test]
async fn a_marker_begins_with_a_phrase_and_a_space_exactly() {
    let desk = Desk::with(HISTORY);
    let texts = [
        "copy in system N: 1; seal x",
        "Copy in system N",
        "copy in systemN",
        "copy_in system N",
        " copy in system N",
        "kopie in 100% N",
        "copy in system ",
    ];
    for (at, text) in texts.iter().enumerate() {
        let row = (at as i64 + 1, text);
        desk.app
            .execute("insert into WORK_HISTORY (PROBLEM_ID, WORK_ID, WORK_HISTORY) values ('A', ?1, ?2)", row)
            .unwrap();
    }
    let phrases = vec!["copy in system".to_owned(), "kopie in 100%".to_owned()];
    let rows = read(&desk.store(Mapping { phrases, ..mapping() }), "A", None).await;
    let markers: Vec<Option<&str>> = rows.rows.iter().map(|r| r.marker.as_deref()).collect();
    assert_eq!(markers, [Some(texts[0]), None, None, None, None, Some(texts[5]), Some(texts[6])]);
    assert_eq!(rows.rows[1].bytes, texts[1].len() as u64);
}

#[tokio::test]
async fn null_counts_as_no_in_every_condition() {
    let desk = Desk::with(HISTORY);
    desk.run(
        "insert into WORK_HISTORY (PROBLEM_ID, WORK_ID, WORK_HISTORY, KIND, SEVERITY) values
            ('A', 1, 'all', 'work', 1), ('A', 2, 'no severity', 'work', null), ('A', 3, 'high', 'work', 9),
            ('A', 4, 'no kind', null, 1), ('A', 5, 'other kind', 'mail', 1), ('A', 6, null, 'work', 1),
            ('A', 7, 'zero', 'work', 0);
         create table PROBLEM (ID text primary key, SHARED integer);
         insert into PROBLEM values ('A', 1), ('B', null), ('C', 0)",
    );
    let problems = Some(problem_table("PROBLEM", "ID", Some("SHARED = 1")));
    let peers = [(site("N"), Some("SEVERITY < 5".into())), (site("C"), None)].into();
    let share = Some("SEVERITY -- not yet rated: null".into());
    let m = Mapping { within: Some("KIND = 'work'".into()), share, peers, problems, ..mapping() };
    let store = desk.store(m);
    let rows = read(&store, "A", Some("N")).await;
    assert_eq!((works(&rows), open_works(&rows)), (vec![1, 2, 3, 7], vec![1]));
    assert_eq!(open_works(&read(&store, "A", Some("C")).await), [1, 3]);
    assert_eq!(open_works(&read(&store, "A", None).await), [1, 3]);
    for hidden in ["B", "C", "D"] {
        assert!(!read(&store, hidden, None).await.visible, "{hidden}");
    }
    let conditions = store.conditions(&p("A"), w(2)).await.unwrap().unwrap();
    let passes: Vec<(&str, bool)> = conditions.iter().map(|c| (c.name.as_str(), c.passes)).collect();
    assert_eq!(passes, [("where", true), ("share", false), ("peer N share", false), ("problem.share", true)]);
    let outside = store.conditions(&p("A"), w(5)).await.unwrap().unwrap();
    assert!(!outside[0].passes);
    assert_eq!(store.conditions(&p("A"), w(6)).await.unwrap(), None);
    assert_eq!(store.conditions(&p("A"), w(99)).await.unwrap(), None);
}

#[tokio::test]
async fn rows_of_a_problem_that_is_not_shared_are_closed() {
    let desk = Desk::with(HISTORY);
    desk.run(
        "insert into WORK_HISTORY (PROBLEM_ID, WORK_ID, WORK_HISTORY) values ('A', 1, 'a'), ('B', 1, 'b');
         create view PROBLEM as select 'A' as ID",
    );
    let problems = Some(problem_table("PROBLEM", "ID", None));
    let store = desk.store(Mapping { problems, ..mapping() });
    assert_eq!(open_works(&read(&store, "A", None).await), [1]);
    let closed = read(&store, "B", None).await;
    assert_eq!((works(&closed), open_works(&closed), closed.visible), (vec![1], vec![], false));
    assert!(!store.conditions(&p("B"), w(1)).await.unwrap().unwrap()[0].passes);
}

#[tokio::test]
async fn bytes_that_are_no_text_are_a_body_without_text() {
    let desk = Desk::with(HISTORY);
    desk.run(
        "insert into WORK_HISTORY (PROBLEM_ID, WORK_ID, WORK_HISTORY, OPERATOR, SEVERITY) values
            ('A', 1, cast(x'ff41' as text), 'anna', 3), ('A', 2, x'c3a9', null, 0.1)",
    );
    let fields = map([("author", "OPERATOR"), ("severity", "SEVERITY")]);
    let store = desk.store(Mapping { fields, ..mapping() });
    let mut txn = store.begin(Mode::Read).await.unwrap();
    let bodies = txn.bodies(&[(p("A"), w(2)), (p("A"), w(1))]).await.unwrap();
    let [Some(second), Some(first)] = &bodies[..] else { panic!("{bodies:?}") };
    assert_eq!((first.text.as_deref(), second.text.as_deref()), (None, Some("é")));
    assert_eq!(first.fields["author"].as_deref(), Some("anna"));
    assert_eq!(first.fields["severity"].as_deref(), Some("3"));
    assert_eq!((second.fields["author"].as_deref(), second.fields["severity"].as_deref()), (None, Some("0.1")));
    assert_eq!(read(&store, "A", None).await.rows[0].bytes, 2);
}

#[tokio::test]
async fn rows_without_a_work_id_are_no_entries() {
    let desk = Desk::with(
        "create table WORK_HISTORY (PROBLEM_ID text, WORK_ID integer, WORK_HISTORY text, unique (PROBLEM_ID, WORK_ID));
         insert into WORK_HISTORY values ('A', 2, 'b'), ('A', 1, 'a'), ('A', null, 'c'), ('A', 0, 'd'), ('A', -1, 'e'),
            ('A', 'x', 'f'), ('A', 1.5, 'g'), ('', 1, 'h'), (cast(x'ff' as text), 1, 'i'), (x'41', 7, 'j')",
    );
    let store = desk.store(mapping());
    assert_eq!(works(&read(&store, "A", None).await), [1, 2]);
    assert_eq!(sweep_all(&store, 1).await.len(), 1);
    assert_eq!(append(&store, &[entry("A", "next")]).await.unwrap(), [3]);
}

#[tokio::test]
async fn no_column_is_touched_that_is_not_mapped() {
    let desk = Desk::with(HISTORY);
    desk.run("insert into WORK_HISTORY (PROBLEM_ID, WORK_ID, WORK_HISTORY) values ('A', 1, 'a')");
    desk.run("create table PROBLEM (ID text primary key, TITLE text); insert into PROBLEM values ('A', 'secret')");
    let store = desk.store(Mapping {
        fields: map([("author", "OPERATOR")]),
        within: Some("KIND = 'work'".into()),
        problems: Some(problem_table("PROBLEM", "ID", None)),
        ..mapping()
    });
    let touched = Arc::new(Mutex::new(BTreeSet::new()));
    let lane = store.pool.take().await.unwrap();
    let seen = Arc::clone(&touched);
    lane.call(move |session| {
        let hook = move |context: rusqlite::hooks::AuthContext<'_>| {
            let mut seen = seen.lock().unwrap();
            match context.action {
                AuthAction::Read { table_name, column_name } => seen.insert(format!("read {table_name}.{column_name}")),
                AuthAction::Insert { table_name } => seen.insert(format!("insert {table_name}")),
                AuthAction::Update { table_name, column_name } => {
                    seen.insert(format!("update {table_name}.{column_name}"))
                }
                AuthAction::Delete { table_name } => seen.insert(format!("delete {table_name}")),
                _ => false,
            };
            Authorization::Allow
        };
        session.connection.authorizer(Some(hook)).map_err(|e| Trouble::from(e).translate(Path::new("")))
    })
    .await
    .unwrap();
    store.pool.give_back(lane.clone(), ());
    // Behind the rollback in the lane's queue: after it, this lane is the idle one again.
    let settled = || lane.call(|_| Ok(()));
    settled().await.unwrap();

    let mut received = entry("A", "b");
    received.fields =
        [("author".to_owned(), Some("anna".to_owned())), ("unknown".to_owned(), Some("x".to_owned()))].into();
    assert_eq!(append(&store, &[received]).await.unwrap(), [2]);
    settled().await.unwrap();
    let mut txn = store.begin(Mode::Read).await.unwrap();
    assert_eq!(works(&txn.rows(&[p("A")], None).await.unwrap()[0]), [1, 2]);
    txn.bodies(&[(p("A"), w(1))]).await.unwrap();
    drop(txn);
    settled().await.unwrap();
    store.sweep(None, 10).await.unwrap();
    settled().await.unwrap();
    store.conditions(&p("A"), w(1)).await.unwrap();

    let expected = [
        "insert WORK_HISTORY",
        "read PROBLEM.ID",
        "read WORK_HISTORY.KIND",
        "read WORK_HISTORY.OPERATOR",
        "read WORK_HISTORY.PROBLEM_ID",
        "read WORK_HISTORY.WORK_HISTORY",
        "read WORK_HISTORY.WORK_ID",
    ];
    let touched = touched.lock().unwrap();
    let ours = touched.iter().map(String::as_str).filter(|t| !t.contains("json_each") && !t.contains("sqlite_"));
    assert_eq!(ours.collect::<Vec<_>>(), expected);
    assert_eq!(
        desk.ask("select SECRET || coalesce(SEVERITY, '-') from WORK_HISTORY where WORK_ID = 2"),
        "Text(\"untouched-\")"
    );
    assert_eq!(desk.ask("select OPERATOR from WORK_HISTORY where WORK_ID = 2"), "Text(\"anna\")");
}

#[tokio::test]
async fn a_sweep_in_pages_covers_all_in_byte_order_and_sees_what_becomes_shareable() {
    for ty in ["text", "integer", "text collate nocase"] {
        let desk = Desk::with(&format!(
            "create table WORK_HISTORY (PROBLEM_ID {ty}, WORK_ID integer, WORK_HISTORY text, SEVERITY integer,
                unique (PROBLEM_ID, WORK_ID));
             with recursive n(n) as (select 1 union all select n + 1 from n where n < 50)
             insert into WORK_HISTORY select n % 25, n, 'text', null from n"
        ));
        let peers = [(site("N"), Some("SEVERITY < 5".into()))].into();
        let m = Mapping { peers, within: Some("WORK_HISTORY <> 'out'".into()), ..mapping() };
        let store = desk.store(m);
        desk.run("insert into WORK_HISTORY values (100, 1, 'out', 1)");
        let before = sweep_all(&store, 25).await;
        let mut ids: Vec<String> = (0..25).map(|n| n.to_string()).collect();
        ids.sort();
        assert_eq!(before.iter().map(|s| s.problem.to_string()).collect::<Vec<_>>(), ids, "{ty}");
        assert_eq!(sweep_all(&store, 3).await, before);
        for change in [
            "update WORK_HISTORY set SEVERITY = 1 where WORK_ID = 7",
            "update WORK_HISTORY set WORK_HISTORY = 'copy in system N: 1' where WORK_ID = 7",
            "delete from WORK_HISTORY where WORK_ID = 7",
        ] {
            let before = sweep_all(&store, 7).await;
            desk.run(change);
            let after = sweep_all(&store, 7).await;
            let changed: Vec<&str> =
                before.iter().zip(&after).filter(|(b, a)| b != a).map(|(b, _)| b.problem.as_str()).collect();
            assert_eq!(changed, ["7"], "{ty} {change}");
        }
    }
}

#[test]
fn json_each_gives_back_every_id_as_it_was() {
    let ids: Vec<ProblemId> = ["\u{1}", "back\\slash", "line\nbreak", "plain", "q\"uote", "ümlaut 🦀"].map(p).into();
    let app = Connection::open_in_memory().unwrap();
    let mut statement = app.prepare("select value from json_each(?1)").unwrap();
    let rows = statement.query_map([values::problems_json(&ids, false)], |r| r.get::<_, String>(0)).unwrap();
    let back: Vec<String> = rows.map(Result::unwrap).collect();
    assert_eq!(back, ids.iter().map(ToString::to_string).collect::<Vec<_>>());
}
