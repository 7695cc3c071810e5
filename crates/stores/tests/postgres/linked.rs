//! Problems that differ: found by their home name and created; markers in a table of their own.

use landbridge_core::message::Code;
use landbridge_core::{ProblemName, WorkId};
use landbridge_flow::StoreError;
use landbridge_flow::bridge::shards;
use landbridge_flow::ports::{Kind, Mode, NewProblem, Shard, Store};
use landbridge_stores::postgres::PostgresStore;
use landbridge_stores::{Mapping, Numbering, ProblemTable};

use super::desk::{self, Desk, code, entry, id, mapping, marker, note, numbers};

fn linked() -> (String, Mapping) {
    let sql = format!(
        "create table problem (id int generated always as identity (start with 100) primary key, title varchar(10),
             ref varchar(40) unique, status text not null, shared boolean default true);
         {}",
        note(Numbering::Generated, "int")
    );
    let problems = ProblemTable {
        name: "problem".parse().unwrap(),
        id: "id".into(),
        share: Some("shared".into()),
        fields: [("title".into(), "title".into())].into(),
        link: Some("ref".into()),
        create: Some([("status".into(), "'open at ' || :site || coalesce(:title, '')".into())].into()),
    };
    (sql, Mapping { problems: Some(problems), ..mapping("note", Numbering::Generated) })
}

fn new(home: &str, title: Option<&str>) -> NewProblem {
    NewProblem { home: home.parse().unwrap(), fields: [("title".into(), title.map(str::to_owned))].into() }
}

#[tokio::test]
async fn a_problem_is_found_by_its_home_name_or_created_with_it() {
    let Some(server) = desk::server() else { return };
    let (sql, m) = linked();
    let desk = Desk::new(&server, "linked", &sql, m).await;
    let homes: Vec<ProblemName> = ["N/7", "N/8"].iter().map(|h| h.parse().unwrap()).collect();
    let mut txn = desk.store.begin(Mode::Write).await.unwrap();
    txn.lock(&homes.iter().map(Shard::of_name).collect()).await.unwrap();
    assert_eq!(txn.find(&homes).await.unwrap(), [vec![], vec![]]);
    let ids = txn.create(&[new("N/7", Some("printer")), new("N/8", None)]).await.unwrap();
    assert_eq!(ids, [id("100"), id("101")]);
    txn.savepoint().await.unwrap();
    assert_eq!(code(txn.create(&[new("N/9", Some("too long a title"))]).await), Code::Value);
    txn.rollback_to().await.unwrap();
    txn.commit().await.unwrap();
    let mut txn = desk.store.begin(Mode::Read).await.unwrap();
    assert_eq!(txn.find(&homes).await.unwrap(), [vec![id("100")], vec![id("101")]]);
    let rows = txn.rows(&[id("100"), id("102"), id("x")], None).await.unwrap();
    assert!(rows[0].visible && !rows[1].visible && !rows[2].visible);
    assert_eq!(rows[0].home.as_ref(), Some(&homes[0]));
    assert_eq!(rows[0].fields["title"].as_deref(), Some("printer"));
    let status = server.query("linked", "select status from problem order by id");
    assert_eq!(status, [["open at Nprinter"], ["open at N"]]);
}

#[tokio::test]
async fn two_histories_that_share_a_table_of_problems_exclude_each_other() {
    let Some(server) = desk::server() else { return };
    let (sql, m) = linked();
    let sql = format!("{sql}; create table other (like note including all)");
    let desk = Desk::new(&server, "shared", &sql, m.clone()).await;
    let mut other = m;
    desk::table(&mut other).name = "other".parse().unwrap();
    let mut options = desk::options(&desk.url);
    options.busy = std::time::Duration::from_millis(200);
    let other = PostgresStore::open(options, other).await.unwrap();
    let home = [Shard::of_name(&"N/7".parse().unwrap())].into();
    let mut txn = desk.store.begin(Mode::Write).await.unwrap();
    txn.lock(&home).await.unwrap();
    // Else both find nothing, and both create N/7.
    let mut late = other.begin(Mode::Write).await.unwrap();
    assert!(matches!(late.lock(&home).await, Err(StoreError::Busy(_))));
}

#[tokio::test]
async fn two_that_look_and_create_under_the_lock_of_the_name_create_one() {
    let Some(server) = desk::server() else { return };
    let (sql, m) = linked();
    let desk = std::sync::Arc::new(Desk::new(&server, "one", &sql.replace(" unique,", ","), m).await);
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let desk = std::sync::Arc::clone(&desk);
            tokio::spawn(async move {
                let home: ProblemName = "N/7".parse().unwrap();
                let mut txn = desk.store.begin(Mode::Write).await.unwrap();
                txn.lock(&[Shard::of_name(&home)].into()).await.unwrap();
                if txn.find(std::slice::from_ref(&home)).await.unwrap()[0].is_empty() {
                    txn.create(&[new("N/7", None)]).await.unwrap();
                }
                txn.commit().await.unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(server.query("one", "select count(*) from problem"), [["1"]]);
}

#[tokio::test]
async fn markers_in_a_table_of_their_own_are_numbered_apart() {
    let Some(server) = desk::server() else { return };
    let sql = format!(
        "{}; create table markers (number bigint generated always as identity primary key, problem text not null,
             text text not null)",
        note(Numbering::Generated, "int")
    );
    let m = Mapping { markers: Some("markers".parse().unwrap()), ..mapping("note", Numbering::Generated) };
    let desk = Desk::new(&server, "apart", &sql, m).await;
    assert!(desk.store.capabilities().markers_apart);
    let before = desk.store.sweep(None, 10).await.unwrap();
    let works =
        desk.append(&[entry("1", "one"), entry("1", "two"), marker("1", "copy in system N: 1-2")]).await.unwrap();
    assert_eq!(works[2], WorkId::apart(1).unwrap());
    let first = desk.store.sweep(None, 10).await.unwrap();
    desk.append(&[marker("1", "copy in system N: 3")]).await.unwrap();
    let second = desk.store.sweep(None, 10).await.unwrap();
    assert!(before.is_empty() && first != second);
    let rows = desk.rows("1").await;
    assert_eq!(numbers(&rows), [1, 2, WorkId::APART + 1, WorkId::APART + 2]);
    assert!(rows.rows[0].open && !rows.rows[2].open && rows.rows[2].marker.is_some());
    let bodies = desk.bodies(&[("1", WorkId::APART + 1), ("1", 1), ("2", WorkId::APART + 1)]).await;
    assert_eq!(bodies[0].as_ref().unwrap().text.as_deref(), Some("copy in system N: 1-2"));
    assert!(bodies[1].is_some() && bodies[2].is_none());
    assert_eq!(marker("1", "x").kind, Kind::Marker);
    assert!(!shards(&[id("1")]).is_empty());
}
