//! The adapter for PostgreSQL on a real server: the suite of `flow`, the worked example, and what is PostgreSQL's own.
//! Without an installed server the tests say that they are skipped.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a harness that cannot be built is a failed test"
)]

#[path = "postgres/desk.rs"]
mod desk;
#[path = "postgres/ids.rs"]
mod ids;
#[path = "postgres/inspecting.rs"]
mod inspecting;
#[path = "postgres/keeping.rs"]
mod keeping;
#[path = "postgres/linked.rs"]
mod linked;
#[path = "../../../tests/kit/server/mod.rs"]
mod server;
#[path = "postgres/statements.rs"]
mod statements;
#[path = "postgres/suite.rs"]
mod suite;
#[path = "postgres/writers.rs"]
mod writers;
