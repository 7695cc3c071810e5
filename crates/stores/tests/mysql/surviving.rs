//! Servers that are killed, connections that break, locks that are held, and the signal that tells of commits.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use landbridge_flow::StoreError;
use landbridge_flow::ports::{Mode, Shard, Store};
use landbridge_stores::Numbering;
use landbridge_stores::mysql::{MysqlOptions, MysqlStore};
use mysql_async::prelude::Queryable;

use crate::desk::{Desk, append, at_rest, entry, mapping, p, read, texts, works};
use crate::server::MariaDb;

const SCHEMA: &str = "create table h (p varchar(20) not null, n int not null, t text, primary key (p, n))";

fn plain() -> landbridge_stores::Mapping {
    mapping("h", "p", "n", "t", Numbering::PerProblem, [], [])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_is_waited_out() {
    let Some(mut server) = MariaDb::start() else { return };
    let options = MysqlOptions::parse(&server.create_database("desk")).unwrap();
    server.sql("desk", SCHEMA);
    let store = MysqlStore::open(options, plain()).await.unwrap();
    append(&store, &[entry("a", "kept")]).await.unwrap();
    store.signal().await.unwrap();
    let mut txn = store.begin(Mode::Write).await.unwrap();
    txn.append(&[entry("a", "never committed")]).await.unwrap();
    server.kill();
    assert!(matches!(txn.rows(&[p("a")], None).await, Err(StoreError::Gone(_))));
    assert!(matches!(txn.commit().await, Err(StoreError::Gone(_))));
    assert!(matches!(store.begin(Mode::Read).await.err(), Some(StoreError::Gone(_))));
    assert!(matches!(store.signal().await, Err(StoreError::Gone(_))));
    server.restart();
    assert_eq!(texts(&store, "a").await, ["kept"]);
    store.signal().await.unwrap();
    // The idle connections of before an orderly restart are dead too, and nobody notices.
    server.restart();
    assert_eq!(append(&store, &[entry("a", "and on")]).await.unwrap(), [2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_connection_loses_its_transaction_and_nothing_else() {
    let Some(server) = MariaDb::start().map(Arc::new) else { return };
    let desk = Desk::with(&server, SCHEMA).await;
    let store = desk.store(plain()).await;
    let shards = BTreeSet::from([Shard::of(&p("a")), Shard::of(&p("b"))]);
    let mut txn = store.begin(Mode::Write).await.unwrap();
    txn.lock(&shards).await.unwrap();
    txn.append(&[entry("a", "lost")]).await.unwrap();
    let all =
        desk.ask("select id from information_schema.processlist where user = 'root' and id <> connection_id()").await;
    for id in all {
        let _gone = desk.app().await.query_drop(format!("kill {id}")).await;
    }
    assert!(matches!(txn.append(&[entry("a", "x")]).await, Err(StoreError::Gone(_))));
    assert!(matches!(txn.savepoint().await, Err(StoreError::Gone(_))), "every later call fails for the same reason");
    drop(txn);
    let mut txn = store.begin(Mode::Write).await.unwrap();
    txn.lock(&shards).await.unwrap();
    assert!(txn.rows(&[p("a")], None).await.unwrap()[0].rows.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_ends_the_transaction_for_good() {
    let Some(server) = MariaDb::start().map(Arc::new) else { return };
    let desk = Desk::with(&server, SCHEMA).await;
    let store = desk.store(plain()).await;
    append(&store, &[entry("a", "1"), entry("b", "1")]).await.unwrap();
    // The one that has done less is rolled back: the application changed many rows.
    let mut app = desk.app().await;
    app.query_drop("create table w (x int); start transaction; insert into w select seq from seq_1_to_5000")
        .await
        .unwrap();
    app.query_drop("update h set t = 'by the application' where p = 'b'").await.unwrap();
    let mut txn = store.begin(Mode::Write).await.unwrap();
    txn.bodies(&[(p("a"), landbridge_core::WorkId::MIN)]).await.unwrap();
    let update = tokio::spawn(async move {
        app.query_drop("update h set t = 'by the application' where p = 'a'").await.unwrap();
        app.query_drop("commit").await.unwrap();
    });
    let failed = txn.bodies(&[(p("b"), landbridge_core::WorkId::MIN)]).await;
    assert!(matches!(failed, Err(StoreError::Deadlock(_))), "{failed:?}");
    assert!(matches!(txn.append(&[entry("a", "alone")]).await, Err(StoreError::Deadlock(_))));
    assert!(matches!(txn.commit().await, Err(StoreError::Deadlock(_))));
    update.await.unwrap();
    assert_eq!(works(&read(&store, "a").await), [1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_is_held_for_too_long_is_said_to_be_busy_and_abandoned_calls_free_theirs() {
    let Some(server) = MariaDb::start().map(Arc::new) else { return };
    let desk = Desk::with(&server, SCHEMA).await;
    let store = desk.store(plain()).await;
    let mut impatient = desk.options();
    impatient.busy = Duration::from_millis(10);
    let impatient = MysqlStore::open(impatient, plain()).await.unwrap();
    let shards: BTreeSet<Shard> = (0..=255).map(Shard).collect();
    let mut holder = store.begin(Mode::Write).await.unwrap();
    holder.lock(&shards).await.unwrap();
    let mut txn = impatient.begin(Mode::Write).await.unwrap();
    assert!(matches!(txn.lock(&BTreeSet::from([Shard(7)])).await, Err(StoreError::Busy(_))));
    let mut waiting = store.begin(Mode::Write).await.unwrap();
    let abandoned = tokio::time::timeout(Duration::from_millis(20), waiting.lock(&shards)).await;
    assert!(abandoned.is_err());
    drop(waiting);
    drop(holder);
    let mut txn = store.begin(Mode::Write).await.unwrap();
    txn.lock(&shards).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_signal_moves_with_commits_and_never_because_of_our_own_reading() {
    for options in [&[][..], &["--log-bin=bin"]] {
        let Some(server) = MariaDb::start_with(options).map(Arc::new) else { return };
        let desk = Desk::with(&server, SCHEMA).await;
        let store = desk.store(plain()).await;
        append(&store, &[entry("a", "1"), entry("b", "1")]).await.unwrap();
        at_rest(&desk).await;
        for _ in 0..3 {
            store.signal().await.unwrap();
        }
        let before = store.signal().await.unwrap();
        for _ in 0..20 {
            read(&store, "a").await;
            store.sweep(None, 10).await.unwrap();
            let mut txn = store.begin(Mode::Write).await.unwrap();
            txn.lock(&BTreeSet::from([Shard::of(&p("a"))])).await.unwrap();
            txn.bodies(&[(p("a"), landbridge_core::WorkId::MIN)]).await.unwrap();
            drop(txn);
        }
        assert_eq!(store.signal().await.unwrap(), before, "reading moved it");
        // A commit that nobody but the redo log tells of.
        let quiet = "set sql_log_bin = 0; update h set t = 'changed' where p = 'a'";
        desk.run(quiet).await;
        let values = [store.signal().await, store.signal().await, store.signal().await].map(Result::unwrap);
        assert!(values[0] != before && values[1] != values[0] && values[2] != values[1], "told of three times");
        assert_eq!(store.signal().await.unwrap(), values[2], "and then no more");
    }
}
