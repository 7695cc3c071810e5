//! The worked example of DESIGN §10 between every two kinds of database: what comes out depends on none of them.
//! Without an installed server the test says that it is skipped. Pairs without a server are in `conformance`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a harness that cannot be built is a failed test"
)]

#[allow(dead_code, reason = "what tests of the adapter alone use")]
#[path = "mysql/desk.rs"]
mod mariadb;
#[allow(dead_code, reason = "what tests of the adapter alone use")]
#[path = "postgres/desk.rs"]
mod postgresql;
#[path = "../../../tests/kit/server/mod.rs"]
mod server;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use landbridge_core::{ProblemId, WorkId};
use landbridge_flow::conformance::{Harness, WORKED_EXAMPLE, worked_example};
use landbridge_flow::ports::Store;
use landbridge_stores::memory::{MemoryRow, MemoryStore};
use landbridge_stores::sqlite::{SqliteOptions, SqliteStore};
use landbridge_stores::{Mapping, Numbering};
use rusqlite::{Connection, params};

use server::{MariaDb, Postgres};

/// What makes databases, each with the table of the example.
struct Makers {
    mariadb: Arc<MariaDb>,
    postgres: Postgres,
    made: usize,
}

const KINDS: [&str; 4] = ["memory", "SQLite", "PostgreSQL", "MariaDB"];

impl Makers {
    async fn make(&mut self, kind: &str) -> Box<dyn Harness> {
        self.made += 1;
        let name = format!("example_{}", self.made);
        match kind {
            "memory" => Box::new(InMemory::new()),
            "SQLite" => Box::new(OnDisk::new(self.postgres.folder().join(name))),
            "PostgreSQL" => Box::new(postgresql::Desk::plain(&self.postgres, &name, Numbering::PerProblem).await),
            _ => Box::new(mariadb::OnServer::new(&self.mariadb, Numbering::PerProblem).await),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_worked_example_comes_out_between_every_two_kinds_of_database() {
    let (Some(postgres), Some(mariadb)) = (postgresql::server(), MariaDb::start().map(Arc::new)) else { return };
    let mut makers = Makers { mariadb, postgres, made: 0 };
    let needs_a_server = |kind: &str| kind == "PostgreSQL" || kind == "MariaDB";
    for one in KINDS {
        for n in KINDS.into_iter().filter(|n| needs_a_server(one) || needs_a_server(n)) {
            let (a, b) = (makers.make(one).await, makers.make(n).await);
            let tables = worked_example(a.as_ref(), b.as_ref()).await.unwrap();
            assert_eq!(tables, WORKED_EXAMPLE, "site 1 on {one}, site N on {n}");
        }
    }
}

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
        let mapping =
            Mapping { share: Some("public = 1".into()), ..postgresql::mapping("note", Numbering::PerProblem) };
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
