//! Connections: what each is set to, and a small pool of idle ones. A connection goes back to the pool only after its
//! transaction is rolled back and its named locks are free; one that broke, or that was left in the middle of a call, is
//! thrown away.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use landbridge_flow::StoreError;
use mysql_async::prelude::Queryable;
use mysql_async::{Column, Conn, Params, Row, Value};
use tokio::runtime::Handle;

use super::fault::Trouble;
use super::options::MysqlOptions;
use super::{Plan, statements};

/// How many idle connections are kept.
const IDLE_MAX: usize = 4;

/// How long the server may take to let a connection in.
const CONNECT: Duration = Duration::from_secs(15);

/// An answer: its columns and its rows.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// What the columns are.
    pub(super) columns: Arc<[Column]>,
    /// The rows, all of them.
    pub(super) rows: Vec<Vec<Value>>,
    /// The first number that an auto-increment gave out; 0 where none did.
    pub(super) inserted: u64,
    /// How many rows were appended, changed or deleted.
    pub(super) affected: u64,
}

/// A connection.
pub(super) struct Session {
    conn: Conn,
    /// The distance of two numbers that an auto-increment gives out.
    pub(super) increment: i64,
    /// The largest statement that the server takes, in bytes.
    pub(super) packet_max: usize,
    /// A call is under way, or one was abandoned: what comes next on the wire is not known.
    pub(super) in_call: bool,
}

impl Session {
    /// Connects and sets what every statement relies on.
    pub(super) async fn open(options: &MysqlOptions) -> Result<Self, Trouble> {
        let shown = options.shown();
        let connecting = tokio::time::timeout(CONNECT, Conn::new(options.driver()));
        let conn = connecting.await.map_err(|_| StoreError::Gone(format!("{shown}: no answer")))?;
        let mut session = Self { conn: conn?, increment: 1, packet_max: 1 << 20, in_call: false };
        session.run(&statements::settings(options.busy_seconds())).await?;
        let answer = session.ask("select @@auto_increment_increment, @@max_allowed_packet", Vec::new()).await?;
        let of = |at: usize| answer.rows.first().and_then(|r| r.get(at)).and_then(super::values::number);
        session.increment = of(0).unwrap_or(1);
        session.packet_max = of(1).and_then(|n| usize::try_from(n).ok()).unwrap_or(1 << 20);
        Ok(session)
    }

    /// Runs a statement with these values and brings back everything it says.
    pub(super) async fn ask(&mut self, sql: &str, bound: Vec<Value>) -> Result<Answer, Trouble> {
        let bound = if bound.is_empty() { Params::Empty } else { Params::Positional(bound) };
        let mut result = self.conn.exec_iter(sql, bound).await?;
        let columns = result.columns().unwrap_or_default();
        let (inserted, affected) = (result.last_insert_id().unwrap_or(0), result.affected_rows());
        let rows: Vec<Row> = result.collect().await?;
        let rows = rows.into_iter().map(Row::unwrap).collect();
        result.drop_result().await?;
        Ok(Answer { columns, rows, inserted, affected })
    }

    /// Runs statements of the adapter's own, without values.
    pub(super) async fn run(&mut self, sql: &str) -> Result<(), Trouble> {
        Ok(self.conn.query_drop(sql).await?)
    }

    /// Has the server look at a statement without running it: names, rights and the columns of its answer.
    /// Also how many values it wants.
    pub(super) async fn prepare(&mut self, sql: &str) -> Result<(Vec<Column>, usize), Trouble> {
        let statement = self.conn.prep(sql).await?;
        let prepared = (statement.columns().to_vec(), usize::from(statement.num_params()));
        self.conn.close(statement).await?;
        Ok(prepared)
    }

    /// Ends whatever is open and frees these locks. Whether the connection is fit for the next transaction.
    async fn clean(&mut self, locks: &BTreeSet<String>) -> bool {
        if self.in_call || self.run("rollback").await.is_err() {
            return false;
        }
        locks.is_empty() || self.run(&statements::release_locks(locks)).await.is_ok()
    }
}

/// The connections of one store.
pub(super) struct Pool {
    /// What every connection works by.
    pub(super) plan: Arc<Plan>,
    runtime: Handle,
    idle: Mutex<Vec<Session>>,
}

impl Pool {
    /// An empty pool of the runtime that this is called in.
    pub(super) fn new(plan: Arc<Plan>) -> Self {
        Self { plan, runtime: Handle::current(), idle: Mutex::default() }
    }

    /// A connection on which `first` was run. An idle one may have been closed by the server meanwhile, so that is
    /// tried on the next, and last on a new one.
    pub(super) async fn begin(&self, first: &str) -> Result<Session, StoreError> {
        let translate = |e: Trouble| e.translate(&self.plan.shown, None);
        while let Some(mut session) = self.idle() {
            match session.run(first).await {
                Ok(()) => return Ok(session),
                Err(e) => tracing::debug!("an idle connection is no longer usable: {}", translate(e)),
            }
        }
        let mut session = Session::open(&self.plan.options).await.map_err(translate)?;
        session.run(first).await.map_err(translate)?;
        Ok(session)
    }

    fn idle(&self) -> Option<Session> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn keep(&self, session: Session) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(session);
        }
    }

    /// Takes a connection back: whatever is open on it is rolled back and its locks are freed first.
    pub(super) async fn give_back(&self, mut session: Session, locks: &BTreeSet<String>) {
        if session.clean(locks).await {
            self.keep(session);
        }
    }

    /// The same from where nothing can wait.
    pub(super) fn give_back_later(self: &Arc<Self>, session: Session, locks: BTreeSet<String>) {
        let pool = Arc::clone(self);
        self.runtime.spawn(async move { pool.give_back(session, &locks).await });
    }
}
