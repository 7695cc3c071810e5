//! The memory store: the specification of a store, and the database of the simulator.
//!
//! It keeps what real databases do to a bridge: snapshots, rows that are there before they are committed and that
//! commit late, numbers that are taken before they are seen, locks, and rows that a table does not take.

mod txn;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use landbridge_core::message::Refusal;
use landbridge_core::{Digest, Fields, ProblemId, ProblemName, SiteName, WorkId};
use landbridge_flow::StoreError;
use landbridge_flow::ports::{Append, Capabilities, Condition, Mode, SHARDS, Store, Swept, Txn};
use tokio::sync::Mutex as Lock;

use crate::mapping::Numbering;
use txn::MemoryTxn;

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryRow {
    /// The text.
    pub text: String,
    /// The shared columns.
    pub fields: Fields,
    /// Whether it may leave: the `share` condition.
    pub public: bool,
    /// What the peers' conditions look at.
    pub level: u8,
}

/// The first level that a peer's condition keeps from it: `SEVERITY < 3`.
pub type LevelBelow = u8;

/// Decides whether the table takes a row, as a check constraint or a trigger does.
pub type Check = Arc<dyn Fn(&Append) -> Option<Refusal> + Send + Sync>;

/// What the table makes of the shared columns of an appended row, as a column of numbers or a trigger does.
pub type Keep = Arc<dyn Fn(&mut Fields) + Send + Sync>;

/// A table of problems with a link column.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Linked {
    /// What the ids of created problems begin with, before a number: two stores number differently.
    pub prefix: String,
    /// Whether the bridge may create problems.
    pub create: bool,
}

/// A problem of that table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryProblem {
    /// The link column.
    pub home: Option<ProblemName>,
    /// The shared columns of the problem.
    pub fields: Fields,
}

/// How the table is made.
#[derive(Clone, Default)]
pub struct MemoryOptions {
    /// Who gives out the numbers.
    pub generated: bool,
    /// The width of the text column in characters.
    pub text_chars_max: Option<usize>,
    /// What each peer may see. A peer that is not named sees every level.
    pub levels: BTreeMap<SiteName, LevelBelow>,
    /// The beginnings of markers.
    pub phrases: Vec<String>,
    /// What the table does not take.
    pub check: Option<Check>,
    /// Problems that may not be delivered to and whose rows do not leave.
    pub hidden: BTreeSet<ProblemId>,
    /// Only these problems exist; without it, all do.
    pub problems: Option<BTreeSet<ProblemId>>,
    /// A table of problems, in which only those exist that were added or created. Without it, nothing is linked.
    pub linked: Option<Linked>,
    /// The shared columns that are promised to be kept as they come.
    pub fields_kept: BTreeSet<String>,
    /// What becomes of shared columns. Nothing where absent.
    pub keep: Option<Keep>,
}

#[derive(Debug, Clone, Default)]
struct Data {
    tables: BTreeMap<ProblemId, BTreeMap<WorkId, MemoryRow>>,
    /// Numbers of rows that are not committed yet.
    reserved: BTreeSet<(ProblemId, WorkId)>,
    /// Rows that a writing transaction has read and that nobody else may change before its end.
    pinned: Vec<(ProblemId, WorkId)>,
    /// The table of problems.
    problems: BTreeMap<ProblemId, MemoryProblem>,
    /// The number of the problem that was created last; it is never given out again.
    created: u64,
    commits: u64,
}

/// What a [`MemoryStore`] had at some time.
#[derive(Debug, Clone)]
pub struct MemoryBackup(Arc<Data>);

/// A table in memory. Clones are further connections to the same one.
#[derive(Clone)]
pub struct MemoryStore {
    data: Arc<Mutex<Arc<Data>>>,
    shards: Arc<Vec<Arc<Lock<()>>>>,
    options: Arc<MemoryOptions>,
    capabilities: Arc<Capabilities>,
}

impl MemoryStore {
    /// An empty table.
    pub fn new(options: MemoryOptions) -> Self {
        let capabilities = Capabilities {
            text_chars_max: options.text_chars_max,
            engine: "the memory store".into(),
            fields_kept: options.fields_kept.clone(),
            ..Capabilities::default()
        };
        Self {
            data: Arc::default(),
            shards: Arc::new((0..SHARDS).map(|_| Arc::default()).collect()),
            options: Arc::new(options),
            capabilities: Arc::new(capabilities),
        }
    }

    fn data(&self) -> MutexGuard<'_, Arc<Data>> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Data) -> T) -> T {
        let mut data = self.data();
        let data = Arc::make_mut(&mut data);
        data.commits += 1;
        change(data)
    }

    /// The application takes a number without committing its row: [`MemoryStore::commit_row`] follows, or nothing.
    pub fn reserve(&self, problem: &ProblemId) -> WorkId {
        self.change(|data| {
            let work = data.next(problem, self.options.generated);
            data.reserved.insert((problem.clone(), work));
            work
        })
    }

    /// The application commits the row of a reserved number.
    pub fn commit_row(&self, problem: &ProblemId, work: WorkId, row: MemoryRow) {
        self.change(|data| {
            data.reserved.remove(&(problem.clone(), work));
            data.tables.entry(problem.clone()).or_default().insert(work, row);
        });
    }

    /// The application rolls back: the number is free, and is not given out again where others follow it.
    pub fn abandon(&self, problem: &ProblemId, work: WorkId) {
        self.change(|data| data.reserved.remove(&(problem.clone(), work)));
    }

    /// The application appends a row in one step.
    pub fn write(&self, problem: &ProblemId, row: MemoryRow) -> WorkId {
        let work = self.reserve(problem);
        self.commit_row(problem, work, row);
        work
    }

    /// Somebody changes a row. False where it is not there, or where a transaction holds it: a real database would let
    /// them wait.
    pub fn edit(&self, problem: &ProblemId, work: WorkId, edit: impl FnOnce(&mut MemoryRow)) -> bool {
        self.change(|data| {
            let free = !data.is_pinned(problem, work);
            let row = data.tables.get_mut(problem).and_then(|rows| rows.get_mut(&work)).filter(|_| free);
            row.map(edit).is_some()
        })
    }

    /// Somebody deletes a row. Where it was the last one, its number is given out again. False as with
    /// [`MemoryStore::edit`].
    pub fn delete(&self, problem: &ProblemId, work: WorkId) -> bool {
        self.change(|data| {
            let free = !data.is_pinned(problem, work);
            free && data.tables.get_mut(problem).and_then(|rows| rows.remove(&work)).is_some()
        })
    }

    /// A backup of everything that is committed.
    pub fn backup(&self) -> MemoryBackup {
        MemoryBackup(self.data().clone())
    }

    /// The database is put back to a backup: what was committed since is gone, and its numbers are given out again. Whatever
    /// was open is ended, as when a database is restored.
    pub fn restore(&self, backup: &MemoryBackup) {
        self.change(|data| {
            data.tables = backup.0.tables.clone();
            data.problems = backup.0.problems.clone();
            data.created = backup.0.created;
            data.reserved.clear();
        });
    }

    /// Everything that is committed in `problem`.
    pub fn committed(&self, problem: &ProblemId) -> BTreeMap<WorkId, MemoryRow> {
        self.data().tables.get(problem).cloned().unwrap_or_default()
    }

    /// The problems that have rows.
    pub fn problems(&self) -> Vec<ProblemId> {
        self.data().tables.keys().cloned().collect()
    }

    /// Somebody adds a problem to the table of problems, or changes the one of this id.
    pub fn add_problem(&self, id: &ProblemId, problem: MemoryProblem) {
        self.change(|data| data.problems.insert(id.clone(), problem));
    }

    /// Somebody deletes a problem with all its rows. False where it is not there, or where a transaction holds one of
    /// its rows.
    pub fn delete_problem(&self, id: &ProblemId) -> bool {
        self.change(|data| {
            let free = !data.pinned.iter().any(|(problem, _)| problem == id);
            if free {
                data.tables.remove(id);
            }
            free && data.problems.remove(id).is_some()
        })
    }

    /// The table of problems.
    pub fn linked_problems(&self) -> BTreeMap<ProblemId, MemoryProblem> {
        self.data().problems.clone()
    }

    /// `added`: whether it is in the table of problems, where there is one.
    fn is_visible(&self, problem: &ProblemId, added: bool) -> bool {
        let options = &self.options;
        let exists = options.problems.as_ref().is_none_or(|all| all.contains(problem));
        exists && (added || options.linked.is_none()) && !options.hidden.contains(problem)
    }

    fn is_open(&self, visible: bool, row: &MemoryRow, peer: Option<&SiteName>) -> bool {
        let below = peer.and_then(|p| self.options.levels.get(p));
        visible && row.public && below.is_none_or(|below| row.level < *below)
    }

    fn marker(&self, row: &MemoryRow) -> Option<String> {
        let begins = |phrase: &String| row.text.strip_prefix(phrase.as_str()).is_some_and(|rest| rest.starts_with(' '));
        self.options.phrases.iter().any(begins).then(|| row.text.clone())
    }
}

impl Data {
    fn is_pinned(&self, problem: &ProblemId, work: WorkId) -> bool {
        self.pinned.iter().any(|(p, w)| p == problem && *w == work)
    }

    /// One more than the highest number, of the problem or of the table: as SQLite and many applications do it, and the
    /// hardest for a bridge, because the number of a deleted last row is given out again.
    fn next(&self, problem: &ProblemId, generated: bool) -> WorkId {
        let rows = self.tables.iter().flat_map(|(p, rows)| rows.keys().next_back().map(|work| (p, work)));
        let numbers = rows.chain(self.reserved.iter().map(|(p, work)| (p, work)));
        let last = numbers.filter(|(p, _)| generated || *p == problem).map(|(_, work)| work.get()).max().unwrap_or(0);
        WorkId::new(last + 1).unwrap_or(WorkId::MIN)
    }

    /// The next id that no problem has.
    fn next_problem(&mut self, prefix: &str) -> Result<ProblemId, StoreError> {
        loop {
            self.created += 1;
            let id: ProblemId = format!("{prefix}{}", self.created)
                .parse()
                .map_err(|_| StoreError::Mapping(format!("{prefix} is not the beginning of a problem's id")))?;
            if !self.problems.contains_key(&id) {
                return Ok(id);
            }
        }
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn signal(&self) -> Result<u64, StoreError> {
        Ok(self.data().commits)
    }

    async fn sweep(&self, after: Option<&ProblemId>, limit: usize) -> Result<Vec<Swept>, StoreError> {
        let data = self.data().clone();
        let behind = data.tables.iter().filter(|(p, rows)| !rows.is_empty() && after.is_none_or(|a| *p > a));
        let swept = behind.take(limit).map(|(problem, rows)| {
            let of_problem = data.problems.get(problem);
            let visible = self.is_visible(problem, of_problem.is_some());
            let mut seen = format!("{visible} {:?};", of_problem.and_then(|p| p.home.as_ref()));
            for (work, row) in rows {
                let open = self.is_open(visible, row, None);
                let peers: String = self
                    .options
                    .levels
                    .keys()
                    .map(|p| if self.is_open(visible, row, Some(p)) { '+' } else { '-' })
                    .collect();
                seen.push_str(&format!("{work} {open} {peers} {:?};", self.marker(row)));
            }
            Swept { problem: problem.clone(), digest: Digest::of(&seen).short() }
        });
        Ok(swept.collect())
    }

    async fn begin(&self, mode: Mode) -> Result<Box<dyn Txn>, StoreError> {
        Ok(Box::new(MemoryTxn::new(self, mode)))
    }

    async fn conditions(&self, problem: &ProblemId, work: WorkId) -> Result<Option<Vec<Condition>>, StoreError> {
        let Some(row) = self.committed(problem).remove(&work) else { return Ok(None) };
        let added = self.data().problems.contains_key(problem);
        let condition = |name: &str, peer: Option<SiteName>, sql: String, passes| Condition {
            name: name.into(),
            peer,
            sql,
            passes,
        };
        let mut all = vec![
            condition("share", None, "public".into(), row.public),
            condition("problem.share", None, "not hidden".into(), self.is_visible(problem, added)),
        ];
        for (peer, below) in &self.options.levels {
            all.push(condition("peer share", Some(peer.clone()), format!("level < {below}"), row.level < *below));
        }
        Ok(Some(all))
    }
}

/// How a numbering is called in [`MemoryOptions`].
impl From<Numbering> for MemoryOptions {
    fn from(numbering: Numbering) -> Self {
        let phrases = vec![landbridge_core::scribe::DEFAULT_PHRASE.to_owned()];
        Self { generated: numbering == Numbering::Generated, phrases, ..Self::default() }
    }
}
