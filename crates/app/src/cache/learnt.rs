//! What is in the cache, as it is read for `status`.

use std::collections::BTreeMap;
use std::path::Path;

use landbridge_core::{Origin, ProblemId, SiteName};
use rusqlite::{Connection, OpenFlags, Row};
use serde::Serialize;

use super::file::{BUSY, VERSION};

/// What is in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Learnt {
    /// What peers refused when it was last sent. Some of it may have been taken since, or not be owed any more.
    pub refused_there: Vec<RefusedThere>,
    /// What was refused here lately. Some of it may have been taken since.
    pub refused_here: Vec<RefusedHere>,
    /// What each peer no longer holds, by problem, as ranges of each origin.
    pub diverged: Vec<(SiteName, ProblemId, String)>,
    /// What is no longer here and each peer still has, in the same way.
    pub lost_here: Vec<(SiteName, ProblemId, String)>,
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
        diverged: all(&txn, "select peer, problem, missing from diverged where not here", |r| {
            Ok((parsed(r, 0)?, parsed(r, 1)?, r.get(2)?))
        })?,
        lost_here: all(&txn, "select peer, problem, missing from diverged where here", |r| {
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

fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
}
