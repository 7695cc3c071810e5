//! Who waits for whom, what a snapshot sees, and what is left of a transaction that was dropped.

use std::collections::BTreeSet;

use landbridge_flow::ports::Store;

use super::*;
use crate::sqlite::lane;

#[tokio::test]
async fn an_application_in_a_transaction_is_waited_for() {
    let desk = Desk::with(HISTORY);
    let store = desk.store(mapping());
    desk.run("begin immediate; insert into WORK_HISTORY (PROBLEM_ID, WORK_ID, WORK_HISTORY) values ('A', 1, 'a')");
    let mut txn = store.begin(Mode::Write).await.unwrap();
    let busy = txn.lock(&BTreeSet::new()).await;
    assert!(matches!(&busy, Err(StoreError::Busy(said)) if said.contains("desk.db")), "{busy:?}");
    drop(txn);

    let patient = SqliteOptions { busy: Duration::from_secs(30) };
    let patient = SqliteStore::open(&desk.path(), mapping(), patient).unwrap();
    let waiting = tokio::spawn(async move { append(&patient, &[entry("A", "b")]).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    desk.run("commit");
    assert_eq!(waiting.await.unwrap().unwrap(), [2]);
}

#[tokio::test]
async fn a_dropped_transaction_is_rolled_back_and_its_lock_is_free() {
    let desk = Desk::with(HISTORY);
    let store = desk.store(mapping());
    for _ in 0..20 {
        let mut txn = store.begin(Mode::Write).await.unwrap();
        txn.savepoint().await.unwrap();
        txn.append(&[entry("A", "gone")]).await.unwrap();
        drop(txn);
        // The next writer gets its turn only after the rollback.
        let mut next = store.begin(Mode::Write).await.unwrap();
        next.lock(&BTreeSet::new()).await.unwrap();
        assert_eq!(works(&next.rows(&[p("A")], None).await.unwrap()[0]), [0; 0]);
        next.commit().await.unwrap();
    }
    assert_eq!(desk.ask("select count(*) from WORK_HISTORY"), "Integer(0)");
    desk.run("begin immediate; rollback");
}

#[tokio::test]
async fn a_second_writer_of_ours_waits_for_the_first_and_sees_its_rows() {
    let desk = Desk::with(HISTORY);
    let store = std::sync::Arc::new(desk.store(mapping()));
    let writers: Vec<_> = (0..16)
        .map(|_| {
            let store = std::sync::Arc::clone(&store);
            tokio::spawn(async move { append(&store, &[entry("A", "x"), entry("A", "y")]).await.unwrap() })
        })
        .collect();
    let mut works = Vec::new();
    for writer in writers {
        works.extend(writer.await.unwrap());
    }
    works.sort();
    assert_eq!(works, (1..=32).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_read_does_not_see_what_was_committed_after_it_began() {
    let desk = Desk::with(HISTORY);
    let store = desk.store(mapping());
    let mut txn = store.begin(Mode::Read).await.unwrap();
    desk.run("insert into WORK_HISTORY (PROBLEM_ID, WORK_ID, WORK_HISTORY) values ('A', 1, 'late')");
    assert_eq!(works(&txn.rows(&[p("A")], None).await.unwrap()[0]), [0; 0]);
    assert_eq!(txn.bodies(&[(p("A"), w(1))]).await.unwrap(), [None]);
    assert!(matches!(txn.append(&[entry("A", "x")]).await, Err(StoreError::Broken(_))));
    txn.commit().await.unwrap();
    assert_eq!(works(&read(&store, "A", None).await), [1]);
}

#[tokio::test]
async fn without_wal_a_read_lets_nobody_commit_and_ends_with_its_drop() {
    let desk = Desk::with(HISTORY);
    desk.run("pragma journal_mode = delete");
    let store = desk.store(mapping());
    let txn = store.begin(Mode::Read).await.unwrap();
    assert!(matches!(append(&store, &[entry("A", "x")]).await, Err(StoreError::Busy(_))));
    drop(txn);
    assert_eq!(append(&store, &[entry("A", "x")]).await.unwrap(), [1]);
    assert_eq!(desk.ask("pragma journal_mode"), "Text(\"delete\")");
}

#[tokio::test]
async fn the_signal_changes_with_every_commit_and_only_then() {
    let desk = Desk::with(HISTORY);
    let store = desk.store(mapping());
    let mut last = store.signal().await.unwrap();
    read(&store, "A", None).await;
    assert_eq!(store.signal().await.unwrap(), last);
    for ours in [true, false, true] {
        if ours {
            append(&store, &[entry("A", "x")]).await.unwrap();
        } else {
            desk.run("update WORK_HISTORY set KIND = 'x'");
        }
        let now = store.signal().await.unwrap();
        assert_ne!(now, last);
        last = now;
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_read_all_the_same() {
    let desk = Desk::with(HISTORY);
    desk.run("insert into WORK_HISTORY (PROBLEM_ID, WORK_ID, WORK_HISTORY) values ('A', 1, 'a'); pragma journal_mode = delete");
    // The test may run as root, who may write everything: the flag says what the file's mode would say.
    let flags =
        (lane::FLAGS - rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE) | rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let store = SqliteStore::open_with(&desk.path(), mapping(), SqliteOptions::default(), flags).unwrap();
    assert_eq!(works(&read(&store, "A", None).await), [1]);
    let refused = append(&store, &[entry("A", "x")]).await;
    assert!(matches!(&refused, Err(StoreError::ReadOnly(said)) if said.contains("desk.db")), "{refused:?}");
    assert_eq!(works(&read(&store, "A", None).await), [1]);
}

#[tokio::test]
async fn a_missing_database_is_an_error_and_is_not_created() {
    let desk = Desk::with(HISTORY);
    let missing = desk.folder.0.join("missing.db");
    let gone = open(&missing, mapping()).err();
    assert!(matches!(&gone, Some(StoreError::Gone(said)) if said.contains("missing.db")), "{gone:?}");
    assert!(!missing.exists());

    let store = desk.store(mapping());
    read(&store, "A", None).await;
    std::fs::rename(desk.path(), &missing).unwrap();
    assert!(matches!(store.begin(Mode::Read).await.err(), Some(StoreError::Gone(_))));
    assert!(matches!(store.signal().await, Err(StoreError::Gone(_))));
    assert!(!desk.path().exists());
}

#[cfg(unix)]
#[tokio::test]
async fn a_database_that_was_replaced_by_a_backup_is_the_one_that_is_used() {
    let desk = Desk::with(HISTORY);
    desk.run("pragma journal_mode = delete");
    let backup = desk.folder.0.join("backup.db");
    std::fs::copy(desk.path(), &backup).unwrap();
    let store = desk.store(mapping());
    append(&store, &[entry("A", "after the backup")]).await.unwrap();
    let before = store.signal().await.unwrap();
    std::fs::rename(&backup, desk.path()).unwrap();
    assert_ne!(store.signal().await.unwrap(), before);
    assert_eq!(works(&read(&store, "A", None).await), [0; 0]);
    assert_eq!(append(&store, &[entry("A", "again")]).await.unwrap(), [1]);
    assert_eq!(works(&read(&open(&desk.path(), mapping()).unwrap(), "A", None).await), [1]);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named() {
    let folder = Folder::new();
    let path = folder.0.join("notes.txt");
    std::fs::write(&path, "these are notes and no database at all".repeat(50)).unwrap();
    let broken = open(&path, mapping()).err();
    assert!(matches!(&broken, Some(StoreError::Mapping(said)) if said.contains("notes.txt")), "{broken:?}");
}

#[tokio::test]
async fn a_table_that_is_dropped_while_the_bridge_runs_is_a_fault_of_the_mapping() {
    let desk = Desk::with(HISTORY);
    let store = desk.store(mapping());
    read(&store, "A", None).await;
    desk.run("alter table WORK_HISTORY rename column WORK_HISTORY to NOTE");
    let mut txn = store.begin(Mode::Read).await.unwrap();
    assert!(matches!(txn.rows(&[p("A")], None).await, Err(StoreError::Mapping(_))));
}

#[tokio::test]
async fn a_full_disk_is_told_and_what_was_appended_is_taken_back() {
    let desk = Desk::with(HISTORY);
    let store = desk.store(mapping());
    let lane = store.pool.take().await.unwrap();
    let limit = |pages: u32| {
        lane.call(move |session| {
            session.connection.execute_batch(&format!("pragma max_page_count = {pages}")).unwrap();
            Ok(())
        })
    };
    limit(20).await.unwrap();
    store.pool.give_back(lane.clone(), ());
    lane.call(|_| Ok(())).await.unwrap();
    let long = entry("A", &"long ".repeat(10_000));
    let full = append(&store, &[entry("A", "short"), long.clone(), long.clone()]).await;
    assert!(matches!(&full, Err(StoreError::Full(said)) if said.contains("desk.db")), "{full:?}");
    assert_eq!(desk.ask("select count(*) from WORK_HISTORY"), "Integer(0)");
    limit(1_000_000).await.unwrap();
    assert_eq!(append(&store, &[long]).await.unwrap(), [1]);
}
