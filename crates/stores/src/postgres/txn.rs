//! The port's transaction on top of a connection. Dropped, it sends the connection back to the pool, which rolls it
//! back first.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use landbridge_core::{ProblemId, ProblemName, SiteName, WorkId};
use landbridge_flow::StoreError;
use landbridge_flow::ports::{Append, Body, Mode, NewProblem, ProblemRows, Removal, Shard, Txn};
use tokio_postgres::Row;

use super::fault::{ends_connection, translate};
use super::session::{Pool, Session, lock_params};
use super::values::Params;
use super::{Plan, append, problems, read, remove, statements};

pub(super) struct PostgresTxn {
    pub(super) plan: Arc<Plan>,
    pool: Arc<Pool>,
    /// Nothing only while the transaction is dropped.
    session: Option<Session>,
    pub(super) mode: Mode,
    savepoints: usize,
    /// A statement is on its way: where the transaction is dropped now, it is cancelled.
    in_flight: bool,
    /// Something happened after which the connection is not used again.
    broken: bool,
    /// Something failed since the innermost savepoint. The server would answer a commit with a silent rollback.
    failed: bool,
}

impl PostgresTxn {
    pub(super) async fn begin(pool: &Arc<Pool>, plan: &Arc<Plan>, mode: Mode) -> Result<Self, StoreError> {
        let begin = match mode {
            Mode::Read => statements::BEGIN_READ,
            Mode::Write => statements::BEGIN_WRITE,
        };
        let session = Some(pool.begin(begin).await?);
        let (plan, pool) = (Arc::clone(plan), Arc::clone(pool));
        Ok(Self { plan, pool, session, mode, savepoints: 0, in_flight: false, broken: false, failed: false })
    }

    /// Runs one statement and brings back its rows.
    pub(super) async fn query(&mut self, sql: &str, params: Params) -> Result<Vec<Row>, StoreError> {
        self.in_flight = true;
        let result = match &self.session {
            Some(session) => session.query(sql, params).await.map_err(|e| translate(&e, &self.pool.shown)),
            None => Err(over()),
        };
        self.settle(result)
    }

    /// Runs one statement and says how many rows it appended or changed.
    pub(super) async fn execute(&mut self, sql: &str, params: Params) -> Result<u64, StoreError> {
        self.in_flight = true;
        let result = match &self.session {
            Some(session) => session.execute(sql, params).await.map_err(|e| translate(&e, &self.pool.shown)),
            None => Err(over()),
        };
        self.settle(result)
    }

    /// The same with what the server said, for whoever must know which constraint it was.
    pub(super) async fn query_raw(
        &mut self,
        sql: &str,
        params: Params,
    ) -> Result<Result<Vec<Row>, tokio_postgres::Error>, StoreError> {
        self.in_flight = true;
        let result = match &self.session {
            Some(session) => Ok(session.query(sql, params).await),
            None => Err(over()),
        };
        self.failed |= matches!(result, Ok(Err(_)));
        self.settle(result)
    }

    /// The same for a statement of which only the count matters.
    pub(super) async fn query_raw_count(
        &mut self,
        sql: &str,
        params: Params,
    ) -> Result<Result<u64, tokio_postgres::Error>, StoreError> {
        self.in_flight = true;
        let result = match &self.session {
            Some(session) => Ok(session.execute(sql, params).await),
            None => Err(over()),
        };
        self.failed |= matches!(result, Ok(Err(_)));
        self.settle(result)
    }

    async fn batch(&mut self, sql: &str) -> Result<(), StoreError> {
        self.in_flight = true;
        let result = match &self.session {
            Some(session) => session.client.batch_execute(sql).await.map_err(|e| translate(&e, &self.pool.shown)),
            None => Err(over()),
        };
        self.settle(result)
    }

    fn settle<T>(&mut self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        self.in_flight = false;
        self.broken |= result.as_ref().err().is_some_and(ends_connection);
        self.failed |= result.is_err();
        result
    }

    /// What the server said, in the words of the port.
    pub(super) fn translate(&mut self, e: &tokio_postgres::Error) -> StoreError {
        let translated = translate(e, &self.pool.shown);
        self.broken |= ends_connection(&translated);
        translated
    }

    /// A value of a row that came back.
    pub(super) fn get<'r, T: tokio_postgres::types::FromSql<'r>>(
        &self,
        row: &'r Row,
        at: usize,
    ) -> Result<T, StoreError> {
        row.try_get(at).map_err(|e| StoreError::Broken(format!("{}: {e}", self.pool.shown)))
    }

    fn for_writing(&self) -> Result<(), StoreError> {
        match self.mode {
            Mode::Write => Ok(()),
            Mode::Read => Err(StoreError::Broken("this transaction was begun to read only".to_owned())),
        }
    }

    async fn leave(&mut self, sql: fn(usize) -> String) -> Result<(), StoreError> {
        let Some(innermost) = self.savepoints.checked_sub(1) else {
            return Err(StoreError::Broken("no savepoint is set".to_owned()));
        };
        self.batch(&sql(innermost)).await?;
        self.savepoints = innermost;
        Ok(())
    }
}

fn over() -> StoreError {
    StoreError::Broken("the transaction is over".to_owned())
}

#[async_trait]
impl Txn for PostgresTxn {
    async fn lock(&mut self, shards: &BTreeSet<Shard>) -> Result<(), StoreError> {
        self.for_writing()?;
        let shards: Vec<i32> = shards.iter().map(|shard| i32::from(shard.0)).collect();
        let classes = [Some(self.plan.found.lock_class), self.plan.create_class()];
        for class in classes.into_iter().flatten() {
            self.query(statements::LOCK, lock_params(class, shards.clone())).await?;
        }
        Ok(())
    }

    async fn rows(&mut self, problems: &[ProblemId], peer: Option<&SiteName>) -> Result<Vec<ProblemRows>, StoreError> {
        read::rows(self, problems, peer).await
    }

    async fn bodies(&mut self, rows: &[(ProblemId, WorkId)]) -> Result<Vec<Option<Body>>, StoreError> {
        read::bodies(self, rows).await
    }

    async fn append(&mut self, rows: &[Append]) -> Result<Vec<WorkId>, StoreError> {
        self.for_writing()?;
        let appended = append::append(self, rows).await;
        self.failed |= appended.is_err();
        appended
    }

    async fn remove(&mut self, rows: &[Removal]) -> Result<u64, StoreError> {
        self.for_writing()?;
        let removed = remove::remove(self, rows).await;
        self.failed |= removed.is_err();
        removed
    }

    async fn find(&mut self, homes: &[ProblemName]) -> Result<Vec<Vec<ProblemId>>, StoreError> {
        problems::find(self, homes).await
    }

    async fn create(&mut self, new: &[NewProblem]) -> Result<Vec<ProblemId>, StoreError> {
        self.for_writing()?;
        let created = problems::create(self, new).await;
        self.failed |= created.is_err();
        created
    }

    async fn savepoint(&mut self) -> Result<(), StoreError> {
        self.batch(&statements::savepoint(self.savepoints)).await?;
        self.savepoints += 1;
        Ok(())
    }

    async fn rollback_to(&mut self) -> Result<(), StoreError> {
        self.leave(statements::rollback_to).await?;
        self.failed = false;
        Ok(())
    }

    async fn release(&mut self) -> Result<(), StoreError> {
        self.leave(statements::release).await
    }

    async fn commit(mut self: Box<Self>) -> Result<(), StoreError> {
        if self.failed {
            return Err(StoreError::Broken("a transaction in which a statement failed cannot be committed".to_owned()));
        }
        self.batch("commit").await?;
        if let Some(session) = self.session.take().filter(|_| !self.broken) {
            self.pool.keep(session);
        }
        Ok(())
    }
}

impl Drop for PostgresTxn {
    fn drop(&mut self) {
        if let Some(session) = self.session.take()
            && !self.broken
        {
            Arc::clone(&self.pool).give_up(session, self.in_flight);
        }
    }
}
