//! The binary as a stranger uses it: what each command prints, how it ends, and that whatever goes wrong is one clear
//! sentence with the next step and leaves the database as it was.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets something unexpected has failed, wherever in it that is"
)]

#[allow(dead_code, reason = "the kit is for both test binaries, and neither uses all of it")]
#[path = "../kit/mod.rs"]
mod kit;

mod audit;
mod certificates;
mod configuration;
mod daily;
mod database;
mod demo;
mod help;
mod init;
mod keys;
mod lonely;
mod servers;
