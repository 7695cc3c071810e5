//! What the executable does, as a library, so that the fuzzers reach what it reads: everything that an operator says, sees and
//! keeps in files.
#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "the doc comments of the verbs are their help, in which [[peer]] is a section of the configuration"
)]

mod audit;
mod authority;
mod cache;
mod certificates;
mod cli;
mod config;
mod daemon;
mod exit;
#[cfg(any(test, fuzzing))]
pub mod hostile;
mod lock;
mod log;
mod patience;
mod presets;
mod propose;
mod render;
mod rights;
mod site;
mod status;
mod tls;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::Cli;
use crate::exit::{Exit, Failure};

/// Runs the verb of the command line.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match start(&cli) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            let told = failure.to_string();
            if !told.is_empty() {
                render::note(&told);
            }
            failure.exit.into()
        }
    }
}

fn start(cli: &Cli) -> Result<Exit, Failure> {
    let (verbose, format) = cli.log();
    log::start(verbose, format)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|e| {
        Failure::new(
            Exit::Left,
            format!("the system gives no threads: {e}"),
            "see the limits of this user (`ulimit -a`)",
        )
    })?;
    let ended = runtime.block_on(cli.run());
    // Whatever still waits for a lock in the background is not waited for.
    runtime.shutdown_background();
    ended
}
