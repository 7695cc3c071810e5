//! What is in the cache, as it is read for `status`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use landbridge_core::message::{Missing, Text};
use landbridge_core::{Digest, Origin, OriginSet, ProblemId, SiteName};
use landbridge_flow::Violation;
use rusqlite::{Connection, OpenFlags, Row};
use serde::Serialize;

use super::LOST_TEXTS_MAX;
use super::bounds::Trouble;
use super::file::{BUSY, VERSION};
use crate::audit::chain::Head;

/// Of each peer, problem and entry, the texts that the two sites had when an operator said that it was edited.
pub type EditsSeen = BTreeMap<(SiteName, ProblemId, Origin), BTreeSet<Digest>>;

/// What is in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Learnt {
    /// What peers refused when it was last sent. Some of it may have been taken since, or not be owed any more.
    pub refused_there: Vec<RefusedThere>,
    /// What was refused here lately. Some of it may have been taken since.
    pub refused_here: Vec<RefusedHere>,
    /// What each peer no longer holds.
    pub diverged: Vec<Lost>,
    /// What is no longer here and each peer still has.
    pub lost_here: Vec<Lost>,
    /// Of which troubles with a peer there were more than are kept, and how many were not, each time counted.
    pub not_kept: BTreeMap<(SiteName, Trouble), u64>,
    /// Rows that could not be sent in the last pass.
    pub withheld: Vec<Withheld>,
    /// Entries with more than one text that an operator has seen, and the rows that they had then.
    pub differs_seen: BTreeMap<(ProblemId, Origin), Vec<i64>>,
    /// Entries of which an operator has said that they were edited at one site, by the peer that has another text: the texts
    /// that the two had then.
    pub edits_seen: EditsSeen,
    /// Why what was to leave could last not be recorded, unless it could since.
    pub unrecorded: Option<String>,
    /// What was done against the protocol or the limits.
    pub violated: Vec<Violated>,
    /// The contact with each peer.
    pub contact: BTreeMap<SiteName, Contact>,
    /// The certificate that each peer last showed.
    pub certificates: BTreeMap<SiteName, SeenCertificate>,
    /// What came of reading the configuration again, where a running bridge has done so.
    pub reload: Option<Reload>,
}

/// The certificate of a peer, as it showed it. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenCertificate {
    /// When it begins.
    pub begins: u64,
    /// When it ends.
    pub ends: u64,
    /// SHA-256 of it.
    pub fingerprint: String,
}

/// What came of reading the configuration again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reload {
    /// The wish that it was for.
    #[serde(skip)]
    pub wish: Option<i64>,
    /// When, in seconds since 1970.
    pub at: u64,
    /// Everything that was wrong; nothing where the new configuration is at work.
    pub faults: Vec<String>,
}

/// What a peer, or somebody who is none, did against the protocol or the limits of this site, all times together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violated {
    /// Who; nothing where it was no peer.
    #[serde(skip)]
    pub peer: Option<SiteName>,
    /// What, in a word.
    pub kind: &'static str,
    /// What.
    pub what: String,
    /// How often.
    pub count: u64,
    /// How often since the operator last said that it was seen.
    pub unseen: u64,
    /// When first, in seconds since 1970.
    pub first: u64,
    /// When last.
    pub last: u64,
    /// The last one, in a sentence.
    pub detail: String,
}

/// What one side lost of a problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The peer that lost it, or still has it.
    pub peer: SiteName,
    /// The problem here.
    pub problem: ProblemId,
    /// The entries, or the first [`LOST_RANGES_MAX`](super::LOST_RANGES_MAX) ranges of them.
    pub entries: OriginSet,
    /// Of these, what goes by its text: another of the same origin is here.
    pub texts: Vec<Text>,
    /// Of these, what stands here with this very text in a row that no marker names.
    pub alike: Vec<Text>,
}

impl Lost {
    /// As a comparison says it.
    pub fn missing(self) -> Missing {
        let (mut origins, mut texts, alike) = (self.entries, self.texts, self.alike);
        let mut by_text = OriginSet::new();
        texts.iter().for_each(|text| by_text.insert(&text.origin));
        origins.subtract(&by_text);
        if alike.len() >= LOST_TEXTS_MAX {
            // Of the rest it is not known whether it stands here: first these.
            origins = OriginSet::new();
            alike.iter().for_each(|text| origins.insert(&text.origin));
            texts.clear();
        }
        Missing { origins, texts, alike, ..Missing::default() }
    }
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
        diverged: all(&txn, "select peer, problem, missing, texts, alike from diverged where not here", lost)?,
        lost_here: all(&txn, "select peer, problem, missing, texts, alike from diverged where here", lost)?,
        not_kept: all(&txn, "select peer, what, count from not_kept", |r| {
            let (peer, what, count): (_, String, _) = (parsed(r, 0)?, r.get(1)?, count(r, 2)?);
            let trouble = Trouble::ALL.into_iter().find(|trouble| trouble.word() == what);
            Ok(trouble.map(|trouble| ((peer, trouble), count)))
        })?
        .into_iter()
        .flatten()
        .collect(),
        withheld: all(&txn, "select problem, row, why from withheld", |r| {
            Ok(Withheld { problem: parsed(r, 0)?, row: r.get(1)?, why: r.get(2)? })
        })?,
        differs_seen: all(&txn, "select problem, origin, rows from differs_seen", |r| {
            let rows: String = r.get(2)?;
            Ok(((parsed(r, 0)?, parsed(r, 1)?), rows.split(' ').filter_map(|row| row.parse().ok()).collect()))
        })?
        .into_iter()
        .collect(),
        edits_seen: all(&txn, "select peer, problem, origin, texts from edits_seen", |r| {
            let texts: String = r.get(3)?;
            let texts = texts.split(' ').filter_map(|text| text.parse().ok()).collect();
            Ok(((parsed(r, 0)?, parsed(r, 1)?, parsed(r, 2)?), texts))
        })?
        .into_iter()
        .collect(),
        unrecorded: all(&txn, "select why from unrecorded", |r| r.get(0))?.pop(),
        violated: all(&txn, "select peer, kind, count, seen, first, last, detail from violation", |r| {
            let (peer, violation): (String, Violation) = (r.get(0)?, parsed(r, 1)?);
            let counted = count(r, 2)?;
            Ok(Violated {
                peer: if peer.is_empty() { None } else { Some(parsed(r, 0)?) },
                kind: violation.word(),
                what: violation.to_string(),
                count: counted,
                unseen: counted.saturating_sub(count(r, 3)?),
                first: count(r, 4)?,
                last: count(r, 5)?,
                detail: r.get(6)?,
            })
        })?,
        contact: BTreeMap::new(),
        certificates: BTreeMap::new(),
        reload: None,
    };
    let certificates = all(&txn, "select peer, begins, ends, fingerprint from certificate", |r| {
        Ok((parsed(r, 0)?, SeenCertificate { begins: count(r, 1)?, ends: count(r, 2)?, fingerprint: r.get(3)? }))
    })?;
    learnt.certificates = certificates.into_iter().collect();
    let reloads = all(&txn, "select wish, at, faults from reload", |r| {
        let faults: String = r.get(2)?;
        Ok(Reload { wish: r.get(0)?, at: count(r, 1)?, faults: faults.lines().map(str::to_owned).collect() })
    })?;
    learnt.reload = reloads.into_iter().next();
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

/// Where the record of what leaves ended last; nothing where that is not known.
pub(super) fn record_head(path: &Path) -> rusqlite::Result<Option<Head>> {
    if !path.exists() {
        return Ok(None);
    }
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(BUSY)?;
    // A file of a former version may have no such table.
    if !connection.table_exists(None, "record_head")? {
        return Ok(None);
    }
    let head = |r: &Row<'_>| Ok(Head { seq: count(r, 0)?, hash: parsed(r, 1)? });
    Ok(all(&connection, "select seq, hash from record_head", head)?.pop())
}

fn all<T>(
    connection: &Connection,
    sql: &str,
    row: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare(sql)?.query_map([], row)?.collect()
}

fn lost(row: &Row<'_>) -> rusqlite::Result<Lost> {
    let texts = |column| {
        serde_json::from_str(&row.get::<_, String>(column)?)
            .map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(e)))
    };
    let (peer, problem, entries) = (parsed(row, 0)?, parsed(row, 1)?, parsed(row, 2)?);
    Ok(Lost { peer, problem, entries, texts: texts(3)?, alike: texts(4)? })
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
