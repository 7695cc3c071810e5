//! What stands against a mapping is said at once, with what to write instead.

use std::sync::Arc;

use landbridge_flow::StoreError;
use landbridge_stores::mysql::{MysqlStore, catalog, inspect, sample, writable};
use landbridge_stores::{Mapping, Numbering, TableName};

use crate::desk::{Desk, map, mapping};
use crate::server::MariaDb;

#[track_caller]
fn says(sentences: &[String], all: &[&str]) {
    for wanted in all {
        assert!(sentences.iter().any(|s| s.contains(wanted)), "{wanted} is not in {sentences:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_is_named_at_once() {
    let Some(server) = MariaDb::start().map(Arc::new) else { return };
    let schema = "create table h (p varchar(20) not null, n int not null, t text character set latin1, must int not null, \
                  twice int as (n * 2)) engine = myisam; create view v as select * from h; \
                  create trigger loud before insert on h for each row set new.t = new.t";
    let desk = Desk::with(&server, schema).await;
    let faulty = Mapping {
        share: Some("nothing = 1".into()),
        within: Some("p = :x".into()),
        fields: map([("a", "absent"), ("b", "twice")]),
        ..mapping("h", "p", "n", "t", Numbering::PerProblem, [("t", "'x'"), ("n2", ":who +")], [])
    };
    let seen = inspect(&desk.options(), &faulty).await.unwrap();
    says(
        &seen.faults,
        &[
            "the engine MyISAM, which has no transactions",
            "alter table `h` engine = innodb",
            "no primary key or unique index on exactly (p, n)",
            "[history] share is not understood",
            "a condition has no parameters, and this one has :x",
            "has no column absent",
            "column twice of table h is computed",
            "the bridge itself fills this column",
            ":who is nothing known",
            "column must of table h must not be null",
        ],
    );
    says(
        &seen.notes,
        &["character set latin1", "triggers on inserts", "loud", "no index of table h begins with column p"],
    );
    let failed = MysqlStore::open(desk.options(), faulty).await.err().unwrap();
    assert!(matches!(&failed, StoreError::Mapping(said) if said.lines().count() > 9), "{failed}");
    for (table, numbering, sentence) in [
        ("v", Numbering::PerProblem, "v is a view"),
        ("nowhere", Numbering::PerProblem, "there is no table nowhere"),
        ("h", Numbering::Generated, "has no auto_increment"),
    ] {
        let faults = inspect(&desk.options(), &mapping(table, "p", "n", "t", numbering, [], [])).await.unwrap().faults;
        says(&faults, &[sentence]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_right_is_named_with_its_column() {
    let Some(server) = MariaDb::start().map(Arc::new) else { return };
    let schema = "create table h (p varchar(20) not null, n int not null, t text, primary key (p, n))";
    let desk = Desk::with(&server, schema).await;
    let options = desk.options_of(&["select (p, n), insert (p, t) on h"]).await;
    let faults = inspect(&options, &mapping("h", "p", "n", "t", Numbering::PerProblem, [], [])).await.unwrap().faults;
    says(&faults, &["may not read column t", "may not write column n", "landbridge grants"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_catalogue_shows_tables_and_what_the_user_may_do() {
    let Some(server) = MariaDb::start().map(Arc::new) else { return };
    let schema = "create table tickets (id int primary key); create table h (n int auto_increment primary key, p int not \
                  null, t varchar(80) default 'x', flag tinyint(1), secret text, foreign key (p) references tickets (id)); \
                  insert into tickets values (1); insert into h (p, t, flag) values (1, 'hello', 1)";
    let desk = Desk::with(&server, schema).await;
    let root = catalog(&desk.options()).await.unwrap();
    assert!(root.is_superuser && root.tables.len() == 2, "{root:?}");
    let history = root.table(&TableName::plain("h")).unwrap();
    assert_eq!(history.references[0].to, "id");
    assert!(history.column("n").unwrap().is_generated_number && history.unique == [["n"]]);
    let options = desk.options_of(&["select (p, n, t), insert (p, t) on h", "delete on tickets"]).await;
    let seen = catalog(&options).await.unwrap();
    assert!(!seen.is_superuser && seen.user.unwrap().starts_with("bridge_"));
    let history = seen.tables.iter().find(|t| t.name.name == "h").unwrap();
    assert_eq!(history.column("t").unwrap().rights, ["insert", "select"].map(str::to_owned).into());
    assert!(history.column("secret").is_none());
    let tickets = seen.tables.iter().find(|t| t.name.name == "tickets").unwrap();
    assert!(tickets.rights.contains("delete"));
    let rows = sample(&desk.options(), &TableName::plain("h"), &["t".into(), "flag".into(), "secret".into()], 3)
        .await
        .unwrap();
    assert_eq!(rows, [[Some("hello".to_owned()), Some("true".to_owned()), None]]);
    let h = mapping("h", "p", "n", "t", Numbering::Generated, [], []);
    writable(&desk.options(), &h).await.unwrap();
    desk.run("set global read_only = on").await;
    assert!(matches!(writable(&options, &h).await, Err(StoreError::ReadOnly(_))));
}
