//! `landbridge verify`: compares what this site and its peers hold. Also what `repair` shows before it changes anything.

use std::collections::BTreeMap;

use clap::Args;
use landbridge_core::message::Missing;
use landbridge_core::{OriginSet, ProblemId, SiteName};
use landbridge_flow::exchange;
use landbridge_flow::verify::{Finding, Found, compare, verify};
use landbridge_http::HttpPeer;
use serde::Serialize;

use super::Context;
use crate::exit::{Exit, Failure};
use crate::lock;
use crate::render::{Cell, Screen, Table, Tone, count, json, note, progress, say};
use crate::site::Site;

/// Findings that a table lists; JSON has all.
const LISTED_MAX: usize = 100;

/// Compare what this site and its peers hold
///
/// After a database was restored from a backup, or rows were deleted, two sites no longer agree on what was exchanged. This
/// command finds out where: count and sum of the origins of every problem first, then, where these differ, entry by entry.
/// Nothing is changed anywhere and no text travels. What is on its way just now is no difference.
///
/// A row that was deleted while its marker is still there was deleted on purpose, and is none either. Edits are none: an
/// entry stays as it was sent. What is found is shown by `landbridge status` too, at this site and, as far as it concerns
/// it, at the peer. `landbridge repair` sends again and fetches back, or records that a loss is meant.
///
/// Peers that dial this site are compared from their end. The peer's bridge has to run.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit status:
  0  all agree
  3  wrong configuration
  4  the database failed
  5  a peer did not answer as it should; the others were compared
  6  something differs

Example:
  landbridge verify
  landbridge verify --peer N ABC --json")]
pub struct VerifyArgs {
    /// Only this peer
    #[arg(long, value_name = "SITE")]
    peer: Option<SiteName>,
    /// Only these problems
    #[arg(value_name = "PROBLEM")]
    problems: Vec<ProblemId>,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// What was found of one peer.
#[derive(Debug, Serialize)]
struct Outcome {
    peer: SiteName,
    state: State,
    findings: Vec<Shown>,
    error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Agrees,
    Differs,
    DialsUs,
    Paused,
    Failed,
}

/// A finding as a person reads it.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// The problem here.
    pub problem: ProblemId,
    /// Entries that the peer lacks, as ranges of each origin.
    pub lost_there: BTreeMap<SiteName, String>,
    /// Entries that this site lacks.
    pub lost_here: BTreeMap<SiteName, String>,
    /// What else is wrong.
    pub remark: Option<String>,
}

impl Shown {
    /// A finding of `peer`.
    pub fn of(peer: &SiteName, finding: &Finding) -> Self {
        let ranges = |set: OriginSet| set.by_site().map(|(site, ids)| (site.clone(), ids.to_string())).collect();
        let all = |missing: &Missing| ranges(missing.all());
        let problem = finding.problem.clone();
        let (lost_there, lost_here, remark) = match &finding.found {
            Found::Lacking { there, here } => {
                let another = there.texts.iter().chain(&here.texts).next();
                let remark = another.map(|text| format!("of {} a text is missing that the other has", text.origin));
                (all(there), all(here), remark)
            }
            Found::Unseen { exchanged } => {
                let remark = format!("{peer} shows no such problem: it is gone there, hidden, or no longer linked");
                (ranges(exchanged.clone()), BTreeMap::new(), Some(remark))
            }
            Found::LinkLost { theirs } => {
                let theirs = theirs.as_ref().map_or(String::new(), |theirs| format!(" {theirs}"));
                let next = format!("look at both, then say `landbridge link {problem} {peer} ID`");
                (
                    BTreeMap::new(),
                    BTreeMap::new(),
                    Some(format!("not linked with {peer}'s problem{theirs} here: {next}")),
                )
            }
        };
        Self { problem, lost_there, lost_here, remark }
    }
}

/// Compares.
pub async fn run(args: &VerifyArgs, context: &Context) -> Result<Exit, Failure> {
    let site = Site::open(&context.config).await?;
    let _running = lock::shared(&site.config.path)?;
    if let Some(peer) = &args.peer {
        site.peer(peer)?;
    } else if !args.problems.is_empty() && site.config.peers.len() != 1 {
        return Err(Failure::usage("problems are named, and no peer", "say --peer SITE too"));
    }
    let mut outcomes = Vec::new();
    for peer in site.config.peers.iter().filter(|peer| args.peer.as_ref().is_none_or(|only| *only == peer.name)) {
        let mut outcome = Outcome { peer: peer.name.clone(), state: State::Paused, findings: vec![], error: None };
        if !peer.paused {
            match site.dial(peer, None)? {
                None => outcome.state = State::DialsUs,
                Some(dialled) => match findings(&site, &peer.name, &dialled, &args.problems).await {
                    Ok(found) => {
                        outcome.state = if found.is_empty() { State::Agrees } else { State::Differs };
                        outcome.findings = found.iter().map(|finding| Shown::of(&peer.name, finding)).collect();
                    }
                    Err(failure) if failure.exit == Exit::Peer => {
                        (outcome.state, outcome.error) = (State::Failed, Some(failure.to_string()));
                    }
                    Err(failure) => return Err(failure),
                },
            }
        }
        outcomes.push(outcome);
    }
    site.cache.finish();
    if args.json {
        say(&json(&outcomes)?)?;
    } else {
        outcomes.iter().try_for_each(|outcome| say(&report(outcome, context.screen)))?;
    }
    outcomes.iter().filter_map(|outcome| outcome.error.as_ref()).for_each(|error| note(error));
    Ok(exit(&outcomes))
}

fn exit(outcomes: &[Outcome]) -> Exit {
    let any = |state| outcomes.iter().any(|outcome| outcome.state == state);
    if any(State::Failed) {
        Exit::Peer
    } else if any(State::Differs) || any(State::Paused) {
        Exit::Person
    } else {
        Exit::Done
    }
}

/// Compares with one peer: everything, or these problems.
pub async fn findings(
    site: &Site,
    name: &SiteName,
    peer: &HttpPeer,
    problems: &[ProblemId],
) -> Result<Vec<Finding>, Failure> {
    let found = if problems.is_empty() {
        let bar = progress("comparing problems", None);
        let found = verify(&site.bridge, name, peer, &|looked_at| bar.set_position(looked_at as u64)).await;
        bar.finish_and_clear();
        found
    } else {
        compare(&site.bridge, name, peer, problems).await
    };
    found.map_err(|failure| failed(name, failure))
}

/// The failure of an exchange with `peer`.
pub fn failed(peer: &SiteName, failure: exchange::Failure) -> Failure {
    match failure {
        exchange::Failure::Store(error) => error.into(),
        exchange::Failure::Peer(error) => Failure::peer(peer, &error),
        exchange::Failure::Record(error) => error.into(),
    }
}

fn report(outcome: &Outcome, screen: Screen) -> String {
    let peer = &outcome.peer;
    match outcome.state {
        State::Agrees => screen.paint(Tone::Good, &format!("{peer} and this site agree.")),
        State::DialsUs => {
            format!("{peer} dials this site: compare from there, with `landbridge verify --peer` this site.")
        }
        State::Paused => screen.paint(Tone::Bad, &format!("{peer} is paused, and was not compared.")),
        State::Failed => screen.paint(Tone::Bad, &format!("{peer} was not compared.")),
        State::Differs => {
            let head = format!("{peer} and this site differ in {}:", count(outcome.findings.len() as u64, "problem"));
            let next = format!(
                "Nothing was changed. `landbridge repair --peer {peer}` sends again what {peer} lacks and fetches what is \
                 lacking here; with --accept it records that the loss is meant."
            );
            let head = screen.paint(Tone::Strong, &head);
            format!("{head}\n{}\n{}", table(peer, &outcome.findings, screen), screen.prose(&next))
        }
    }
}

/// The findings as a table.
pub fn table(peer: &SiteName, findings: &[Shown], screen: Screen) -> String {
    let (there, here) = (format!("{peer} lacks"), "lacking here".to_owned());
    let mut table = Table::new(["problem", &there, &here, "remark"]);
    let ranges = |sets: &BTreeMap<SiteName, String>| {
        let ranges: Vec<_> = sets.iter().map(|(site, ids)| format!("{site}/{ids}")).collect();
        Cell::new(ranges.join("; "), Tone::Bad)
    };
    for shown in findings.iter().take(LISTED_MAX) {
        let remark = shown.remark.clone().unwrap_or_default();
        table.row([
            Cell::from(shown.problem.as_str()),
            ranges(&shown.lost_there),
            ranges(&shown.lost_here),
            Cell::from(remark),
        ]);
    }
    let more = findings.len().saturating_sub(LISTED_MAX);
    let more = if more > 0 { format!("\nand {more} more; --json has all") } else { String::new() };
    format!("{}{more}", screen.table(&table))
}
