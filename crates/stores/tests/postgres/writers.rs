//! Several writers at once, servers that go away, rows that are held still.

use std::sync::Arc;
use std::time::Duration;

use landbridge_core::message::{Belief, Delivery, Entry};
use landbridge_core::{Keyring, Scribe, WorkId};
use landbridge_flow::accept::accept;
use landbridge_flow::bridge::{PeerPolicy, Unobserved};
use landbridge_flow::conformance::Harness;
use landbridge_flow::ports::{Mode, Store};
use landbridge_flow::{Bridge, StoreError};
use landbridge_stores::Numbering;
use landbridge_stores::postgres::{PostgresStore, writable};

use super::desk::{self, Desk, application, entry, id, mapping, note, numbers};

#[tokio::test]
async fn rows_that_commit_late_and_out_of_order_are_seen_when_they_are_there() {
    let Some(server) = desk::server() else { return };
    let desk = Desk::plain(&server, "late", Numbering::Generated).await;
    let (first, second, third) =
        (application(&desk.url).await, application(&desk.url).await, application(&desk.url).await);
    for app in [&first, &second, &third] {
        app.batch_execute("begin; insert into note (ticket, body) values ('A', 'x')").await.unwrap();
    }
    assert!(desk.rows("A").await.rows.is_empty());
    let before = desk.store.signal().await.unwrap();
    third.batch_execute("commit").await.unwrap();
    assert_eq!(numbers(&desk.rows("A").await), [3]);
    let between = desk.store.signal().await.unwrap();
    second.batch_execute("rollback").await.unwrap();
    first.batch_execute("commit").await.unwrap();
    assert_eq!(numbers(&desk.rows("A").await), [1, 3]);
    assert!(before != between && between != desk.store.signal().await.unwrap());
}

#[tokio::test]
async fn two_bridges_and_the_application_never_give_out_a_number_twice() {
    let Some(server) = desk::server() else { return };
    let desk = Arc::new(Desk::plain(&server, "crowd", Numbering::PerProblem).await);
    let other = Arc::new(
        PostgresStore::open(desk::options(&desk.url), mapping("public.note", Numbering::PerProblem)).await.unwrap(),
    );
    let bridge = |store: Arc<PostgresStore>| {
        tokio::spawn(async move {
            let mut taken = 0;
            for _ in 0..20 {
                loop {
                    let mut txn = desk::write_txn(store.as_ref(), &["A"]).await;
                    match txn.append(&[entry("A", "bridge"), entry("A", "bridge")]).await {
                        Ok(_) => break txn.commit().await.unwrap(),
                        Err(StoreError::Taken) => taken += 1,
                        Err(e) => panic!("{e}"),
                    }
                }
            }
            taken
        })
    };
    let bridges = [bridge(desk.store.clone()), bridge(other)];
    let app = Arc::clone(&desk);
    let writer = tokio::spawn(async move {
        for _ in 0..20 {
            let next = "insert into note (ticket, no, body)
                select 'A', coalesce(max(no), 0) + 1, 'app' from note where ticket = 'A'";
            while app.app.batch_execute(next).await.is_err() {}
        }
    });
    for bridge in bridges {
        bridge.await.unwrap();
    }
    writer.await.unwrap();
    assert_eq!(numbers(&desk.rows("A").await), (1..=100).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_the_application_took_first_is_told_apart() {
    let Some(server) = desk::server() else { return };
    let desk = Desk::plain(&server, "taken", Numbering::PerProblem).await;
    desk.append(&[entry("A", "one")]).await.unwrap();
    let app = application(&desk.url).await;
    app.batch_execute("begin; insert into note (ticket, no, body) values ('A', 2, 'first')").await.unwrap();
    let mut txn = desk.write_txn(&["A"]).await;
    let waits = tokio::spawn(async move {
        let failed = txn.append(&[entry("A", "second")]).await;
        assert!(matches!(failed, Err(StoreError::Taken)), "{failed:?}");
    });
    let blocked = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'";
    while server.query("taken", blocked) != [["1"]] {}
    app.batch_execute("commit").await.unwrap();
    waits.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_the_database_ends_because_of_a_deadlock_is_taken_at_the_next_try() {
    let Some(server) = desk::server() else { return };
    let desk = Desk::plain(&server, "deadlock", Numbering::PerProblem).await;
    let (one, n): (landbridge_core::SiteName, landbridge_core::SiteName) = ("1".parse().unwrap(), "N".parse().unwrap());
    let scribe = Scribe::new(one, "h", vec![], Keyring::new([1; 32]), None);
    let peers = [(n.clone(), PeerPolicy::default())].into();
    let bridge = Bridge::new("h", scribe, desk.store.clone(), peers, Arc::new(Unobserved));
    let delivery = |problem: &str| Delivery {
        names: [(n.clone(), id(problem))].into(),
        home: None,
        fields: Default::default(),
        belief: Belief::default(),
        entries: vec![Entry {
            origin: "N/7".parse().unwrap(),
            text: Some("from N".into()),
            digest: None,
            fields: Default::default(),
            onward: true,
        }],
    };
    let deliveries = [delivery("A"), delivery("B")];

    // The application has the first number of B, and wants that of A when the bridge has it and waits for B's.
    let app = application(&desk.url).await;
    app.batch_execute("begin; insert into note (ticket, no, body) values ('B', 1, 'app')").await.unwrap();
    let from = n.clone();
    let accepted = tokio::spawn(async move { accept(&bridge, &from, &deliveries).await });
    let blocked = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'";
    while server.query("deadlock", blocked) != [["1"]] {}
    app.batch_execute("insert into note (ticket, no, body) values ('A', 1, 'app'); commit").await.unwrap();
    let receipts = accepted.await.unwrap().unwrap();
    assert!(receipts.iter().all(|receipt| receipt.holds.contains(&"N/7".parse().unwrap())), "{receipts:?}");
    for problem in ["A", "B"] {
        let texts: Vec<_> = desk.table(&id(problem)).await.into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts[..2], ["app", "from N"], "{texts:?}");
        assert_eq!(texts.len(), 3, "and one marker: {texts:?}");
    }
}

#[tokio::test]
async fn a_row_that_is_looked_at_in_a_write_is_not_deleted_before_its_end() {
    let Some(server) = desk::server() else { return };
    let desk = Desk::plain(&server, "pinned", Numbering::PerProblem).await;
    let work = desk.write(&id("A"), "held", true).await;
    let mut txn = desk.write_txn(&["A"]).await;
    assert!(txn.bodies(&[(id("A"), work)]).await.unwrap()[0].is_some());
    let app = application(&desk.url).await;
    app.batch_execute("set lock_timeout = '100ms'").await.unwrap();
    assert!(app.batch_execute("delete from note").await.is_err());
    // Other columns are free.
    app.batch_execute("update note set public = false").await.unwrap();
    txn.commit().await.unwrap();
    app.batch_execute("delete from note").await.unwrap();
}

#[tokio::test]
async fn a_lock_that_somebody_holds_is_busy_and_not_forever() {
    let Some(server) = desk::server() else { return };
    let desk = Desk::plain(&server, "busy", Numbering::PerProblem).await;
    let mut options = desk::options(&desk.url);
    options.busy = Duration::from_millis(100);
    let hasty = PostgresStore::open(options, mapping("note", Numbering::PerProblem)).await.unwrap();
    desk.app.batch_execute("begin; lock table note").await.unwrap();
    let mut txn = desk::write_txn(&hasty, &["A"]).await;
    let failed = txn.rows(&[id("A")], None).await;
    assert!(matches!(failed, Err(StoreError::Busy(_))), "{failed:?}");
    desk.app.batch_execute("rollback").await.unwrap();
}

#[tokio::test]
async fn a_transaction_that_is_given_up_while_it_waits_frees_its_locks() {
    let Some(server) = desk::server() else { return };
    let desk = Desk::plain(&server, "cancelled", Numbering::PerProblem).await;
    desk.app.batch_execute("begin; lock table note").await.unwrap();
    let mut txn = desk.write_txn(&["A"]).await;
    let given_up = tokio::time::timeout(Duration::from_millis(100), txn.rows(&[id("A")], None)).await;
    assert!(given_up.is_err());
    drop(txn);
    // The shard is free although the table still is not.
    drop(desk.write_txn(&["A"]).await);
    desk.app.batch_execute("rollback").await.unwrap();
}

#[tokio::test]
async fn a_server_that_was_killed_is_waited_out() {
    let Some(mut server) = desk::server() else { return };
    let desk = Desk::plain(&server, "killed", Numbering::PerProblem).await;
    desk.append(&[entry("A", "before")]).await.unwrap();
    let mut txn = desk.write_txn(&["A"]).await;
    txn.append(&[entry("A", "lost")]).await.unwrap();
    server.kill();
    let failed = txn.commit().await;
    assert!(matches!(failed, Err(StoreError::Gone(_))), "{failed:?}");
    let failed = desk.store.begin(Mode::Write).await.map(|_| ());
    assert!(matches!(failed, Err(StoreError::Gone(_))), "{failed:?}");
    assert!(matches!(desk.store.signal().await, Err(StoreError::Gone(_))));
    server.restart();
    assert_eq!(desk.append(&[entry("A", "after")]).await.unwrap(), [WorkId::new(2).unwrap()]);
    // An idle connection does not know yet that its server was restarted.
    server.restart();
    assert_eq!(numbers(&desk.rows("A").await), [1, 2]);
    desk.store.signal().await.unwrap();
}

#[tokio::test]
async fn a_user_who_is_not_let_in_is_told_so_without_a_password() {
    let Some(server) = desk::server() else { return };
    let desk = Desk::plain(&server, "standby", Numbering::PerProblem).await;
    let m = mapping("note", Numbering::PerProblem);
    writable(&desk::options(&desk.url), &m).await.unwrap();
    server.sql("standby", "revoke connect on database standby from public; create user reader password 'r'");
    let options = desk::options(&server.url_as("reader", "r", "standby"));
    let said = writable(&options, &m).await.unwrap_err();
    assert!(matches!(said, StoreError::Mapping(_)), "{said}");
    assert!(!said.to_string().contains(":r@"), "{said}");
}

#[tokio::test]
async fn rows_in_partitions_are_rows_of_the_table() {
    let Some(server) = desk::server() else { return };
    let sql = note(Numbering::PerProblem, "text").trim_end().to_owned()
        + " partition by hash (ticket);
        create table note_0 partition of note for values with (modulus 2, remainder 0);
        create table note_1 partition of note for values with (modulus 2, remainder 1)";
    let desk = Desk::new(&server, "parts", &sql, mapping("note", Numbering::PerProblem)).await;
    desk.append(&[entry("A", "1"), entry("B", "1"), entry("A", "2"), entry("C", "1")]).await.unwrap();
    assert_eq!(numbers(&desk.rows("A").await), [1, 2]);
    let mut txn = desk.write_txn(&["A"]).await;
    assert!(txn.bodies(&[(id("A"), WorkId::MIN)]).await.unwrap()[0].is_some());
}
