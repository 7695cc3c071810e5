//! The suite of `flow` for both numberings, and the worked example with each other store that needs no server.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use landbridge_core::{ProblemId, WorkId};
use landbridge_flow::conformance::{CASES, Harness, WORKED_EXAMPLE, worked_example};
use landbridge_flow::ports::Store;
use landbridge_stores::memory::{MemoryRow, MemoryStore};
use landbridge_stores::sqlite::{SqliteOptions, SqliteStore};
use landbridge_stores::{Mapping, Numbering};
use rusqlite::{Connection, params};

use super::desk::{self, Desk};

#[tokio::test]
async fn postgres_passes_the_suite() {
    let Some(server) = desk::server() else { return };
    for numbering in [Numbering::PerProblem, Numbering::Generated] {
        for (at, (case, check)) in CASES.into_iter().enumerate() {
            let harness = Desk::plain(&server, &format!("suite_{at}_{numbering:?}"), numbering).await;
            if let Err(found) = check(&harness).await {
                panic!("{numbering:?}: {case}: {found}");
            }
        }
    }
}

#[tokio::test]
async fn the_worked_example_comes_out_with_every_other_store() {
    let Some(server) = desk::server() else { return };
    let numbering = Numbering::PerProblem;
    let folder = server.folder().join("sqlite");
    std::fs::create_dir_all(&folder).unwrap();
    let others: [Other; 3] = [
        ("memory", Box::new(InMemory::new()), Box::new(InMemory::new())),
        ("sqlite", Box::new(OnDisk::new(folder.join("a.db"))), Box::new(OnDisk::new(folder.join("b.db")))),
        (
            "postgres",
            Box::new(Desk::plain(&server, "other_1", numbering).await),
            Box::new(Desk::plain(&server, "other_2", numbering).await),
        ),
    ];
    for (name, first, second) in others {
        let here = Desk::plain(&server, &format!("here_{name}"), numbering).await;
        let tables = worked_example(&here, first.as_ref()).await.unwrap();
        assert_eq!(tables, WORKED_EXAMPLE, "site N on {name}");
        let here = Desk::plain(&server, &format!("there_{name}"), numbering).await;
        let tables = worked_example(second.as_ref(), &here).await.unwrap();
        assert_eq!(tables, WORKED_EXAMPLE, "site 1 on {name}");
    }
}

/// Another store: its name, and two of it.
type Other = (&'static str, Box<dyn Harness>, Box<dyn Harness>);

struct InMemory(MemoryStore);

impl InMemory {
    fn new() -> Self {
        Self(MemoryStore::new(Numbering::PerProblem.into()))
    }
}

#[async_trait]
impl Harness for InMemory {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.0.clone())
    }

    async fn write(&self, problem: &ProblemId, text: &str, public: bool) -> WorkId {
        self.0.write(problem, MemoryRow { text: text.into(), fields: Default::default(), public, level: 0 })
    }

    async fn publish(&self, problem: &ProblemId, work: WorkId) {
        self.0.edit(problem, work, |row| row.public = true);
    }

    async fn delete(&self, problem: &ProblemId, work: WorkId) {
        self.0.delete(problem, work);
    }

    async fn table(&self, problem: &ProblemId) -> Vec<(WorkId, String)> {
        self.0.committed(problem).into_iter().map(|(work, row)| (work, row.text)).collect()
    }
}

struct OnDisk(PathBuf, Arc<SqliteStore>);

impl OnDisk {
    fn new(file: PathBuf) -> Self {
        let create = "create table note (ticket text not null, no integer not null, body text not null,
                      public int not null, primary key (ticket, no))";
        Connection::open(&file).unwrap().execute_batch(create).unwrap();
        let mapping = Mapping { share: Some("public = 1".into()), ..desk::mapping("note", Numbering::PerProblem) };
        let store = SqliteStore::open(&file, mapping, SqliteOptions::default()).unwrap();
        Self(file, Arc::new(store))
    }
}

#[async_trait]
impl Harness for OnDisk {
    fn store(&self) -> Arc<dyn Store> {
        self.1.clone()
    }

    async fn write(&self, problem: &ProblemId, text: &str, public: bool) -> WorkId {
        let insert = "insert into note (ticket, no, body, public) values
                      (?1, (select coalesce(max(no), 0) + 1 from note where ticket = ?1), ?2, ?3) returning no";
        let connection = Connection::open(&self.0).unwrap();
        let work = connection.query_row(insert, params![problem.as_str(), text, public], |row| row.get(0));
        WorkId::new(work.unwrap()).unwrap()
    }

    async fn publish(&self, _: &ProblemId, _: WorkId) {
        panic!("the worked example publishes nothing");
    }

    async fn delete(&self, _: &ProblemId, _: WorkId) {
        panic!("the worked example deletes nothing");
    }

    async fn table(&self, problem: &ProblemId) -> Vec<(WorkId, String)> {
        let connection = Connection::open(&self.0).unwrap();
        let mut select = connection.prepare("select no, body from note where ticket = ?1 order by no").unwrap();
        let row = |row: &rusqlite::Row<'_>| Ok((WorkId::new(row.get(0)?).unwrap(), row.get(1)?));
        select.query_map([problem.as_str()], row).unwrap().map(Result::unwrap).collect()
    }
}
