//! What the adapter for MariaDB and MySQL promises, on a real server. What every store does is in `flow::conformance`; the
//! rest is here, a file for each kind of promise.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a server that does not answer is a failed test"
)]

#[path = "../../../tests/kit/server/mod.rs"]
mod server;

#[path = "mysql/desk.rs"]
mod desk;
#[path = "mysql/inspecting.rs"]
mod inspecting;
#[path = "mysql/linking.rs"]
mod linking;
#[path = "mysql/reading.rs"]
mod reading;
#[path = "mysql/suite.rs"]
mod suite;
#[path = "mysql/surviving.rs"]
mod surviving;
#[path = "mysql/writing.rs"]
mod writing;
