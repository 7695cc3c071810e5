//! `landbridge sync`: one complete pass, for cron and for people who do not want a daemon.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use clap::Args;
use futures_util::future::join_all;
use landbridge_core::SiteName;
use landbridge_flow::Event;
use landbridge_flow::exchange::{self, Fetched, deliver_once, fetch_once};
use landbridge_flow::line::Line;
use landbridge_flow::ports::Clock;
use landbridge_http::HttpPeer;
use serde::Serialize;

use super::Context;
use crate::cache::Counts;
use crate::config::Peer;
use crate::exit::{Exit, Failure};
use crate::lock;
use crate::patience::Patience;
use crate::render::{Cell, Screen, Table, Tone, json, note, progress, say};
use crate::site::Site;
use crate::status::{Status, survey_all};

/// Exchange everything once with every peer, then end
///
/// Looks through all problems, delivers what each peer with a `url` is owed, and fetches from peers with `pull = true`
/// until nothing comes. Peers are served side by side; one that does not answer delays no other. It may run beside a
/// daemon of the same site. What a peer refuses is tried once. Peers that dial this site are named in the summary; there
/// is nothing that can be done for them from here.
///
/// A peer is called where something is owed to it, where `pull = true`, and where it was never heard of. After a restore
/// `landbridge verify` compares; `sync` goes by the markers that are there.
///
/// On a terminal a bar shows the progress. At the end a table says for each peer what was sent and received and what is
/// still pending.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit status:
  0  everything is in step, by the markers here, with every peer that is dialled from here
  1  something is still pending (written meanwhile, or a body is still on its way)
  3  wrong configuration     4  the database failed
  5  a peer did not answer as it should; the others were served
  6  something is refused (by a peer or here), diverged, differs, suspended, paused or
     withheld: see `landbridge status`

Example, for cron:
  */5 * * * *  landbridge --config /etc/landbridge.toml sync >> /var/log/landbridge")]
pub struct SyncArgs {
    /// Recompute everything from markers and rows
    ///
    /// This version does so in every sync and keeps no cursor, so the flag changes nothing. It is accepted for scripts.
    #[arg(long)]
    deep: bool,

    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// What became of one peer.
#[derive(Debug, Serialize)]
struct Summary {
    peer: SiteName,
    sent: u64,
    received: u64,
    pending: u64,
    /// By the peer.
    refused: u64,
    /// By this site, in this pass.
    refused_here: u64,
    diverged: u64,
    state: State,
    error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    InStep,
    Left,
    DialsUs,
    Paused,
    Failed,
    NothingLeaves,
    Person,
}

/// A clock that stands still: what a peer refuses in this pass is not tried again in it.
struct Still;

#[async_trait]
impl Clock for Still {
    fn now(&self) -> Duration {
        Duration::ZERO
    }

    async fn sleep(&self, _pause: Duration) {}
}

/// A peer that is dialled.
struct Dialled {
    line: Line,
    http: HttpPeer,
    pull: bool,
    /// Nothing was ever heard of it.
    unheard: bool,
}

/// Exchanges everything once.
pub async fn run(args: &SyncArgs, context: &Context) -> Result<Exit, Failure> {
    let site = Site::open(&context.config).await?;
    let _running = lock::shared(&site.config.path)?;
    let (heard, mut dialled) = (site.cache.learnt().contact, Vec::new());
    for peer in site.config.peers.iter().filter(|peer| !peer.paused) {
        if let Some(http) = site.dial(peer, None)? {
            let line = Line::new(&site.bridge, peer.name.clone());
            let unheard = heard.get(&peer.name).is_none_or(|contact| contact.answered.is_none());
            dialled.push(Dialled { line, http, pull: peer.pull, unheard });
        }
    }
    site.cache.begin(false);
    let failed = with_progress(&site, &dialled).await?;
    site.cache.finish();
    // Where the database failed, there is no state of it to tell.
    let mut errors = BTreeMap::new();
    for (peer, failure) in failed {
        match failure {
            exchange::Failure::Store(error) => return Err(error.into()),
            exchange::Failure::Record(error) => {
                errors.insert(peer.clone(), error.into());
            }
            exchange::Failure::Peer(error) => {
                errors.insert(peer.clone(), Failure::peer(&peer, &error));
            }
        }
    }
    let status = Status::of(&site, &|_| {}).await?;
    let counts = site.cache.counts();
    let summaries: Vec<_> = status
        .peers
        .iter()
        .zip(&site.config.peers)
        .map(|(status, peer)| summary(status, peer, counts.get(&peer.name).copied(), errors.get(&peer.name)))
        .collect();
    if args.json {
        say(&json(&summaries)?)?;
    } else {
        say(&table(&summaries, context.screen))?;
    }
    errors.values().for_each(|failure| note(&failure.to_string()));
    Ok(exit(&status, &summaries))
}

/// The exchange with all peers side by side, and once more as long as something came that others may now be owed. What
/// each peer failed with.
async fn exchange_all(site: &Site, dialled: &[Dialled]) -> Vec<(SiteName, exchange::Failure)> {
    loop {
        let (_, before) = exchanged(site);
        let met = join_all(dialled.iter().map(|peer| exchange_with(site, peer))).await;
        let failed: Vec<_> =
            dialled.iter().zip(met).filter_map(|(peer, met)| Some((peer.line.peer().clone(), met.err()?))).collect();
        if exchanged(site).1 == before || !failed.is_empty() {
            return failed;
        }
        dialled.iter().for_each(|peer| peer.line.start_pass());
    }
}

/// Delivers until nothing is owed, and fetches until nothing comes.
async fn exchange_with(site: &Site, peer: &Dialled) -> Result<(), exchange::Failure> {
    let mut patience = Patience::default();
    if peer.unheard {
        // Where nothing is owed it would not be called, and "in step" would be said of nobody.
        let name = peer.line.peer();
        match site.greet(name, &peer.http).await {
            Ok(()) => site.bridge.observer.event(&Event::PeerAnswered { peer: name }),
            Err(error) => wait_if_asked(error.into(), &mut patience).await?,
        }
    }
    let delivered = loop {
        match deliver_once(&site.bridge, &peer.line, &peer.http, &Still).await {
            Ok(true) => patience.is_new(),
            Ok(false) => break Ok(()),
            // Nothing leaves, and what comes is taken all the same.
            Err(failure @ exchange::Failure::Record(_)) => break Err(failure),
            Err(failure) => wait_if_asked(failure, &mut patience).await?,
        }
    };
    let mut last = Fetched::default();
    // A peer that hands out the same again and again would hold this command for ever.
    while peer.pull && !last.is_fruitless() {
        match fetch_once(&site.bridge, &peer.line, &peer.http, &Still, Duration::ZERO, &mut last).await {
            Ok(0) => break,
            Ok(_) => patience.is_new(),
            Err(failure) => wait_if_asked(failure, &mut patience).await?,
        }
    }
    delivered
}

/// Waits where the peer asks for a pause, some times in a row.
async fn wait_if_asked(failure: exchange::Failure, patience: &mut Patience) -> Result<(), exchange::Failure> {
    match failure {
        exchange::Failure::Peer(error) => Ok(patience.wait(error).await?),
        failure => Err(failure),
    }
}

/// The exchange, and where somebody watches, a bar of what is owed to the peers that are dialled. How much will come from
/// them is not known before.
async fn with_progress(site: &Site, dialled: &[Dialled]) -> Result<Vec<(SiteName, exchange::Failure)>, Failure> {
    let looking = progress("looking through problems", None);
    if looking.is_hidden() {
        return Ok(exchange_all(site, dialled).await);
    }
    let seen = survey_all(&site.bridge, &|looked_at| looking.set_position(looked_at as u64)).await;
    looking.finish_and_clear();
    let seen = seen?;
    let owed = dialled.iter().filter_map(|peer| seen.owed.get(peer.line.peer())).map(|owed| owed.entries).sum();
    let bar = progress("sending", Some(owed));
    let done = AtomicBool::new(false);
    let draw = async {
        while !done.load(Ordering::Relaxed) {
            let (sent, received) = exchanged(site);
            bar.set_position(sent.min(owed));
            bar.set_message(if received > 0 { format!("sending ({received} received)") } else { "sending".to_owned() });
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let work = async {
        let failed = exchange_all(site, dialled).await;
        done.store(true, Ordering::Relaxed);
        failed
    };
    let (failed, ()) = futures_util::future::join(work, draw).await;
    bar.finish_and_clear();
    Ok(failed)
}

/// Entries sent and received so far.
fn exchanged(site: &Site) -> (u64, u64) {
    site.cache.counts().values().fold((0, 0), |(sent, received), c| (sent + c.sent, received + c.received))
}

fn summary(
    status: &crate::status::PeerStatus,
    peer: &Peer,
    counts: Option<Counts>,
    failed: Option<&Failure>,
) -> Summary {
    let counts = counts.unwrap_or_default();
    let state = match failed {
        Some(failed) if failed.exit == Exit::Person => State::NothingLeaves,
        Some(_) => State::Failed,
        None if peer.paused => State::Paused,
        None if status.wants_a_person() || counts.refused > 0 => State::Person,
        None if peer.url.is_none() => State::DialsUs,
        None if status.pending > 0 => State::Left,
        None => State::InStep,
    };
    Summary {
        peer: peer.name.clone(),
        sent: counts.sent,
        received: counts.received,
        pending: status.pending,
        refused: status.refused.count,
        refused_here: counts.refused,
        diverged: status.diverged.count + status.lost_here.count,
        state,
        error: failed.map(|failure| failure.what.clone()),
    }
}

fn table(summaries: &[Summary], screen: Screen) -> String {
    if summaries.is_empty() {
        return "There is no peer, so nothing was exchanged.".to_owned();
    }
    let mut table =
        Table::new(["peer", ">sent", ">received", ">still pending", ">refused", ">refused here", ">diverged", "state"]);
    for s in summaries {
        let number = |n: u64, tone: Tone| Cell::new(n.to_string(), if n > 0 { tone } else { Tone::Plain });
        let (word, tone) = match s.state {
            State::InStep => ("in step", Tone::Good),
            State::Left => ("something is left", Tone::Warn),
            State::DialsUs => ("dials us; nothing to do from here", Tone::Plain),
            State::Paused => ("paused", Tone::Bad),
            State::Failed => ("did not answer", Tone::Bad),
            State::NothingLeaves => ("nothing leaves: not recorded", Tone::Bad),
            State::Person => ("see `landbridge status`", Tone::Bad),
        };
        table.row([
            Cell::new(s.peer.as_str(), Tone::Strong),
            number(s.sent, Tone::Plain),
            number(s.received, Tone::Plain),
            number(s.pending, Tone::Warn),
            number(s.refused, Tone::Bad),
            number(s.refused_here, Tone::Bad),
            number(s.diverged, Tone::Bad),
            Cell::new(word, tone),
        ]);
    }
    screen.table(&table)
}

/// What peers that dial us are still owed is not left over by this command.
fn exit(status: &Status, summaries: &[Summary]) -> Exit {
    let any = |state| summaries.iter().any(|s| s.state == state);
    if any(State::Failed) {
        Exit::Peer
    } else if status.exit() == Exit::Person || any(State::Person) || any(State::NothingLeaves) {
        Exit::Person
    } else if any(State::Left) {
        Exit::Left
    } else {
        Exit::Done
    }
}
