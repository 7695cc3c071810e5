//! Worlds in which operators fold markers (`compact`, DESIGN §9) while bridges exchange and crash, and people paste what was
//! deleted. It must make no difference: a problem says what it said before, and an old marker says nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use landbridge_core::entry::Row;
use landbridge_core::{Group, IdSet, Ledger, ProblemId, Reading};
use landbridge_flow::Bridge;
use landbridge_flow::compact::{CompactError, compact};
use landbridge_flow::ports::{Append, Kind, Mode, Store};
use landbridge_stores::memory::MemoryRow;

use crate::executor::locked;
use crate::world::{Violation, World};

/// What is remembered of it.
#[derive(Default)]
pub struct Compaction {
    /// Every marker that was ever seen in a problem of a site.
    seen: BTreeMap<(usize, ProblemId), BTreeSet<String>>,
    /// What the database did not delete.
    failed: Arc<Mutex<Vec<String>>>,
}

/// What comes of it now; nothing where it waits for somebody, and then it is given up.
fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}

impl World {
    /// Somebody folds markers, or pastes one that was folded. False where nobody does.
    pub(crate) fn compact_or_paste(&mut self) -> Result<bool, Violation> {
        if !self.plan.compacting || !self.dice.one_in(4) {
            return Ok(false);
        }
        let site = self.dice.below(self.stores.len());
        let Some(problem) = self.dice.pick(&self.stores[site].problems()).cloned() else { return Ok(false) };
        self.remember(site, &problem);
        match self.dice.below(8) {
            0 => self.compact_meanwhile(site, problem),
            1 => self.say_lost(site, &problem),
            2 | 3 => self.paste_a_folded_marker(site, &problem)?,
            // Before bridges act on what was lost, and while an old marker still says otherwise.
            _ => {
                if self.dice.one_in(2) {
                    self.say_lost(site, &problem);
                }
                self.compact_at_once(site, &problem)?;
                self.paste_a_folded_marker(site, &problem)?;
            }
        }
        Ok(true)
    }

    /// In a world at rest everything is folded, and it stays at rest.
    pub(crate) fn compact_everything(&mut self) -> Result<(), Violation> {
        if let Some(what) = locked(&self.compaction.failed).first() {
            return Err(Violation { invariant: "folding deletes what it folds (§9)", what: what.clone() });
        }
        if !self.plan.compacting {
            return Ok(());
        }
        for site in 0..self.stores.len() {
            for problem in self.stores[site].problems() {
                self.compact_at_once(site, &problem)?;
            }
        }
        self.stays_at_rest()
    }

    fn remember(&mut self, site: usize, problem: &ProblemId) {
        let texts = self.stores[site].committed(problem).into_values().map(|row| row.text);
        let markers = texts.filter(|text| self.scribes[site].is_complete(text));
        self.compaction.seen.entry((site, problem.clone())).or_default().extend(markers);
    }

    /// The bridge of a site without faults: who acts here would only try again.
    fn operator(&self, site: usize) -> Bridge {
        let mut bridge = self.bridge(site);
        bridge.store = Arc::new(self.stores[site].clone());
        bridge
    }

    fn folded(&self, site: usize, problem: &ProblemId) -> Ledger {
        let scribe = &self.scribes[site];
        let row = |(work, row): (_, MemoryRow)| Row {
            work,
            marker: scribe.is_complete(&row.text).then_some(row.text),
            open: true,
            bytes: 0,
        };
        let rows: Vec<_> = self.stores[site].committed(problem).into_iter().map(row).collect();
        Ledger::fold(scribe, problem, &rows)
    }

    /// By an operator's process that may be killed, and whose statements fail, while the bridges go on.
    fn compact_meanwhile(&mut self, site: usize, problem: ProblemId) {
        let (bridge, failed) = (self.bridge(site), self.compaction.failed.clone());
        self.executor.spawner.spawn(site, async move {
            if let Err(e @ CompactError::NotDeleted { .. }) = compact(&bridge, &[problem], 1, false).await {
                locked(&failed).push(e.to_string());
            }
        });
    }

    /// Between two steps of all others, so that before and after can be compared.
    fn compact_at_once(&mut self, site: usize, problem: &ProblemId) -> Result<(), Violation> {
        let before = self.folded(site, problem);
        let done = at_once(compact(&self.operator(site), std::slice::from_ref(problem), 1, false));
        let after = self.folded(site, problem);
        let violation = |what| Err(Violation { invariant: "folding changes nothing (§9)", what });
        let name = &self.plan.sites[site].name;
        match done {
            None => Ok(()),
            Some(Err(e)) => violation(format!("{name} {problem}: {e}")),
            Some(Ok(_)) if !after.says_the_same(&before) => {
                violation(format!("{name} {problem} said {:?} and says {:?}", before.summary(), after.summary()))
            }
            Some(Ok(done)) if done.deleted > 0 && after.marker_rows().len() >= before.marker_rows().len() => {
                violation(format!("{name} {problem} has as many markers as before"))
            }
            Some(Ok(_)) => Ok(()),
        }
    }

    /// An operator says that a peer lost entries. It did not, so it knows them when they come again.
    fn say_lost(&mut self, site: usize, problem: &ProblemId) {
        // What was edited since, the peer would rightly take for another entry; and in a calm world no body crosses twice.
        // Where databases are restored, what is lost is lost indeed.
        if self.plan.rewriting || self.plan.calm || self.is_restored() {
            return;
        }
        let neighbours: Vec<_> = self.plan.links.iter().filter(|link| link.from == site).map(|link| link.to).collect();
        let Some(peer) = self.dice.pick(&neighbours).map(|there| self.plan.sites[*there].name.clone()) else { return };
        let (store, scribe, dice) = (self.stores[site].clone(), &self.scribes[site], &self.dice);
        at_once(async {
            let mut txn = store.begin(Mode::Write).await.ok()?;
            txn.lock(&landbridge_flow::bridge::shards([problem])).await.ok()?;
            let read = txn.rows(std::slice::from_ref(problem), Some(&peer)).await.ok()?.pop()?;
            let ledger = Ledger::fold(scribe, problem, &read.rows);
            let lost = read.rows.iter().filter(|row| row.open && ledger.exchanged_row(&peer, row.work));
            // What it gave us of others it might miss in what we say we know.
            let theirs = |row: &&Row| ledger.is_own(row.work) || ledger.origin(row.work).site == peer;
            let lost: IdSet = lost.filter(theirs).filter(|_| dice.one_in(2)).map(|row| row.work).collect();
            if lost.is_empty() || !ledger.unverified().is_empty() {
                return None;
            }
            let mut marker = ledger.marker_for(&peer, &BTreeMap::new());
            marker.say(Group::Lost, lost);
            let append = |text| Append {
                problem: problem.clone(),
                kind: Kind::Marker,
                text,
                fields: Default::default(),
                site: peer.clone(),
            };
            let rows: Vec<_> = ledger.write(scribe, marker).ok()?.into_iter().map(append).collect();
            txn.append(&rows).await.ok()?;
            txn.commit().await.ok()
        });
        self.remember(site, problem);
    }

    /// A person pastes a marker of a former era.
    fn paste_a_folded_marker(&mut self, site: usize, problem: &ProblemId) -> Result<(), Violation> {
        let before = self.folded(site, problem);
        let seen = self.compaction.seen.get(&(site, problem.clone())).cloned().unwrap_or_default();
        let rows = self.stores[site].committed(problem);
        // A marker of this era that is not here would be of a table that was restored since: what it says is not known.
        let gone = |text: &str| !self.is_restored() && rows.values().all(|row| row.text != text);
        let is_old = |text: &String| match self.scribes[site].read(problem, text) {
            Reading::Marker(marker) => marker.era < before.era() || gone(text),
            _ => false,
        };
        let old: Vec<_> = seen.into_iter().filter(is_old).collect();
        let Some(text) = self.dice.pick(&old).cloned() else { return Ok(()) };
        let row = MemoryRow { text: text.clone(), fields: Default::default(), public: true, level: 0 };
        let work = self.stores[site].write(problem, row);
        let after = self.folded(site, problem);
        if !after.says_the_same(&before) || !after.is_marker(work) {
            let what = format!("{} {problem}: {text:?} pasted as row {work} counts", self.plan.sites[site].name);
            return Err(Violation { invariant: "an old marker says nothing (§3)", what });
        }
        Ok(())
    }

    /// Whether a database was put back to an earlier day, so that markers may be known that its rows never had.
    fn is_restored(&self) -> bool {
        self.plan.restores > 0
    }
}
