//! A store that lets others go on, or kills its site, before and after every call; and that sometimes does not answer.

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use landbridge_core::{ProblemId, ProblemName, SiteName, WorkId};
use landbridge_flow::StoreError;
use landbridge_flow::ports::{
    Append, Body, Capabilities, Clock, Condition, Mode, NewProblem, ProblemRows, Removal, Shard, Store, Swept, Txn,
};

use crate::executor::{Dice, Time, locked, step};

/// What can happen to a site, and whether it happens at all.
#[derive(Clone)]
pub struct Fate {
    /// Chance.
    pub dice: Dice,
    /// Whether anything goes wrong.
    pub on: Arc<AtomicBool>,
    /// Set where the site is to be killed at this very point.
    pub crashed: Arc<AtomicBool>,
    /// One point in so many is a crash.
    pub crash_one_in: usize,
    /// One call in so many fails.
    pub fail_one_in: usize,
}

impl Fate {
    /// A point between two steps: others may go on here, or the site ends here.
    pub async fn point(&self) {
        step().await;
        if self.on.load(Ordering::Relaxed) && self.dice.one_in(self.crash_one_in) {
            self.crashed.store(true, Ordering::Relaxed);
            pending::<()>().await;
        }
    }

    fn fails(&self) -> Result<(), StoreError> {
        if self.on.load(Ordering::Relaxed) && self.dice.one_in(self.fail_one_in) {
            return Err(StoreError::Gone("the simulator took it away".into()));
        }
        Ok(())
    }
}

/// A store with a fate.
pub struct FaultyStore {
    /// The store behind it.
    pub inner: Arc<dyn Store>,
    /// What can happen.
    pub fate: Fate,
}

struct FaultyTxn {
    inner: Box<dyn Txn>,
    fate: Fate,
}

/// Calls through, with a point before and after and, perhaps, a failure instead.
macro_rules! fated {
    ($self:ident, $call:expr) => {{
        $self.fate.point().await;
        $self.fate.fails()?;
        let done = $call.await;
        $self.fate.point().await;
        done
    }};
}

#[async_trait]
impl Store for FaultyStore {
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    async fn signal(&self) -> Result<u64, StoreError> {
        fated!(self, self.inner.signal())
    }

    async fn sweep(&self, after: Option<&ProblemId>, limit: usize) -> Result<Vec<Swept>, StoreError> {
        fated!(self, self.inner.sweep(after, limit))
    }

    async fn begin(&self, mode: Mode) -> Result<Box<dyn Txn>, StoreError> {
        let inner = fated!(self, self.inner.begin(mode))?;
        Ok(Box::new(FaultyTxn { inner, fate: self.fate.clone() }))
    }

    async fn conditions(&self, problem: &ProblemId, work: WorkId) -> Result<Option<Vec<Condition>>, StoreError> {
        fated!(self, self.inner.conditions(problem, work))
    }
}

#[async_trait]
impl Txn for FaultyTxn {
    async fn lock(&mut self, shards: &BTreeSet<Shard>) -> Result<(), StoreError> {
        fated!(self, self.inner.lock(shards))
    }

    async fn rows(&mut self, problems: &[ProblemId], peer: Option<&SiteName>) -> Result<Vec<ProblemRows>, StoreError> {
        fated!(self, self.inner.rows(problems, peer))
    }

    async fn bodies(&mut self, rows: &[(ProblemId, WorkId)]) -> Result<Vec<Option<Body>>, StoreError> {
        fated!(self, self.inner.bodies(rows))
    }

    async fn find(&mut self, homes: &[ProblemName]) -> Result<Vec<Vec<ProblemId>>, StoreError> {
        fated!(self, self.inner.find(homes))
    }

    async fn create(&mut self, problems: &[NewProblem]) -> Result<Vec<ProblemId>, StoreError> {
        fated!(self, self.inner.create(problems))
    }

    async fn append(&mut self, rows: &[Append]) -> Result<Vec<WorkId>, StoreError> {
        fated!(self, self.inner.append(rows))
    }

    async fn remove(&mut self, rows: &[Removal]) -> Result<u64, StoreError> {
        fated!(self, self.inner.remove(rows))
    }

    async fn savepoint(&mut self) -> Result<(), StoreError> {
        fated!(self, self.inner.savepoint())
    }

    async fn rollback_to(&mut self) -> Result<(), StoreError> {
        fated!(self, self.inner.rollback_to())
    }

    async fn release(&mut self) -> Result<(), StoreError> {
        fated!(self, self.inner.release())
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.fate.point().await;
        self.fate.fails()?;
        let done = self.inner.commit().await;
        self.fate.point().await;
        // The answer to a commit can be lost too; what was committed stays.
        done.and_then(|()| self.fate.fails())
    }
}

/// A site's own clock: it jumps, in both directions, whenever the world says so.
#[derive(Clone)]
pub struct JumpingClock {
    /// The world's time.
    pub time: Time,
    /// How far this clock is ahead.
    pub ahead: Arc<std::sync::Mutex<Duration>>,
}

#[async_trait]
impl Clock for JumpingClock {
    fn now(&self) -> Duration {
        self.time.now().saturating_add(*locked(&self.ahead))
    }

    async fn sleep(&self, pause: Duration) {
        self.time.sleep(pause).await;
    }
}
