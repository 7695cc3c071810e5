//! Wishes of an operator to a running bridge, by way of the file.

use std::path::{Path, PathBuf};

use landbridge_core::{ProblemId, SiteName};
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::file::open;
use super::learnt::Violated;

/// Wishes that are kept.
const WISHES_MAX: i64 = 100;

/// Notes a wish.
pub(super) fn wish(path: &Path, peer: Option<&SiteName>, problem: Option<&ProblemId>) -> rusqlite::Result<()> {
    let mut connection = open(path)?;
    let txn = connection.transaction()?;
    let values = params![peer.map(SiteName::as_str), problem.map(ProblemId::as_str)];
    txn.execute("insert into wish (peer, problem) values (?1, ?2)", values)?;
    txn.execute("delete from wish where number <= (select max(number) from wish) - ?1", [WISHES_MAX])?;
    txn.commit()
}

/// These violations have been seen by a person.
pub(super) fn acknowledge<'a>(path: &Path, seen: impl IntoIterator<Item = &'a Violated>) -> rusqlite::Result<()> {
    let mut connection = open(path)?;
    let txn = connection.transaction()?;
    for violated in seen {
        let peer = violated.peer.as_ref().map_or("", SiteName::as_str);
        let count = i64::try_from(violated.count).unwrap_or(i64::MAX);
        let values = params![peer, violated.kind, count];
        txn.execute("update violation set seen = min(count, ?3) where peer = ?1 and kind = ?2", values)?;
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
