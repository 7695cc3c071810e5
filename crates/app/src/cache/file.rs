//! The file of the cache: where it is made, its form and its tables.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior};

/// The form of the file. Another form is no cache of ours and is begun anew.
pub(super) const VERSION: i64 = 7;
/// How long another process is waited for.
pub(super) const BUSY: Duration = Duration::from_secs(2);
/// How long until it is tried again.
const AGAIN: Duration = Duration::from_millis(20);
/// How long it is waited for where otherwise an operator's word would be lost.
pub(super) const BUSY_FOR_A_PERSON: Duration = Duration::from_secs(30);

const TABLES: &str = "
create table if not exists refused_there (
  peer text not null, problem text not null, origin text not null, row integer not null,
  reason text not null, tries integer not null, primary key (peer, problem, origin));
create table if not exists refused_here (
  peer text not null, problem text not null, origin text not null,
  reason text not null, detail text not null, primary key (peer, problem, origin));
create table if not exists diverged (
  peer text not null, problem text not null, here integer not null, missing text not null, texts text not null,
  alike text not null,
  primary key (peer, problem, here));
create index if not exists refused_there_of_peer on refused_there (peer);
create index if not exists refused_here_of_peer on refused_here (peer);
create index if not exists diverged_of_peer on diverged (peer);
create table if not exists not_kept (
  peer text not null, what text not null, count integer not null, primary key (peer, what));
create table if not exists withheld (
  problem text not null, row integer not null, why text not null, primary key (problem, row));
create table if not exists contact (
  peer text primary key, answered integer, failed text,
  since integer not null, sent integer not null default 0, received integer not null default 0);
create table if not exists violation (
  peer text not null, kind text not null, count integer not null, seen integer not null default 0,
  first integer not null, last integer not null, detail text not null, primary key (peer, kind));
create table if not exists differs_seen (
  problem text not null, origin text not null, rows text not null, primary key (problem, origin));
create table if not exists edits_seen (
  peer text not null, problem text not null, origin text not null, texts text not null,
  primary key (peer, problem, origin));
create table if not exists unrecorded (why text not null);
create table if not exists record_head (one integer primary key, seq integer not null, hash text not null);
create table if not exists certificate (
  peer text primary key, seen integer not null, begins integer not null, ends integer not null, fingerprint text not null);
create table if not exists reload (one integer primary key, wish integer, at integer not null, faults text not null);
create table if not exists wish (number integer primary key autoincrement, what text not null, peer text, problem text);
";

/// Opens the file to write, makes it where it is missing, and begins anew where it is damaged or of another form. Another
/// process that writes is waited for as long as `busy`, now and later.
pub(super) fn open(path: &Path, busy: Duration) -> rusqlite::Result<Connection> {
    open_patiently(path, busy).or_else(|e| match e.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
            tracing::warn!("the cache {} is damaged and begun anew", path.display());
            for end in ["", "-wal", "-shm"] {
                let mut file = path.as_os_str().to_owned();
                file.push(end);
                let _ = std::fs::remove_file(file);
            }
            open_patiently(path, busy)
        }
        _ => Err(e),
    })
}

/// Where two processes turn the same new file to write-ahead logging, SQLite turns one away without waiting.
fn open_patiently(path: &Path, busy: Duration) -> rusqlite::Result<Connection> {
    let until = Instant::now() + busy;
    loop {
        match open_once(path, busy) {
            Err(e) if e.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) && Instant::now() < until => {
                std::thread::sleep(AGAIN);
            }
            opened => return opened,
        }
    }
}

fn open_once(path: &Path, busy: Duration) -> rusqlite::Result<Connection> {
    private(path);
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(busy)?;
    connection.execute_batch("pragma journal_mode = wal; pragma synchronous = normal")?;
    // At once for writing: one that reads first is turned away without waiting where another process makes the tables too.
    let txn = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = txn.query_row("pragma user_version", [], |r| r.get(0))?;
    if version != VERSION {
        let tables: Vec<String> = txn
            .prepare("select name from sqlite_schema where type = 'table' and name not like 'sqlite\\_%' escape '\\'")?
            .query_map([], |r| r.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for table in tables {
            txn.execute_batch(&format!("drop table \"{}\"", table.replace('"', "\"\"")))?;
        }
    }
    txn.execute_batch(TABLES)?;
    if version != VERSION {
        txn.pragma_update(None, "user_version", VERSION)?;
    }
    txn.commit()?;
    Ok(connection)
}

/// Makes the file for this user alone: what the database said of a refused entry may quote values. SQLite makes the files
/// beside it alike. Where it cannot be made, opening it says why.
fn private(path: &Path) {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let _ = options.open(path);
}
