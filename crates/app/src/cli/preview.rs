//! `landbridge preview`: what would leave for a peer, made by the same function that sends, and not sent.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use landbridge_core::message::{Delivery, Entry};
use landbridge_core::{IdSet, ProblemId, SiteName};
use landbridge_flow::send::{Due, prepare};
use landbridge_flow::survey;

use super::Context;
use super::history::must_be_here;
use crate::exit::{Exit, Failure};
use crate::render::{self, Cell, Table, Tone, count};
use crate::site::Site;

/// Show exactly what would leave for a peer, without sending it
///
/// Puts the deliveries for the peer together as the bridge does, from the database as it is now, and prints them instead of
/// sending them: each entry with its problem, its origin, its text and its shared columns. Nothing else of this database
/// would leave. Nothing is written and no peer is asked.
///
/// An entry that a third site wrote goes first without its text, with a digest of it (`bare`): the peer asks for the text
/// only where it lacks it. So does every entry of a problem that is linked with none of the peer's yet; once the peer wants
/// it, its text leaves, and the shared columns of the problem with it. Entries that the peer refused before are among those shown, since they are tried again.
///
/// With --json each line is one delivery, exactly the JSON object that would stand in the message.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit status:
  0  nothing would leave
  1  something would
  2  there is no such problem or peer
  6  problems are suspended, and nothing of them would leave

Example:
  landbridge preview --peer N
  landbridge preview --peer N ABC --json | jq '.entries[].text'")]
pub struct PreviewArgs {
    /// For which peer
    #[arg(long, value_name = "SITE")]
    peer: SiteName,
    /// Only these problems; without any, all
    #[arg(value_name = "PROBLEM")]
    problems: Vec<ProblemId>,
    /// Print the deliveries as JSON, one a line
    #[arg(long)]
    json: bool,
}

/// What was shown so far.
#[derive(Default)]
struct Totals {
    entries: u64,
    bytes: u64,
    bare: u64,
    problems: BTreeSet<ProblemId>,
    owed: u64,
    suspended: u64,
}

/// Prints the deliveries.
pub async fn run(args: &PreviewArgs, context: &Context) -> Result<Exit, Failure> {
    let site = Site::open(&context.config).await?;
    let paused = site.peer(&args.peer)?.paused;
    must_be_here(&site, &args.problems).await?;
    let mut totals = Totals::default();
    if args.problems.is_empty() {
        let mut after = None;
        loop {
            let page = survey::page(&site.bridge, after.as_ref()).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.clone());
            show(&site, args, &page, context, &mut totals).await?;
        }
    } else {
        let problems: BTreeSet<_> = args.problems.iter().cloned().collect();
        let problems: Vec<_> = problems.into_iter().collect();
        for page in problems.chunks(survey::PAGE_PROBLEMS) {
            show(&site, args, page, context, &mut totals).await?;
        }
    }
    if !args.json {
        render::say(&context.screen.prose(&totals.words(&args.peer, paused)))?;
    }
    Ok(match (totals.suspended, totals.entries) {
        (0, 0) => Exit::Done,
        (0, _) => Exit::Left,
        _ => Exit::Person,
    })
}

/// Prints what would leave of these problems, batch after batch until nothing is left behind.
async fn show(
    site: &Site,
    args: &PreviewArgs,
    problems: &[ProblemId],
    context: &Context,
    totals: &mut Totals,
) -> Result<(), Failure> {
    let bridge = &site.bridge;
    let survey = survey::survey(bridge, problems, Some(&args.peer)).await?;
    totals.suspended += survey.suspended.len() as u64;
    totals.owed += survey.owed.values().map(|owed| owed.entries).sum::<u64>();

    let mut due: BTreeMap<_, _> = problems.iter().map(|problem| (problem.clone(), Due::default())).collect();
    let mut shown: BTreeMap<ProblemId, IdSet> = BTreeMap::new();
    while !due.is_empty() && render::heard() {
        let mut outgoing = prepare(bridge, &args.peer, bridge.limits.batch_entries_max, due).await?;
        for ((problem, rows), delivery) in outgoing.rows().zip(&outgoing.deliveries) {
            shown.entry(problem.clone()).or_default().extend(&rows.iter().map(|(work, _)| *work).collect());
            totals.add(problem, delivery);
        }
        print(&outgoing.deliveries, bridge.site(), args.json, context)?;
        for (problem, row) in outgoing.withheld.drain(..) {
            shown.entry(problem).or_default().insert(row);
        }
        // What was shown, or cannot be sent, counts as waiting, so that the next batch begins behind it.
        for (problem, due) in &mut outgoing.left {
            due.waiting.extend(shown.get(problem).unwrap_or(&IdSet::new()));
        }
        due = std::mem::take(&mut outgoing.left);
    }
    Ok(())
}

fn print(deliveries: &[Delivery], here: &SiteName, json: bool, context: &Context) -> Result<(), Failure> {
    if json {
        for delivery in deliveries {
            render::say(&render::json_line(delivery)?)?;
        }
        return Ok(());
    }
    let mut table = Table::new(["problem", "origin", "text", "columns"]);
    for delivery in deliveries {
        let problem = delivery.names.get(here).map(ToString::to_string).unwrap_or_default();
        for entry in &delivery.entries {
            table.row([problem.clone().into(), entry.origin.to_string().into(), text(entry), columns(entry).into()]);
        }
    }
    if !table.is_empty() {
        render::say(&context.screen.table(&table))?;
    }
    Ok(())
}

fn text(entry: &Entry) -> Cell {
    match (&entry.text, entry.digest) {
        (Some(text), _) => text.as_str().into(),
        (None, Some(digest)) => Cell::new(format!("(bare, digest {digest})"), Tone::Dim),
        (None, None) => Cell::default(),
    }
}

fn columns(entry: &Entry) -> String {
    let shown = |(name, value): (&String, &Option<String>)| match value {
        Some(value) => format!("{name}={value}"),
        None => format!("{name} is null"),
    };
    let mut columns: Vec<_> = entry.fields.iter().map(shown).collect();
    if !entry.onward {
        columns.push("(not to be passed on)".into());
    }
    columns.join(", ")
}

impl Totals {
    fn add(&mut self, problem: &ProblemId, delivery: &Delivery) {
        self.problems.insert(problem.clone());
        for entry in &delivery.entries {
            self.entries += 1;
            self.bytes += entry.bytes();
            self.bare += u64::from(entry.text.is_none());
        }
    }

    fn words(&self, peer: &SiteName, paused: bool) -> String {
        let mut text = match self.entries {
            0 => format!("Nothing would leave for {peer}."),
            n => {
                let problems = count(self.problems.len() as u64, "problem");
                format!(
                    "{} of {problems} ({} of texts and columns) would leave for {peer}.",
                    count(n, "entry"),
                    count(self.bytes, "byte")
                )
            }
        };
        if self.bare > 0 {
            text += &format!(" {} of them bare: the texts follow where {peer} asks for them.", self.bare);
        }
        let withheld = self.owed.saturating_sub(self.entries);
        if withheld > 0 {
            text += &format!(
                "\n{} cannot be sent: no UTF-8 text, or one longer than [limits] entry_bytes_max.",
                count(withheld, "further entry")
            );
        }
        if self.suspended > 0 {
            let problems = count(self.suspended, "suspended problem");
            text += &format!("\nNothing leaves of {problems}; see `landbridge status`.");
        }
        if paused {
            text += &format!("\n{peer} is paused in the configuration, so nothing is sent until it no longer is.");
        }
        text
    }
}
