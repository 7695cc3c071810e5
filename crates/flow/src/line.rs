//! The line to one peer: its outbox, what is on its way, and who is to be woken. Nothing here speaks to the peer; that is
//! `exchange`.

use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use landbridge_core::message::{Belief, Delivery};
use landbridge_core::pairing::own_name;
use landbridge_core::{Digest, ProblemId, ProblemName, SiteName};
use tokio::sync::Notify;

use crate::bridge::Bridge;
use crate::outbox::Outbox;
use crate::send::Outgoing;

/// The line to one peer.
pub struct Line {
    pub(crate) peer: SiteName,
    outbox: Mutex<Outbox>,
    pub(crate) bell: Notify,
    pub(crate) landed: Notify,
    /// One comparison at a time: each has the rows of many problems in memory.
    pub(crate) comparing: tokio::sync::Mutex<()>,
    pub(crate) entries_max: AtomicUsize,
    pub(crate) pulls: AtomicU64,
    pub(crate) handed_out: Mutex<Option<(Digest, Outgoing)>>,
}

impl Line {
    /// A line to `peer` whose first deliveries come from a pass through all problems.
    pub fn new(bridge: &Bridge, peer: SiteName) -> Self {
        Self {
            peer,
            outbox: Mutex::new(Outbox::new(bridge.limits.outbox_problems_max, &bridge.pauses)),
            bell: Notify::new(),
            landed: Notify::new(),
            comparing: tokio::sync::Mutex::default(),
            entries_max: AtomicUsize::new(bridge.limits.batch_entries_max),
            pulls: AtomicU64::new(0),
            handed_out: Mutex::new(None),
        }
    }

    /// The peer at its other end.
    pub fn peer(&self) -> &SiteName {
        &self.peer
    }

    /// Something changed in `problem`.
    pub fn touch(&self, problem: &ProblemId) {
        self.outbox().touch(problem);
    }

    /// Wakes whoever waits for something to deliver.
    pub fn ring(&self) {
        self.bell.notify_one();
    }

    /// An operator's word: what the peer refused is tried now, and everything is looked at once more, since a row that
    /// could not be sent may have been corrected.
    pub fn retry(&self) {
        self.outbox().retry();
        self.start_pass();
    }

    /// The peer's own word that it lacks entries of these problems: what it refused of them before is tried now.
    pub(crate) fn retry_of(&self, problems: &[ProblemId]) {
        let mut outbox = self.outbox();
        problems.iter().for_each(|problem| outbox.retry_of(problem));
        drop(outbox);
        self.ring();
    }

    /// Everything is looked at once more.
    pub fn start_pass(&self) {
        self.outbox().start_pass();
        self.ring();
    }

    pub(crate) fn outbox(&self) -> MutexGuard<'_, Outbox> {
        // A panic elsewhere leaves an outbox that at worst forgot something, which the next sweep finds.
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn handed_out(&self) -> MutexGuard<'_, Option<(Digest, Outgoing)>> {
        self.handed_out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put_back(&self, problems: Vec<ProblemId>) {
        let mut outbox = self.outbox();
        outbox.left(problems.iter().map(|p| (p.clone(), Default::default())).collect());
        outbox.landed(problems);
        self.landed.notify_waiters();
    }

    fn unreceipted(&self, problems: Vec<ProblemId>, now: Duration) {
        self.outbox().unreceipted(problems, now);
        self.landed.notify_waiters();
    }

    /// Whether the peer knows from a delivery on this line what the problem is called here, and its receipt is not here yet:
    /// by this site's markers the two would know nothing of each other.
    pub(crate) fn is_about_to_link(&self, bridge: &Bridge, delivery: &Delivery) -> bool {
        let theirs = delivery.names.get(&self.peer).map(|name| ProblemName::new(self.peer.clone(), name.clone()));
        let is_linked = || theirs.is_some_and(|theirs| bridge.links.of(&theirs).is_some());
        let is_flying = |ours| self.outbox().is_flying(ours);
        delivery.belief != Belief::default() && own_name(bridge.site(), delivery).is_some_and(is_flying) && !is_linked()
    }
}

/// Returns problems to the outbox where the attempt ends early, by an error or by being dropped.
pub(crate) struct Flight<'a> {
    pub(crate) line: &'a Line,
    pub(crate) problems: Vec<ProblemId>,
    /// Since when it may have been handed out, and recorded: it then counts as handed out without a receipt.
    pub(crate) handed_out: Option<Duration>,
}

impl<'a> Flight<'a> {
    pub(crate) fn of(line: &'a Line, outgoing: &Outgoing) -> Self {
        Self { line, problems: outgoing.rows().map(|(problem, _)| problem.clone()).collect(), handed_out: None }
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let problems = std::mem::take(&mut self.problems);
        match self.handed_out {
            Some(at) => self.line.unreceipted(problems, at),
            None => self.line.put_back(problems),
        }
    }
}
