//! The adapter for MariaDB (10.5 and later) and MySQL 8.
//!
//! A read is one repeatable-read snapshot. A write reads what is committed (`read committed`) under named locks, which
//! belong to the server and not to a transaction: they are freed after the commit, by name, and with the connection at
//! the latest. Only tables whose engine has transactions are bridged. How durable a commit is, the server's settings
//! say; `inspect` notes where they promise less than a disk.
//!
//! Problem ids that are bytes, floating-point numbers or times are not bridged.

mod append;
mod catalog;
mod fault;
mod inspect;
mod options;
mod pool;
mod problems;
mod read;
mod remove;
mod rowwise;
mod schema;
mod signal;
mod statements;
mod txn;
mod values;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use landbridge_core::{Digest, ProblemId, WorkId};
use landbridge_flow::StoreError;
use landbridge_flow::ports::{Capabilities, Condition, Mode, Shard, Store, Swept, Txn};
use tokio::sync::Mutex;

pub use catalog::{catalog, query, sample};
pub use inspect::{inspect, writable};
pub use options::MysqlOptions;

use crate::inspection::Inspection;
use crate::mapping::{Mapping, Source};
use inspect::Seen;
use pool::Pool;
use signal::Listener;
use txn::MysqlTxn;
use values::IdClass;

/// How a text column keeps its texts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum TextForm {
    /// In a character set whose bytes are those of UTF-8.
    #[default]
    Utf8,
    /// In another character set.
    Other,
    /// As bytes, taken for UTF-8 or for what an encoding says.
    Bytes,
}

/// What the adapter has to know of the tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Found {
    /// The database that the connection is in.
    database: String,
    /// `MariaDB 10.11.6`.
    engine: String,
    /// The history, where it is a table.
    history: Option<schema::Table>,
    /// The table of the problems.
    problems: Option<schema::Table>,
    /// The table of the markers.
    markers: Option<schema::Table>,
    /// The history's problem column.
    problem: IdClass,
    /// The id in the table of the problems.
    problem_id: IdClass,
    /// The problem in the table of the markers.
    marker_problem: IdClass,
    /// The text column.
    text: TextForm,
    /// The text column of the markers.
    marker_text: TextForm,
    /// Character set and collation by which the history tells problem ids apart, where they are texts.
    collation: Option<(String, String)>,
    /// The width of the text column.
    text_chars_max: Option<usize>,
    /// The unique indices on exactly problem and work id.
    keys: Vec<String>,
    /// Whether the query of a statement mapping has a column `share`.
    read_has_share: bool,
}

/// What every connection works by.
struct Plan {
    options: MysqlOptions,
    /// The database in messages.
    shown: String,
    mapping: Mapping,
    found: Found,
    /// The beginning of the names of the locks.
    lock: String,
}

impl Plan {
    fn new(options: MysqlOptions, mapping: Mapping, found: Found) -> Self {
        let table = match &mapping.source {
            Source::Table(table) => &table.name.name,
            Source::Statements(_) => "",
        };
        let schema = mapping.table().and_then(|t| t.name.schema.as_deref()).unwrap_or(&found.database);
        let lock = format!("landbridge:{:016x}", Digest::of(&format!("{schema}.{table}")).short());
        Self { shown: options.shown(), options, mapping, found, lock }
    }

    /// The names of the locks of these shards. Whoever creates problems takes those of their table too: histories that
    /// share it would else look for one home name at once, and both create it.
    fn lock_names(&self, shards: &BTreeSet<Shard>) -> BTreeSet<String> {
        let creates = self.mapping.problems.as_ref().filter(|table| table.create.is_some());
        let of_table = creates.map(|table| {
            let schema = table.name.schema.as_deref().unwrap_or(&self.found.database);
            format!("landbridge:{:016x}", Digest::of(&format!("create {schema}.{}", table.name.name)).short())
        });
        let each = |lock: &String| shards.iter().map(move |Shard(n)| format!("{lock}:{n:03}")).collect::<Vec<_>>();
        std::iter::once(&self.lock).chain(&of_table).flat_map(each).collect()
    }
}

/// A MariaDB or MySQL database with the table of one history.
pub struct MysqlStore {
    pool: Arc<Pool>,
    listener: Mutex<Listener>,
    capabilities: Capabilities,
}

impl MysqlStore {
    /// Connects and compares the database with `mapping`.
    ///
    /// # Errors
    /// [`StoreError::Gone`] where the server does not answer, [`StoreError::Mapping`] with every fault that [`inspect`]
    /// finds, one a line.
    pub async fn open(options: MysqlOptions, mapping: Mapping) -> Result<Self, StoreError> {
        let Seen { inspection: Inspection { faults, notes }, found } = inspect::look(&options, &mapping).await?;
        let shown = options.shown();
        if !faults.is_empty() {
            return Err(StoreError::Mapping(format!("{shown}:\n{}", faults.join("\n"))));
        }
        for note in notes {
            tracing::info!(database = shown, "{note}");
        }
        let capabilities = Capabilities {
            text_chars_max: found.text_chars_max,
            engine: found.engine.clone(),
            fields_kept: append::fields_kept(&mapping),
            markers_apart: mapping.markers.is_some(),
        };
        let plan = Arc::new(Plan::new(options, mapping, found));
        Ok(Self { pool: Arc::new(Pool::new(plan)), listener: Mutex::default(), capabilities })
    }
}

#[async_trait]
impl Store for MysqlStore {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn signal(&self) -> Result<u64, StoreError> {
        self.listener.lock().await.signal(&self.pool.plan).await
    }

    async fn sweep(&self, after: Option<&ProblemId>, limit: usize) -> Result<Vec<Swept>, StoreError> {
        let mut txn = MysqlTxn::begin(&self.pool, Mode::Read).await?;
        let swept = txn.sweep(after, limit).await;
        txn.end().await;
        swept
    }

    async fn begin(&self, mode: Mode) -> Result<Box<dyn Txn>, StoreError> {
        Ok(Box::new(MysqlTxn::begin(&self.pool, mode).await?))
    }

    async fn conditions(&self, problem: &ProblemId, work: WorkId) -> Result<Option<Vec<Condition>>, StoreError> {
        let mut txn = MysqlTxn::begin(&self.pool, Mode::Read).await?;
        let conditions = txn.conditions(problem, work).await;
        txn.end().await;
        conditions
    }
}
