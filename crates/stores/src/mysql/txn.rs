//! The port's transaction on a connection of the pool. Dropped, it sends the connection back, which is rolled back and
//! freed of its locks first; a connection that was abandoned in the middle of a call is closed instead.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use landbridge_core::{ProblemId, ProblemName, SiteName, WorkId};
use landbridge_flow::StoreError;
use landbridge_flow::ports::{Append, Body, Condition, Mode, NewProblem, ProblemRows, Removal, Shard, Swept, Txn};

use super::fault::Trouble;
use super::pool::{Pool, Session};
use super::schema::Table;
use super::{Plan, append, problems, read, remove, statements, values};

pub(super) struct MysqlTxn {
    pool: Arc<Pool>,
    plan: Arc<Plan>,
    mode: Mode,
    /// Nothing only once the transaction is over.
    session: Option<Session>,
    locks: BTreeSet<String>,
    savepoints: usize,
    /// Why the server ended the transaction by itself: a deadlock, a lost connection. Every later call fails for the
    /// same reason: what it did would stand alone, without what the transaction did before.
    ended: Option<StoreError>,
}

impl MysqlTxn {
    /// A read has its snapshot from here on.
    pub(super) async fn begin(pool: &Arc<Pool>, mode: Mode) -> Result<Self, StoreError> {
        let first = match mode {
            Mode::Read => statements::BEGIN_READ,
            Mode::Write => statements::BEGIN_WRITE,
        };
        let session = Some(pool.begin(first).await?);
        let (pool, plan) = (Arc::clone(pool), Arc::clone(&pool.plan));
        Ok(Self { pool, plan, mode, session, locks: BTreeSet::new(), savepoints: 0, ended: None })
    }

    /// The connection, for one call. Whoever takes it tells [`MysqlTxn::leave`] how that went.
    fn enter(&mut self) -> Result<(&mut Session, Arc<Plan>), StoreError> {
        if let Some(e) = &self.ended {
            return Err(e.clone());
        }
        let session = self.session.as_mut().ok_or_else(|| StoreError::Broken("the transaction is over".to_owned()))?;
        session.in_call = true;
        Ok((session, Arc::clone(&self.plan)))
    }

    fn leave<T>(&mut self, done: Result<T, Trouble>) -> Result<T, StoreError> {
        self.leave_table(done, None)
    }

    /// The same where rows were appended to this table.
    fn leave_table<T>(&mut self, done: Result<T, Trouble>, table: Option<&Table>) -> Result<T, StoreError> {
        let done = done.map_err(|e| e.translate(&self.plan.shown, table));
        let lost = matches!(done, Err(StoreError::Gone(_)));
        if let Err(e) = &done
            && !matches!(e, StoreError::Row { .. } | StoreError::Taken)
        {
            self.ended = Some(e.clone());
        }
        if let Some(session) = &mut self.session {
            session.in_call = lost;
        }
        done
    }

    async fn run(&mut self, sql: &str) -> Result<(), StoreError> {
        let (session, _) = self.enter()?;
        let done = session.run(sql).await;
        self.leave(done)
    }

    fn for_writing(&self) -> Result<(), StoreError> {
        match self.mode {
            Mode::Write => Ok(()),
            Mode::Read => Err(StoreError::Broken("this transaction was begun to read only".to_owned())),
        }
    }

    pub(super) async fn sweep(&mut self, after: Option<&ProblemId>, limit: usize) -> Result<Vec<Swept>, StoreError> {
        let (session, plan) = self.enter()?;
        let done = read::sweep(session, &plan, after, limit).await;
        self.leave(done)
    }

    pub(super) async fn conditions(
        &mut self,
        problem: &ProblemId,
        work: WorkId,
    ) -> Result<Option<Vec<Condition>>, StoreError> {
        let (session, plan) = self.enter()?;
        let done = read::conditions(session, &plan, problem, work).await;
        self.leave(done)
    }

    /// Ends the transaction at once and frees its locks.
    pub(super) async fn end(mut self) {
        self.put_back().await;
    }

    async fn put_back(&mut self) {
        if let Some(session) = self.session.take() {
            let locks = std::mem::take(&mut self.locks);
            self.pool.give_back(session, &locks).await;
        }
    }

    async fn leave_savepoint(&mut self, sql: fn(usize) -> String) -> Result<(), StoreError> {
        let Some(innermost) = self.savepoints.checked_sub(1) else {
            return Err(StoreError::Broken("no savepoint is set".to_owned()));
        };
        self.run(&sql(innermost)).await?;
        self.savepoints = innermost;
        Ok(())
    }
}

#[async_trait]
impl Txn for MysqlTxn {
    async fn lock(&mut self, shards: &BTreeSet<Shard>) -> Result<(), StoreError> {
        self.for_writing()?;
        let names = self.plan.lock_names(shards);
        let wanted: BTreeSet<String> = names.difference(&self.locks).cloned().collect();
        if wanted.is_empty() {
            return Ok(());
        }
        // Some of them may be held although others could not be had, so all are freed in the end.
        self.locks.extend(wanted.iter().cloned());
        let (session, plan) = self.enter()?;
        let sql = statements::take_locks(&wanted, plan.options.busy_seconds());
        let done = session.ask(&sql, Vec::new()).await;
        let done =
            done.and_then(|answer| match answer.rows.first().and_then(|r| r.first()).is_some_and(values::truth) {
                true => Ok(()),
                false => Err(StoreError::Busy(format!(
                    "{}: another bridge has held the lock of a problem for longer than {} s",
                    plan.shown,
                    plan.options.busy_seconds()
                ))
                .into()),
            });
        self.leave(done)
    }

    async fn rows(&mut self, problems: &[ProblemId], peer: Option<&SiteName>) -> Result<Vec<ProblemRows>, StoreError> {
        let (session, plan) = self.enter()?;
        let done = read::rows(session, &plan, problems, peer).await;
        self.leave(done)
    }

    async fn bodies(&mut self, rows: &[(ProblemId, WorkId)]) -> Result<Vec<Option<Body>>, StoreError> {
        let mode = self.mode;
        let (session, plan) = self.enter()?;
        let done = read::bodies(session, &plan, rows, mode).await;
        self.leave(done)
    }

    async fn append(&mut self, rows: &[Append]) -> Result<Vec<WorkId>, StoreError> {
        self.for_writing()?;
        let (session, plan) = self.enter()?;
        let done = append::append(session, &plan, rows).await;
        self.leave_table(done, plan.found.history.as_ref())
    }

    async fn remove(&mut self, rows: &[Removal]) -> Result<u64, StoreError> {
        self.for_writing()?;
        let (session, plan) = self.enter()?;
        let done = remove::remove(session, &plan, rows).await;
        self.leave_table(done, plan.found.history.as_ref())
    }

    async fn find(&mut self, homes: &[ProblemName]) -> Result<Vec<Vec<ProblemId>>, StoreError> {
        let (session, plan) = self.enter()?;
        let done = problems::find(session, &plan, homes).await;
        self.leave(done)
    }

    async fn create(&mut self, new: &[NewProblem]) -> Result<Vec<ProblemId>, StoreError> {
        self.for_writing()?;
        let (session, plan) = self.enter()?;
        let done = problems::create(session, &plan, new).await;
        self.leave_table(done, plan.found.problems.as_ref())
    }

    async fn savepoint(&mut self) -> Result<(), StoreError> {
        self.run(&statements::savepoint(self.savepoints)).await?;
        self.savepoints += 1;
        Ok(())
    }

    async fn rollback_to(&mut self) -> Result<(), StoreError> {
        self.leave_savepoint(statements::rollback_to).await
    }

    async fn release(&mut self) -> Result<(), StoreError> {
        self.leave_savepoint(statements::release).await
    }

    async fn commit(mut self: Box<Self>) -> Result<(), StoreError> {
        let done = self.run("commit").await;
        self.put_back().await;
        done
    }
}

impl Drop for MysqlTxn {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            self.pool.give_back_later(session, std::mem::take(&mut self.locks));
        }
    }
}
