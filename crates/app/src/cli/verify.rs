//! `landbridge verify`: compares what this site and its peers hold. Also what `repair` shows before it changes anything.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use landbridge_core::message::{Missing, Text};
use landbridge_core::{Digest, Origin, OriginSet, ProblemId, SiteName};
use landbridge_flow::exchange;
use landbridge_flow::ports::Compares;
use landbridge_flow::verify::{Finding, Found, compare, verify};
use serde::Serialize;

use super::Context;
use super::history::must_be_here;
use crate::cache::EditsSeen;
use crate::exit::{Exit, Failure};
use crate::lock;
use crate::patience::Patient;
use crate::render::{Cell, Screen, Table, Tone, count, json, note, progress, say};
use crate::site::Site;

/// Findings that a table lists; JSON has all.
const LISTED_MAX: usize = 100;

/// Compare what this site and its peers hold
///
/// After a database was restored from a backup, or rows were deleted, two sites no longer agree on what was exchanged. This
/// command finds out where: count and sum of the origins and of the texts of every problem first, then, where these differ,
/// entry by entry. Nothing is changed anywhere and no text travels. What is on its way just now is no difference.
///
/// A row that was deleted while its marker is still there was deleted on purpose, and is none either. What is lacking is shown
/// by `landbridge status` too, at this site and, as far as it concerns it, at the peer. `landbridge repair` sends again and
/// fetches back, or records that a loss is meant.
///
/// *Other text*: both sites have the entry, each with another text. Either it was edited at one of them, since edits do not
/// travel; or its number was given out again after a restore, before the other site was restored too, and each lacks what
/// the other has. Only a person can tell; `repair --texts` brings both texts to both. For this all texts that were exchanged
/// are read, here and there; where the histories are long, --without-texts leaves it out. What was edited is named until
/// `landbridge verify --acknowledge` says so.
///
/// Peers that dial this site are compared from their end. The peer's bridge has to run.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit status:
  0  all agree
  1  a peer was not compared, because it dials this site
  2  there is no such problem or peer
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
    /// Compare origins alone, and read no texts
    #[arg(long, conflicts_with = "problems")]
    without_texts: bool,
    /// Say that every other text that is found was edited, and may stay as it is
    ///
    /// `verify` and `repair` name it no more, at this site, unless one of the two texts changes again. `repair --texts` does.
    /// Kept in the cache beside the configuration. What is lacking stays lacking.
    #[arg(long, conflicts_with = "without_texts")]
    acknowledge: bool,
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
    /// Entries with another text that were acknowledged as edits, and are not among the findings.
    edits_seen: u64,
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
    /// Entries that both have, each with another text.
    pub other_text: BTreeMap<SiteName, String>,
    /// Of those lost there, what stands there in rows that no marker names.
    pub unmarked_there: BTreeMap<SiteName, String>,
    /// Of those lost here, what stands here in rows that no marker names.
    pub unmarked_here: BTreeMap<SiteName, String>,
    /// What else is wrong.
    pub remark: Option<String>,
}

impl Shown {
    fn nothing(problem: &ProblemId) -> Self {
        let nothing = BTreeMap::new;
        Self {
            problem: problem.clone(),
            lost_there: nothing(),
            lost_here: nothing(),
            other_text: nothing(),
            unmarked_there: nothing(),
            unmarked_here: nothing(),
            remark: None,
        }
    }

    /// What was lost, `here` or at the peer.
    pub fn lost(problem: &ProblemId, entries: &OriginSet, here: bool) -> Self {
        let mut shown = Self::nothing(problem);
        *(if here { &mut shown.lost_here } else { &mut shown.lost_there }) = ranges(entries.clone());
        shown
    }

    /// A finding of `peer`.
    pub fn of(peer: &SiteName, finding: &Finding) -> Self {
        let mut shown = Self::nothing(&finding.problem);
        match &finding.found {
            Found::Lacking { there, here } => {
                (shown.lost_there, shown.lost_here) = (ranges(there.all()), ranges(here.all()));
                shown.other_text = ranges_of(there.differing.iter().chain(&here.differing));
                (shown.unmarked_there, shown.unmarked_here) = (ranges_of(&there.alike), ranges_of(&here.alike));
                shown.remark = remark(peer, there, here);
            }
            Found::Unseen { exchanged } => {
                shown.lost_there = ranges(exchanged.clone());
                shown.remark =
                    Some(format!("{peer} shows no such problem: it is gone there, hidden, or no longer linked"));
            }
            Found::LinkLost { theirs } => {
                let theirs = theirs.as_ref().map_or(String::new(), |theirs| format!(" {theirs}"));
                let next = format!("look at both, then say `landbridge link {} {peer} ID`", shown.problem);
                shown.remark = Some(format!("not linked with {peer}'s problem{theirs} here: {next}"));
            }
        }
        shown
    }

    /// Whether all that is wrong may still come right by itself: something is lacking, and nothing waits for a word.
    pub fn comes_still(&self) -> bool {
        self.is_lacking() && self.unmarked_here.is_empty() && self.unmarked_there.is_empty()
    }

    /// Whether entries are lacking at either site.
    pub fn is_lacking(&self) -> bool {
        !self.lost_there.is_empty() || !self.lost_here.is_empty()
    }
}

fn remark(peer: &SiteName, there: &Missing, here: &Missing) -> Option<String> {
    let rows = |alike: &[Text]| count(alike.len() as u64, "row");
    let mut remarks = Vec::new();
    if !here.alike.is_empty() {
        remarks.push(format!("{} here with these very texts, and no marker names them", rows(&here.alike)));
    }
    if !there.alike.is_empty() {
        remarks.push(format!("{} at {peer} with these very texts, and no marker there names them", rows(&there.alike)));
    }
    for (missing, site) in [(there, format!("at {peer}")), (here, "here".to_owned())] {
        let another = missing.texts.iter().find(|text| !missing.alike.contains(text));
        remarks.extend(
            another.map(|text| format!("{} has another text {site}, or is there by a lost marker", text.origin)),
        );
    }
    (!remarks.is_empty()).then(|| remarks.join("; "))
}

fn ranges_of<'a>(texts: impl IntoIterator<Item = &'a Text>) -> BTreeMap<SiteName, String> {
    let mut origins = OriginSet::new();
    texts.into_iter().for_each(|text| origins.insert(&text.origin));
    ranges(origins)
}

fn ranges(set: OriginSet) -> BTreeMap<SiteName, String> {
    set.by_site().map(|(site, ids)| (site.clone(), ids.to_string())).collect()
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
        let mut outcome =
            Outcome { peer: peer.name.clone(), state: State::Paused, findings: vec![], edits_seen: 0, error: None };
        if !peer.paused {
            match site.dial(peer, None)? {
                None => {
                    must_be_here(&site, &args.problems).await?;
                    outcome.state = State::DialsUs;
                }
                Some(dialled) => {
                    match findings(&site, &peer.name, &Patient(dialled), &args.problems, !args.without_texts).await {
                        Ok(mut found) => {
                            if args.acknowledge {
                                acknowledge(&site, &peer.name, &args.problems, &found)?;
                            }
                            let seen = site.cache.learnt().edits_seen;
                            outcome.edits_seen = leave_out_edits(&seen, &peer.name, &mut found);
                            outcome.state = if found.is_empty() { State::Agrees } else { State::Differs };
                            outcome.findings = found.iter().map(|finding| Shown::of(&peer.name, finding)).collect();
                        }
                        Err(failure) if failure.exit == Exit::Peer => {
                            (outcome.state, outcome.error) = (State::Failed, Some(failure.to_string()));
                        }
                        Err(failure) => return Err(failure),
                    }
                }
            }
        }
        outcomes.push(outcome);
    }
    site.cache.finish();
    if args.json {
        say(&json(&outcomes)?)?;
    } else {
        outcomes
            .iter()
            .try_for_each(|outcome| say(&report(outcome, site.name(), !args.without_texts, context.screen)))?;
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
    } else if any(State::DialsUs) {
        Exit::Left
    } else {
        Exit::Done
    }
}

/// Compares with one peer: everything, the texts too where `with_texts`, or these problems.
pub async fn findings(
    site: &Site,
    name: &SiteName,
    peer: &dyn Compares,
    problems: &[ProblemId],
    with_texts: bool,
) -> Result<Vec<Finding>, Failure> {
    let found = if problems.is_empty() {
        let bar = progress("comparing problems", None);
        let found = verify(&site.bridge, name, peer, with_texts, &|looked_at| bar.set_position(looked_at as u64)).await;
        bar.finish_and_clear();
        found
    } else {
        compare(&site.bridge, name, peer, problems).await
    };
    let found = found.map_err(|failure| failed(name, failure))?;
    // One that is gone here and that the peer still has is found, and one that neither has is mistyped.
    let unfound: Vec<_> = problems.iter().filter(|p| found.iter().all(|f| f.problem != **p)).cloned().collect();
    must_be_here(site, &unfound).await?;
    Ok(found)
}

/// The entries that have another text at each site, with both.
fn other_texts(finding: &Finding) -> BTreeMap<&Origin, BTreeSet<Digest>> {
    let mut texts: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    if let Found::Lacking { there, here } = &finding.found {
        for text in there.differing.iter().chain(&here.differing) {
            texts.entry(&text.origin).or_default().insert(text.digest);
        }
    }
    texts
}

/// The operator says that what has another text was edited.
fn acknowledge(site: &Site, peer: &SiteName, only: &[ProblemId], found: &[Finding]) -> Result<(), Failure> {
    let edits: Vec<_> = found.iter().map(|finding| (&finding.problem, other_texts(finding))).collect();
    let edits = edits.iter().flat_map(|(problem, texts)| texts.iter().map(|(origin, both)| (*problem, *origin, both)));
    site.cache.acknowledge_edits(peer, only, edits).map_err(|e| {
        let what = format!("it cannot be noted in {}.cache: {e}", site.config.path.display());
        Failure::new(Exit::Configuration, what, "give this user the right to write it, or delete it")
    })
}

/// Leaves out what an operator has said was edited, as long as both texts are those of then. How many entries that were.
pub fn leave_out_edits(seen: &EditsSeen, peer: &SiteName, found: &mut Vec<Finding>) -> u64 {
    let mut left_out = 0;
    for finding in found.iter_mut() {
        let is_seen = |(origin, both): &(&Origin, BTreeSet<Digest>)| {
            seen.get(&(peer.clone(), finding.problem.clone(), (*origin).clone())) == Some(both)
        };
        let edits = other_texts(finding).into_iter().filter(is_seen);
        let edits: BTreeSet<Origin> = edits.map(|(origin, _)| origin.clone()).collect();
        if let Found::Lacking { there, here } = &mut finding.found {
            there.differing.retain(|text| !edits.contains(&text.origin));
            here.differing.retain(|text| !edits.contains(&text.origin));
        }
        left_out += edits.len() as u64;
    }
    found.retain(
        |finding| !matches!(&finding.found, Found::Lacking { there, here } if there.is_empty() && here.is_empty()),
    );
    left_out
}

/// The failure of an exchange with `peer`.
pub fn failed(peer: &SiteName, failure: exchange::Failure) -> Failure {
    match failure {
        exchange::Failure::Store(error) => error.into(),
        exchange::Failure::Peer(error) => Failure::peer(peer, &error),
        exchange::Failure::Record(error) => error.into(),
    }
}

fn report(outcome: &Outcome, site: &SiteName, with_texts: bool, screen: Screen) -> String {
    let peer = &outcome.peer;
    let edits = match outcome.edits_seen {
        0 => String::new(),
        edits => format!(" Acknowledged as edited: {} with another text.", count(edits, "entry")),
    };
    match outcome.state {
        State::Agrees if !edits.is_empty() => {
            format!("{}{edits}", screen.paint(Tone::Good, &format!("{peer} and this site agree.")))
        }
        State::Agrees if with_texts => screen.paint(Tone::Good, &format!("{peer} and this site agree.")),
        State::Agrees => screen.paint(Tone::Good, &format!("{peer} and this site agree; texts were not compared.")),
        State::DialsUs => {
            format!("{peer} dials this site, and was not compared: say `landbridge verify --peer {site}` there.")
        }
        State::Paused => screen.paint(Tone::Bad, &format!("{peer} is paused, and was not compared.")),
        State::Failed => screen.paint(Tone::Bad, &format!("{peer} was not compared.")),
        State::Differs => {
            let head = format!("{peer} and this site differ in {}:", count(outcome.findings.len() as u64, "problem"));
            let repair = format!(
                " `landbridge repair --peer {peer}` sends again what {peer} lacks and fetches what is lacking here; with \
                 --accept it records that the loss is meant."
            );
            let texts = " Where texts differ, look at the entry at both sites (`landbridge history PROBLEM`): an edit may stay \
                         as it is, and `landbridge verify --acknowledge` says so; what are two entries comes to both with \
                         `repair --texts`.";
            let is_lacking = outcome.findings.iter().any(Shown::is_lacking);
            let has_texts = outcome.findings.iter().any(|shown| !shown.other_text.is_empty());
            let repair = if is_lacking { &repair } else { "" };
            let next = format!(
                "Nothing was changed.{repair}{}{}{edits}",
                unmarked(peer, site, &outcome.findings),
                if has_texts { texts } else { "" }
            );
            let head = screen.paint(Tone::Strong, &head);
            format!("{head}\n{}\n{}", table(peer, &outcome.findings, screen), screen.prose(&next))
        }
    }
}

/// What to do about rows that no marker names, here or at the peer; begins with a space where there is something to do.
pub fn unmarked(peer: &SiteName, site: &SiteName, shown: &[Shown]) -> String {
    let mut text = String::new();
    if shown.iter().any(|shown| !shown.unmarked_here.is_empty()) {
        text += &recognise_here(peer);
    }
    if shown.iter().any(|shown| !shown.unmarked_there.is_empty()) {
        text += &recognise_there(peer, site);
    }
    text
}

/// What to do about rows here that no marker names.
pub fn recognise_here(peer: &SiteName) -> String {
    format!(
        " Rows here have the very texts of what is lacking, and no marker names them: where somebody deleted the markers, \
         `landbridge repair --peer {peer} --recognise` writes them again; where people wrote the same, add --distinct."
    )
}

/// The same of rows at the peer.
pub fn recognise_there(peer: &SiteName, site: &SiteName) -> String {
    format!(
        " Rows at {peer} have the very texts of what it lacks, and no marker there names them: where somebody deleted the \
         markers, its operator says `landbridge repair --peer {site} --recognise`; where people wrote the same, add --distinct here."
    )
}

/// The findings as a table.
pub fn table(peer: &SiteName, findings: &[Shown], screen: Screen) -> String {
    let has_texts = findings.iter().any(|shown| !shown.other_text.is_empty());
    let there = format!("{peer} lacks");
    let mut heads = vec!["problem", &there, "lacking here"];
    heads.extend(has_texts.then_some("other text"));
    heads.push("remark");
    let mut table = Table::new(heads);
    let ranges = |sets: &BTreeMap<SiteName, String>| {
        let ranges: Vec<_> = sets.iter().map(|(site, ids)| format!("{site}/{ids}")).collect();
        Cell::new(ranges.join("; "), Tone::Bad)
    };
    for shown in findings.iter().take(LISTED_MAX) {
        let mut row = vec![Cell::from(shown.problem.as_str()), ranges(&shown.lost_there), ranges(&shown.lost_here)];
        row.extend(has_texts.then(|| ranges(&shown.other_text)));
        row.push(Cell::from(shown.remark.clone().unwrap_or_default()));
        table.row(row);
    }
    let more = findings.len().saturating_sub(LISTED_MAX);
    let more = if more > 0 { format!("\nand {more} more; --json has all") } else { String::new() };
    format!("{}{more}", screen.table(&table))
}
