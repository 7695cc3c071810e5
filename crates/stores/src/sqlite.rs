//! The adapter for SQLite.
//!
//! Each connection lives on a thread of its own (`lane`); every statement is in `statements`. SQLite has one
//! writer at a time, so a write holds all shards from its `begin immediate` to its end, and the application waits for
//! it as the bridge waits for the application. The journal mode stays what the application chose: outside WAL, a
//! reader and the commit of a writer wait for each other, which is why reads are short.
//!
//! Problem ids that are blobs are not bridged: they are no text.

mod apart;
mod append;
mod by_statements;
mod catalog;
mod fault;
mod inspect;
mod lane;
mod problems;
mod read;
mod remove;
mod schema;
mod session;
mod statements;
#[cfg(test)]
mod tests;
mod txn;
mod values;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use landbridge_core::{ProblemId, WorkId};
use landbridge_flow::StoreError;
use landbridge_flow::ports::{Capabilities, Condition, Mode, Store, Swept, Txn};
use rusqlite::OpenFlags;
use tokio::sync::Mutex;

pub use catalog::{catalog, query, sample, writable};
pub use inspect::inspect;

use crate::inspection::Inspection;
use crate::mapping::Mapping;
use inspect::{Found, Seen};
use lane::{Listener, Pool};
use txn::SqliteTxn;

/// How the database is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SqliteOptions {
    /// How long a locked database is waited for, before [`StoreError::Busy`].
    pub busy: Duration,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { busy: Duration::from_secs(5) }
    }
}

/// What every connection works by.
struct Plan {
    path: PathBuf,
    mapping: Mapping,
    found: Found,
    flags: OpenFlags,
    busy: Duration,
}

/// A SQLite database with the table of one history.
pub struct SqliteStore {
    pool: Arc<Pool>,
    listener: Mutex<Listener>,
    capabilities: Capabilities,
}

impl SqliteStore {
    /// Opens the database at `path`, which must exist, and compares it with `mapping`.
    ///
    /// # Errors
    /// [`StoreError::Gone`] where there is no such file, [`StoreError::Mapping`] with every fault that [`inspect`]
    /// finds, one a line.
    pub fn open(path: &Path, mapping: Mapping, options: SqliteOptions) -> Result<Self, StoreError> {
        Self::open_with(path, mapping, options, lane::FLAGS)
    }

    fn open_with(
        path: &Path,
        mapping: Mapping,
        SqliteOptions { busy }: SqliteOptions,
        flags: OpenFlags,
    ) -> Result<Self, StoreError> {
        let Seen { inspection: Inspection { faults, notes }, found } = inspect::look(path, &mapping, flags, busy)?;
        if !faults.is_empty() {
            return Err(StoreError::Mapping(format!("{}:\n{}", path.display(), faults.join("\n"))));
        }
        for note in notes {
            tracing::info!(database = %path.display(), "{note}");
        }
        let engine = format!("SQLite {}", rusqlite::version());
        let capabilities = Capabilities {
            text_chars_max: found.text_chars_max,
            engine,
            fields_kept: append::fields_kept(&mapping),
            markers_apart: mapping.markers.is_some(),
        };
        let plan = Plan { path: path.to_owned(), mapping, found, flags, busy };
        Ok(Self { pool: Arc::new(Pool::new(Arc::new(plan))), listener: Mutex::default(), capabilities })
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn signal(&self) -> Result<u64, StoreError> {
        self.listener.lock().await.signal(&self.pool.plan).await
    }

    async fn sweep(&self, after: Option<&ProblemId>, limit: usize) -> Result<Vec<Swept>, StoreError> {
        let after = after.cloned();
        self.pool.read(move |connection, plan| read::sweep(connection, plan, after.as_ref(), limit)).await
    }

    async fn begin(&self, mode: Mode) -> Result<Box<dyn Txn>, StoreError> {
        Ok(Box::new(SqliteTxn::begin(&self.pool, mode).await?))
    }

    async fn conditions(&self, problem: &ProblemId, work: WorkId) -> Result<Option<Vec<Condition>>, StoreError> {
        let problem = problem.clone();
        self.pool.read(move |connection, plan| read::conditions(connection, plan, &problem, work)).await
    }
}
