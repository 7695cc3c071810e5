//! What of the cache is still so: the cache is what was heard last, and the database may have gone on since.

use std::collections::{BTreeMap, BTreeSet};

use landbridge_core::account::View;
use landbridge_core::entry::Row;
use landbridge_core::{Ledger, Origin, OriginSet, ProblemId, SiteName};
use landbridge_flow::ports::Mode;
use landbridge_flow::survey::PAGE_PROBLEMS;
use landbridge_flow::{Bridge, StoreError};

use crate::cache::{LOST_RANGES_MAX, Learnt, RefusedThere};

/// What of the cache is still so by the database: refused and withheld rows that are still owed, entries refused here that
/// are still not here, losses of peers that no marker records yet, and losses here that nobody has given back.
pub async fn still_true(bridge: &Bridge, mut learnt: Learnt) -> Result<Learnt, StoreError> {
    let is_peer = |name: &SiteName| bridge.peers.contains_key(name);
    learnt.refused_there.retain(|r| is_peer(&r.peer));
    learnt.refused_here.retain(|r| is_peer(&r.peer));
    learnt.diverged.retain(|l| is_peer(&l.peer));
    learnt.lost_here.retain(|l| is_peer(&l.peer));
    learnt.not_kept.retain(|(peer, _), _| is_peer(peer));
    still_owed(bridge, &mut learnt).await?;
    still_lost(bridge, &mut learnt).await?;
    still_lost_here(bridge, &mut learnt).await?;
    still_not_here(bridge, &mut learnt).await?;
    Ok(learnt)
}

async fn still_owed(bridge: &Bridge, learnt: &mut Learnt) -> Result<(), StoreError> {
    let mut owed_to_some = BTreeSet::new();
    for (peer, policy) in &bridge.peers {
        let about = learnt.refused_there.iter().filter(|r| r.peer == *peer).map(|r| &r.problem);
        let about: BTreeSet<_> = about.chain(learnt.withheld.iter().map(|w| &w.problem)).cloned().collect();
        let mut owed = BTreeMap::new();
        each_ledger(bridge, about, Some(peer), |ledger, rows| {
            for row in (bridge.decisions.pending)(ledger, rows, peer, policy.relay) {
                owed.insert((ledger.problem().clone(), row.work.get()), ledger.origin(row.work));
            }
        })
        .await?;
        let is_owed = |r: &RefusedThere| owed.get(&(r.problem.clone(), r.row)) == Some(&r.origin);
        learnt.refused_there.retain(|r| r.peer != *peer || is_owed(r));
        owed_to_some.extend(owed.into_keys());
    }
    learnt.withheld.retain(|w| owed_to_some.contains(&(w.problem.clone(), w.row)));
    Ok(())
}

async fn still_lost(bridge: &Bridge, learnt: &mut Learnt) -> Result<(), StoreError> {
    for (peer, policy) in &bridge.peers {
        let lost: BTreeMap<_, _> =
            learnt.diverged.iter().filter(|l| l.peer == *peer).map(|l| (&l.problem, &l.entries)).collect();
        let about = lost.keys().map(|problem| (*problem).clone()).collect();
        let mut open = BTreeSet::new();
        each_ledger(bridge, about, Some(peer), |ledger, rows| {
            let view = View { ledger, rows, peer, relay: policy.relay };
            if lost.get(ledger.problem()).is_some_and(|entries| !view.held_of(entries).is_empty()) {
                open.insert(ledger.problem().clone());
            }
        })
        .await?;
        learnt.diverged.retain(|l| l.peer != *peer || open.contains(&l.problem));
    }
    Ok(())
}

/// What one peer said was lost here, another may have given back. Only a copy counts: after a restore a row of this site may
/// have got the number of the entry that is lost. That a copy has another text than the peer's is for `verify` to say.
async fn still_lost_here(bridge: &Bridge, learnt: &mut Learnt) -> Result<(), StoreError> {
    let about = learnt.lost_here.iter().map(|l| l.problem.clone()).collect();
    let mut back: BTreeMap<ProblemId, OriginSet> = BTreeMap::new();
    each_ledger(bridge, about, None, |ledger, rows| {
        let copies = back.entry(ledger.problem().clone()).or_default();
        carried(ledger, rows).for_each(|origin| copies.insert(&origin));
    })
    .await?;
    // Where a long list was cut, what is behind its end is not known to be back.
    for lost in learnt.lost_here.iter_mut().filter(|l| l.entries.ranges_len() < LOST_RANGES_MAX) {
        if let Some(back) = back.get(&lost.problem) {
            lost.entries.subtract(back);
        }
    }
    learnt.lost_here.retain(|l| !l.entries.is_empty());
    Ok(())
}

async fn still_not_here(bridge: &Bridge, learnt: &mut Learnt) -> Result<(), StoreError> {
    let about = learnt.refused_here.iter().map(|r| r.problem.clone()).collect();
    let mut here = BTreeSet::new();
    each_ledger(bridge, about, None, |ledger, rows| {
        here.extend(carried(ledger, rows).map(|origin| (ledger.problem().clone(), origin)));
    })
    .await?;
    learnt.refused_here.retain(|r| !here.contains(&(r.problem.clone(), r.origin.clone())));
    Ok(())
}

/// The origins of copies that are here, also of what this site wrote itself and got back: a row that has the number only may
/// be another entry.
fn carried<'a>(ledger: &'a Ledger, rows: &'a [Row]) -> impl Iterator<Item = Origin> + 'a {
    let origins = rows.iter().filter(|row| !ledger.is_marker(row.work)).map(|row| (row.work, ledger.origin(row.work)));
    origins.filter(|(row, origin)| origin.site != *ledger.site() || origin.work != *row).map(|(_, origin)| origin)
}

async fn each_ledger(
    bridge: &Bridge,
    problems: BTreeSet<ProblemId>,
    peer: Option<&SiteName>,
    mut look: impl FnMut(&Ledger, &[Row]),
) -> Result<(), StoreError> {
    let problems: Vec<_> = problems.into_iter().collect();
    for some in problems.chunks(PAGE_PROBLEMS) {
        let mut txn = bridge.store.begin(Mode::Read).await?;
        for (problem, read) in some.iter().zip(txn.rows(some, peer).await?) {
            look(&bridge.ledger(problem, &read.rows), &read.rows);
        }
    }
    Ok(())
}
