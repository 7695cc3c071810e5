//! `landbridge adopt`: an operator's word that a peer already holds what it would be sent.

use std::collections::BTreeMap;

use clap::Args;
use landbridge_core::{IdSet, ProblemId, SiteName, WorkId};
use landbridge_flow::operator::{self, Recorded};
use landbridge_flow::survey;

use super::Context;
use super::history::must_be_here;
use crate::exit::{Exit, Failure};
use crate::lock;
use crate::render::{self, count};
use crate::site::Site;

/// Say that a peer already holds entries, so that they are not sent
///
/// For histories that were copied by other means before there was a bridge, or to begin the exchange from now on. For each
/// problem one marker is appended ("copy in system N: adopted 1-40") that names the entries which the peer is owed at this
/// moment. They are never sent to it afterwards; entries that are appended later are.
///
/// Nobody checks the word: where the peer does not hold an entry, it will never get it. If people went on writing after the
/// copy was made, name what was copied with --query; the rest is sent as soon as the bridge runs.
///
/// Nothing is deleted or changed here, the peer is not asked, and its own history is its own affair: run `adopt` there too,
/// before either bridge runs. Otherwise the peer sends what it holds, and it stands here twice, once as written here and
/// once as the peer's. The same is true of every further site: each must be told of each that holds a copy.
///
/// Where sites number differently, link the problems first, at both sites: a peer that calls a problem by no name cannot
/// hold it. Such problems, and suspended ones, are left alone.
///
/// The counts are shown first, and on a terminal a question is asked. The bridge should be stopped: one that runs may send
/// what is about to be adopted.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit status:
  0  done, or nothing to do
  1  not done, because nobody agreed
  2  wrong command line, or there is no such problem; nothing was recorded
  6  suspended problems, or problems linked with none of the peer's, were left alone

Example:
  landbridge adopt --peer N --all --dry-run
  landbridge adopt --peer N --query \"select ticket, no from comments where written < '2026-11-01'\"
  landbridge adopt --peer N ABC XYZ --yes")]
pub struct AdoptArgs {
    /// Who holds them
    #[arg(long, value_name = "SITE")]
    peer: SiteName,
    /// The problems; or --all
    #[arg(value_name = "PROBLEM|--all", required_unless_present_any = ["all", "query"], conflicts_with = "all")]
    problems: Vec<ProblemId>,
    /// All problems of this site
    #[arg(long)]
    all: bool,
    /// Of these entries alone: an SQL query of this site's database with two columns, the problem and the entry's number
    #[arg(long, value_name = "SQL", conflicts_with_all = ["problems", "all"])]
    query: Option<String>,
    /// Show what would be recorded, and record nothing
    #[arg(long)]
    dry_run: bool,
    /// Ask nothing
    #[arg(long, short)]
    yes: bool,
}

/// Records the operator's word.
pub async fn run(args: &AdoptArgs, context: &Context) -> Result<Exit, Failure> {
    // `rekey` must not retire the key that this signs with.
    let _shared = lock::shared(&context.config)?;
    let site = Site::open(&context.config).await?;
    site.peer(&args.peer)?;
    must_be_here(&site, &args.problems).await?;
    let peer = &args.peer;
    let only = match &args.query {
        Some(sql) => Some(named(&site, sql).await?),
        None => None,
    };
    let counted = pass(&site, args, only.as_ref(), true).await?;
    let mut text = match counted.rows {
        0 => format!("{peer} is owed nothing at this moment."),
        n => format!("{peer} is owed {} of {} at this moment.", count(n, "entry"), count(counted.problems, "problem")),
    };
    if counted.suspended > 0 {
        text += &format!(" {} suspended, and left alone.", are(counted.suspended));
    }
    if counted.unlinked > 0 {
        text += &format!(
            " {} linked with none of {peer}'s, and left alone: say `landbridge link` first, or what they hold is sent.",
            are(counted.unlinked)
        );
    }
    let named: u64 = only.iter().flat_map(BTreeMap::values).map(IdSet::len).sum();
    let passed_over = named.saturating_sub(counted.rows);
    if passed_over > 0 {
        text += &format!(
            " Of what the query names, {} passed over: not shared now, held already, linked with none, or not there.",
            if passed_over == 1 { "1 row is".to_owned() } else { format!("{} are", count(passed_over, "row")) }
        );
    }
    render::say(&context.screen.prose(&text))?;
    let left = if counted.suspended + counted.unlinked > 0 { Exit::Person } else { Exit::Done };
    if args.dry_run || counted.rows == 0 {
        return Ok(left);
    }
    if !args.yes && !agreed(&format!("Record that {peer} holds them, so that they are never sent to it?"))? {
        render::note("nothing was recorded");
        return Ok(Exit::Left);
    }
    let done = pass(&site, args, only.as_ref(), false).await?;
    let text = format!(
        "Recorded in {} that {peer} holds {}. What is appended from now on is sent.",
        count(done.problems, "problem"),
        count(done.rows, "entry")
    );
    render::say(&context.screen.prose(&text))?;
    Ok(left)
}

type Only = BTreeMap<ProblemId, IdSet>;

/// The entries that an administrator's query names.
async fn named(site: &Site, sql: &str) -> Result<Only, Failure> {
    let mut only = Only::new();
    for (line, row) in site.query(sql).await?.into_iter().enumerate() {
        let wrong = |why: String| {
            let next = "correct the query; nothing was recorded";
            Failure::usage(format!("row {} of the query: {why}", line + 1), next)
        };
        let [problem, work] = &row[..] else {
            let columns = count(row.len() as u64, "column");
            return Err(wrong(format!("{columns} instead of two, the problem and the entry's number")));
        };
        let (Some(problem), Some(work)) = (problem, work) else { continue };
        let problem: ProblemId = problem.trim().parse().map_err(|e| wrong(format!("{e}")))?;
        let work: WorkId = work.trim().parse().map_err(|e| wrong(format!("{e}")))?;
        only.entry(problem).or_default().insert(work);
    }
    Ok(only)
}

/// One pass through the problems asked for. `dry`: only counts.
async fn pass(site: &Site, args: &AdoptArgs, only: Option<&Only>, dry: bool) -> Result<Recorded, Failure> {
    let mut recorded = Recorded::default();
    if !args.all {
        let mut problems: Vec<_> = only.map_or_else(|| args.problems.clone(), |only| only.keys().cloned().collect());
        problems.sort();
        problems.dedup();
        for page in problems.chunks(survey::PAGE_PROBLEMS) {
            recorded = recorded.and(operator::adopt(&site.bridge, &args.peer, page, only, dry).await?);
        }
        return Ok(recorded);
    }
    let bar = render::progress(if dry { "problems counted" } else { "problems recorded" }, None);
    let mut after = None;
    loop {
        let page = survey::page(&site.bridge, after.as_ref()).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.clone());
        recorded = recorded.and(operator::adopt(&site.bridge, &args.peer, &page, None, dry).await?);
        bar.inc(page.len() as u64);
    }
    bar.finish_and_clear();
    Ok(recorded)
}

/// A person's yes; a failure where there is nobody to ask.
pub(super) fn agreed(question: &str) -> Result<bool, Failure> {
    render::ask(question)?.ok_or_else(|| {
        Failure::usage(
            "there is no terminal to ask at",
            "give --yes where it is meant, or --dry-run to see what it does",
        )
    })
}

fn are(problems: u64) -> String {
    format!("{} {}", count(problems, "problem"), if problems == 1 { "is" } else { "are" })
}
