//! The file of the cache: its tables, how notes are written into them and how they are read. Every table is bounded.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use landbridge_core::{Origin, ProblemId, SiteName};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, Transaction, params};
use serde::Serialize;

use super::Note;

/// The form of the file. Another form is no cache of ours and is begun anew.
const VERSION: i64 = 1;
/// Rows of one table; the oldest go.
const ROWS_MAX: i64 = 10_000;
/// Entries refused here that are kept.
const REFUSED_HERE_MAX: i64 = 1000;
/// Wishes that are kept.
const WISHES_MAX: i64 = 100;
/// How long notes are gathered before they are written together.
const GATHER: Duration = Duration::from_millis(100);
/// How many at most.
const BATCH_MAX: usize = 10_000;
/// How long another process is waited for.
const BUSY: Duration = Duration::from_secs(2);

const TABLES: &str = "
create table if not exists refused_there (
  peer text not null, problem text not null, origin text not null, row integer not null,
  reason text not null, tries integer not null, primary key (peer, problem, origin));
create table if not exists refused_here (
  peer text not null, problem text not null, origin text not null,
  reason text not null, detail text not null, primary key (peer, problem, origin));
create table if not exists diverged (
  peer text not null, problem text not null, missing text not null, primary key (peer, problem));
create table if not exists withheld (
  problem text not null, row integer not null, why text not null, primary key (problem, row));
create table if not exists contact (
  peer text primary key, answered integer, failed text,
  since integer not null, sent integer not null default 0, received integer not null default 0);
create table if not exists wish (number integer primary key autoincrement, peer text, problem text);
";

/// What is in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Learnt {
    /// What peers refused when it was last sent. Some of it may have been taken since, or not be owed any more.
    pub refused_there: Vec<RefusedThere>,
    /// What was refused here lately. Some of it may have been taken since.
    pub refused_here: Vec<RefusedHere>,
    /// What each peer no longer holds, by problem, as ranges of each origin.
    pub diverged: Vec<(SiteName, ProblemId, String)>,
    /// Rows that could not be sent in the last pass.
    pub withheld: Vec<Withheld>,
    /// The contact with each peer.
    pub contact: BTreeMap<SiteName, Contact>,
}

/// An entry that a peer refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusedThere {
    /// The peer.
    #[serde(skip)]
    pub peer: SiteName,
    /// The problem here.
    pub problem: ProblemId,
    /// The row here.
    pub row: i64,
    /// The entry.
    pub origin: Origin,
    /// Why.
    pub reason: String,
    /// How often it was refused.
    pub tries: u64,
}

/// An entry that was refused here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusedHere {
    /// Who sent it.
    pub peer: SiteName,
    /// The problem here.
    pub problem: ProblemId,
    /// The entry.
    pub origin: Origin,
    /// What the peer was told.
    pub reason: String,
    /// What the database said.
    pub detail: String,
}

/// A row that cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Withheld {
    /// The problem.
    pub problem: ProblemId,
    /// The row.
    pub row: i64,
    /// Why.
    pub why: String,
}

/// The contact with a peer. Times are seconds since 1970, to be shown and for nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contact {
    /// When it last answered or asked.
    pub answered: Option<u64>,
    /// What was wrong when it last did not answer, unless it has answered since.
    pub failed: Option<String>,
    /// When the counting began.
    pub since: u64,
    /// Entries that it took since then.
    pub sent: u64,
    /// Entries that it delivered since then.
    pub received: u64,
}

/// Seconds since 1970.
fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| stored(since.as_secs()))
}

/// As SQLite keeps numbers.
fn stored(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
}

/// Opens the file to write, makes it where it is missing, and begins anew where it is damaged or of another form.
fn open(path: &Path) -> rusqlite::Result<Connection> {
    open_once(path).or_else(|e| match e.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
            tracing::warn!("the cache {} is damaged and begun anew", path.display());
            for end in ["", "-wal", "-shm"] {
                let mut file = path.as_os_str().to_owned();
                file.push(end);
                let _ = std::fs::remove_file(file);
            }
            open_once(path)
        }
        _ => Err(e),
    })
}

fn open_once(path: &Path) -> rusqlite::Result<Connection> {
    private(path);
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.execute_batch("pragma journal_mode = wal; pragma synchronous = normal")?;
    let version: i64 = connection.query_row("pragma user_version", [], |r| r.get(0))?;
    let txn = connection.transaction()?;
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

/// Writes what comes until nobody is left to send notes.
pub(super) fn write(path: &Path, notes: &Receiver<Note>) {
    let mut writer = match Writer::open(path) {
        Ok(writer) => Some(writer),
        Err(e) => {
            tracing::warn!("the cache {} cannot be written ({e}); `status` shows less", path.display());
            None
        }
    };
    while let Ok(first) = notes.recv() {
        let mut batch = vec![first];
        let until = Instant::now() + GATHER;
        let mut ended = false;
        while batch.len() < BATCH_MAX {
            match notes.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(note) => batch.push(note),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => {
                    ended = true;
                    break;
                }
            }
        }
        if let Some(Err(e)) = writer.as_mut().map(|w| w.write(&batch)) {
            tracing::warn!("the cache {} cannot be written ({e}); `status` shows less", path.display());
            writer = None;
        }
        if ended {
            break;
        }
    }
}

struct Writer {
    connection: Connection,
    /// The problems with something under `diverged`, so that the many receipts that say nothing cost nothing.
    diverged: HashSet<(String, String)>,
    version: i64,
}

impl Writer {
    fn open(path: &Path) -> rusqlite::Result<Self> {
        Ok(Self { connection: open(path)?, diverged: HashSet::new(), version: -1 })
    }

    fn write(&mut self, notes: &[Note]) -> rusqlite::Result<()> {
        let version = self.connection.query_row("pragma data_version", [], |r| r.get(0))?;
        if version != self.version {
            self.version = version;
            let mut all = self.connection.prepare("select peer, problem from diverged")?;
            self.diverged = all.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
        }
        let (now, txn) = (now(), self.connection.transaction()?);
        for note in notes {
            keep(&txn, note, now, &mut self.diverged)?;
        }
        let (rows, here) = (ROWS_MAX, REFUSED_HERE_MAX);
        for (table, max) in [("refused_there", rows), ("diverged", rows), ("withheld", rows), ("refused_here", here)] {
            txn.execute(
                &format!(
                    "delete from {table} where rowid <= (select rowid from {table} order by rowid desc limit 1 offset ?1)"
                ),
                [max],
            )?;
        }
        txn.commit()
    }
}

fn keep(
    txn: &Transaction<'_>,
    note: &Note,
    now: i64,
    diverged: &mut HashSet<(String, String)>,
) -> rusqlite::Result<()> {
    match note {
        Note::Begun { count } => {
            txn.execute("delete from withheld", [])?;
            if *count {
                txn.execute("update contact set since = ?1, sent = 0, received = 0", [now])?;
            }
        }
        Note::Sent { peer, entries } => {
            contact(txn, peer, now, "sent = sent + ?2", stored(*entries))?;
        }
        Note::Received { peer, entries } => {
            contact(txn, peer, now, "received = received + ?2", stored(*entries))?;
        }
        Note::Answered { peer } => {
            contact(txn, peer, now, "answered = ?2, failed = null", now)?;
        }
        Note::Failed { peer, error } => {
            contact(txn, peer, now, "failed = ?2", error)?;
        }
        Note::RefusedThere { peer, problem, refused } => {
            let mut upsert = txn.prepare_cached(
                "insert into refused_there (peer, problem, origin, row, reason, tries) values (?1, ?2, ?3, ?4, ?5, 1)
                 on conflict do update set row = excluded.row, reason = excluded.reason, tries = tries + 1",
            )?;
            for (row, origin, refusal) in refused {
                let reason = refusal.to_string();
                upsert.execute(params![peer.as_str(), problem.as_str(), origin.to_string(), row.get(), reason])?;
            }
        }
        Note::RefusedHere { peer, problem, origin, refusal, detail } => {
            let values = params![peer.as_str(), problem.as_str(), origin.to_string(), refusal.to_string(), detail];
            txn.prepare_cached("insert or replace into refused_here values (?1, ?2, ?3, ?4, ?5)")?.execute(values)?;
        }
        Note::Diverged { peer, problem, missing } => {
            let key = (peer.as_str().to_owned(), problem.as_str().to_owned());
            if missing.is_empty() {
                if diverged.remove(&key) {
                    txn.execute("delete from diverged where peer = ?1 and problem = ?2", params![key.0, key.1])?;
                }
            } else {
                txn.execute("insert or replace into diverged values (?1, ?2, ?3)", params![key.0, key.1, missing])?;
                diverged.insert(key);
            }
        }
        Note::Withheld { problem, row, why } => {
            let values = params![problem.as_str(), row.get(), why];
            txn.execute("insert or replace into withheld values (?1, ?2, ?3)", values)?;
        }
    }
    Ok(())
}

fn contact(
    txn: &Transaction<'_>,
    peer: &SiteName,
    now: i64,
    set: &str,
    value: impl rusqlite::ToSql,
) -> rusqlite::Result<()> {
    txn.prepare_cached("insert into contact (peer, since) values (?1, ?2) on conflict do nothing")?
        .execute(params![peer.as_str(), now])?;
    txn.prepare_cached(&format!("update contact set {set} where peer = ?1"))?.execute(params![peer.as_str(), value])?;
    Ok(())
}

/// What is in the file at `path`; nothing where there is none.
pub(super) fn read(path: &Path) -> rusqlite::Result<Learnt> {
    if !path.exists() {
        return Ok(Learnt::default());
    }
    let mut connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(BUSY)?;
    let txn = connection.transaction()?;
    let version: i64 = txn.query_row("pragma user_version", [], |r| r.get(0))?;
    if version != VERSION {
        return Ok(Learnt::default());
    }
    let mut learnt = Learnt {
        refused_there: all(&txn, "select peer, problem, origin, row, reason, tries from refused_there", |r| {
            Ok(RefusedThere {
                peer: parsed(r, 0)?,
                problem: parsed(r, 1)?,
                origin: parsed(r, 2)?,
                row: r.get(3)?,
                reason: r.get(4)?,
                tries: count(r, 5)?,
            })
        })?,
        refused_here: all(
            &txn,
            "select peer, problem, origin, reason, detail from refused_here order by rowid",
            |r| {
                Ok(RefusedHere {
                    peer: parsed(r, 0)?,
                    problem: parsed(r, 1)?,
                    origin: parsed(r, 2)?,
                    reason: r.get(3)?,
                    detail: r.get(4)?,
                })
            },
        )?,
        diverged: all(&txn, "select peer, problem, missing from diverged", |r| {
            Ok((parsed(r, 0)?, parsed(r, 1)?, r.get(2)?))
        })?,
        withheld: all(&txn, "select problem, row, why from withheld", |r| {
            Ok(Withheld { problem: parsed(r, 0)?, row: r.get(1)?, why: r.get(2)? })
        })?,
        contact: BTreeMap::new(),
    };
    let contact = all(&txn, "select peer, answered, failed, since, sent, received from contact", |r| {
        let answered: Option<i64> = r.get(1)?;
        let contact = Contact {
            answered: answered.and_then(|at| u64::try_from(at).ok()),
            failed: r.get(2)?,
            since: count(r, 3)?,
            sent: count(r, 4)?,
            received: count(r, 5)?,
        };
        Ok((parsed(r, 0)?, contact))
    })?;
    learnt.contact = contact.into_iter().collect();
    Ok(learnt)
}

fn all<T>(
    connection: &Connection,
    sql: &str,
    row: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare(sql)?.query_map([], row)?.collect()
}

fn parsed<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let text: String = row.get(column)?;
    text.parse()
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(e)))
}

/// Notes a wish.
pub(super) fn wish(path: &Path, peer: Option<&SiteName>, problem: Option<&ProblemId>) -> rusqlite::Result<()> {
    let mut connection = open(path)?;
    let txn = connection.transaction()?;
    let values = params![peer.map(SiteName::as_str), problem.map(ProblemId::as_str)];
    txn.execute("insert into wish (peer, problem) values (?1, ?2)", values)?;
    txn.execute("delete from wish where number <= (select max(number) from wish) - ?1", [WISHES_MAX])?;
    txn.commit()
}

/// Notices wishes as they come.
pub struct Wishes {
    path: PathBuf,
    open: Option<Connection>,
    version: i64,
    seen: i64,
}

impl Wishes {
    pub(super) fn from_now(path: &Path) -> Self {
        let mut wishes = Self { path: path.to_owned(), open: None, version: -1, seen: 0 };
        wishes.next();
        wishes
    }

    /// The peers of the wishes since the last call, nothing meaning all. Costs next to nothing where nothing was
    /// written meanwhile.
    pub fn next(&mut self) -> Vec<Option<SiteName>> {
        // Deleted files and files that are no cache are nobody's wish.
        self.look().unwrap_or_else(|_| {
            (self.open, self.version) = (None, -1);
            vec![]
        })
    }

    fn look(&mut self) -> rusqlite::Result<Vec<Option<SiteName>>> {
        let connection = match &self.open {
            Some(connection) if self.path.exists() => connection,
            _ => {
                self.version = -1;
                let opened = Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
                self.open.insert(opened)
            }
        };
        let version = connection.query_row("pragma data_version", [], |r| r.get(0))?;
        if version == self.version {
            return Ok(vec![]);
        }
        self.version = version;
        let last: Option<i64> =
            connection.query_row("select max(number) from wish", [], |r| r.get(0)).optional()?.flatten();
        let mut statement = connection.prepare("select peer from wish where number > ?1 order by number")?;
        let new: Vec<Option<String>> =
            statement.query_map([self.seen], |r| r.get(0))?.collect::<rusqlite::Result<_>>()?;
        self.seen = last.unwrap_or(0);
        Ok(new.into_iter().map(|peer| peer.and_then(|p| p.parse().ok())).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use landbridge_core::WorkId;
    use landbridge_core::message::{Code, Refusal};

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("landbridge-cache-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self) -> PathBuf {
            self.0.join("a.toml.cache")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn write_all(path: &Path, notes: Vec<Note>) {
        let (sender, receiver) = sync_channel(100);
        notes.into_iter().for_each(|n| sender.send(n).unwrap());
        drop(sender);
        write(path, &receiver);
    }

    fn refused(tries: usize) -> Vec<Note> {
        let one = || Note::RefusedThere {
            peer: "N".parse().unwrap(),
            problem: "ABC".parse().unwrap(),
            refused: vec![(WorkId::MIN, "1/1".parse().unwrap(), Refusal::of(Code::Constraint))],
        };
        (0..tries).map(|_| one()).collect()
    }

    #[test]
    fn what_is_noted_is_read_back() {
        let folder = Folder::new("read");
        let (peer, problem): (SiteName, ProblemId) = ("N".parse().unwrap(), "ABC".parse().unwrap());
        let mut notes = refused(3);
        notes.push(Note::Sent { peer: peer.clone(), entries: 5 });
        notes.push(Note::Sent { peer: peer.clone(), entries: 2 });
        notes.push(Note::Failed { peer: peer.clone(), error: "cannot be reached".into() });
        notes.push(Note::Diverged { peer: peer.clone(), problem: problem.clone(), missing: "1/2-3".into() });
        write_all(&folder.file(), notes);
        let learnt = read(&folder.file()).unwrap();
        assert_eq!((learnt.refused_there[0].tries, learnt.refused_there[0].reason.as_str()), (3, "constraint"));
        let contact = &learnt.contact[&peer];
        assert_eq!((contact.sent, contact.failed.as_deref()), (7, Some("cannot be reached")));
        assert_eq!(learnt.diverged.len(), 1);

        let answered = Note::Answered { peer: peer.clone() };
        let healed = Note::Diverged { peer: peer.clone(), problem, missing: String::new() };
        write_all(&folder.file(), vec![answered, healed, Note::Begun { count: true }]);
        let learnt = read(&folder.file()).unwrap();
        assert_eq!((learnt.contact[&peer].sent, &learnt.contact[&peer].failed), (0, &None));
        assert!(learnt.contact[&peer].answered.is_some() && learnt.diverged.is_empty());
    }

    #[test]
    fn a_missing_or_damaged_file_is_no_failure() {
        let folder = Folder::new("damaged");
        assert_eq!(read(&folder.file()).unwrap(), Learnt::default());
        std::fs::write(folder.file(), "this is no database, and long enough to be seen as none".repeat(100)).unwrap();
        assert!(read(&folder.file()).is_err());
        write_all(&folder.file(), refused(1));
        assert_eq!(read(&folder.file()).unwrap().refused_there.len(), 1);
    }

    #[test]
    fn a_wish_is_noticed_once() {
        let folder = Folder::new("wish");
        let mut wishes = Wishes::from_now(&folder.file());
        wish(&folder.file(), None, None).unwrap();
        assert_eq!(wishes.next(), [None]);
        assert_eq!(wishes.next(), []);
        let peer: SiteName = "N".parse().unwrap();
        wish(&folder.file(), Some(&peer), None).unwrap();
        assert_eq!(wishes.next(), [Some(peer)]);
        assert_eq!(Wishes::from_now(&folder.file()).next(), []);
    }

    #[test]
    fn the_file_does_not_grow_without_end() {
        let folder = Folder::new("bounded");
        let note = |n: i64| Note::RefusedHere {
            peer: "N".parse().unwrap(),
            problem: "ABC".parse().unwrap(),
            origin: format!("N/{n}").parse().unwrap(),
            refusal: Refusal::of(Code::Trigger),
            detail: "no".into(),
        };
        let mut writer = Writer::open(&folder.file()).unwrap();
        writer.write(&(1..=REFUSED_HERE_MAX + 5).map(note).collect::<Vec<_>>()).unwrap();
        let kept = read(&folder.file()).unwrap().refused_here;
        assert_eq!((kept.len() as i64, kept[0].origin.to_string().as_str()), (REFUSED_HERE_MAX, "N/6"));
    }
}
