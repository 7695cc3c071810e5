//! What an operator's word records: that a peer holds what was copied by other means (`adopt`), that a text is an entry
//! although it looks like a marker (`disown`), and that markers are signed again (`rekey`). DESIGN §3, §9.
//!
//! Each is a marker like any other: in the history, sealed, written under the locks of DESIGN §5.

use std::collections::BTreeMap;

use landbridge_core::{Group, IdSet, Ledger, Marker, ProblemId, ProblemName, Scribe, SiteName, WorkId};
use thiserror::Error;

use crate::append::{append_and_read_back, unless_taken};
use crate::bridge::{Bridge, shards};
use crate::error::StoreError;
use crate::ports::{Append, Kind, Mode, Txn};
use crate::settle::markers;

/// Why an operator's word was not recorded.
#[derive(Debug, Error)]
pub enum OperatorError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is nothing to disown.
    #[error("row {row} of problem {problem} is no marker that fails to verify, so there is nothing to disown")]
    NotSuspended {
        /// The problem.
        problem: ProblemId,
        /// The row.
        row: WorkId,
    },
}

/// How much was recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Problems that got a marker.
    pub problems: u64,
    /// Entries (`adopt`) or markers (`rekey`) that it speaks of.
    pub rows: u64,
    /// Problems left alone because they are suspended.
    pub suspended: u64,
    /// Problems left alone because nobody said yet which of the peer's they belong to.
    pub unlinked: u64,
}

impl Recorded {
    /// Both together.
    pub fn and(self, other: Recorded) -> Recorded {
        Recorded {
            problems: self.problems + other.problems,
            rows: self.rows + other.rows,
            suspended: self.suspended + other.suspended,
            unlinked: self.unlinked + other.unlinked,
        }
    }
}

/// Records of these problems that `peer` holds everything it is owed now, or as much of it as is among the rows of `only`.
/// `dry`: only counts.
pub async fn adopt(
    bridge: &Bridge,
    peer: &SiteName,
    problems: &[ProblemId],
    only: Option<&BTreeMap<ProblemId, IdSet>>,
    dry: bool,
) -> Result<Recorded, StoreError> {
    let relay = bridge.peers.get(peer).is_some_and(|p| p.relay);
    let word = |ledger: &Ledger, rows: &[landbridge_core::entry::Row]| {
        let meant = |row: WorkId| only.is_none_or(|only| only.get(ledger.problem()).is_some_and(|o| o.contains(row)));
        let owed = (bridge.decisions.pending)(ledger, rows, peer, relay);
        let owed: IdSet = owed.iter().map(|row| row.work).filter(|row| meant(*row)).collect();
        let counted = owed.len();
        let mut marker = ledger.marker_for(peer, &Default::default());
        marker.say(Group::Adopted, owed);
        Ok((if marker.says_nothing() { vec![] } else { markers(bridge, ledger, peer, marker)? }, counted))
    };
    record(bridge, Some(peer), problems, dry, &bridge.scribe, false, &word).await
}

/// A link between a problem here and one of a peer's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The problem here.
    pub problem: ProblemId,
    /// What the peer calls it.
    pub theirs: ProblemId,
}

/// What became of one link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkOutcome {
    /// It is recorded now.
    Linked,
    /// It was there before.
    Known,
    /// The problem here is linked with this other one of the peer's.
    LinkedWith(ProblemId),
    /// This other problem here is linked with that one of the peer's.
    Taken(ProblemId),
    /// There is no such problem here, or `[problem] share` hides it.
    Unknown,
    /// The problem has markers that do not verify.
    Suspended,
}

/// Records that these problems here and `peer`'s are the same. `replace`: also where either is linked with another.
/// `dry`: only says what would come of it. Which problems are linked is known of those that [`Bridge::ledger`] has read.
pub async fn link(
    bridge: &Bridge,
    peer: &SiteName,
    pairs: &[Pair],
    replace: bool,
    dry: bool,
) -> Result<Vec<LinkOutcome>, StoreError> {
    let problems: Vec<_> = pairs.iter().map(|pair| pair.problem.clone()).collect();
    let mut tries = 1;
    loop {
        let mut txn = bridge.store.begin(if dry { Mode::Read } else { Mode::Write }).await?;
        if !dry {
            txn.lock(&shards(&problems)).await?;
        }
        let (mut appends, mut outcomes, mut said, mut here) =
            (Vec::new(), Vec::new(), BTreeMap::new(), BTreeMap::<ProblemId, ProblemId>::new());
        for (pair, read) in pairs.iter().zip(txn.rows(&problems, Some(peer)).await?) {
            let ledger = bridge.ledger(&pair.problem, &read.rows);
            let name = ProblemName::new(peer.clone(), pair.theirs.clone());
            let others = bridge.links.of(&name).or_else(|| said.get(&pair.theirs).cloned());
            let outcome = match (here.get(&pair.problem).or(ledger.name_of(peer)), others) {
                _ if !ledger.unverified().is_empty() => LinkOutcome::Suspended,
                _ if !read.visible => LinkOutcome::Unknown,
                (Some(known), _) if *known == pair.theirs => LinkOutcome::Known,
                (Some(known), _) if !replace => LinkOutcome::LinkedWith(known.clone()),
                (_, Some(other)) if other != pair.problem && !replace => LinkOutcome::Taken(other),
                _ => LinkOutcome::Linked,
            };
            if outcome == LinkOutcome::Linked {
                let heard = [(peer.clone(), pair.theirs.clone())].into();
                appends.extend(markers(bridge, &ledger, peer, ledger.marker_for(peer, &heard))?);
                said.insert(pair.theirs.clone(), pair.problem.clone());
                here.insert(pair.problem.clone(), pair.theirs.clone());
            }
            outcomes.push(outcome);
        }
        if dry || appends.is_empty() {
            return Ok(outcomes);
        }
        if unless_taken(write(txn, &appends).await, &mut tries)?.is_some() {
            return Ok(outcomes);
        }
    }
}

/// Signs everything that the markers of these problems say again, by the first key of `scribe`, and retires the markers
/// that said it before. `vouch`: markers that do not verify are taken for true, on the operator's word.
pub async fn resign(
    bridge: &Bridge,
    scribe: &Scribe,
    problems: &[ProblemId],
    vouch: bool,
    dry: bool,
) -> Result<Recorded, StoreError> {
    let word = |ledger: &Ledger, _: &[landbridge_core::entry::Row]| {
        let old = ledger.marker_rows().clone();
        if old.is_empty() {
            return Ok((vec![], 0));
        }
        let counted = old.len();
        let mut own = Marker::for_peer(bridge.site().clone());
        own.say(Group::Held, ledger.disowned().clone());
        own.say(Group::Lost, old);
        let mut appends = Vec::new();
        for marker in ledger.summary().into_iter().filter(|m| !m.says_nothing() || bridge.is_linked()).chain([own]) {
            let about = marker.peer.site.clone();
            let texts = ledger.write(scribe, marker).map_err(|narrow| StoreError::Mapping(narrow.to_string()))?;
            appends.extend(texts.into_iter().map(|text| Append {
                problem: ledger.problem().clone(),
                kind: Kind::Marker,
                text,
                fields: Default::default(),
                site: about.clone(),
            }));
        }
        Ok((appends, counted))
    };
    record(bridge, None, problems, dry, scribe, vouch, &word).await
}

/// Records that the text in `row` is an entry, although it is a complete marker that does not verify.
pub async fn disown(bridge: &Bridge, problem: &ProblemId, row: WorkId) -> Result<(), OperatorError> {
    let mut tries = 1;
    loop {
        let mut txn = bridge.store.begin(Mode::Write).await?;
        txn.lock(&shards([problem])).await?;
        let read = txn.rows(std::slice::from_ref(problem), None).await?.pop().unwrap_or_default();
        let ledger = bridge.ledger(problem, &read.rows);
        if !ledger.unverified().iter().any(|(work, _)| *work == row) {
            return Err(OperatorError::NotSuspended { problem: problem.clone(), row });
        }
        let mut own = Marker::for_peer(bridge.site().clone());
        own.say(Group::Held, IdSet::from_iter([row]));
        let appends = markers(bridge, &ledger, bridge.site(), own)?;
        if unless_taken(write(txn, &appends).await, &mut tries)?.is_some() {
            return Ok(());
        }
    }
}

/// What to append to one problem, and how many rows it speaks of.
type Word<'a> =
    dyn Fn(&Ledger, &[landbridge_core::entry::Row]) -> Result<(Vec<Append>, u64), StoreError> + Send + Sync + 'a;

async fn record(
    bridge: &Bridge,
    peer: Option<&SiteName>,
    problems: &[ProblemId],
    dry: bool,
    scribe: &Scribe,
    vouch: bool,
    word: &Word<'_>,
) -> Result<Recorded, StoreError> {
    let mut tries = 1;
    loop {
        let mut txn = bridge.store.begin(if dry { Mode::Read } else { Mode::Write }).await?;
        if !dry {
            txn.lock(&shards(problems)).await?;
        }
        let read = txn.rows(problems, peer).await?;
        let (mut appends, mut recorded) = (Vec::new(), Recorded::default());
        for (problem, read) in problems.iter().zip(read) {
            let fold = if vouch { Ledger::fold_vouched } else { Ledger::fold };
            let ledger = fold(scribe, problem, &read.rows);
            if !ledger.unverified().is_empty() {
                recorded.suspended += 1;
                continue;
            }
            let (rows, counted) = word(&ledger, &read.rows)?;
            // What a peer does not call by any name it cannot hold.
            if bridge.is_linked() && peer.is_some_and(|peer| ledger.name_of(peer).is_none()) {
                recorded.unlinked += u64::from(counted > 0);
                continue;
            }
            recorded.problems += u64::from(!rows.is_empty());
            recorded.rows += counted;
            appends.extend(rows);
        }
        if dry || appends.is_empty() {
            return Ok(recorded);
        }
        if unless_taken(write(txn, &appends).await, &mut tries)?.is_some() {
            return Ok(recorded);
        }
    }
}

async fn write(mut txn: Box<dyn Txn>, appends: &[Append]) -> Result<(), StoreError> {
    append_and_read_back(txn.as_mut(), appends).await?;
    txn.commit().await
}
