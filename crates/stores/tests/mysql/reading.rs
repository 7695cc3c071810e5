//! Problem ids of each kind of column, names of any spelling, values of many types.

use std::sync::Arc;

use landbridge_core::ProblemId;
use landbridge_core::message::Code;
use landbridge_flow::StoreError;
use landbridge_flow::ports::Store;
use landbridge_stores::mysql::{MysqlOptions, MysqlStore, inspect};
use landbridge_stores::{Mapping, Numbering};

use crate::desk::{Desk, append, body, entry, map, mapping, read, texts, with_fields, works};
use crate::server::MariaDb;

fn plain(numbering: Numbering) -> Mapping {
    mapping("h", "p", "n", "t", numbering, [], [])
}

async fn swept(store: &MysqlStore, limit: usize) -> Vec<String> {
    let (mut all, mut after) = (Vec::new(), None::<ProblemId>);
    loop {
        let page = store.sweep(after.as_ref(), limit).await.unwrap();
        let Some(last) = page.last() else { return all };
        after = Some(last.problem.clone());
        all.extend(page.into_iter().map(|s| s.problem.as_str().to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_of_every_kind_are_what_they_are_and_nothing_that_compares_like_them() {
    let Some(server) = MariaDb::start().map(Arc::new) else { return };
    for (column, ids, strangers) in [
        ("int", ["9", "10", "-3"], ["017", "abc", "0", "9.0", " 9", "99999999999999999999"]),
        ("bigint unsigned", ["9", "10", "18446744073709551615"], ["-1", "009", "abc", "9 ", "1e1", "0"]),
        ("decimal(10,2)", ["1.50", "10.00", "-3.25"], ["1.5", "10", "abc", "001.50", "0.00", "-0.00"]),
        ("varchar(40)", ["abc", "ABC-1", "ä 1"], ["abc ", "ab", "ABC", "abc-1", "a 1", "\u{1F600}"]),
        ("char(36)", ["abc", "ABC-1", "ä 1"], ["abc ", "ab", "ABC", "abc-1", "a 1", "\u{1F600}"]),
        ("varchar(40) character set latin1", ["abc", "ABC-1", "ä 1"], ["abc ", "ab", "ABC", "abc-1", "a 1", "你"]),
        ("enum('abc', 'b', 'c d')", ["abc", "b", "c d"], ["ABC", "1", "0", "abc ", "B", "x"]),
        (
            "uuid",
            [
                "00000000-0000-1111-2222-333344445555",
                "aabbccdd-0000-1111-2222-333344445555",
                "ffffffff-0000-1111-2222-333344445555",
            ],
            ["AABBCCDD-0000-1111-2222-333344445555", "abc", "0", "aabbccdd000011112222333344445555", "", "x"],
        ),
    ] {
        let desk = Desk::with(
            &server,
            &format!("create table h (p {column} not null, n int not null, t text, primary key (p, n))"),
        )
        .await;
        let store = desk.store(plain(Numbering::PerProblem)).await;
        let rows: Vec<_> = ids.iter().flat_map(|id| [entry(id, &format!("one of {id}")), entry(id, "two")]).collect();
        assert_eq!(append(&store, &rows).await.unwrap(), [1, 2, 1, 2, 1, 2], "{column}");
        for id in ids {
            assert_eq!(texts(&store, id).await, [format!("one of {id}"), "two".into()], "{column} {id}");
        }
        for stranger in strangers.iter().filter(|s| !s.is_empty()) {
            assert!(works(&read(&store, stranger).await).is_empty(), "{column} {stranger}");
        }
        let mut seen = swept(&store, 1).await;
        seen.sort();
        let mut wanted = ids.map(str::to_owned);
        wanted.sort();
        assert_eq!(seen, wanted, "{column}");
    }
    for column in ["varbinary(20)", "double", "datetime"] {
        let desk = Desk::with(
            &server,
            &format!("create table h (p {column} not null, n int not null, t text, primary key (p, n))"),
        )
        .await;
        let faults = inspect(&desk.options(), &plain(Numbering::PerProblem)).await.unwrap().faults;
        assert!(faults[0].contains("problem ids are texts"), "{faults:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_that_a_collation_takes_for_one_are_counted_together_and_kept_apart() {
    let Some(server) = MariaDb::start().map(Arc::new) else { return };
    let desk = Desk::with(
        &server,
        "create table h (p varchar(20) collate utf8mb4_general_ci not null, n int not null, t text, primary key (p, n));
         insert into h values ('abc', 1, 'by the application'), ('zz', 1, 'other')",
    )
    .await;
    let store = desk.store(plain(Numbering::PerProblem)).await;
    let rows = [entry("ABC", "x"), entry("abc", "y"), entry("ABC ", "z"), entry("q", "1"), entry("Q", "2")];
    assert_eq!(append(&store, &rows).await.unwrap(), [2, 3, 4, 1, 2]);
    assert_eq!(texts(&store, "abc").await, ["by the application", "y"]);
    assert_eq!(texts(&store, "ABC").await, ["x"]);
    assert_eq!(texts(&store, "ABC ").await, ["z"]);
    for limit in [1, 2, 100] {
        let mut seen = swept(&store, limit).await;
        seen.sort();
        assert_eq!(seen, ["ABC", "ABC ", "Q", "abc", "q", "zz"], "{limit} a page");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_may_be_reserved_words_and_stand_in_another_database() {
    let Some(server) = MariaDb::start().map(Arc::new) else { return };
    let schema = "create table `Order` (`select` varchar(20) not null, `From` int not null, `te``xt` text, `group` int, \
                  primary key (`select`, `From`))";
    let (here, there) = (Desk::with(&server, schema).await, Desk::with(&server, "create table x (id int)").await);
    let qualified = format!("{}.Order", here.database);
    for (desk, table) in [(&here, "Order"), (&there, qualified.as_str())] {
        let store = desk
            .store(Mapping {
                within: Some("`group` = 7 -- a comment".into()),
                share: Some("`Order`.`group` > 1".into()),
                ..mapping(table, "select", "From", "te`xt", Numbering::PerProblem, [("group", "7")], [])
            })
            .await;
        let problem = format!("of {table}");
        append(&store, &[entry(&problem, "x")]).await.unwrap();
        assert_eq!(texts(&store, &problem).await, ["x"]);
        assert!(read(&store, &problem).await.rows[0].open);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_of_many_types_are_carried_exactly_or_refused() {
    let Some(server) = MariaDb::start().map(Arc::new) else { return };
    for (column, good, bad) in [
        ("tinyint(1)", vec!["true", "false", "5"], vec!["yes", "300"]),
        ("int", vec!["-17"], vec!["007", "1.5", "abc", "99999999999"]),
        ("bigint unsigned", vec!["18446744073709551615"], vec!["-1"]),
        ("bit(10)", vec!["512"], vec!["1024", "x"]),
        ("decimal(10,2)", vec!["1.50", "1.5", "-2"], vec!["1.505", "x"]),
        ("float", vec!["0.1", "16777216"], vec!["0.12345678912"]),
        ("double", vec!["0.1", "1e300", "123456789.12345678"], vec!["x"]),
        ("datetime", vec!["2026-11-22T13:09:09"], vec!["2026-11-22T13:09:09.5Z", "2026-02-30T00:00:00", "x"]),
        ("timestamp(3) null", vec!["2026-11-22T13:09:09.25Z"], vec!["2026-11-22T13:09:09.2501Z"]),
        ("date", vec!["2026-11-22"], vec!["2026-11-22T13:00:00", "x"]),
        ("time(2)", vec!["-26:03:04.5", "00:00:01"], vec!["00:00:00.123"]),
        ("varbinary(4)", vec!["\\xff00"], vec!["\\xff00ff00ff", "text"]),
        ("blob", vec!["\\x00ff"], vec![]),
        ("uuid", vec!["aabbccdd-0000-1111-2222-333344445555"], vec!["AABBCCDD-0000-1111-2222-333344445555", "x"]),
        ("enum('a','b')", vec!["a"], vec!["A", "zebra"]),
        ("json", vec!["{\"a\": 1}"], vec!["{"]),
        ("varchar(5)", vec!["äöü ", "💻"], vec!["longer"]),
        ("varchar(5) character set utf8mb3", vec!["äöü"], vec!["💻"]),
    ] {
        let desk = Desk::with(
            &server,
            &format!(
                "create table h (n int auto_increment primary key, p varchar(9) not null, t text, f {column}, key (p))"
            ),
        )
        .await;
        let store = desk.store(Mapping { fields: map([("f", "f")]), ..plain(Numbering::Generated) }).await;
        let mut values: Vec<Option<&str>> = good.iter().copied().map(Some).collect();
        values.push(None);
        let rows: Vec<_> = values.iter().map(|v| with_fields(entry("a", "x"), [("f", *v)])).collect();
        let works = append(&store, &rows).await.unwrap_or_else(|e| panic!("{column}: {e}"));
        for (work, sent) in works.into_iter().zip(values) {
            let kept = body(&store, "a", work).await.fields["f"].clone();
            assert!(landbridge_core::value::same(sent, kept.as_deref()), "{column}: {sent:?} became {kept:?}");
        }
        for sent in bad {
            let failed = append(&store, &[with_fields(entry("a", "x"), [("f", Some(sent))])]).await;
            let Err(StoreError::Row { refusal, detail }) = failed else { panic!("{column} {sent}: {failed:?}") };
            assert!(
                matches!(refusal.code, Code::Value | Code::TextTooLong | Code::Constraint),
                "{column} {sent}: {detail}"
            );
            assert!(detail.contains('f') && !detail.contains(sent), "{column}: {detail}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_column_may_be_bytes_and_of_another_character_set() {
    let Some(server) = MariaDb::start().map(Arc::new) else { return };
    for column in ["longblob", "text character set latin1", "mediumtext", "varchar(200) character set utf8mb3"] {
        let desk = Desk::with(
            &server,
            &format!("create table h (p int not null, n int not null, t {column}, primary key (p, n))"),
        )
        .await;
        let store = desk.store(Mapping { phrases: vec!["Kopie für".into()], ..plain(Numbering::PerProblem) }).await;
        append(&store, &[entry("1", "Kopie für N: 1"), entry("1", "kopie für N"), entry("1", "ä")]).await.unwrap();
        let rows = read(&store, "1").await.rows;
        let markers: Vec<_> = rows.iter().map(|r| r.marker.as_deref()).collect();
        assert_eq!(markers, [Some("Kopie für N: 1"), None, None], "{column}");
        assert_eq!(rows[2].bytes, 2, "{column}");
        assert_eq!(texts(&store, "1").await[2], "ä");
    }
}

#[test]
fn a_wrong_password_is_said_to_be_one_and_may_be_mended_while_the_bridge_runs() {
    let Some(server) = MariaDb::start() else { return };
    server.create_database("desk");
    server.sql("desk", "create user u identified by 'right'");
    let options = MysqlOptions::parse(&server.url_as("u", "s3cret", "desk")).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let failed = runtime.block_on(inspect(&options, &plain(Numbering::Generated))).unwrap_err();
    let (gone, said) = (matches!(failed, StoreError::Gone(_)), failed.to_string());
    assert!(gone && said.contains("correct the user and the password") && !said.contains("s3cret"), "{said}");
}
