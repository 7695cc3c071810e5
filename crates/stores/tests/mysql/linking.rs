//! Problems that sites number differently.

use std::collections::BTreeSet;
use std::sync::Arc;

use landbridge_core::ProblemName;
use landbridge_core::message::Code;
use landbridge_flow::StoreError;
use landbridge_flow::ports::{Mode, NewProblem, Shard, Store};
use landbridge_stores::mysql::MysqlStore;
use landbridge_stores::{Mapping, Numbering, ProblemTable, TableName};

use crate::desk::{Desk, map, mapping, p};
use crate::server::MariaDb;

const SCHEMA: &str = "create table h (n int auto_increment primary key, p int not null, t text, key (p)); \
                      create table tickets (id int auto_increment primary key, link varchar(60), title varchar(20), \
                      state text not null, key (link))";

fn linked() -> Mapping {
    Mapping {
        problems: Some(ProblemTable {
            name: TableName::plain("tickets"),
            id: "id".into(),
            share: None,
            fields: map([("title", "title")]),
            link: Some("link".into()),
            create: Some(map([("state", "concat('open from ', :site, ' ', :home, ' ', coalesce(:title, '-'))")])),
        }),
        ..mapping("h", "p", "n", "t", Numbering::Generated, [], [])
    }
}

fn new(home: &str, title: Option<&str>) -> NewProblem {
    NewProblem { home: home.parse().unwrap(), fields: [("title".into(), title.map(str::to_owned))].into() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_problem_is_created_with_its_home_name_and_found_by_it_exactly() {
    let Some(server) = MariaDb::start().map(Arc::new) else { return };
    let desk = Desk::with(&server, SCHEMA).await;
    let store = desk.store(linked()).await;
    let mut txn = store.begin(Mode::Write).await.unwrap();
    assert_eq!(txn.create(&[new("N/a", Some("one")), new("N/A", None)]).await.unwrap(), [p("1"), p("2")]);
    let homes: Vec<ProblemName> = ["N/A", "N/x", "N/a"].iter().map(|n| n.parse().unwrap()).collect();
    assert_eq!(txn.find(&homes).await.unwrap(), [vec![p("2")], vec![], vec![p("1")]]);
    txn.commit().await.unwrap();
    assert_eq!(desk.ask("select state from tickets").await, ["open from N N/a one", "open from N N/A -"]);
    let mut txn = store.begin(Mode::Write).await.unwrap();
    let failed = txn.create(&[new("N/b", Some("a title that is far too long"))]).await;
    assert!(matches!(failed, Err(StoreError::Row { refusal, .. }) if refusal.code == Code::TextTooLong));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_bridges_that_look_for_one_name_at_once_create_one_problem() {
    let Some(server) = MariaDb::start().map(Arc::new) else { return };
    let desk = Desk::with(&server, SCHEMA).await;
    let look = || {
        let options = desk.options();
        tokio::spawn(async move {
            let store = MysqlStore::open(options, linked()).await.unwrap();
            for n in 0..10 {
                let home: ProblemName = format!("N/{n}").parse().unwrap();
                let mut txn = store.begin(Mode::Write).await.unwrap();
                txn.lock(&BTreeSet::from([Shard::of_name(&home)])).await.unwrap();
                if txn.find(std::slice::from_ref(&home)).await.unwrap()[0].is_empty() {
                    txn.create(&[new(&home.to_string(), None)]).await.unwrap();
                    txn.commit().await.unwrap();
                }
            }
        })
    };
    let (one, other) = (look(), look());
    one.await.unwrap();
    other.await.unwrap();
    assert_eq!(desk.ask("select count(*), count(distinct link) from tickets").await, ["10 10"]);
}
