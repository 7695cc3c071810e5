//! The suite that every store passes, and the worked example between MariaDB and the others.

use std::sync::Arc;

use async_trait::async_trait;
use landbridge_core::{ProblemId, WorkId};
use landbridge_flow::conformance::{CASES, Harness, WORKED_EXAMPLE, worked_example};
use landbridge_flow::ports::Store;
use landbridge_stores::Numbering;
use landbridge_stores::memory::{MemoryRow, MemoryStore};

use crate::desk::OnServer;
use crate::server::MariaDb;

async fn passes_the_suite(numbering: Numbering, options: &[&str]) {
    let Some(server) = MariaDb::start_with(options).map(Arc::new) else { return };
    for (case, check) in CASES {
        let harness = OnServer::new(&server, numbering).await;
        if let Err(found) = check(&harness).await {
            panic!("{numbering:?}: {case}: {found}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_passes_the_suite_with_numbers_per_problem() {
    passes_the_suite(Numbering::PerProblem, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_passes_the_suite_with_generated_numbers() {
    passes_the_suite(Numbering::Generated, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_passes_the_suite_with_a_binary_log_and_interleaved_numbers() {
    let options = ["--log-bin=bin", "--innodb-autoinc-lock-mode=2", "--auto-increment-increment=3"];
    passes_the_suite(Numbering::Generated, &options).await;
}

struct InMemory(MemoryStore);

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_worked_example_comes_out_between_mariadb_and_the_memory_store() {
    let Some(server) = MariaDb::start().map(Arc::new) else { return };
    let memory = || Box::new(InMemory(MemoryStore::new(Numbering::PerProblem.into()))) as Box<dyn Harness>;
    let maria = || async { Box::new(OnServer::new(&server, Numbering::PerProblem).await) as Box<dyn Harness> };
    for (one, n) in [(maria().await, memory()), (memory(), maria().await), (maria().await, maria().await)] {
        let tables = worked_example(one.as_ref(), n.as_ref()).await.unwrap();
        assert_eq!(tables[0], WORKED_EXAMPLE[0]);
        assert_eq!(tables[1], WORKED_EXAMPLE[1]);
    }
}
