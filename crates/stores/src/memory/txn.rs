//! A transaction of the memory store: what it sees, what it holds, and what of it is there after the commit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use landbridge_core::entry::Row;
use landbridge_core::message::{Code, Refusal};
use landbridge_core::{ProblemId, ProblemName, SiteName, WorkId};
use landbridge_flow::StoreError;
use landbridge_flow::ports::{Append, Body, Kind, Mode, NewProblem, ProblemRows, Removal, Shard, Txn};
use tokio::sync::OwnedMutexGuard;

use super::{Data, MemoryProblem, MemoryRow, MemoryStore};

/// A transaction on a table in memory.
pub(super) struct MemoryTxn {
    store: MemoryStore,
    /// What a reading transaction sees; a writing one sees what is committed.
    snapshot: Option<Arc<Data>>,
    appended: Vec<(ProblemId, WorkId, MemoryRow)>,
    created: Vec<(ProblemId, MemoryProblem)>,
    removed: Vec<(ProblemId, WorkId)>,
    /// How many of each there were.
    savepoints: Vec<(usize, usize, usize)>,
    guards: Vec<OwnedMutexGuard<()>>,
    pinned: Vec<(ProblemId, WorkId)>,
}

impl MemoryTxn {
    pub(super) fn new(store: &MemoryStore, mode: Mode) -> Self {
        Self {
            store: store.clone(),
            snapshot: (mode == Mode::Read).then(|| store.data().clone()),
            appended: Vec::new(),
            created: Vec::new(),
            removed: Vec::new(),
            savepoints: Vec::new(),
            guards: Vec::new(),
            pinned: Vec::new(),
        }
    }

    fn data(&self) -> Arc<Data> {
        self.snapshot.clone().unwrap_or_else(|| self.store.data().clone())
    }

    /// The table of problems as this transaction sees it.
    fn problems(&self) -> BTreeMap<ProblemId, MemoryProblem> {
        let mut problems = self.data().problems.clone();
        problems.extend(self.created.iter().cloned());
        problems
    }

    fn table(&self, problem: &ProblemId) -> BTreeMap<WorkId, MemoryRow> {
        let data = self.data();
        let mut rows = data.tables.get(problem).cloned().unwrap_or_default();
        rows.extend(self.appended.iter().filter(|(p, ..)| p == problem).map(|(_, w, row)| (*w, row.clone())));
        self.removed.iter().filter(|(p, _)| p == problem).for_each(|(_, work)| {
            rows.remove(work);
        });
        rows
    }

    /// Nobody else changes these rows until the end of the transaction.
    fn pin(&mut self, rows: &[(ProblemId, WorkId)]) {
        self.store.change(|data| data.pinned.extend(rows.iter().cloned()));
        self.pinned.extend(rows.iter().cloned());
    }

    fn take(&self, append: &Append) -> Result<MemoryRow, StoreError> {
        let options = &self.store.options;
        let chars = append.text.chars().count();
        let refusal = match options.text_chars_max {
            Some(limit) if chars > limit => Some(Refusal { code: Code::TextTooLong, limit: Some(limit as u64) }),
            _ => options.check.as_ref().and_then(|check| check(append)),
        };
        if let Some(refusal) = refusal {
            return Err(StoreError::Row { refusal, detail: "the memory store's check".into() });
        }
        let level = append.fields.get("level").and_then(|l| l.as_deref()).and_then(|l| l.parse().ok()).unwrap_or(0);
        let mut fields = append.fields.clone();
        if let Some(keep) = &options.keep {
            keep(&mut fields);
        }
        Ok(MemoryRow { text: append.text.clone(), fields, public: append.kind == Kind::Entry, level })
    }
}

#[async_trait]
impl Txn for MemoryTxn {
    async fn lock(&mut self, shards: &BTreeSet<Shard>) -> Result<(), StoreError> {
        for shard in shards {
            if let Some(lock) = self.store.shards.get(usize::from(shard.0)) {
                self.guards.push(lock.clone().lock_owned().await);
            }
        }
        Ok(())
    }

    async fn rows(&mut self, problems: &[ProblemId], peer: Option<&SiteName>) -> Result<Vec<ProblemRows>, StoreError> {
        let all = self.problems();
        let rows = |problem: &ProblemId| {
            let of_problem = all.get(problem);
            let visible = self.store.is_visible(problem, of_problem.is_some());
            let row = |(work, row): (WorkId, MemoryRow)| Row {
                work,
                marker: self.store.marker(&row),
                open: self.store.is_open(visible, &row, peer),
                bytes: row.text.len() as u64,
            };
            ProblemRows {
                visible,
                home: of_problem.and_then(|p| p.home.clone()),
                fields: of_problem.filter(|_| visible).map(|p| p.fields.clone()).unwrap_or_default(),
                rows: self.table(problem).into_iter().map(row).collect(),
            }
        };
        Ok(problems.iter().map(rows).collect())
    }

    async fn bodies(&mut self, rows: &[(ProblemId, WorkId)]) -> Result<Vec<Option<Body>>, StoreError> {
        if self.snapshot.is_none() {
            self.pin(rows);
        }
        let mut tables: BTreeMap<&ProblemId, BTreeMap<WorkId, MemoryRow>> = BTreeMap::new();
        let mut body = |(problem, work)| {
            let table = tables.entry(problem).or_insert_with(|| self.table(problem));
            table.get(work).map(|row| Body { text: Some(row.text.clone()), fields: row.fields.clone() })
        };
        Ok(rows.iter().map(|(problem, work)| body((problem, work))).collect())
    }

    async fn append(&mut self, rows: &[Append]) -> Result<Vec<WorkId>, StoreError> {
        let mut works = Vec::with_capacity(rows.len());
        for append in rows {
            let row = self.take(append)?;
            let work = self.store.reserve(&append.problem);
            self.appended.push((append.problem.clone(), work, row));
            works.push(work);
        }
        Ok(works)
    }

    async fn remove(&mut self, rows: &[Removal]) -> Result<u64, StoreError> {
        let mut removed = 0;
        for Removal { problem, work, text } in rows {
            if self.table(problem).get(work).is_some_and(|row| row.text == *text) {
                // Nobody else touches a row that a transaction deleted and that is not committed yet.
                self.pin(&[(problem.clone(), *work)]);
                self.removed.push((problem.clone(), *work));
                removed += 1;
            }
        }
        Ok(removed)
    }

    async fn find(&mut self, homes: &[ProblemName]) -> Result<Vec<Vec<ProblemId>>, StoreError> {
        let problems = self.problems();
        let of = |home: &ProblemName| {
            problems.iter().filter(|(_, p)| p.home.as_ref() == Some(home)).map(|(id, _)| id.clone()).collect()
        };
        Ok(homes.iter().map(of).collect())
    }

    async fn create(&mut self, problems: &[NewProblem]) -> Result<Vec<ProblemId>, StoreError> {
        let Some(linked) = self.store.options.linked.clone().filter(|linked| linked.create) else {
            return Err(StoreError::Mapping("[problem] create is not set".to_owned()));
        };
        let mut ids = Vec::with_capacity(problems.len());
        for NewProblem { home, fields } in problems {
            let id = self.store.change(|data| data.next_problem(&linked.prefix))?;
            self.created.push((id.clone(), MemoryProblem { home: Some(home.clone()), fields: fields.clone() }));
            ids.push(id);
        }
        Ok(ids)
    }

    async fn savepoint(&mut self) -> Result<(), StoreError> {
        self.savepoints.push((self.appended.len(), self.created.len(), self.removed.len()));
        Ok(())
    }

    async fn rollback_to(&mut self) -> Result<(), StoreError> {
        let (appended, created, removed) = self.savepoints.pop().unwrap_or_default();
        self.removed.truncate(removed);
        let undone = self.appended.split_off(appended);
        self.created.truncate(created);
        self.store.release(&undone);
        Ok(())
    }

    async fn release(&mut self) -> Result<(), StoreError> {
        self.savepoints.pop();
        Ok(())
    }

    async fn commit(mut self: Box<Self>) -> Result<(), StoreError> {
        let (appended, created) = (std::mem::take(&mut self.appended), std::mem::take(&mut self.created));
        let removed = std::mem::take(&mut self.removed);
        self.store.change(|data| {
            data.problems.extend(created);
            for (problem, work, row) in appended {
                data.reserved.remove(&(problem.clone(), work));
                data.tables.entry(problem).or_default().insert(work, row);
            }
            for (problem, work) in removed {
                data.tables.get_mut(&problem).map(|rows| rows.remove(&work));
            }
        });
        Ok(())
    }
}

impl MemoryStore {
    fn release(&self, rows: &[(ProblemId, WorkId, MemoryRow)]) {
        if !rows.is_empty() {
            self.change(|data| {
                rows.iter().for_each(|(problem, work, _)| {
                    data.reserved.remove(&(problem.clone(), *work));
                });
            });
        }
    }
}

impl Drop for MemoryTxn {
    fn drop(&mut self) {
        self.store.release(&std::mem::take(&mut self.appended));
        if !self.pinned.is_empty() {
            self.store.change(|data| {
                for pin in &self.pinned {
                    if let Some(at) = data.pinned.iter().position(|p| p == pin) {
                        data.pinned.swap_remove(at);
                    }
                }
            });
        }
    }
}
