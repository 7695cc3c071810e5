//! Wishes of an operator to a running bridge, by way of the file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use landbridge_core::{Digest, Origin, ProblemId, SiteName};
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior, params};

use super::bounds::Trouble;
use super::file::{BUSY_FOR_A_PERSON, open};
use super::learnt::Violated;

/// Wishes that are kept.
const WISHES_MAX: i64 = 100;

/// What an operator wishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// What this peer refused, or any, is tried now.
    Retry(Option<SiteName>),
    /// The configuration and its files are read again.
    Reload,
}

const RETRY: &str = "retry";
const RELOAD: &str = "reload";

/// Notes a wish. Its number.
pub(super) fn wish(path: &Path, wish: &Wish, problem: Option<&ProblemId>) -> rusqlite::Result<i64> {
    let (what, peer) = match wish {
        Wish::Retry(peer) => (RETRY, peer.as_ref()),
        Wish::Reload => (RELOAD, None),
    };
    let mut connection = open(path, BUSY_FOR_A_PERSON)?;
    let txn = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let values = params![what, peer.map(SiteName::as_str), problem.map(ProblemId::as_str)];
    txn.execute("insert into wish (what, peer, problem) values (?1, ?2, ?3)", values)?;
    let number = txn.last_insert_rowid();
    txn.execute("delete from wish where number <= (select max(number) from wish) - ?1", [WISHES_MAX])?;
    txn.commit()?;
    Ok(number)
}

/// These violations, these entries with more than one text in these rows, and that there was more than is kept have been
/// seen by a person.
pub(super) fn acknowledge<'a>(
    path: &Path,
    seen: impl IntoIterator<Item = &'a Violated>,
    differs: impl IntoIterator<Item = (&'a ProblemId, &'a Origin, &'a [i64])>,
    not_kept: impl IntoIterator<Item = (&'a SiteName, Trouble, u64)>,
) -> rusqlite::Result<()> {
    let mut connection = open(path, BUSY_FOR_A_PERSON)?;
    let txn = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for violated in seen {
        let peer = violated.peer.as_ref().map_or("", SiteName::as_str);
        let count = i64::try_from(violated.count).unwrap_or(i64::MAX);
        let values = params![peer, violated.kind, count];
        txn.execute("update violation set seen = min(count, ?3) where peer = ?1 and kind = ?2", values)?;
    }
    let mut note = txn.prepare("insert or replace into differs_seen (problem, origin, rows) values (?1, ?2, ?3)")?;
    for (problem, origin, rows) in differs {
        let rows: Vec<_> = rows.iter().map(ToString::to_string).collect();
        note.execute(params![problem.as_str(), origin.to_string(), rows.join(" ")])?;
    }
    drop(note);
    for (peer, trouble, count) in not_kept {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let delete = "delete from not_kept where peer = ?1 and what = ?2 and count = ?3";
        txn.execute(delete, params![peer.as_str(), trouble.word(), count])?;
    }
    txn.commit()
}

/// Of these entries with another text at `peer` a person has said that they were edited. `only`: the problems that were
/// compared; all where it is empty, and then nothing older is kept.
pub(super) fn acknowledge_edits<'a>(
    path: &Path,
    peer: &SiteName,
    only: &[ProblemId],
    edits: impl IntoIterator<Item = (&'a ProblemId, &'a Origin, &'a BTreeSet<Digest>)>,
) -> rusqlite::Result<()> {
    let mut connection = open(path, BUSY_FOR_A_PERSON)?;
    let txn = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if only.is_empty() {
        txn.execute("delete from edits_seen where peer = ?1", [peer.as_str()])?;
    }
    for problem in only {
        let former = "delete from edits_seen where peer = ?1 and problem = ?2";
        txn.prepare_cached(former)?.execute([peer.as_str(), problem.as_str()])?;
    }
    for (problem, origin, texts) in edits {
        let texts: Vec<_> = texts.iter().map(Digest::to_string).collect();
        txn.prepare_cached("insert or replace into edits_seen (peer, problem, origin, texts) values (?1, ?2, ?3, ?4)")?
            .execute(params![peer.as_str(), problem.as_str(), origin.to_string(), texts.join(" ")])?;
    }
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

    /// The wishes since the last call with their numbers. Costs next to nothing where nothing was written meanwhile.
    pub fn next(&mut self) -> Vec<(i64, Wish)> {
        // Deleted files and files that are no cache are nobody's wish.
        self.look().unwrap_or_else(|_| {
            (self.open, self.version) = (None, -1);
            vec![]
        })
    }

    fn look(&mut self) -> rusqlite::Result<Vec<(i64, Wish)>> {
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
        let mut statement =
            connection.prepare("select number, what, peer from wish where number > ?1 order by number")?;
        let new: Vec<(i64, String, Option<String>)> = statement
            .query_map([self.seen], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?
            .collect::<rusqlite::Result<_>>()?;
        self.seen = last.unwrap_or(0);
        let wish = |(number, what, peer): (i64, String, Option<String>)| match what.as_str() {
            RETRY => Some((number, Wish::Retry(peer.and_then(|peer| peer.parse().ok())))),
            RELOAD => Some((number, Wish::Reload)),
            _ => None,
        };
        Ok(new.into_iter().filter_map(wish).collect())
    }
}
