//! `landbridge run`: the daemon, until somebody ends it. In between it reads its configuration and its certificates again
//! when it is asked to, or when a certificate has changed: another daemon then takes the place of the first one, on the same
//! listener, and what is faulty is not used.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use landbridge_core::SiteName;
use landbridge_flow::Bridge;
use landbridge_http::certificate;

use super::Context;
use crate::cache::{Wish, Wishes};
use crate::certificates;
use crate::config::Config;
use crate::daemon::{Daemon, DaemonOptions};
use crate::exit::{Exit, Failure};
use crate::lock;
use crate::render::{count, note};
use crate::site::Site;
use crate::tls::Stamps;

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
/// SIGHUP and `landbridge reload` make it read the configuration, the key file and the certificates again; a changed
/// certificate it notices by itself (`[tls] watch`, default a minute). What is faulty is not used: the former configuration
/// stays at work, and the log and `landbridge status` say why. A peer that is not in the new configuration any more is cut
/// off at once.
///
/// SIGINT (Ctrl-C) and SIGTERM end it in order, a second one at once.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit status:
  0  stopped by a signal     3  wrong configuration, key file, certificate, mapping or address
  4  the database cannot be opened

Example:
  landbridge --config /etc/landbridge/helpdesk.toml run --log-format json -v")]
pub struct RunArgs {}

/// How often it is looked whether an operator wishes a reload.
const WISHES_LOOK: Duration = Duration::from_millis(250);
/// How long changed certificates have to stand still to be read; after so many looks they are read anyway.
const STANDS_STILL: Duration = Duration::from_secs(1);
const STANDS_STILL_TRIES: usize = 10;
/// How often certificates that end soon are logged.
const REMIND: Duration = Duration::from_hours(24);

/// Runs the bridge until a signal.
pub async fn run(_args: &RunArgs, context: &Context) -> Result<Exit, Failure> {
    let path = &context.config;
    let site = Site::open(path).await?;
    if lock::is_running(&site.config.path) {
        tracing::warn!("another bridge works with this configuration already; nothing is doubled, but one is enough");
    }
    let _running = lock::shared(&site.config.path)?;
    let mut stop = Signals::new().map_err(no_signals)?;
    let mut again = Hangup::new().map_err(no_signals)?;
    let stamps = Stamps::of(&site.config);
    let daemon = Daemon::start(&site, DaemonOptions::default()).await?;
    note(&ready(&site.bridge, &daemon));
    for said in site.config.notes() {
        tracing::info!("{said}");
    }
    let (mut wishes, mut look) = (site.cache.wishes(), tokio::time::interval(WISHES_LOOK));
    let mut running = Running { site, daemon, stamps, reminded: None };
    running.remind();

    let ended = loop {
        let reason = tokio::select! {
            () = stop.next() => break Ok(Exit::Done),
            failure = running.daemon.failed() => break Err(failure),
            () = again.next() => Reason::Signal,
            number = reload_wished(&mut wishes, &mut look) => Reason::Wish(number),
            has_changed = look_later(&running.site.config, &running.stamps) => {
                running.remind();
                if !has_changed {
                    continue;
                }
                Reason::Files
            }
        };
        tokio::select! {
            () = running.reload(path, reason) => {}
            () = stop.next() => break Ok(Exit::Done),
        }
    };
    tracing::info!("stopping");
    tokio::select! {
        () = running.daemon.stop() => {}
        () = stop.next() => tracing::warn!("ended at once"),
    }
    ended
}

/// Why the configuration is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Signal,
    Wish(i64),
    Files,
}

/// What works at the moment.
struct Running {
    site: Site,
    daemon: Daemon,
    /// Of the files of `[tls]` that are at work, or that were found faulty.
    stamps: Stamps,
    reminded: Option<Instant>,
}

impl Running {
    /// Puts what is written now in the place of what works, or leaves everything as it is.
    async fn reload(&mut self, path: &Path, reason: Reason) {
        let wish = match reason {
            Reason::Wish(number) => Some(number),
            Reason::Signal | Reason::Files => None,
        };
        let before = Stamps::of(&self.site.config);
        match self.replace(path).await {
            Ok(()) => {
                self.site.cache.reloaded(wish, Vec::new());
                note(&format!("{}, with what is configured now", ready(&self.site.bridge, &self.daemon)));
                self.reminded = None;
            }
            Err(failure) => {
                let faults: Vec<_> = failure.what.lines().chain(failure.next.as_deref()).map(str::to_owned).collect();
                for fault in &faults {
                    tracing::error!("not used: {}", crate::render::visible(fault));
                }
                tracing::error!(
                    "the former configuration stays at work until what is wrong with the new one is put right"
                );
                self.site.cache.reloaded(wish, faults);
                // A database that is away may be back in a minute; a faulty file has to change first.
                if failure.exit != Exit::Database {
                    self.stamps = before;
                }
            }
        }
    }

    async fn replace(&mut self, path: &Path) -> Result<(), Failure> {
        let site = Site::open(path).await?;
        let stamps = Stamps::of(&site.config);
        let is_same_place = site.config.listen == self.site.config.listen;
        let listener = self.daemon.listener().filter(|_| is_same_place && site.config.listen.is_some());
        let daemon = Daemon::start(&site, DaemonOptions { listener, goes_on: true, tap: None }).await?;
        let former_daemon = std::mem::replace(&mut self.daemon, daemon);
        let former_site = std::mem::replace(&mut self.site, site);
        self.stamps = stamps;
        former_daemon.retire(|peer| is_same_peer(peer, &former_site, &self.site));
        // What it learnt is written to the end, which may take a moment.
        tokio::task::spawn_blocking(move || drop(former_site));
        Ok(())
    }

    /// Logs once a day which certificates end soon or are not good.
    fn remind(&mut self) {
        if self.reminded.is_some_and(|at| at.elapsed() < REMIND) {
            return;
        }
        self.reminded = Some(Instant::now());
        let all = certificates::all(&self.site.config, &self.site.cache.learnt(), certificate::now());
        for dated in all.iter().filter(|dated| dated.wants_a_person()) {
            let advice = dated.advice.as_deref().unwrap_or_default();
            tracing::warn!("the certificate of {}: {}", dated.called(), crate::render::visible(advice));
        }
    }
}

/// Whether `peer` is still a peer, and what it has shown would prove it now too.
fn is_same_peer(peer: &SiteName, before: &Site, now: &Site) -> bool {
    let is_token_same = match (before.config.peer(peer), now.config.peer(peer)) {
        (Some(before), Some(now)) => before.token == now.token,
        _ => false,
    };
    // What is in the files of the authorities, and not where they are; each site has read them once.
    is_token_same
        && match (before.tls(), now.tls()) {
            (Ok(Some(before)), Ok(Some(now))) => match (before.authority(peer), now.authority(peer)) {
                (Some(before), Some(now)) => now.includes(before),
                _ => false,
            },
            (Ok(before), Ok(now)) => before.is_none() && now.is_none(),
            _ => false,
        }
}

/// Returns when the files of `[tls]` have been looked at; never without them. Whether they have changed since `stamps`. They
/// belong together and may be copied one after the other, so they count as changed once they have stood still for a while.
async fn look_later(config: &Config, stamps: &Stamps) -> bool {
    let Some(tls) = &config.tls else { return std::future::pending().await };
    tokio::time::sleep(tls.watch).await;
    let mut seen = Stamps::of(config);
    if seen == *stamps {
        return false;
    }
    for _ in 0..STANDS_STILL_TRIES {
        tokio::time::sleep(STANDS_STILL).await;
        let now = Stamps::of(config);
        if now == seen {
            break;
        }
        seen = now;
    }
    // They may have been put back.
    seen != *stamps
}

/// Returns the number of the last wish for a reload, as soon as there is one. `look` goes on where this future is dropped, or
/// a short `[tls] watch` would keep it from ever looking.
async fn reload_wished(wishes: &mut Wishes, look: &mut tokio::time::Interval) -> i64 {
    loop {
        look.tick().await;
        // In place: this future may be dropped at every await, and what it had seen by then would be lost.
        let wished = tokio::task::block_in_place(|| wishes.next());
        let reload = wished.into_iter().filter(|(_, wish)| *wish == Wish::Reload).map(|(number, _)| number).last();
        if let Some(number) = reload {
            return number;
        }
    }
}

fn no_signals(e: io::Error) -> Failure {
    Failure::new(Exit::Left, format!("signals cannot be waited for: {e}"), "see what the system allows this process")
}

fn ready(bridge: &Bridge, daemon: &Daemon) -> String {
    let listening = match daemon.local_addr {
        Some(address) => format!("listening on {}://{address}", if daemon.speaks_tls { "https" } else { "http" }),
        None => "not listening".to_owned(),
    };
    let peers = count(bridge.peers.len() as u64, "peer");
    format!("landbridge: site {}, history {}, {listening}, {peers}", bridge.site(), bridge.history)
}

/// The signal that makes a bridge read its files again.
struct Hangup(#[cfg(unix)] tokio::signal::unix::Signal);

impl Hangup {
    #[cfg(unix)]
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self(signal(SignalKind::hangup())?))
    }

    #[cfg(unix)]
    async fn next(&mut self) {
        self.0.recv().await;
    }

    #[cfg(not(unix))]
    fn new() -> io::Result<Self> {
        Ok(Self())
    }

    #[cfg(not(unix))]
    async fn next(&mut self) {
        std::future::pending::<()>().await;
    }
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
