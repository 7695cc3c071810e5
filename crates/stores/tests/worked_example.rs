//! The worked example of DESIGN §10 between every two kinds of database: what comes out depends on none of them.
//! Without an installed server the test says that it is skipped. Pairs without a server are in `conformance`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a harness that cannot be built is a failed test"
)]

#[allow(dead_code, reason = "other mappings, for the suite")]
mod local;
#[allow(dead_code, reason = "what tests of the adapter alone use")]
#[path = "mysql/desk.rs"]
mod mariadb;
#[allow(dead_code, reason = "what tests of the adapter alone use")]
#[path = "postgres/desk.rs"]
mod postgresql;
#[path = "../../../tests/kit/server/mod.rs"]
mod server;

use std::sync::Arc;

use landbridge_flow::conformance::{Harness, WORKED_EXAMPLE, worked_example};
use landbridge_stores::Numbering;

use local::{InMemory, OnDisk};
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
            "memory" => Box::new(InMemory::new(Numbering::PerProblem)),
            "SQLite" => Box::new(OnDisk::new(Numbering::PerProblem)),
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
