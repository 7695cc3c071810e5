//! The adapter for PostgreSQL, 13 and later.
//!
//! Every statement is in `statements`; each runs in one round trip, with many problems and rows bound as arrays. A read
//! is one repeatable-read transaction; a write is read committed under advisory locks, so that what it reads after
//! waiting is what is committed. Where the server goes away (a restart, a failover), the connection is thrown away and
//! the next call opens another.
//!
//! Problem ids of any type are carried as text and cast to the column's own type, so that its index is used; an id that
//! the column would spell otherwise does not exist.

mod append;
mod fault;
mod inspect;
mod options;
mod problems;
mod read;
mod remove;
mod schema;
mod session;
mod statements;
mod tls;
mod txn;
mod values;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use landbridge_core::{Digest, ProblemId, WorkId};
use landbridge_flow::StoreError;
use landbridge_flow::ports::{Capabilities, Condition, Kind, Mode, Store, Swept, Txn};

pub use inspect::inspect;
pub use options::PostgresOptions;
pub use schema::{catalog, query, sample};

use crate::inspection::Inspection;
use crate::mapping::Mapping;
use inspect::Seen;
use session::Pool;
use txn::PostgresTxn;
use values::{FieldColumn, IdColumn};

/// What every transaction works by.
struct Plan {
    /// With the names as the catalogue has them.
    mapping: Mapping,
    found: Found,
}

impl Plan {
    /// The class of the locks for whoever creates problems: equal for every history that shares their table, or two of
    /// them would look for one home name at once, and both create it.
    fn create_class(&self) -> Option<i32> {
        let table = self.mapping.problems.as_ref().filter(|table| table.create.is_some())?;
        let class = format!("create {}", statements::table(&table.name));
        Some((Digest::of(&class).short() >> 32) as u32 as i32)
    }
}

/// What the adapter has to know of the database.
#[derive(Debug, Clone)]
struct Found {
    /// As people call it.
    version: String,
    /// The history's problem column.
    problem: IdColumn,
    /// Whether the numbers' column holds nothing but whole numbers.
    work_is_integer: bool,
    /// The base type of the text column.
    text_type: String,
    /// Its width in characters.
    text_chars_max: Option<usize>,
    /// The shared columns.
    fields: BTreeMap<String, FieldColumn>,
    /// Whether `read` has a condition of its own.
    read_has_share: bool,
    /// The id in the table of the problems.
    problem_id: Option<IdColumn>,
    /// The shared columns of the problems.
    problem_fields: BTreeMap<String, FieldColumn>,
    /// The link column.
    link: Option<IdColumn>,
    /// The problem column in the markers' own table.
    markers: Option<IdColumn>,
    /// The unique indices that say that a number is taken.
    number_indices: Vec<String>,
    /// The class of the advisory locks: equal for every bridge on the same table.
    lock_class: i32,
}

/// A PostgreSQL database with the table of one history.
pub struct PostgresStore {
    pool: Arc<Pool>,
    plan: Arc<Plan>,
    capabilities: Capabilities,
}

impl PostgresStore {
    /// Connects and compares the database with `mapping`.
    ///
    /// # Errors
    /// [`StoreError::Gone`] where the database does not answer, [`StoreError::Mapping`] with every fault that
    /// [`inspect`] finds, one a line.
    pub async fn open(options: PostgresOptions, mapping: Mapping) -> Result<Self, StoreError> {
        let shown = options.shown();
        let Seen { inspection: Inspection { faults, notes }, mapping, found } =
            inspect::look(&options, &mapping).await?;
        if !faults.is_empty() {
            return Err(StoreError::Mapping(format!("{shown}:\n{}", faults.join("\n"))));
        }
        for note in notes {
            tracing::info!(database = %shown, "{note}");
        }
        let found = found.ok_or_else(|| StoreError::Broken(format!("{shown}: the history was not found")))?;
        let capabilities = Capabilities {
            text_chars_max: found.text_chars_max,
            engine: format!("PostgreSQL {}", found.version),
            fields_kept: match mapping.table() {
                Some(_) => append::filled(&mapping, Kind::Entry, |_| true).into_iter().map(str::to_owned).collect(),
                // What statements do with a field nobody can say.
                None => std::collections::BTreeSet::new(),
            },
            markers_apart: mapping.markers.is_some(),
        };
        let pool = Arc::new(Pool::new(options)?);
        Ok(Self { pool, plan: Arc::new(Plan { mapping, found }), capabilities })
    }
}

#[async_trait]
impl Store for PostgresStore {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn signal(&self) -> Result<u64, StoreError> {
        self.pool.signal(statements::SIGNAL).await.map(|snapshot| Digest::of(&snapshot).short())
    }

    async fn sweep(&self, after: Option<&ProblemId>, limit: usize) -> Result<Vec<Swept>, StoreError> {
        let mut txn = PostgresTxn::begin(&self.pool, &self.plan, Mode::Read).await?;
        let swept = read::sweep(&mut txn, after, limit).await?;
        Box::new(txn).commit().await?;
        Ok(swept)
    }

    async fn begin(&self, mode: Mode) -> Result<Box<dyn Txn>, StoreError> {
        Ok(Box::new(PostgresTxn::begin(&self.pool, &self.plan, mode).await?))
    }

    async fn conditions(&self, problem: &ProblemId, work: WorkId) -> Result<Option<Vec<Condition>>, StoreError> {
        let mut txn = PostgresTxn::begin(&self.pool, &self.plan, Mode::Read).await?;
        read::conditions(&mut txn, problem, work).await
    }
}

/// Whether the database can be written now: begins to, and gives it up.
///
/// # Errors
/// [`StoreError::ReadOnly`] on a standby, and whatever else stands in the way.
pub async fn writable(options: &PostgresOptions, mapping: &Mapping) -> Result<(), StoreError> {
    let _the_mapping_says_nothing_of_it = mapping;
    let pool = Pool::new(options.clone())?;
    let session = pool.begin(statements::BEGIN_WRITE).await?;
    session.client.batch_execute("rollback").await.map_err(|e| fault::translate(&e, &pool.shown))
}
