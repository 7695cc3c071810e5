//! Worlds in which databases are restored from backups (DESIGN §2, F6): what is gone at one site and is anywhere else comes
//! back once operators repair, and nothing else does.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex};

use landbridge_core::SiteName;
use landbridge_core::judge::Repair;
use landbridge_core::message::Word;
use landbridge_flow::Bridge;
use landbridge_flow::exchange::Failure;
use landbridge_flow::ports::Compares;
use landbridge_flow::repair::{lost_here, lost_there, record, tell_lost};
use landbridge_flow::verify::{Finding, Found, verify};
use landbridge_stores::memory::MemoryBackup;

use crate::executor::locked;
use crate::network::SimPeer;
use crate::plan::Names;
use crate::world::{Violation, World};

/// How often all pairs of neighbours verify and repair before they have to agree.
const ROUNDS_MAX: usize = 12;

/// What the operator of each site repairs with each peer.
#[derive(Clone, Default)]
pub struct Doors(Arc<Mutex<HashMap<Pair, Arc<Repair>>>>);

/// A site, and one of its peers.
type Pair = (usize, SiteName);

impl Doors {
    /// What `site` takes back from `peer`.
    pub fn of(&self, site: usize, peer: &SiteName) -> Arc<Repair> {
        locked(&self.0).get(&(site, peer.clone())).cloned().unwrap_or_default()
    }

    fn open(&self, site: usize, peer: &SiteName, repair: Repair) {
        locked(&self.0).insert((site, peer.clone()), Arc::new(repair));
    }

    fn shut(&self) {
        locked(&self.0).clear();
    }
}

/// The backups of a world.
#[derive(Default)]
pub struct Backups {
    taken: Vec<(usize, MemoryBackup)>,
    restored: usize,
}

impl World {
    /// A backup is taken, or a database restored from one. False where neither happens now.
    pub(crate) fn back_up_or_restore(&mut self) -> bool {
        if self.plan.restores == 0 || !self.dice.one_in(4) {
            return false;
        }
        if self.backups.restored < self.plan.restores && self.dice.one_in(3) {
            let Some((site, backup)) = self.dice.pick(&self.backups.taken).cloned() else { return false };
            self.backups.restored += 1;
            self.restore(site, &backup);
        } else {
            let site = self.dice.below(self.stores.len());
            self.backups.taken.push((site, self.stores[site].backup()));
        }
        true
    }

    fn restore(&mut self, site: usize, backup: &MemoryBackup) {
        self.kill(site);
        self.stores[site].restore(backup);
        self.script.restored(site, &self.stores);
        self.start(site);
    }

    /// Operators of all pairs of neighbours verify and repair, until no two sites differ.
    pub(crate) fn repair(&mut self) -> Result<(), Violation> {
        self.come_to_rest()?;
        self.script.find_again(&self.plan, &self.stores);
        let mut pairs: Vec<_> = self.plan.links.iter().map(|link| (link.from, link.to)).collect();
        for _ in 0..ROUNDS_MAX {
            let start = self.dice.below(pairs.len());
            pairs.rotate_left(start);
            let mut differ = Vec::new();
            for (here, there) in pairs.clone() {
                let findings = self.repair_one(here, there)?;
                let unlinked = |finding: &Finding| !matches!(finding.found, Found::Lacking { .. });
                if self.plan.names == Names::Linked && findings.iter().any(unlinked) {
                    self.link_by_hand(here, there)?;
                    self.link_by_hand(there, here)?;
                }
                differ.extend(findings.into_iter().map(|finding| format!("{here}-{there}: {finding:?}")));
                self.come_to_rest()?;
                self.doors.shut();
            }
            if differ.is_empty() {
                return Ok(());
            }
        }
        let findings = self.repair_one(pairs[0].0, pairs[0].1)?;
        let what = format!("after {ROUNDS_MAX} rounds of repair sites still differ, such as {findings:?}");
        Err(Violation { invariant: "what was lost comes back (§5)", what })
    }

    fn repair_one(&mut self, here: usize, there: usize) -> Result<Vec<Finding>, Violation> {
        let bridge = self.bridge(here);
        let (name, own) = (self.plan.sites[there].name.clone(), self.plan.sites[here].name.clone());
        let peer = SimPeer { network: self.network.clone(), from: here, name: own, to: there };
        let done = Arc::<Mutex<Option<Repaired>>>::default();
        let (result, doors) = (done.clone(), self.doors.clone());
        self.executor.spawner.spawn(here, async move {
            let repaired = pin!(repair(&bridge, &name, &peer, |named| doors.open(here, &name, named))).await;
            *locked(&result) = Some(repaired);
        });
        loop {
            while self.go_on()? {}
            if let Some(done) = locked(&done).take() {
                let failed =
                    |e: Failure| Violation { invariant: "what was lost comes back (§5)", what: e.to_string() };
                return done.map_err(failed);
            }
            if !self.time.advance() {
                let what = "a repair does not end".to_owned();
                return Err(Violation { invariant: "what was lost comes back (§5)", what });
            }
        }
    }
}

/// What was found, and repaired.
type Repaired = Result<Vec<Finding>, Failure>;

/// What the operator of one site does. `open` lets the bridge take back what is lacking.
async fn repair(bridge: &Bridge, name: &SiteName, peer: &dyn Compares, open: impl FnOnce(Repair)) -> Repaired {
    let findings = verify(bridge, name, peer, true, &|_| ()).await?;
    // Each text is written once in a world, so that nothing may look alike.
    let word = Word { texts: true, ..Word::default() };
    let here = lost_here(&findings, word);
    open(Repair::new(here.clone(), false));
    record(bridge, name, &lost_there(&findings, word), false).await?;
    tell_lost(bridge, name, peer, &here, false).await?;
    Ok(findings)
}
