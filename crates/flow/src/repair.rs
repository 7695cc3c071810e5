//! What follows from a loss, on an operator's word (DESIGN §5, `repair`): `lost` markers for what a peer no longer has,
//! so that it is owed again; and telling a peer what this site lost, so that it does the same.
//!
//! A loss that is meant (something was deleted on purpose) is recorded as `lost` and `adopted` at once: nothing is owed,
//! and no receipt is counted any more, so that the beliefs of the two sites agree again.

use std::collections::BTreeSet;

use landbridge_core::message::{Account, Lost, LostOf, Missing, WIRE, Word};
use landbridge_core::{Bounds, Group, ProblemId, SiteName};

use crate::append::{append_and_read_back, unless_taken};
use crate::bridge::{Bridge, Event, shards};
use crate::error::{PeerError, StoreError};
use crate::exchange::Failure;
use crate::ports::{Compares, Mode};
use crate::settle::markers;
use crate::verify::{Finding, Found, read_digests, sides};

/// Entries of a problem that a site lost.
pub type Loss = (ProblemId, Missing);

/// What the peer lost of the problems of these findings, by the operator's word.
pub fn lost_there(findings: &[Finding], word: Word) -> Vec<Loss> {
    losses(findings, |there, _| there.to_repair(word))
}

/// What this site lost of them, by the operator's word.
pub fn lost_here(findings: &[Finding], word: Word) -> Vec<Loss> {
    losses(findings, |_, here| here.to_repair(word))
}

/// What stands here in rows that no marker names.
pub fn alike_here(findings: &[Finding]) -> Vec<Loss> {
    let losses = losses(findings, |_, here| here.clone());
    losses.into_iter().filter(|(_, missing)| !missing.alike.is_empty()).collect()
}

/// Takes rows that no marker names for the entries that they are alike to ([`Missing::alike`]), and writes the markers again;
/// nothing is sent. How many rows.
///
/// # Errors
/// [`StoreError`] of the database; of some problems it may be done by then.
pub async fn recognise(bridge: &Bridge, peer: &SiteName, losses: &[Loss]) -> Result<u64, StoreError> {
    let mut rows = 0;
    for some in losses.chunks(bridge.limits.batch_problems_max.max(1)) {
        let mut tries = 1;
        rows += loop {
            if let Some(rows) = unless_taken(recognise_once(bridge, peer, some).await, &mut tries)? {
                break rows;
            }
        };
    }
    Ok(rows)
}

async fn recognise_once(bridge: &Bridge, peer: &SiteName, losses: &[Loss]) -> Result<u64, StoreError> {
    let problems: Vec<_> = losses.iter().map(|(problem, _)| problem.clone()).collect();
    let mut txn = bridge.store.begin(Mode::Write).await?;
    txn.lock(&shards(&problems)).await?;
    let read = txn.rows(&problems, Some(peer)).await?;
    let sides = sides(bridge, &problems, read);
    let wanted = sides.iter().map(|side| side.view(bridge, peer).nameless().collect()).collect();
    let digests = read_digests(bridge, txn.as_mut(), &sides, wanted).await?;
    let (mut appends, mut rows) = (Vec::new(), 0);
    for ((side, (_, missing)), digests) in sides.iter().zip(losses).zip(&digests) {
        let pairs = side.view(bridge, peer).rows_alike(&missing.alike, digests);
        if pairs.is_empty() || !side.ledger.unverified().is_empty() {
            continue;
        }
        rows += pairs.len() as u64;
        let mut marker = side.ledger.marker_for(peer, &Default::default());
        marker.say_copies(&pairs);
        appends.extend(markers(bridge, &side.ledger, peer, marker)?);
    }
    if !appends.is_empty() {
        append_and_read_back(txn.as_mut(), &appends).await?;
        txn.commit().await?;
    }
    Ok(rows)
}

fn losses(findings: &[Finding], of: impl Fn(&Missing, &Missing) -> Missing) -> Vec<Loss> {
    let loss = |finding: &Finding| match &finding.found {
        Found::Lacking { there, here } => Some((finding.problem.clone(), of(there, here))),
        Found::Unseen { .. } | Found::LinkLost { .. } => None,
    };
    findings.iter().filter_map(loss).filter(|(_, missing)| !missing.is_empty()).collect()
}

/// Records that `peer` lost these entries. They are owed again, or not, where the loss is `meant`. Says for each problem how
/// many rows that are; of those owed again, how many may still leave: others are gone or internal by now. A suspended
/// problem is left alone.
///
/// # Errors
/// [`StoreError`] of the database; of the problems before it in `losses` the loss may be recorded already, which recording
/// it once more does not change.
pub async fn record(bridge: &Bridge, peer: &SiteName, losses: &[Loss], meant: bool) -> Result<Vec<u64>, StoreError> {
    let mut rows = Vec::with_capacity(losses.len());
    for some in losses.chunks(bridge.limits.batch_problems_max.max(1)) {
        rows.extend(record_apart(bridge, peer, some, meant).await?);
    }
    Ok(rows)
}

/// Counts what is still on its way: entries of `here` that this site lost and that have not come back, as many as the peer
/// said that it sends again of each problem, and rows of `there` that the peer lost, may have, and has not confirmed again.
///
/// # Errors
/// [`StoreError`] of the database.
pub async fn on_their_way(
    bridge: &Bridge,
    peer: &SiteName,
    here: &[(Loss, u64)],
    there: &[Loss],
) -> Result<u64, StoreError> {
    let mut left = 0_u64;
    for some in here.chunks(bridge.limits.batch_problems_max.max(1)) {
        let problems: Vec<_> = some.iter().map(|((problem, _), _)| problem.clone()).collect();
        let mut txn = bridge.store.begin(Mode::Read).await?;
        let read = txn.rows(&problems, Some(peer)).await?;
        let sides = sides(bridge, &problems, read);
        let accounts: Vec<_> = some.iter().map(|((_, missing), _)| account_of(missing)).collect();
        let views = || sides.iter().map(|side| side.view(bridge, peer)).zip(&accounts);
        let wanted = views().map(|(view, account)| view.lookups(Some(account))).collect();
        let digests = read_digests(bridge, txn.as_mut(), &sides, wanted).await?;
        for (((view, account), digests), ((_, missing), coming)) in views().zip(&digests).zip(some) {
            let never = missing.all().len().saturating_sub(*coming);
            left = left.saturating_add(view.lacks(account, digests).all().len().saturating_sub(never));
        }
    }
    for some in there.chunks(bridge.limits.batch_problems_max.max(1)) {
        let problems: Vec<_> = some.iter().map(|(problem, _)| problem.clone()).collect();
        let mut txn = bridge.store.begin(Mode::Read).await?;
        let read = txn.rows(&problems, Some(peer)).await?;
        for side in &sides(bridge, &problems, read) {
            let view = side.view(bridge, peer);
            let owed = (bridge.decisions.pending)(view.ledger, view.rows, peer, view.relay);
            left += owed.iter().filter(|row| view.ledger.lost_by(peer, row.work)).count() as u64;
        }
    }
    Ok(left)
}

/// The account of somebody who has just what is missing.
fn account_of(missing: &Missing) -> Account {
    Account { exchanged: missing.origins.clone(), texts: missing.texts.clone(), ..Account::default() }
}

/// One transaction, halved where the table does not take a marker: one that nobody can write keeps no other back.
async fn record_apart(bridge: &Bridge, peer: &SiteName, losses: &[Loss], meant: bool) -> Result<Vec<u64>, StoreError> {
    let mut tries = 1;
    let failed = loop {
        match unless_taken(record_once(bridge, peer, losses, meant).await, &mut tries) {
            Ok(Some(rows)) => return Ok(rows),
            Ok(None) => {}
            Err(failed) => break failed,
        }
    };
    if !matches!(failed, StoreError::Row { .. }) || losses.len() < 2 {
        return Err(failed);
    }
    let (first, second) = losses.split_at(losses.len() / 2);
    let first = Box::pin(record_apart(bridge, peer, first, meant)).await;
    let second = Box::pin(record_apart(bridge, peer, second, meant)).await?;
    let mut rows = first?;
    rows.extend(second);
    Ok(rows)
}

async fn record_once(bridge: &Bridge, peer: &SiteName, losses: &[Loss], meant: bool) -> Result<Vec<u64>, StoreError> {
    let problems: Vec<_> = losses.iter().map(|(problem, _)| problem.clone()).collect();
    let mut txn = bridge.store.begin(Mode::Write).await?;
    txn.lock(&shards(&problems)).await?;
    let read = txn.rows(&problems, Some(peer)).await?;
    let sides = sides(bridge, &problems, read);
    let views = || sides.iter().map(|side| side.view(bridge, peer)).zip(losses);
    let wanted = views().map(|(view, (_, missing))| view.lost_lookups(missing)).collect();
    let digests = read_digests(bridge, txn.as_mut(), &sides, wanted).await?;

    let (mut appends, mut rows) = (Vec::new(), Vec::new());
    for ((view, (_, missing)), digests) in views().zip(&digests) {
        if !view.ledger.unverified().is_empty() {
            rows.push(0);
            continue;
        }
        let lost = view.lost_rows(missing, digests);
        let may_leave = view.rows.iter().filter(|row| row.open && lost.contains(row.work)).count();
        rows.push(if meant { lost.len() } else { may_leave as u64 });
        if lost.is_empty() {
            continue;
        }
        let mut marker = view.ledger.marker_for(peer, &Default::default());
        marker.say(Group::Lost, lost.clone());
        if meant {
            marker.say(Group::Adopted, lost);
        }
        appends.extend(markers(bridge, view.ledger, peer, marker)?);
    }
    if !appends.is_empty() {
        append_and_read_back(txn.as_mut(), &appends).await?;
        txn.commit().await?;
    }
    Ok(rows)
}

/// Tells `name` what this site lost, and says for each problem how many rows it will send again (or, where the loss is
/// `meant`, count no more).
///
/// # Errors
/// [`Failure`] of either end.
pub async fn tell_lost(
    bridge: &Bridge,
    name: &SiteName,
    peer: &dyn Compares,
    losses: &[Loss],
    meant: bool,
) -> Result<Vec<u64>, Failure> {
    let mut rows = Vec::with_capacity(losses.len());
    // No more than every peer takes in one message.
    for some in losses.chunks(bridge.limits.batch_problems_max.clamp(1, Bounds::ANSWER.deliveries_max)) {
        let named = names(bridge, name, some).await?;
        let problems = some.iter().zip(named).map(|((_, lost), names)| LostOf { names, lost: lost.clone() }).collect();
        let (from, to, history) = (bridge.site().clone(), name.clone(), bridge.history.clone());
        let answer = peer.lost(Lost { wire: WIRE, from, to, history, meant, problems }).await?;
        if answer.rows.len() != some.len() {
            let what = "it answered another number of problems than it was told of";
            return Err(PeerError::Protocol(what.to_owned()).into());
        }
        rows.extend(answer.rows);
    }
    if meant {
        for (problem, _) in losses {
            bridge.observer.event(&Event::LostHere { peer: name, problem, missing: &Default::default() });
        }
    }
    Ok(rows)
}

/// What the two sites call these problems.
async fn names(
    bridge: &Bridge,
    peer: &SiteName,
    losses: &[Loss],
) -> Result<Vec<std::collections::BTreeMap<SiteName, ProblemId>>, StoreError> {
    let problems: Vec<_> = losses.iter().map(|(problem, _)| problem.clone()).collect();
    let mut txn = bridge.store.begin(Mode::Read).await?;
    let read = txn.rows(&problems, Some(peer)).await?;
    Ok(sides(bridge, &problems, read).iter().map(|side| side.view(bridge, peer).names()).collect())
}

/// The answer to [`Compares::lost`]: what `from` says that it lost is recorded, and for each problem told how many rows
/// it sends again, or records as meant. The problems here come back too.
pub(crate) async fn take_lost(
    bridge: &Bridge,
    from: &SiteName,
    problems: &[LostOf],
    meant: bool,
) -> Result<(Vec<ProblemId>, Vec<u64>), StoreError> {
    let mut found = crate::verify::meant(bridge, from, problems.iter().map(|of| &of.names)).await?;
    // A problem that is named more than once counts once, or one message could have any number of markers written.
    let mut named = BTreeSet::new();
    for problem in &mut found {
        problem.take_if(|problem| !named.insert(problem.clone()));
    }
    let losses: Vec<_> = found
        .iter()
        .zip(problems)
        .filter_map(|(problem, of)| problem.clone().map(|problem| (problem, of.lost.clone())))
        .collect();
    let mut recorded = record(bridge, from, &losses, meant).await?.into_iter();
    let rows = found.iter().map(|found| found.as_ref().and_then(|_| recorded.next()).unwrap_or(0)).collect();
    Ok((losses.into_iter().map(|(problem, _)| problem).collect(), rows))
}
