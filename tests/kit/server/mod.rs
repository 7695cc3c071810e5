//! Throwaway database servers for tests: private to a test, on a free loopback port, in a temporary folder, ready in well
//! under a second, gone afterwards even when the test is killed. What is tested on them is up to the tests.
//!
//! This folder stands for itself (`std` only), so that the tests of any crate can have it as a module.
//! PostgreSQL and MariaDB are on purpose two plain types with the same words, not one trait.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "part of several test binaries, of which none uses all of it; a server that cannot be had is a failed test"
)]

pub mod mariadb;
mod place;
pub mod postgres;
mod process;

pub use mariadb::MariaDb;
pub use postgres::Postgres;

/// Set to `1`, a missing server is a failure. `.ci/run` sets it, so that nothing is green that did not run.
pub const REQUIRE: &str = "LANDBRIDGE_REQUIRE_SERVERS";

/// Says once that tests are skipped for want of `what`, or fails where nothing may be skipped.
pub fn missing<T>(what: &str, packages: &str) -> Option<T> {
    let sentence = format!("SKIPPED: there is no {what} here; on Debian: apt-get install {packages}");
    assert!(std::env::var(REQUIRE).as_deref() != Ok("1"), "{sentence} ({REQUIRE}=1 forbids to skip)");
    static SAID: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());
    let mut said = SAID.lock().unwrap();
    if !said.contains(&sentence) {
        eprintln!("{sentence}");
        said.push(sentence);
    }
    None
}

/// The first of these files that exists, or the first of this name on the path.
fn program(name: &str, folders: &[&str]) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path);
    folders.iter().map(Into::into).chain(on_path).map(|folder| folder.join(name)).find(|file| file.is_file())
}
