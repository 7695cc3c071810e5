//! The things that the flow needs of the world: a store, its transactions, a peer and a clock.
//!
//! No SQL leaves an adapter and no policy enters one. `conformance` says in tests what is written here in words; an
//! adapter is done when it passes.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use landbridge_core::entry::Row;
use landbridge_core::message::{
    Beliefs, Compare, Compared, Deliveries, LossRecorded, Lost, Pull, Push, Receipts, Verify,
};
use landbridge_core::{Digest, Fields, ProblemId, ProblemName, SiteName, WorkId};

use crate::error::{PeerError, ServeError, StoreError};
use crate::violation::Violation;

/// The number of shards that problems are locked by (DESIGN §5).
pub const SHARDS: u64 = 256;

/// A part of all problems, locked as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(pub u8);

impl Shard {
    /// The shard of `problem`: equal for every bridge on the same database.
    pub fn of(problem: &ProblemId) -> Self {
        Self::of_text(problem.as_str())
    }

    /// The shard of a home name: whoever looks for its problem, and creates that where there is none, holds it.
    pub fn of_name(home: &ProblemName) -> Self {
        Self::of_text(&home.to_string())
    }

    fn of_text(text: &str) -> Self {
        Self((Digest::of(text).short() % SHARDS) as u8)
    }
}

/// What differs between databases, as data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// The width of the text column in characters, where it has one.
    pub text_chars_max: Option<usize>,
    /// How the database is called in messages to people.
    pub engine: String,
    /// The shared columns that are kept as they were received: those that no expression of the mapping fills.
    pub fields_kept: BTreeSet<String>,
    /// Whether markers are in a table of their own. [`Txn::rows`] names them with numbers above
    /// [`WorkId::APART`], and [`Txn::append`] and [`Txn::bodies`] do the same.
    pub markers_apart: bool,
}

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// One committed snapshot for all reads.
    Read,
    /// Locks, reads of what is committed (and of its own appends), appends.
    Write,
}

/// A database with the table of one history, mapped.
#[async_trait]
pub trait Store: Send + Sync {
    /// What differs here.
    fn capabilities(&self) -> &Capabilities;

    /// A value that changes whenever something may have been committed to the history. Costs O(1).
    async fn signal(&self) -> Result<u64, StoreError>;

    /// About the next `limit` problems behind `after`, in an order of the store's own in which the last one is the
    /// next `after`; nothing at the end. Each comes with a digest of everything that decides what is owed: which rows
    /// there are, which of them conditions let out to whom, and the marker texts. Holds no cursor open.
    async fn sweep(&self, after: Option<&ProblemId>, limit: usize) -> Result<Vec<Swept>, StoreError>;

    /// Opens a transaction. Dropped, it is rolled back and its locks are free.
    async fn begin(&self, mode: Mode) -> Result<Box<dyn Txn>, StoreError>;

    /// For a person: every condition of the mapping and whether it lets this row pass. Nothing where there is no such
    /// row.
    async fn conditions(&self, problem: &ProblemId, work: WorkId) -> Result<Option<Vec<Condition>>, StoreError>;
}

/// A transaction of a store.
#[async_trait]
pub trait Txn: Send {
    /// Waits for the shards, in ascending order, before the first read; held until the end. Only in [`Mode::Write`].
    async fn lock(&mut self, shards: &BTreeSet<Shard>) -> Result<(), StoreError>;

    /// The rows of each of `problems`, in the order asked and each in ascending work ids. `open` speaks of `peer`;
    /// without one, of the conditions that are the same for all peers. Texts are read only to recognise markers.
    async fn rows(&mut self, problems: &[ProblemId], peer: Option<&SiteName>) -> Result<Vec<ProblemRows>, StoreError>;

    /// The bodies of these rows, in the order asked; nothing for a row that is not part of the history. In
    /// [`Mode::Write`] nobody else can change or delete them until the end of the transaction: what is recorded of a
    /// text must still be true of it when the marker is committed.
    async fn bodies(&mut self, rows: &[(ProblemId, WorkId)]) -> Result<Vec<Option<Body>>, StoreError>;

    /// Appends rows and returns their work ids in the same order; those of one problem ascend. After an error the
    /// transaction is good for nothing but [`Txn::rollback_to`].
    async fn append(&mut self, rows: &[Append]) -> Result<Vec<WorkId>, StoreError>;

    /// Deletes markers, those of these rows whose problem, number and text still are what was read, and returns how many
    /// those were. [`StoreError::Mapping`] where the mapping does not allow it or does not say how. After an error as after
    /// one of [`Txn::append`].
    async fn remove(&mut self, rows: &[Removal]) -> Result<u64, StoreError>;

    /// Of each home name, the problems that have it in the link column, whether they are visible or not. Nothing where
    /// no link column is mapped.
    async fn find(&mut self, homes: &[ProblemName]) -> Result<Vec<Vec<ProblemId>>, StoreError>;

    /// Creates problems and returns their ids in the same order. [`StoreError::Mapping`] where the mapping does
    /// not say how; [`StoreError::Row`] where the table does not take one, or keeps another home name or
    /// field than was given. After an error as after one of [`Txn::append`].
    async fn create(&mut self, problems: &[NewProblem]) -> Result<Vec<ProblemId>, StoreError>;

    /// Sets a savepoint inside those already set.
    async fn savepoint(&mut self) -> Result<(), StoreError>;

    /// Undoes everything since the innermost savepoint and takes that away.
    async fn rollback_to(&mut self) -> Result<(), StoreError>;

    /// Takes the innermost savepoint away and keeps what was done since.
    async fn release(&mut self) -> Result<(), StoreError>;

    /// Commits durably. [`StoreError::Row`] where the database looks at constraints only now; nothing is kept then.
    async fn commit(self: Box<Self>) -> Result<(), StoreError>;
}

/// One problem in a sweep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swept {
    /// Which.
    pub problem: ProblemId,
    /// Of everything that decides what is owed.
    pub digest: u64,
}

/// The rows of one problem.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProblemRows {
    /// Whether the problem is there and may be delivered to.
    pub visible: bool,
    /// What its link column says: the home name, where it is one.
    pub home: Option<ProblemName>,
    /// The shared columns of the problem itself.
    pub fields: Fields,
    /// Its rows in ascending work ids.
    pub rows: Vec<Row>,
}

/// The content of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// The text. Nothing where the stored bytes are no text (invalid UTF-8): such a row is withheld and shown.
    pub text: Option<String>,
    /// The shared columns.
    pub fields: Fields,
}

/// A row to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// To which problem.
    pub problem: ProblemId,
    /// An entry or a marker: they may need different values in unshared columns.
    pub kind: Kind,
    /// The text.
    pub text: String,
    /// The received shared columns.
    pub fields: Fields,
    /// The site that wrote the entry; for a marker, the peer that it is about.
    pub site: SiteName,
}

/// A marker to delete, as it was read in the same transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// Its problem.
    pub problem: ProblemId,
    /// Its number; above [`WorkId::APART`] where markers have a table of their own.
    pub work: WorkId,
    /// Its text, exactly as [`Txn::rows`] read it.
    pub text: String,
}

/// A problem to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewProblem {
    /// What it is called where it was first seen. Goes into the link column.
    pub home: ProblemName,
    /// The received shared columns of the problem.
    pub fields: Fields,
}

/// What a row to append is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An entry.
    Entry,
    /// A marker.
    Marker,
}

/// A condition of the mapping, and whether it lets a row pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// As in the configuration: `where`, `share`, `problem.share`, `peer N share`.
    pub name: String,
    /// The peer that it speaks of; nothing where it speaks of all.
    pub peer: Option<SiteName>,
    /// Its SQL.
    pub sql: String,
    /// Whether it lets the row pass. Null counts as no.
    pub passes: bool,
}

/// The bridge at another site.
#[async_trait]
pub trait Peer: Send + Sync {
    /// Delivers, and brings back a receipt for each delivery.
    async fn push(&self, push: Push) -> Result<Receipts, PeerError>;

    /// Asks for what is owed to this site; waits up to `wait_seconds` for it.
    async fn pull(&self, pull: Pull) -> Result<Deliveries, PeerError>;
}

/// The bridge at another site, asked what it has: nothing here moves an entry (DESIGN §5, `verify` and `repair`).
#[async_trait]
pub trait Compares: Send + Sync {
    /// A page of what it believes to have exchanged with this site.
    async fn verify(&self, verify: Verify) -> Result<Beliefs, PeerError>;

    /// Of some problems: its account, and what it lacks of ours.
    async fn compare(&self, compare: Compare) -> Result<Compared, PeerError>;

    /// Tells it what this site lost.
    async fn lost(&self, lost: Lost) -> Result<LossRecorded, PeerError>;
}

/// What this bridge answers to its peers: the other end of [`Peer`] and [`Compares`]. `from` is who the transport says is
/// asking.
#[async_trait]
pub trait Service: Send + Sync {
    /// Takes deliveries.
    async fn push(&self, from: &SiteName, push: Push) -> Result<Receipts, ServeError>;

    /// Takes the receipts for the last answer and hands out what is owed, waiting for it if asked to.
    async fn pull(&self, from: &SiteName, pull: Pull) -> Result<Deliveries, ServeError>;

    /// Tells what was exchanged with the asking site, a page of problems at a time.
    async fn verify(&self, from: &SiteName, verify: Verify) -> Result<Beliefs, ServeError>;

    /// Gives an account of some problems, and says what this site lacks of the asking one's.
    async fn compare(&self, from: &SiteName, compare: Compare) -> Result<Compared, ServeError>;

    /// Records what the asking site lost.
    async fn lost(&self, from: &SiteName, lost: Lost) -> Result<LossRecorded, ServeError>;
    /// Is told what the transport refused of a peer, or of somebody who is none.
    fn violated(&self, _from: Option<&SiteName>, _violation: Violation, _detail: &str) {}
}

/// Pauses, and nothing else: no outcome depends on a clock (DESIGN §11.6).
#[async_trait]
pub trait Clock: Send + Sync {
    /// The time since some fixed moment of this process.
    fn now(&self) -> Duration;

    /// Returns after about `pause`.
    async fn sleep(&self, pause: Duration);
}
