//! `landbridge run`: the daemon, until somebody ends it.

use std::io;

use clap::Args;
use landbridge_flow::Bridge;

use super::Context;
use crate::daemon::{Daemon, DaemonOptions};
use crate::exit::{Exit, Failure};
use crate::lock;
use crate::render::{count, note};
use crate::site::Site;

/// Run the bridge: exchange entries with all peers, in both directions, until it is stopped
///
/// Watches the history, delivers what becomes owed to each peer that has a `url`, fetches from each peer with `pull =
/// true`, and answers peers where the configuration has `[listen]`. One line on standard error says that it is ready;
/// after it, warnings are logged (`-v` for what happens). It stays in the foreground; let the service manager of the
/// system start it again where it ends.
///
/// A peer or a database that does not answer is tried again, after pauses that grow from the first to the longest of
/// `[pace] retry` (default 1 second to 5 minutes). Nothing is lost by stopping it at any moment, even with SIGKILL: what
/// was exchanged is recorded in the database itself.
///
/// SIGINT (Ctrl-C) and SIGTERM end it in order, a second one at once.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit status:
  0  stopped by a signal     3  wrong configuration, key file, mapping or address
  4  the database cannot be opened

Example:
  landbridge --config /etc/landbridge/helpdesk.toml run --log-format json -v")]
pub struct RunArgs {}

/// Runs the bridge until a signal.
pub async fn run(_args: &RunArgs, context: &Context) -> Result<Exit, Failure> {
    let site = Site::open(&context.config).await?;
    if lock::is_running(&site.config.path) {
        tracing::warn!("another bridge works with this configuration already; nothing is doubled, but one is enough");
    }
    let _running = lock::shared(&site.config.path)?;
    let mut stop = Signals::new().map_err(|e| {
        Failure::new(
            Exit::Left,
            format!("signals cannot be waited for: {e}"),
            "see what the system allows this process",
        )
    })?;
    let mut daemon = Daemon::start(&site, DaemonOptions::default()).await?;
    note(&ready(&site.bridge, &daemon));
    for said in site.config.notes() {
        tracing::info!("{said}");
    }

    let ended = tokio::select! {
        () = stop.next() => Ok(Exit::Done),
        failure = daemon.failed() => Err(failure),
    };
    tracing::info!("stopping");
    tokio::select! {
        () = daemon.stop() => {}
        () = stop.next() => tracing::warn!("ended at once"),
    }
    ended
}

fn ready(bridge: &Bridge, daemon: &Daemon) -> String {
    let listening = match daemon.local_addr {
        Some(address) => format!("listening on http://{address}"),
        None => "not listening".to_owned(),
    };
    let peers = count(bridge.peers.len() as u64, "peer");
    format!("landbridge: site {}, history {}, {listening}, {peers}", bridge.site(), bridge.history)
}

/// The signals that end a bridge.
pub(super) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    pub(super) fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    #[cfg(unix)]
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    #[cfg(not(unix))]
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    pub(super) async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
