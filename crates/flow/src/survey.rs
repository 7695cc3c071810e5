//! What a person wants to see of the history: what each peer is owed, what is suspended, what differs, and why one entry
//! is where it is. Reads only, a page of problems at a time, by the same decisions as sending.

use std::collections::BTreeMap;

use landbridge_core::entry::Row;
use landbridge_core::pending::{Kept, keeps};
use landbridge_core::{Ledger, Origin, ProblemId, SiteName, WorkId};

use crate::bridge::Bridge;
use crate::error::StoreError;
use crate::ports::{Body, Mode};

/// How many problems one page has.
pub const PAGE_PROBLEMS: usize = 500;

/// The state of some problems.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// Problems with rows.
    pub problems: u64,
    /// Entries that are no copies.
    pub own: u64,
    /// Entries that are copies.
    pub copies: u64,
    /// Markers.
    pub markers: u64,
    /// What each peer is owed.
    pub owed: BTreeMap<SiteName, Owed>,
    /// Problems with markers that do not verify, and the rows of these.
    pub suspended: Vec<(ProblemId, Vec<WorkId>)>,
    /// Entries that are here more than once, with different texts.
    pub differs: Vec<(ProblemId, Origin, Vec<WorkId>)>,
}

/// What one peer is owed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Owed {
    /// How many entries.
    pub entries: u64,
    /// In how many problems.
    pub problems: u64,
    /// Entries that the peer holds.
    pub held: u64,
}

impl Survey {
    /// Adds the state of further problems.
    pub fn add(&mut self, more: Survey) {
        self.problems += more.problems;
        self.own += more.own;
        self.copies += more.copies;
        self.markers += more.markers;
        for (peer, owed) in more.owed {
            let sum = self.owed.entry(peer).or_default();
            sum.entries += owed.entries;
            sum.problems += owed.problems;
            sum.held += owed.held;
        }
        self.suspended.extend(more.suspended);
        self.differs.extend(more.differs);
    }
}

/// The next page of problems behind `after`. Empty at the end.
pub async fn page(bridge: &Bridge, after: Option<&ProblemId>) -> Result<Vec<ProblemId>, StoreError> {
    Ok(bridge.store.sweep(after, PAGE_PROBLEMS).await?.into_iter().map(|swept| swept.problem).collect())
}

/// The state of `problems`, for all peers or for one.
pub async fn survey(bridge: &Bridge, problems: &[ProblemId], only: Option<&SiteName>) -> Result<Survey, StoreError> {
    let mut survey = Survey::default();
    let mut txn = bridge.store.begin(Mode::Read).await?;
    for (problem, read) in problems.iter().zip(txn.rows(problems, None).await?) {
        let ledger = bridge.ledger(problem, &read.rows);
        survey.problems += u64::from(!read.rows.is_empty());
        for row in &read.rows {
            let count = if ledger.is_marker(row.work) {
                &mut survey.markers
            } else if ledger.is_own(row.work) {
                &mut survey.own
            } else {
                &mut survey.copies
            };
            *count += 1;
        }
        if !ledger.unverified().is_empty() {
            survey.suspended.push((problem.clone(), ledger.unverified().iter().map(|(row, _)| *row).collect()));
        }
        survey.differs.extend(ledger.doubles(&read.rows).map(|(origin, rows)| (problem.clone(), origin, rows)));
    }
    for (peer, policy) in bridge.peers.iter().filter(|(peer, _)| only.is_none_or(|o| o == *peer)) {
        let owed = survey.owed.entry(peer.clone()).or_default();
        for (problem, read) in problems.iter().zip(txn.rows(problems, Some(peer)).await?) {
            let ledger = bridge.ledger(problem, &read.rows);
            let pending = (bridge.decisions.pending)(&ledger, &read.rows, peer, policy.relay).len() as u64;
            owed.entries += pending;
            owed.problems += u64::from(pending > 0);
            let held = |row: &&Row| !ledger.is_marker(row.work) && ledger.holds(peer, row.work);
            owed.held += read.rows.iter().filter(held).count() as u64;
        }
    }
    Ok(survey)
}

/// One row of a problem as a person reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The row's number.
    pub work: WorkId,
    /// What it is.
    pub kind: LineKind,
    /// The text; nothing where no condition lets the row out, so that it is not read.
    pub text: Option<String>,
    /// The shared columns, where the text is read.
    pub fields: landbridge_core::Fields,
    /// For each peer: what keeps the row from it, or that it is owed.
    pub peers: BTreeMap<SiteName, Option<Kept>>,
}

/// What a row is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineKind {
    /// Written here.
    Own,
    /// A copy of this origin.
    Copy(Origin),
    /// A marker.
    Marker,
    /// A marker that does not verify.
    Unverified,
}

impl LineKind {
    /// The word for it in JSON.
    pub fn word(&self) -> &'static str {
        match self {
            LineKind::Own => "own",
            LineKind::Copy(_) => "copy",
            LineKind::Marker => "marker",
            LineKind::Unverified => "unverified",
        }
    }
}

/// All rows of `problem`; nothing where it has none.
pub async fn lines(bridge: &Bridge, problem: &ProblemId) -> Result<Vec<Line>, StoreError> {
    let mut txn = bridge.store.begin(Mode::Read).await?;
    let problems = std::slice::from_ref(problem);
    let read = txn.rows(problems, None).await?.pop().unwrap_or_default();
    let ledger = bridge.ledger(problem, &read.rows);
    let open: Vec<_> =
        read.rows.iter().filter(|r| r.open || r.marker.is_some()).map(|r| (problem.clone(), r.work)).collect();
    let bodies = txn.bodies(&open).await?;
    let mut bodies: BTreeMap<_, _> = open.into_iter().map(|(_, work)| work).zip(bodies).collect();

    let mut lines = Vec::with_capacity(read.rows.len());
    for row in &read.rows {
        let body = bodies.remove(&row.work).flatten().unwrap_or(Body { text: None, fields: Default::default() });
        lines.push(Line {
            work: row.work,
            kind: kind(&ledger, row.work),
            text: body.text,
            fields: body.fields,
            peers: BTreeMap::new(),
        });
    }
    for (peer, policy) in &bridge.peers {
        let read = txn.rows(problems, Some(peer)).await?.pop().unwrap_or_default();
        for (line, row) in lines.iter_mut().zip(&read.rows) {
            line.peers.insert(peer.clone(), keeps(&ledger, row, peer, policy.relay));
        }
    }
    Ok(lines)
}

fn kind(ledger: &Ledger, row: WorkId) -> LineKind {
    if ledger.unverified().iter().any(|(work, _)| *work == row) {
        LineKind::Unverified
    } else if ledger.is_marker(row) {
        LineKind::Marker
    } else if ledger.is_own(row) {
        LineKind::Own
    } else {
        LineKind::Copy(ledger.origin(row))
    }
}
