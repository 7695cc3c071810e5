//! What a receipt changes at the sender (DESIGN §4): one short transaction under the locks, in which everything is read
//! again, and `copy in system X: …` is appended for what X holds and what is still as it was sent.

use std::collections::{BTreeMap, HashMap, HashSet};

use landbridge_core::message::{Code, Receipt, Refusal};
use landbridge_core::pending::diverged;
use landbridge_core::{Digest, Group, IdSet, Ledger, Marker, Origin, OriginSet, ProblemId, SiteName, WorkId};

use crate::append::{append_and_read_back, unless_taken};
use crate::bridge::{Bridge, Event, shards};
use crate::error::StoreError;
use crate::ports::{Append, Body, Kind, Mode};
use crate::send::{Memo, Outgoing};
use crate::violation::Violation;

/// What became of one problem of a batch.
#[derive(Debug)]
pub struct Settled {
    /// The problem here.
    pub problem: ProblemId,
    /// Bodies that the peer wants.
    pub wanted: OriginSet,
    /// Entries that the peer refused.
    pub refused: Vec<(WorkId, Origin, Refusal)>,
    /// Rows that must not be sent again at once for another reason.
    pub waiting: IdSet,
    /// How many rows were marked as held.
    pub marked: u64,
    /// Whether there is more to send at once: bodies are wanted, or something changed under way.
    pub again: bool,
}

/// Records what the receipts say. They are in the order of the deliveries; where some are missing, nothing is concluded
/// of those problems.
pub async fn settle(
    bridge: &Bridge,
    peer: &SiteName,
    outgoing: Outgoing,
    receipts: &[Receipt],
) -> Result<Vec<Settled>, StoreError> {
    let pairs: Vec<_> = outgoing.memos.into_iter().zip(receipts).collect();
    tell_of_forged(bridge, peer, &pairs);
    let mut marked = HashMap::new();
    mark_apart(bridge, peer, &pairs, &mut marked).await?;
    Ok(pairs.iter().map(|(memo, receipt)| conclude(bridge, peer, memo, receipt, &marked)).collect())
}

/// Tells once where receipts speak of entries that were not delivered. Nothing follows from them: what is recorded is looked
/// for among what was sent.
fn tell_of_forged(bridge: &Bridge, peer: &SiteName, pairs: &[(Memo, &Receipt)]) {
    let is_forged = |(memo, receipt): &(Memo, &Receipt)| {
        let mut sent = OriginSet::new();
        memo.sent.iter().for_each(|s| sent.insert(&s.origin));
        let beyond = |said: &OriginSet| {
            let mut rest = said.clone();
            rest.subtract(&sent);
            !rest.is_empty()
        };
        beyond(&receipt.holds) || beyond(&receipt.wanted) || receipt.refused.iter().any(|r| !sent.contains(&r.origin))
    };
    let forged = pairs.iter().filter(|pair| is_forged(pair)).count();
    if forged > 0 {
        let detail = format!("{forged} of {} receipts speak of entries that were not delivered", pairs.len());
        bridge.observer.event(&Event::Violated { peer: Some(peer), violation: Violation::Receipt, detail: &detail });
    }
}

/// What became of the marker for one problem.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// So many rows were marked.
    Marked(u64),
    /// The table did not take it.
    NotTaken,
    /// The receipt names another problem than the one that this one is linked with.
    Conflict,
}

/// What follows for one problem.
fn conclude(
    bridge: &Bridge,
    peer: &SiteName,
    memo: &Memo,
    receipt: &Receipt,
    marked: &HashMap<ProblemId, Fate>,
) -> Settled {
    let (problem, observer) = (&memo.problem, &bridge.observer);
    let rows: HashMap<_, _> = memo.sent.iter().map(|s| (&s.origin, s.work)).collect();
    // Each once, whatever the receipt repeats; what it holds as well is held.
    let mut once = HashSet::new();
    let refused = receipt.refused.iter().filter(|r| !receipt.holds.contains(&r.origin) && once.insert(&r.origin));
    let refused = refused.filter_map(|r| rows.get(&r.origin).map(|work| (*work, r.origin.clone(), r.refusal)));
    let mut refused: Vec<_> = refused.collect();
    let mut wanted = OriginSet::new();
    memo.sent.iter().filter(|s| receipt.wanted.contains(&s.origin)).for_each(|s| wanted.insert(&s.origin));
    let held = memo.sent.iter().filter(|s| receipt.holds.contains(&s.origin));
    let (marked, taken) = match marked.get(problem) {
        Some(Fate::Marked(rows)) => (*rows, true),
        None => (0, true),
        Some(Fate::NotTaken) => (0, false),
        Some(Fate::Conflict) => {
            refused.extend(held.clone().map(|s| (s.work, s.origin.clone(), Refusal::of(Code::Conflict))));
            (0, false)
        }
    };
    if marked > 0 {
        observer.event(&Event::Sent { peer, problem, entries: marked });
    }
    observer.event(&Event::RefusedByPeer { peer, problem, refused: &refused });
    observer.event(&Event::Diverged { peer, problem, missing: &diverged(&memo.believed, receipt) });

    if bridge.is_linked() {
        let is_none_there = refused.iter().any(|(_, _, refusal)| concerns_problem(refusal.code));
        bridge.links.hear(problem, peer, receipt.names.get(peer).filter(|_| !is_none_there));
    }

    // A peer that wants again what was just sent with its body, or whose receipt cannot be marked, has to wait.
    let sent_bare = memo.sent.iter().any(|s| wanted.contains(&s.origin) && memo.bare.contains(&s.origin));
    let mut waiting = IdSet::new();
    if !sent_bare {
        waiting.extend(&memo.sent.iter().filter(|s| wanted.contains(&s.origin)).map(|s| s.work).collect());
    }
    if !taken {
        waiting.extend(&held.clone().map(|s| s.work).collect());
    }
    // Held but not marked: the row changed while the receipt travelled, and is owed as it is now.
    let again = sent_bare || (taken && held.count() as u64 > marked);
    Settled { problem: problem.clone(), wanted, refused, waiting, marked, again }
}

/// Marks all problems at once; halves them where the table does not take some marker, until it is alone.
async fn mark_apart(
    bridge: &Bridge,
    peer: &SiteName,
    pairs: &[(Memo, &Receipt)],
    marked: &mut HashMap<ProblemId, Fate>,
) -> Result<(), StoreError> {
    let mut tries = 1;
    let failed = loop {
        match unless_taken(mark(bridge, peer, pairs).await, &mut tries) {
            Ok(Some(counted)) => {
                marked.extend(counted);
                return Ok(());
            }
            Ok(None) => {}
            Err(failed) => break failed,
        }
    };
    match (failed, pairs) {
        (StoreError::Row { .. }, [(memo, _)]) => {
            let why = "it was sent, but the table does not take the marker that says so";
            if let Some(sent) = memo.sent.first() {
                bridge.observer.event(&Event::Withheld { problem: &memo.problem, row: sent.work, why });
            }
            marked.insert(memo.problem.clone(), Fate::NotTaken);
            Ok(())
        }
        (StoreError::Row { .. }, many) => {
            let (first, second) = many.split_at(many.len() / 2);
            Box::pin(mark_apart(bridge, peer, first, marked)).await?;
            Box::pin(mark_apart(bridge, peer, second, marked)).await
        }
        (failed, _) => Err(failed),
    }
}

/// Appends the markers of some problems in one transaction.
async fn mark(
    bridge: &Bridge,
    peer: &SiteName,
    pairs: &[(Memo, &Receipt)],
) -> Result<HashMap<ProblemId, Fate>, StoreError> {
    let held = |memo: &Memo, receipt: &Receipt| memo.sent.iter().any(|s| receipt.holds.contains(&s.origin));
    let pairs: Vec<_> = pairs.iter().filter(|(memo, receipt)| held(memo, receipt)).collect();
    if pairs.is_empty() {
        return Ok(HashMap::new());
    }
    let problems: Vec<_> = pairs.iter().map(|(memo, _)| memo.problem.clone()).collect();
    let mut txn = bridge.store.begin(Mode::Write).await?;
    txn.lock(&shards(&problems)).await?;
    let read = txn.rows(&problems, Some(peer)).await?;
    let sent_rows: Vec<_> =
        pairs.iter().flat_map(|(memo, _)| memo.sent.iter().map(|s| (memo.problem.clone(), s.work))).collect();
    let mut bodies = txn.bodies(&sent_rows).await?.into_iter();

    let (mut appends, mut marked) = (Vec::new(), HashMap::new());
    for ((memo, receipt), read) in pairs.into_iter().zip(read) {
        let ledger = bridge.ledger(&memo.problem, &read.rows);
        let mut now = BTreeMap::new();
        for sent in &memo.sent {
            if let Some(Body { text: Some(text), .. }) = bodies.next().flatten() {
                now.insert(sent.work, Digest::of(&text));
            }
        }
        let called = receipt.names.get(peer).filter(|_| bridge.is_linked());
        if bridge.is_linked()
            && (called.is_none() || ledger.own_name_of(peer).is_some_and(|known| Some(known) != called))
        {
            marked.insert(memo.problem.clone(), Fate::Conflict);
            continue;
        }
        let rows = (bridge.decisions.confirm)(&ledger, peer, &memo.sent, &now, receipt);
        let mut marker = ledger.marker_for(peer, &bridge.heard(peer, &receipt.names));
        marked.insert(memo.problem.clone(), Fate::Marked(rows.len()));
        marker.say(Group::Held, rows);
        // What the peer calls the problem is worth a marker even where every row changed under way.
        if !marker.says_nothing() || (bridge.is_linked() && ledger.name_of(peer).is_none()) {
            appends.extend(markers(bridge, &ledger, peer, marker)?);
        }
    }
    if !appends.is_empty() {
        append_and_read_back(txn.as_mut(), &appends).await?;
        txn.commit().await?;
    }
    Ok(marked)
}

/// The rows that put `marker` into the history.
pub(crate) fn markers(
    bridge: &Bridge,
    ledger: &Ledger,
    peer: &SiteName,
    marker: Marker,
) -> Result<Vec<Append>, StoreError> {
    let problem = ledger.problem();
    let texts = ledger
        .write(&bridge.scribe, marker)
        .map_err(|narrow| StoreError::Row { refusal: Refusal::of(Code::TextTooLong), detail: narrow.to_string() })?;
    let append = |text| Append {
        problem: problem.clone(),
        kind: Kind::Marker,
        text,
        fields: Default::default(),
        site: peer.clone(),
    };
    Ok(texts.into_iter().map(append).collect())
}

/// Whether this code speaks of the whole problem: then nothing of it is sent until it is tried again, so that no entry
/// overtakes one that was refused before it.
pub fn concerns_problem(code: Code) -> bool {
    matches!(code, Code::UnknownProblem | Code::Unpaired | Code::LinkLost | Code::Conflict | Code::Suspended)
}

/// Whether an entry refused with this code is tried again by itself (DESIGN §5): not where only a person can change it.
pub fn tries_again(code: Code) -> bool {
    !matches!(code, Code::NotAllowed | Code::MarkerText)
}
