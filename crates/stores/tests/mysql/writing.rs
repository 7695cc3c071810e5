//! Appending beside others: numbers, triggers, statements, markers apart, and no right beyond what is granted.

use std::sync::Arc;

use landbridge_core::WorkId;
use landbridge_core::message::Code;
use landbridge_flow::StoreError;
use landbridge_flow::ports::{Mode, Store};
use landbridge_stores::mapping::{AppendKind, Statements};
use landbridge_stores::mysql::MysqlStore;
use landbridge_stores::{Mapping, Numbering, ProblemTable, Source, TableName};
use mysql_async::prelude::Queryable;

use crate::desk::{Desk, append, entry, map, mapping, marker, p, read, texts, w, with_fields, works};
use crate::server::MariaDb;

const COUNTED: &str = "create table h (p varchar(20) not null, n int not null, t varchar(100), primary key (p, n))";
const GENERATED: &str =
    "create table h (n int auto_increment primary key, p varchar(20) not null, t varchar(100), key (p))";

fn plain(numbering: Numbering) -> Mapping {
    mapping("h", "p", "n", "t", numbering, [], [])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_bridges_that_append_to_one_problem_at_once_never_double_a_number() {
    let Some(server) = MariaDb::start().map(Arc::new) else { return };
    for (schema, numbering) in [(COUNTED, Numbering::PerProblem), (GENERATED, Numbering::Generated)] {
        let desk = Desk::with(&server, schema).await;
        let write = |name: &'static str| {
            let (options, mapping) = (desk.options(), plain(numbering));
            tokio::spawn(async move {
                let store = MysqlStore::open(options, mapping).await.unwrap();
                let mut all = Vec::new();
                for round in 0..10 {
                    let rows: Vec<_> = (0..7).map(|n| entry("a", &format!("{name} {round} {n}"))).collect();
                    let mut txn = store.begin(Mode::Write).await.unwrap();
                    // Without the lock, so that the database alone has to keep them apart.
                    let works = match txn.append(&rows).await {
                        Ok(works) => works,
                        Err(StoreError::Taken | StoreError::Busy(_)) => continue,
                        Err(e) => panic!("{e}"),
                    };
                    txn.commit().await.unwrap();
                    all.extend(works.into_iter().zip(rows).map(|(w, r)| format!("{} {}", w.get(), r.text)));
                }
                all
            })
        };
        let (one, other) = (write("one"), write("other"));
        let mut told = [one.await.unwrap(), other.await.unwrap()].concat();
        told.sort();
        let mut there = desk.ask("select n, t from h").await;
        there.sort();
        assert!(told.len() >= 70, "{numbering:?}: only {} rows", told.len());
        assert_eq!(told, there, "{numbering:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_committed_in_reverse_order_and_rolled_back_hide_nothing() {
    let Some(server) = MariaDb::start().map(Arc::new) else { return };
    let desk = Desk::with(&server, GENERATED).await;
    let store = desk.store(plain(Numbering::Generated)).await;
    let mut apps = Vec::new();
    for n in 1..=3 {
        let mut app = desk.app().await;
        app.query_drop(format!("start transaction; insert into h (p, t) values ('a', '{n}')")).await.unwrap();
        apps.push(app);
    }
    append(&store, &[entry("a", "by the bridge")]).await.unwrap();
    assert_eq!(works(&read(&store, "a").await), [4]);
    for (app, (sql, seen)) in
        apps.iter_mut().rev().zip([("commit", vec![3, 4]), ("rollback", vec![3, 4]), ("commit", vec![1, 3, 4])])
    {
        let before = store.signal().await.unwrap();
        app.query_drop(sql).await.unwrap();
        assert_eq!(works(&read(&store, "a").await), seen);
        assert!(sql == "rollback" || store.signal().await.unwrap() != before);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_table_does_not_take_is_told_by_its_kind() {
    let Some(server) = MariaDb::start().map(Arc::new) else { return };
    let schema = "create table other (id int primary key); create table h (p varchar(20) not null, n int not null, \
                  t varchar(40) character set utf8mb3, a int, b int not null default 1, c int unique, primary key (p, n), \
                  foreign key (a) references other (id)); \
                  create trigger guard before insert on h for each row begin \
                  if new.t = 'SIGNAL' then signal sqlstate '45000' set message_text = 'closed tickets take nothing'; end if; \
                  if new.t = 'TWICE' then insert into other values (5), (5); end if; end";
    let desk = Desk::with(&server, schema).await;
    let fields = map([("a", "a"), ("b", "b"), ("c", "c")]);
    let store = desk.store(Mapping { fields, ..plain(Numbering::PerProblem) }).await;
    append(&store, &[with_fields(entry("x", "fine"), [("c", Some("1"))])]).await.unwrap();
    for (row, code, says) in [
        (entry("x", "SIGNAL"), Code::Trigger, "closed tickets"),
        (entry("x", "TWICE"), Code::Constraint, "PRIMARY"),
        (entry("x", "emoji 💻"), Code::Value, "character set utf8mb3"),
        (entry("x", &"long".repeat(11)), Code::TextTooLong, "40"),
        (with_fields(entry("x", "1"), [("a", Some("9"))]), Code::Constraint, "foreign key"),
        (with_fields(entry("x", "2"), [("b", None)]), Code::NullInColumn, "column b"),
        (with_fields(entry("x", "3"), [("c", Some("1"))]), Code::Constraint, "index c"),
        (with_fields(entry("x", "4"), [("a", Some("many"))]), Code::Value, "column a"),
        (entry("far too long for an id", "5"), Code::TextTooLong, "column p"),
    ] {
        let failed = append(&store, &[entry("x", "before"), row]).await;
        let Err(StoreError::Row { refusal, detail }) = failed else { panic!("{says}: {failed:?}") };
        assert_eq!(refusal.code, code, "{detail}");
        assert!(detail.contains(says), "{says}: {detail}");
    }
    assert_eq!(texts(&store, "x").await, ["fine"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_to_be_marked_stays_until_the_marker_is_there() {
    let Some(server) = MariaDb::start().map(Arc::new) else { return };
    let desk = Desk::with(&server, COUNTED).await;
    let store = desk.store(plain(Numbering::PerProblem)).await;
    append(&store, &[entry("a", "read"), entry("b", "not read")]).await.unwrap();
    let mut txn = store.begin(Mode::Write).await.unwrap();
    txn.bodies(&[(p("a"), w(1))]).await.unwrap();
    let mut app = desk.app().await;
    app.query_drop("set innodb_lock_wait_timeout = 1").await.unwrap();
    app.query_drop("delete from h where p = 'b'").await.unwrap();
    assert!(app.query_drop("delete from h where p = 'a'").await.unwrap_err().to_string().contains("1205"));
    drop(txn);
    app.query_drop("set innodb_lock_wait_timeout = 50").await.unwrap();
    app.query_drop("delete from h where p = 'a'").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn markers_in_a_table_of_their_own_come_and_go_under_their_own_numbers() {
    let Some(server) = MariaDb::start().map(Arc::new) else { return };
    let schema = format!(
        "{GENERATED}; create table m (number bigint auto_increment primary key, problem varchar(20) not null, \
         text text not null, key (problem))"
    );
    let desk = Desk::with(&server, &schema).await;
    let store = desk.store(Mapping { markers: Some(TableName::plain("m")), ..plain(Numbering::Generated) }).await;
    assert!(store.capabilities().markers_apart);
    let rows =
        [entry("a", "1"), marker("a", "copy in system N: 1"), entry("a", "2"), marker("a", "copy in system N: 2")];
    let works = append(&store, &rows).await.unwrap();
    assert_eq!(works, [1, WorkId::APART + 1, 2, WorkId::APART + 2]);
    let seen = read(&store, "a").await.rows;
    let markers: Vec<_> = seen.iter().map(|r| (r.work.get(), r.marker.is_some(), r.open)).collect();
    assert_eq!(
        markers,
        [(1, false, true), (2, false, true), (WorkId::APART + 1, true, false), (WorkId::APART + 2, true, false)]
    );
    assert_eq!(texts(&store, "a").await[2], "copy in system N: 1");
    assert_eq!(desk.ask("select count(*) from h").await, ["2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_with_rights_on_columns_alone_can_do_everything() {
    let Some(server) = MariaDb::start().map(Arc::new) else { return };
    let schema = "create table h (p varchar(20) not null, n int not null, t varchar(100), kind text, secret text, f int, \
                  primary key (p, n)); create table tickets (id varchar(20) primary key, link varchar(100), touched int \
                  default 0, secret text, key (link))";
    let desk = Desk::with(&server, schema).await;
    let options = desk
        .options_of(&[
            "select (p, n, t, f), insert (p, n, t, kind, f) on h",
            "select (id, link, touched), insert (id, link), update (touched) on tickets",
        ])
        .await;
    let problems = ProblemTable {
        name: TableName::plain("tickets"),
        id: "id".into(),
        share: Some("touched < 99".into()),
        fields: map([]),
        link: Some("link".into()),
        create: Some(map([("id", "concat('from-', :site)")])),
    };
    let store = MysqlStore::open(
        options,
        Mapping {
            fields: map([("f", "f")]),
            also: vec!["update tickets set touched = touched + 1 where id = :problem".into()],
            problems: Some(problems),
            ..mapping("h", "p", "n", "t", Numbering::PerProblem, [("kind", "'work'")], [])
        },
    )
    .await
    .unwrap();
    let mut txn = store.begin(Mode::Write).await.unwrap();
    let home: landbridge_core::ProblemName = "N/4711".parse().unwrap();
    let new = landbridge_flow::ports::NewProblem { home: home.clone(), fields: Default::default() };
    assert_eq!(txn.create(&[new]).await.unwrap(), [p("from-N")]);
    let rows = [with_fields(entry("from-N", "1"), [("f", Some("5"))]), marker("from-N", "copy in system N: 1")];
    let works = txn.append(&rows).await.unwrap();
    let back = txn.bodies(&[(p("from-N"), works[0]), (p("from-N"), works[1])]).await.unwrap();
    assert!(back.iter().all(Option::is_some));
    txn.commit().await.unwrap();
    let seen = read(&store, "from-N").await;
    assert!(seen.visible && seen.home == Some(home) && seen.rows.len() == 2);
    assert_eq!(desk.ask("select touched from tickets").await, ["1"]);
    store.signal().await.unwrap();
    store.sweep(None, 10).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_of_two_tables_is_read_and_appended_by_statements() {
    let Some(server) = MariaDb::start().map(Arc::new) else { return };
    let schema = "create table events (id int auto_increment primary key, ticket int not null, kind varchar(20), public \
                  int not null, key (ticket)); create table contents (event int primary key, body longblob not null); \
                  create table tickets (id int primary key, changed int default 0); insert into tickets values (7, 0)";
    let desk = Desk::with(&server, schema).await;
    let statements = Statements {
        read:
            "select e.ticket as problem, e.id as work, c.body as text, e.kind <> 'note' as share, e.public as public \
               from events e join contents c on c.event = e.id -- both"
                .into(),
        append: vec![
            "insert into events (ticket, kind, public) values (:problem, :kind, 1)".into(),
            "insert into contents (event, body) values (:work, :text)".into(),
        ],
        work_from: "last_insert_id()".into(),
        append_kind: AppendKind { entry: "answer".into(), marker: "note".into() },
        text_encoding: None,
        remove: vec![],
    };
    let mapping = Mapping {
        source: Source::Statements(statements),
        share: Some("public = 1".into()),
        also: vec!["update tickets set changed = changed + 1 where id = :problem".into()],
        ..mapping("history", "problem", "work", "text", Numbering::Generated, [], [])
    };
    let store = desk.store(mapping).await;
    let rows = [entry("7", "one 💻"), marker("7", "copy in system N: 1"), entry("7", "two")];
    assert_eq!(append(&store, &rows).await.unwrap(), [1, 2, 3]);
    assert_eq!(texts(&store, "7").await, ["one 💻", "copy in system N: 1", "two"]);
    let seen = read(&store, "7").await.rows;
    assert_eq!(seen.iter().map(|r| r.open).collect::<Vec<_>>(), [true, false, true]);
    assert!(seen[1].marker.is_some() && seen[0].marker.is_none());
    assert_eq!(desk.ask("select changed from tickets").await, ["1"]);
    assert_eq!(store.sweep(None, 5).await.unwrap().len(), 1);
    assert!(store.conditions(&p("7"), w(1)).await.unwrap().unwrap().iter().all(|c| c.passes));
    // The server looks a problem up by the index inside of the query.
    let plan = desk
        .ask(
            "explain select history.work from (select e.ticket as problem, e.id as work, c.body as text from events e \
             join contents c on c.event = e.id) as history where history.problem in (7, 8)",
        )
        .await;
    assert!(plan.iter().all(|line| !line.contains("DERIVED")), "{plan:?}");
}
