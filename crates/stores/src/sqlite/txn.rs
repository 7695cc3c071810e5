//! The port's transaction on top of a connection's thread. Dropped, it sends the connection back to the pool, which
//! rolls it back first.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use landbridge_core::{ProblemId, ProblemName, SiteName, WorkId};
use landbridge_flow::StoreError;
use landbridge_flow::ports::{Append, Body, Mode, NewProblem, ProblemRows, Removal, Shard, Txn};
use rusqlite::Connection;
use tokio::sync::OwnedSemaphorePermit;

use super::fault::Trouble;
use super::lane::{Lane, Pool};
use super::session::Session;
use super::{Plan, append, problems, read, remove};

pub(super) struct SqliteTxn {
    pool: Arc<Pool>,
    /// Nothing only while the transaction is dropped.
    lane: Option<Lane>,
    mode: Mode,
    turn: Option<OwnedSemaphorePermit>,
}

impl SqliteTxn {
    /// A read has its snapshot from here on; a write waits until it is locked or first used.
    pub(super) async fn begin(pool: &Arc<Pool>, mode: Mode) -> Result<Self, StoreError> {
        let txn = Self { lane: Some(pool.take().await?), pool: Arc::clone(pool), mode, turn: None };
        if mode == Mode::Read {
            txn.call(Session::begin_read).await?;
        }
        Ok(txn)
    }

    async fn call<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Session) -> Result<T, StoreError> + Send + 'static,
    {
        match &self.lane {
            Some(lane) => lane.call(job).await,
            None => Err(StoreError::Broken("the transaction is over".to_owned())),
        }
    }

    /// Makes sure that a transaction is open: for a write, that this is the only writer.
    async fn enter(&mut self) -> Result<(), StoreError> {
        if self.mode == Mode::Read || self.turn.is_some() {
            return Ok(());
        }
        let turn = Arc::clone(&self.pool.writer).acquire_owned().await;
        let turn = turn.map_err(|_| StoreError::Broken("the store is closed".to_owned()))?;
        self.call(Session::begin_write).await?;
        self.turn = Some(turn);
        Ok(())
    }

    async fn run<T, F>(&mut self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection, &Plan) -> Result<T, Trouble> + Send + 'static,
    {
        self.enter().await?;
        self.call(|session| session.run(job)).await
    }

    fn for_writing(&self) -> Result<(), StoreError> {
        match self.mode {
            Mode::Write => Ok(()),
            Mode::Read => Err(StoreError::Broken("this transaction was begun to read only".to_owned())),
        }
    }
}

#[async_trait]
impl Txn for SqliteTxn {
    async fn lock(&mut self, _shards: &BTreeSet<Shard>) -> Result<(), StoreError> {
        // SQLite has one writer at a time; that one holds every shard.
        self.for_writing()?;
        self.enter().await
    }

    async fn rows(&mut self, problems: &[ProblemId], peer: Option<&SiteName>) -> Result<Vec<ProblemRows>, StoreError> {
        let (problems, peer) = (problems.to_vec(), peer.cloned());
        self.run(move |connection, plan| read::rows(connection, plan, &problems, peer.as_ref())).await
    }

    async fn bodies(&mut self, rows: &[(ProblemId, WorkId)]) -> Result<Vec<Option<Body>>, StoreError> {
        let rows = rows.to_vec();
        self.run(move |connection, plan| read::bodies(connection, plan, &rows)).await
    }

    async fn append(&mut self, rows: &[Append]) -> Result<Vec<WorkId>, StoreError> {
        self.for_writing()?;
        let rows = rows.to_vec();
        self.run(move |connection, plan| append::append(connection, plan, &rows)).await
    }

    async fn remove(&mut self, rows: &[Removal]) -> Result<u64, StoreError> {
        self.for_writing()?;
        let rows = rows.to_vec();
        self.run(move |connection, plan| remove::remove(connection, plan, &rows)).await
    }

    async fn find(&mut self, homes: &[ProblemName]) -> Result<Vec<Vec<ProblemId>>, StoreError> {
        let homes = homes.to_vec();
        self.run(move |connection, plan| problems::find(connection, plan, &homes)).await
    }

    async fn create(&mut self, problems: &[NewProblem]) -> Result<Vec<ProblemId>, StoreError> {
        self.for_writing()?;
        let new = problems.to_vec();
        self.run(move |connection, plan| problems::create(connection, plan, &new)).await
    }

    async fn savepoint(&mut self) -> Result<(), StoreError> {
        self.enter().await?;
        self.call(Session::savepoint).await
    }

    async fn rollback_to(&mut self) -> Result<(), StoreError> {
        self.call(Session::rollback_to).await
    }

    async fn release(&mut self) -> Result<(), StoreError> {
        self.call(Session::release).await
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.call(Session::commit).await
    }
}

impl Drop for SqliteTxn {
    fn drop(&mut self) {
        if let Some(lane) = self.lane.take() {
            self.pool.give_back(lane, self.turn.take());
        }
    }
}
