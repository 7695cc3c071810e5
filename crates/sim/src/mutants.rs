//! Deliberate mistakes, each in one decision or in what a bridge reads. The simulator must notice every one; a mistake
//! that it lets pass is a hole in the invariants.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use landbridge_core::compaction::{self, Folded};
use landbridge_core::entry::Row;
use landbridge_core::judge::{self, Deliverer, Verdict};
use landbridge_core::message::{Entry, Receipt};
use landbridge_core::pending::{self, Sent};
use landbridge_core::{Group, IdSet, Ledger, ProblemId, ProblemName, Scribe, SiteName, WorkId};
use landbridge_flow::StoreError;
use landbridge_flow::bridge::{Decisions, Digests};
use landbridge_flow::ports::{
    Append, Body, Capabilities, Condition, Mode, NewProblem, ProblemRows, Removal, Shard, Store, Swept, Txn,
};

use crate::world::Wrong;

/// The mistakes, by name.
pub const MUTANTS: [(&str, Wrong); 5] = [
    ("reads markers and rows in two snapshots", Wrong { store: two_snapshots, ..Wrong::NOTHING }),
    ("marks without reading again", decided(Decisions { confirm: mark_what_was_sent, ..Decisions::DESIGN })),
    (
        "appends past a missing body",
        decided(Decisions { judge: past_a_missing_body, bare: own_bodies_go_at_once, ..Decisions::DESIGN }),
    ),
    ("knows by the origin without the text", decided(Decisions { judge: by_origin_alone, ..Decisions::DESIGN })),
    ("sends everything after the last marker", decided(Decisions { pending: after_the_last, ..Decisions::DESIGN })),
];

/// The mistakes of whoever folds markers. Only worlds in which somebody does show them, and the others show sooner where
/// nobody does.
pub const FOLDING: [(&str, Wrong); 2] = [
    ("folds markers without a new era", decided(Decisions { fold: in_the_same_era, ..Decisions::DESIGN })),
    (
        "folds markers without what peers lost, and does not look",
        decided(Decisions { fold: without_lost, says_the_same: unseen, ..Decisions::DESIGN }),
    ),
];

const fn decided(decisions: Decisions) -> Wrong {
    Wrong { decisions, ..Wrong::NOTHING }
}

fn mark_what_was_sent(ledger: &Ledger, peer: &SiteName, sent: &[Sent], _: &Digests, receipt: &Receipt) -> IdSet {
    let unread = sent.iter().map(|s| (s.work, s.digest)).collect();
    pending::confirm(ledger, peer, sent, &unread, receipt)
}

fn past_a_missing_body(
    scribe: &Scribe,
    deliverer: &Deliverer<'_>,
    ledger: &Ledger,
    rows: &[Row],
    texts: &Digests,
    entries: &[Entry],
) -> Vec<Verdict> {
    let verdicts = judge::judge(scribe, deliverer, ledger, rows, texts, entries);
    let at_once = |(verdict, entry): (Verdict, &Entry)| match verdict {
        Verdict::Wanted if entry.text.is_some() => Verdict::Fresh,
        verdict => verdict,
    };
    verdicts.into_iter().zip(entries).map(at_once).collect()
}

/// No mistake, but a sender whose deliveries let the mistake above show.
fn own_bodies_go_at_once(own: bool, wanted: bool, _: bool) -> bool {
    !own && !wanted
}

fn by_origin_alone(
    scribe: &Scribe,
    deliverer: &Deliverer<'_>,
    ledger: &Ledger,
    rows: &[Row],
    texts: &Digests,
    entries: &[Entry],
) -> Vec<Verdict> {
    let verdicts = judge::judge(scribe, deliverer, ledger, rows, texts, entries);
    let known = |(verdict, entry): (Verdict, &Entry)| match ledger.rows_of(&entry.origin).first() {
        Some(row) if !matches!(verdict, Verdict::Refused(_)) => Verdict::Known(*row),
        _ => verdict,
    };
    verdicts.into_iter().zip(entries).map(known).collect()
}

fn after_the_last<'a>(ledger: &Ledger, rows: &'a [Row], peer: &SiteName, relay: bool) -> Vec<&'a Row> {
    let about_peer = |row: &&Row| row.marker.as_ref().is_some_and(|m| m.starts_with(&format!("copy in system {peer}")));
    let last = rows.iter().filter(about_peer).map(|row| row.work).max();
    let owed = pending::pending(ledger, rows, peer, relay);
    owed.into_iter().filter(|row| last.is_none_or(|last| row.work > last)).collect()
}

fn in_the_same_era(ledger: &Ledger, apart: bool) -> Folded {
    let mut folded = compaction::fold(ledger, apart);
    folded.markers.iter_mut().for_each(|marker| marker.era = ledger.era());
    folded
}

fn without_lost(ledger: &Ledger, apart: bool) -> Folded {
    let mut folded = compaction::fold(ledger, apart);
    let of_peers = folded.markers.iter_mut().filter(|marker| marker.peer.site != *ledger.site());
    of_peers.for_each(|marker| marker.groups.retain(|group| !matches!(group, Group::Lost(_))));
    folded
}

fn unseen(_: &Ledger, _: &Ledger) -> bool {
    true
}

fn two_snapshots(inner: Arc<dyn Store>) -> Arc<dyn Store> {
    Arc::new(TwoSnapshots(inner))
}

struct TwoSnapshots(Arc<dyn Store>);

struct TwoSnapshotsTxn {
    markers: Box<dyn Txn>,
    store: Arc<dyn Store>,
    rows: Option<Box<dyn Txn>>,
}

#[async_trait]
impl Store for TwoSnapshots {
    fn capabilities(&self) -> &Capabilities {
        self.0.capabilities()
    }

    async fn signal(&self) -> Result<u64, StoreError> {
        self.0.signal().await
    }

    async fn sweep(&self, after: Option<&ProblemId>, limit: usize) -> Result<Vec<Swept>, StoreError> {
        self.0.sweep(after, limit).await
    }

    async fn begin(&self, mode: Mode) -> Result<Box<dyn Txn>, StoreError> {
        let inner = self.0.begin(mode).await?;
        if mode == Mode::Write {
            return Ok(inner);
        }
        Ok(Box::new(TwoSnapshotsTxn { markers: inner, store: self.0.clone(), rows: None }))
    }

    async fn conditions(&self, problem: &ProblemId, work: WorkId) -> Result<Option<Vec<Condition>>, StoreError> {
        self.0.conditions(problem, work).await
    }
}

#[async_trait]
impl Txn for TwoSnapshotsTxn {
    async fn lock(&mut self, shards: &BTreeSet<Shard>) -> Result<(), StoreError> {
        self.markers.lock(shards).await
    }

    async fn rows(&mut self, problems: &[ProblemId], peer: Option<&SiteName>) -> Result<Vec<ProblemRows>, StoreError> {
        let before = self.markers.rows(problems, peer).await?;
        let mut later = self.store.begin(Mode::Read).await?;
        let mut rows = later.rows(problems, peer).await?;
        self.rows = Some(later);
        for (now, before) in rows.iter_mut().zip(before) {
            let seen = |row: &Row| before.rows.iter().any(|b| b.work == row.work && b.marker.is_some());
            now.rows.retain(|row| row.marker.is_none() || seen(row));
        }
        Ok(rows)
    }

    async fn bodies(&mut self, rows: &[(ProblemId, WorkId)]) -> Result<Vec<Option<Body>>, StoreError> {
        self.rows.as_mut().unwrap_or(&mut self.markers).bodies(rows).await
    }

    async fn find(&mut self, homes: &[ProblemName]) -> Result<Vec<Vec<ProblemId>>, StoreError> {
        self.markers.find(homes).await
    }

    async fn create(&mut self, problems: &[NewProblem]) -> Result<Vec<ProblemId>, StoreError> {
        self.markers.create(problems).await
    }

    async fn append(&mut self, rows: &[Append]) -> Result<Vec<WorkId>, StoreError> {
        self.markers.append(rows).await
    }

    async fn remove(&mut self, rows: &[Removal]) -> Result<u64, StoreError> {
        self.markers.remove(rows).await
    }

    async fn savepoint(&mut self) -> Result<(), StoreError> {
        self.markers.savepoint().await
    }

    async fn rollback_to(&mut self) -> Result<(), StoreError> {
        self.markers.rollback_to().await
    }

    async fn release(&mut self) -> Result<(), StoreError> {
        self.markers.release().await
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.markers.commit().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Plan, run};

    const SEEDS: u64 = 3000;

    #[test]
    fn every_mistake_is_noticed() {
        let others = MUTANTS.into_iter().map(|mutant| (mutant, false));
        for ((name, wrong), compacting) in FOLDING.into_iter().map(|mutant| (mutant, true)).chain(others) {
            let plan = |seed| Plan { compacting, ..Plan::new(seed) };
            let noticed = (0..SEEDS).find_map(|seed| run(plan(seed), wrong).err().map(|v| (seed, v)));
            match noticed {
                Some((seed, violation)) => println!("{name}: seed {seed}: {violation}"),
                None => panic!("a bridge that {name} was not noticed in {SEEDS} worlds"),
            }
        }
    }
}
