//! The table of one problem at one site, and the store that lets the flow work on it for one step of the model.
//!
//! A step is one transaction and nobody else acts within it: what a person does meanwhile is a step before or after
//! it, since a number is taken before its row can be seen. Numbers are given out as by `max + 1`, the hardest for a bridge.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use landbridge_core::entry::Row;
use landbridge_core::scribe::DEFAULT_PHRASE;
use landbridge_core::{Digest, ProblemId, ProblemName, SiteName, WorkId};
use landbridge_flow::StoreError;
use landbridge_flow::ports::{
    Append, Body, Capabilities, Condition, Mode, NewProblem, ProblemRows, Removal, Shard, Store, Swept, Txn,
};

use crate::executor::locked;

/// The committed rows of the problem. Clones share them; they are hashed once.
#[derive(Debug, Clone)]
pub struct Rows(Arc<(BTreeMap<WorkId, Arc<str>>, u64)>);

impl Rows {
    fn new(rows: BTreeMap<WorkId, Arc<str>>) -> Self {
        let mut all = String::new();
        for (work, text) in &rows {
            all.push_str(&format!("{work} {} {text}", text.len()));
        }
        let hash = Digest::of(&all).short();
        Self(Arc::new((rows, hash)))
    }

    /// No rows.
    pub fn none() -> Self {
        Self::new(BTreeMap::new())
    }

    /// The rows in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = (WorkId, &Arc<str>)> {
        self.0.0.iter().map(|(work, text)| (*work, text))
    }

    /// The highest number.
    pub fn last(&self) -> Option<WorkId> {
        self.0.0.keys().next_back().copied()
    }

    /// The rows and these.
    pub fn with(&self, more: impl IntoIterator<Item = (WorkId, Arc<str>)>) -> Self {
        let mut rows = self.0.0.clone();
        rows.extend(more);
        Self::new(rows)
    }

    /// The rows without this one.
    pub fn without(&self, work: WorkId) -> Self {
        let mut rows = self.0.0.clone();
        rows.remove(&work);
        Self::new(rows)
    }

    /// What a store tells of them: everything may leave.
    pub fn heads(&self) -> Vec<Row> {
        let begins = |text: &str| text.strip_prefix(DEFAULT_PHRASE).is_some_and(|rest| rest.starts_with(' '));
        let head = |(work, text): (WorkId, &Arc<str>)| Row {
            work,
            marker: begins(text).then(|| text.to_string()),
            open: true,
            bytes: text.len() as u64,
        };
        self.iter().map(head).collect()
    }
}

impl PartialEq for Rows {
    fn eq(&self, other: &Self) -> bool {
        self.0.1 == other.0.1 && (Arc::ptr_eq(&self.0, &other.0) || self.0.0 == other.0.0)
    }
}

impl Eq for Rows {}

impl Hash for Rows {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.1.hash(state);
    }
}

/// The store of one step.
#[derive(Clone)]
pub struct Table {
    rows: Arc<Mutex<Rows>>,
    /// What the table is once the first transaction has begun, where something commits at that very moment.
    meanwhile: Arc<Mutex<Option<Rows>>>,
    /// A number that a person's open transaction has taken.
    taken: Option<WorkId>,
    capabilities: Arc<Capabilities>,
}

impl Table {
    /// A table of `rows`, in which an open transaction has `taken` a number.
    pub fn new(rows: Rows, taken: Option<WorkId>) -> Self {
        Self { rows: Arc::new(Mutex::new(rows)), meanwhile: Arc::default(), taken, capabilities: Arc::default() }
    }

    /// The same, and right after the first transaction has begun it is `later`.
    pub fn changing(self, later: Option<Rows>) -> Self {
        *locked(&self.meanwhile) = later;
        self
    }

    /// What is committed.
    pub fn committed(&self) -> Rows {
        locked(&self.rows).clone()
    }
}

/// The number after the highest that is there or taken.
pub fn next_number(rows: &Rows, taken: Option<WorkId>) -> Option<WorkId> {
    WorkId::new(rows.last().max(taken).map_or(0, WorkId::get) + 1)
}

#[async_trait]
impl Store for Table {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn signal(&self) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn sweep(&self, _after: Option<&ProblemId>, _limit: usize) -> Result<Vec<Swept>, StoreError> {
        Ok(Vec::new())
    }

    async fn begin(&self, _mode: Mode) -> Result<Box<dyn Txn>, StoreError> {
        let snapshot = self.committed();
        if let Some(later) = locked(&self.meanwhile).take() {
            *locked(&self.rows) = later;
        }
        Ok(Box::new(TableTxn { table: self.clone(), snapshot, appended: Vec::new(), savepoints: Vec::new() }))
    }

    async fn conditions(&self, _problem: &ProblemId, _work: WorkId) -> Result<Option<Vec<Condition>>, StoreError> {
        Ok(None)
    }
}

struct TableTxn {
    table: Table,
    snapshot: Rows,
    appended: Vec<(WorkId, Arc<str>)>,
    savepoints: Vec<usize>,
}

impl TableTxn {
    fn seen(&self) -> Rows {
        if self.appended.is_empty() { self.snapshot.clone() } else { self.snapshot.with(self.appended.iter().cloned()) }
    }
}

#[async_trait]
impl Txn for TableTxn {
    async fn lock(&mut self, _shards: &BTreeSet<Shard>) -> Result<(), StoreError> {
        Ok(())
    }

    async fn rows(&mut self, problems: &[ProblemId], _peer: Option<&SiteName>) -> Result<Vec<ProblemRows>, StoreError> {
        let heads = self.seen().heads();
        let rows = |_| ProblemRows { visible: true, rows: heads.clone(), ..ProblemRows::default() };
        Ok(problems.iter().map(rows).collect())
    }

    async fn bodies(&mut self, rows: &[(ProblemId, WorkId)]) -> Result<Vec<Option<Body>>, StoreError> {
        let seen: BTreeMap<WorkId, String> = self.seen().iter().map(|(work, text)| (work, text.to_string())).collect();
        let body = |(_, work): &(ProblemId, WorkId)| {
            seen.get(work).map(|text| Body { text: Some(text.clone()), fields: Default::default() })
        };
        Ok(rows.iter().map(body).collect())
    }

    async fn append(&mut self, rows: &[Append]) -> Result<Vec<WorkId>, StoreError> {
        let mut works = Vec::with_capacity(rows.len());
        for row in rows {
            let work = next_number(&self.seen(), self.table.taken).ok_or(StoreError::Taken)?;
            self.appended.push((work, row.text.as_str().into()));
            works.push(work);
        }
        Ok(works)
    }

    async fn find(&mut self, homes: &[ProblemName]) -> Result<Vec<Vec<ProblemId>>, StoreError> {
        Ok(homes.iter().map(|_| Vec::new()).collect())
    }

    async fn create(&mut self, _problems: &[NewProblem]) -> Result<Vec<ProblemId>, StoreError> {
        Err(StoreError::Mapping("the model has one problem and creates none".into()))
    }

    async fn remove(&mut self, _rows: &[Removal]) -> Result<u64, StoreError> {
        Err(StoreError::Mapping("the model deletes no markers".into()))
    }

    async fn savepoint(&mut self) -> Result<(), StoreError> {
        self.savepoints.push(self.appended.len());
        Ok(())
    }

    async fn rollback_to(&mut self) -> Result<(), StoreError> {
        self.appended.truncate(self.savepoints.pop().unwrap_or(0));
        Ok(())
    }

    async fn release(&mut self) -> Result<(), StoreError> {
        self.savepoints.pop();
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        *locked(&self.table.rows) = self.seen();
        Ok(())
    }
}
