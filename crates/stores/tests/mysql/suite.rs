//! The suite that every store passes, and its cases of linked problems.

use std::sync::Arc;

use landbridge_flow::conformance::{CASES, LINKED_CASES, linked_case};
use landbridge_stores::Numbering;

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_passes_the_cases_of_linked_problems() {
    let Some(server) = MariaDb::start().map(Arc::new) else { return };
    for (case, check) in LINKED_CASES {
        let harness = OnServer::new(&server, Numbering::PerProblem).await;
        match linked_case(&harness, check).await {
            Ok(skipped) => assert_eq!(skipped, None, "{case}"),
            Err(found) => panic!("{case}: {found}"),
        }
    }
}
