//! `compact` (DESIGN §9): the markers of a problem that newer ones can replace are folded into one for each peer, and
//! deleted.
//!
//! ```text
//! lock      the shards of the problems, as whoever exchanges entries does
//! fold      what all markers say, in fewer                                             (core/compaction.rs)
//! append    the new markers, and read them back
//! remove    the old rows, where they still are as they were read
//! compare   the rows are read again: they must say what they said before
//! commit
//! ```
//!
//! One transaction for all of it, so that a crash leaves one or the other.

use std::collections::{BTreeMap, BTreeSet};

use landbridge_core::entry::Row;
use landbridge_core::{IdSet, Ledger, Marker, ProblemId, WorkId};
use thiserror::Error;

use crate::append::append_and_read_back;
use crate::bridge::{Bridge, shards};
use crate::error::StoreError;
use crate::ports::{Append, Kind, Mode, ProblemRows, Removal, Txn};

/// How often a page is tried again because somebody else took a number first or changed a row meanwhile.
const TRIES_MAX: usize = 100;
/// How often it is tried again where the database itself stood against it.
const REPEATS_MAX: usize = 4;

/// Why no marker was folded. Nothing was changed then.
#[derive(Debug, Error)]
pub enum CompactError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It did not delete what it was told to.
    #[error(
        "of {wanted} markers that it was told to delete the database deleted {deleted}, so nothing was changed: a trigger, a \
         rule or a policy for rows stands against it, or [history] remove deletes other rows"
    )]
    NotDeleted {
        /// How many it was told.
        wanted: u64,
        /// How many it deleted.
        deleted: u64,
    },
    /// The rows said something else afterwards.
    #[error(
        "problem {problem}: after its old markers were deleted, its rows no longer said what they said before, so nothing was \
         changed: a trigger, a view, a policy for rows or [history] remove changes what is read"
    )]
    Changed {
        /// The first such problem.
        problem: ProblemId,
    },
}

/// What was done, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Problems with rows that were looked at.
    pub seen: u64,
    /// Problems whose markers were folded.
    pub problems: u64,
    /// Markers of those before.
    pub before: u64,
    /// Markers of those afterwards.
    pub after: u64,
    /// Rows that were deleted.
    pub deleted: u64,
    /// Problems that have no rows here.
    pub unknown: Vec<ProblemId>,
    /// Problems left alone because they are suspended.
    pub suspended: Vec<ProblemId>,
    /// Problems left alone because the table does not take the new markers, and what it says.
    pub left: Vec<(ProblemId, String)>,
}

impl Compacted {
    /// Both together.
    pub fn and(mut self, more: Compacted) -> Compacted {
        self.seen += more.seen;
        self.problems += more.problems;
        self.before += more.before;
        self.after += more.after;
        self.deleted += more.deleted;
        self.unknown.extend(more.unknown);
        self.suspended.extend(more.suspended);
        self.left.extend(more.left);
        self
    }
}

/// Folds the markers of these problems, where that makes at least `fewer_min` rows less. `dry`: only counts.
pub async fn compact(
    bridge: &Bridge,
    problems: &[ProblemId],
    fewer_min: u64,
    dry: bool,
) -> Result<Compacted, CompactError> {
    let once: BTreeSet<&ProblemId> = problems.iter().collect();
    let problems: Vec<ProblemId> = once.into_iter().cloned().collect();
    // Looked at without a lock first, so that nobody waits for problems in which there is nothing to fold.
    let (looked, worth) = compact_once(bridge, &problems, fewer_min, true).await?;
    if dry || worth.is_empty() {
        return Ok(looked);
    }
    let mut not_deleted = None;
    let done = compact_apart(bridge, &worth, fewer_min, &mut not_deleted).await?;
    // Where it stands against every one, it is no matter of a problem.
    if let Some(failed) = not_deleted.filter(|_| done.problems == 0) {
        return Err(failed);
    }
    Ok(Compacted { problems: 0, before: 0, after: 0, deleted: 0, ..looked }.and(Compacted { seen: 0, ..done }))
}

/// All problems at once; halves them where the table does not take some marker or keeps an old one, until that is alone.
/// `not_deleted`: why an old one was kept.
async fn compact_apart(
    bridge: &Bridge,
    problems: &[ProblemId],
    fewer_min: u64,
    not_deleted: &mut Option<CompactError>,
) -> Result<Compacted, CompactError> {
    let mut tries = 1;
    let failed = loop {
        let failed = match compact_once(bridge, problems, fewer_min, false).await {
            Ok((done, _)) => return Ok(done),
            Err(failed) => failed,
        };
        let tries_max = match failed {
            CompactError::Store(StoreError::Taken) => TRIES_MAX,
            // A deadlock with the application, or rows that it changed between two statements.
            CompactError::Store(StoreError::Busy(_))
            | CompactError::NotDeleted { .. }
            | CompactError::Changed { .. } => REPEATS_MAX,
            _ => 1,
        };
        if tries >= tries_max {
            break failed;
        }
        tries += 1;
    };
    let detail = match &failed {
        CompactError::Store(StoreError::Row { detail, .. }) => detail.clone(),
        CompactError::Store(StoreError::Taken) => "the next number was always taken by somebody else".to_owned(),
        CompactError::Store(_) => return Err(failed),
        CompactError::NotDeleted { .. } | CompactError::Changed { .. } => failed.to_string(),
    };
    match problems {
        [one] => {
            if !matches!(failed, CompactError::Store(_)) {
                not_deleted.get_or_insert(failed);
            }
            Ok(Compacted { left: vec![(one.clone(), detail)], ..Compacted::default() })
        }
        many => {
            let (first, second) = many.split_at(many.len() / 2);
            let first = Box::pin(compact_apart(bridge, first, fewer_min, not_deleted)).await?;
            Ok(first.and(Box::pin(compact_apart(bridge, second, fewer_min, not_deleted)).await?))
        }
    }
}

/// One problem whose markers are folded.
struct Fold {
    before: Ledger,
    appends: Vec<Append>,
    removals: Vec<Removal>,
    /// Markers that stay where they are.
    kept: IdSet,
}

/// In one transaction. What was done, and in which problems; `dry`: only read.
async fn compact_once(
    bridge: &Bridge,
    problems: &[ProblemId],
    fewer_min: u64,
    dry: bool,
) -> Result<(Compacted, Vec<ProblemId>), CompactError> {
    let mut txn = bridge.store.begin(if dry { Mode::Read } else { Mode::Write }).await?;
    if !dry {
        txn.lock(&shards(problems)).await?;
    }
    let (mut done, mut folds) = (Compacted::default(), Vec::new());
    for (problem, read) in problems.iter().zip(txn.rows(problems, None).await?) {
        if read.rows.is_empty() {
            done.unknown.push(problem.clone());
            continue;
        }
        done.seen += 1;
        let ledger = bridge.ledger(problem, &read.rows);
        if !ledger.unverified().is_empty() {
            done.suspended.push(problem.clone());
            continue;
        }
        match fold(bridge, ledger, &read, fewer_min) {
            Ok(Some(fold)) => folds.push(fold),
            Ok(None) => {}
            Err(why) => done.left.push((problem.clone(), why)),
        }
    }
    for Fold { before, appends, removals, kept } in &folds {
        done.problems += 1;
        done.before += before.marker_rows().len();
        done.after += kept.len() + appends.len() as u64;
        done.deleted += removals.len() as u64;
    }
    if !dry && !folds.is_empty() {
        replace(bridge, txn.as_mut(), &folds).await?;
        txn.commit().await?;
    }
    Ok((done, folds.iter().map(|fold| fold.before.problem().clone()).collect()))
}

/// What becomes of one problem; nothing where too little would be saved, and a reason where its markers cannot be folded.
fn fold(bridge: &Bridge, before: Ledger, read: &ProblemRows, fewer_min: u64) -> Result<Option<Fold>, String> {
    let apart = bridge.store.capabilities().markers_apart;
    let folded = (bridge.decisions.fold)(&before, apart);
    let is_worth_it = |new: usize| folded.delete.len() >= (new as u64).saturating_add(fewer_min.max(1));
    if !is_worth_it(folded.markers.len()) {
        return Ok(None);
    }
    let texts = texts(bridge, &before, folded.markers)?;
    if !is_worth_it(texts.len()) {
        return Ok(None);
    }
    let removals: Vec<_> = read
        .rows
        .iter()
        .filter(|row| folded.delete.contains(row.work))
        .filter_map(|row| {
            Some(Removal { problem: before.problem().clone(), work: row.work, text: row.marker.clone()? })
        })
        .collect();
    let mut kept = before.marker_rows().clone();
    kept.subtract(&folded.delete);
    let then = afterwards(&read.rows, &folded.delete, texts.iter().map(|(text, _)| text));
    if !(bridge.decisions.says_the_same)(&before, &Ledger::fold(&bridge.scribe, before.problem(), &then)) {
        return Err(
            "what its markers say does not fit into fewer: a name finds no room in the width of the text column".into(),
        );
    }
    let append = |(text, about)| Append {
        problem: before.problem().clone(),
        kind: Kind::Marker,
        text,
        fields: Default::default(),
        site: about,
    };
    let appends = texts.into_iter().map(append).collect();
    Ok(Some(Fold { appends, removals, kept, before }))
}

/// The texts of the new markers, sealed, each with the site that it is about.
fn texts(
    bridge: &Bridge,
    before: &Ledger,
    markers: Vec<Marker>,
) -> Result<Vec<(String, landbridge_core::SiteName)>, String> {
    let mut taken = before.marker_texts().clone();
    let mut texts = Vec::new();
    for marker in markers {
        let about = marker.peer.site.clone();
        let parts = bridge.scribe.write(before.problem(), marker, &taken).map_err(|narrow| narrow.to_string())?;
        taken.extend(parts.iter().cloned());
        texts.extend(parts.into_iter().map(|text| (text, about.clone())));
    }
    Ok(texts)
}

/// The rows as they will be, the new markers behind all others.
fn afterwards<'t>(rows: &[Row], deleted: &IdSet, texts: impl Iterator<Item = &'t String>) -> Vec<Row> {
    let mut then: Vec<Row> = rows.iter().filter(|row| !deleted.contains(row.work)).cloned().collect();
    let mut last = rows.last().map_or(0, |row| row.work.get());
    for text in texts {
        last = last.saturating_add(1);
        let work = WorkId::new(last).unwrap_or(WorkId::MIN);
        then.push(Row { work, marker: Some(text.clone()), open: false, bytes: text.len() as u64 });
    }
    then
}

/// New markers, then the deletes, then the comparison.
async fn replace(bridge: &Bridge, txn: &mut dyn Txn, folds: &[Fold]) -> Result<(), CompactError> {
    let appends: Vec<_> = folds.iter().flat_map(|fold| fold.appends.iter().cloned()).collect();
    let removals: Vec<_> = folds.iter().flat_map(|fold| fold.removals.iter().cloned()).collect();
    let works = append_and_read_back(txn, &appends).await?;
    let deleted = txn.remove(&removals).await?;
    let wanted = removals.len() as u64;
    if deleted != wanted {
        return Err(CompactError::NotDeleted { wanted, deleted });
    }

    let mut markers: BTreeMap<&ProblemId, IdSet> =
        folds.iter().map(|fold| (fold.before.problem(), fold.kept.clone())).collect();
    for (append, work) in appends.iter().zip(works) {
        markers.entry(&append.problem).or_default().insert(work);
    }
    let problems: Vec<_> = folds.iter().map(|fold| fold.before.problem().clone()).collect();
    let again = txn.rows(&problems, None).await?;
    for (fold, read) in folds.iter().zip(&again) {
        let problem = fold.before.problem();
        let after = bridge.ledger(problem, &read.rows);
        let is_there = markers.get(problem).is_some_and(|rows| rows == after.marker_rows());
        if !is_there || !(bridge.decisions.says_the_same)(&fold.before, &after) {
            return Err(CompactError::Changed { problem: problem.clone() });
        }
    }
    match again.len() == folds.len() {
        true => Ok(()),
        false => Err(StoreError::Broken("the database did not answer for every problem".to_owned()).into()),
    }
}
