//! `landbridge link`: an operator's word that a problem here and one of a peer's are the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use landbridge_core::{ProblemId, SiteName};
use landbridge_flow::operator::{self, LinkOutcome, Pair};
use landbridge_flow::pairing::learn_all_links;
use serde::Serialize;

use super::Context;
use crate::exit::{Exit, Failure};
use crate::lock;
use crate::render::{self, Table, count, json};
use crate::site::Site;

/// How many links one transaction records.
const PAGE_LINKS: usize = 500;

/// Say which problem of a peer belongs to a problem here, where sites number differently
///
/// For `[problem] pairing = "linked"`. It is enough to say it at one of the two sites: a marker is appended to the problem
/// ("copy in system N as 4711") and travels with the next delivery. A problem has one partner at each site; where it, or the
/// other one, is linked already with another, nothing is recorded without --replace. Both sites have to replace a link:
/// until the other one does, it refuses the problem as a conflict. What was exchanged before stays where it is.
///
/// Where a site creates problems that are not there (`create = true`), link before the bridges run: what was created
/// meanwhile is linked already.
///
/// With --csv or --query many are linked at once: two columns, the problem here and the peer's. All problems are looked
/// through first, so that no two here are linked with one there.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit status:
  0  every link is recorded, or was before
  6  some were not recorded; each is named with the reason

Example:
  landbridge link 17 N 4711
  landbridge link --peer N --csv links.csv --dry-run
  landbridge link --peer N --query \"select id, external_ref from tickets where external_ref is not null\"")]
pub struct LinkArgs {
    /// The problem here
    #[arg(value_name = "PROBLEM", required_unless_present_any = ["csv", "query"], requires_all = ["site", "theirs"])]
    problem: Option<ProblemId>,
    /// The other site
    #[arg(value_name = "PEER", conflicts_with = "peer")]
    site: Option<SiteName>,
    /// What the other site calls the problem
    #[arg(value_name = "THEIRS")]
    theirs: Option<ProblemId>,
    /// The other site, with --csv or --query
    #[arg(long, value_name = "SITE")]
    peer: Option<SiteName>,
    /// Read links from a file: two columns a line, the problem here and the peer's; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["problem", "query"], requires = "peer")]
    csv: Option<PathBuf>,
    /// Read links from this site's database: an SQL query of two columns
    #[arg(long, value_name = "SQL", conflicts_with = "problem", requires = "peer")]
    query: Option<String>,
    /// Record it also where one of the two is linked with another problem
    #[arg(long)]
    replace: bool,
    /// Show what would be recorded, and record nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// A link that was not recorded, or all of them in JSON.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    problem: &'a ProblemId,
    peer: &'a SiteName,
    theirs: &'a ProblemId,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    other: Option<&'a ProblemId>,
}

/// Records the operator's word.
pub async fn run(args: &LinkArgs, context: &Context) -> Result<Exit, Failure> {
    // `rekey` must not retire the key that this signs with.
    let _shared = lock::shared(&context.config)?;
    let site = Site::open(&context.config).await?;
    let peer = args.site.as_ref().or(args.peer.as_ref());
    let peer = peer.ok_or_else(|| Failure::usage("no site is named", "give PROBLEM PEER THEIRS, or --peer"))?;
    site.peer(peer)?;
    if !site.bridge.is_linked() {
        let next = "set `pairing = \"linked\"` under [problem] at both sites where they number differently";
        return Err(Failure::new(Exit::Configuration, "problems have the same id at every site here", next));
    }
    let pairs = pairs(args, &site).await?;
    let bar = render::progress("problems looked through", None);
    learn_all_links(&site.bridge, &|read| bar.inc(read as u64)).await?;
    bar.finish_and_clear();
    let mut outcomes = Vec::with_capacity(pairs.len());
    let bar = render::progress("links", Some(pairs.len() as u64));
    for page in pairs.chunks(PAGE_LINKS) {
        outcomes.extend(operator::link(&site.bridge, peer, page, args.replace, args.dry_run).await?);
        bar.inc(page.len() as u64);
    }
    bar.finish_and_clear();
    print(args, context, peer, &pairs, &outcomes)
}

/// What is to be linked, from wherever it comes.
async fn pairs(args: &LinkArgs, site: &Site) -> Result<Vec<Pair>, Failure> {
    let rows = match (&args.csv, &args.query) {
        (Some(file), _) => from_csv(file)?,
        (None, Some(sql)) => {
            site.query(sql).await?.into_iter().enumerate().map(|(n, row)| (n as u64 + 1, row)).collect()
        }
        (None, None) => {
            let pair = args.problem.clone().zip(args.theirs.clone());
            return Ok(pair.into_iter().map(|(problem, theirs)| Pair { problem, theirs }).collect());
        }
    };
    let mut seen: BTreeMap<ProblemId, u64> = BTreeMap::new();
    let mut pairs = Vec::with_capacity(rows.len());
    for (line, row) in rows {
        let wrong = |why: String| Failure::usage(format!("line {line}: {why}"), "correct it; nothing was recorded");
        let [here, there] = &row[..] else {
            return Err(wrong(format!(
                "there {} where two are needed, the problem here and the peer's, with a comma between them",
                if row.len() == 1 { "is 1 column".to_owned() } else { format!("are {} columns", row.len()) }
            )));
        };
        let (Some(here), Some(there)) = (here, there) else { continue };
        let problem: ProblemId = here.trim().parse().map_err(|e| wrong(format!("{e}")))?;
        let theirs = there.trim().parse().map_err(|e| wrong(format!("{e}")))?;
        if let Some(before) = seen.insert(problem.clone(), line) {
            return Err(wrong(format!("problem {problem} stands in line {before} already")));
        }
        pairs.push(Pair { problem, theirs });
    }
    Ok(pairs)
}

type Row = Vec<Option<String>>;

/// The lines of a CSV file, each with its number. A first line of `problem` and a name is a heading.
fn from_csv(file: &Path) -> Result<Vec<(u64, Row)>, Failure> {
    let unreadable = |e: &dyn std::fmt::Display| {
        Failure::usage(
            format!("{}: {e}", file.display()),
            "give a CSV file of two columns: the problem here, the peer's",
        )
    };
    let source: Box<dyn std::io::Read> = if file == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(file).map_err(|e| unreadable(&e))?)
    };
    let mut rows = Vec::new();
    for record in csv::ReaderBuilder::new().has_headers(false).trim(csv::Trim::All).from_reader(source).into_records() {
        let record = record.map_err(|e| unreadable(&e))?;
        let line = record.position().map_or(0, csv::Position::line);
        if rows.is_empty() && line <= 1 && record.get(0).is_some_and(|h| h.eq_ignore_ascii_case("problem")) {
            continue;
        }
        rows.push((line, record.iter().map(|value| Some(value.to_owned())).collect()));
    }
    Ok(rows)
}

fn print(
    args: &LinkArgs,
    context: &Context,
    peer: &SiteName,
    pairs: &[Pair],
    outcomes: &[LinkOutcome],
) -> Result<Exit, Failure> {
    let shown: Vec<_> = pairs.iter().zip(outcomes).map(|(pair, outcome)| shown(peer, pair, outcome)).collect();
    let is_done = |s: &&Shown<'_>| matches!(s.result, "linked" | "known");
    let left = shown.iter().filter(|s| !is_done(s)).count();
    let exit = if left == 0 { Exit::Done } else { Exit::Person };
    if args.json {
        render::say(&json(&shown)?)?;
        return Ok(exit);
    }
    let linked = outcomes.iter().filter(|o| **o == LinkOutcome::Linked).count() as u64;
    let known = outcomes.iter().filter(|o| **o == LinkOutcome::Known).count() as u64;
    let mut text = match (args.dry_run, linked) {
        (true, n) => format!("{} would be linked with {peer}.", count(n, "problem")),
        (false, n) => format!("{} linked with {peer}.", count(n, "problem")),
    };
    if known > 0 {
        text += &format!(" {} before.", if known == 1 { "1 was".to_owned() } else { format!("{known} were") });
    }
    render::say(&context.screen.prose(&text))?;
    if left > 0 {
        let mut table = Table::new(["problem", "theirs", "not linked, because"]);
        for (pair, outcome) in pairs.iter().zip(outcomes) {
            if let Some(why) = reason(peer, outcome) {
                table.row([pair.problem.to_string().into(), pair.theirs.to_string().into(), why.into()]);
            }
        }
        render::say(&context.screen.table(&table))?;
    }
    Ok(exit)
}

fn shown<'a>(peer: &'a SiteName, pair: &'a Pair, outcome: &'a LinkOutcome) -> Shown<'a> {
    let (result, other) = match outcome {
        LinkOutcome::Linked => ("linked", None),
        LinkOutcome::Known => ("known", None),
        LinkOutcome::LinkedWith(theirs) => ("linked_with_another", Some(theirs)),
        LinkOutcome::Taken(problem) => ("taken_by_another", Some(problem)),
        LinkOutcome::Unknown => ("unknown", None),
        LinkOutcome::Suspended => ("suspended", None),
    };
    Shown { problem: &pair.problem, peer, theirs: &pair.theirs, result, other }
}

fn reason(peer: &SiteName, outcome: &LinkOutcome) -> Option<String> {
    Some(match outcome {
        LinkOutcome::Linked | LinkOutcome::Known => return None,
        LinkOutcome::LinkedWith(theirs) => {
            format!("it is linked with {theirs} at {peer}; look at both, then --replace")
        }
        LinkOutcome::Taken(problem) => format!("{problem} here is linked with that one; look at both, then --replace"),
        LinkOutcome::Unknown => "there is no such problem here, or [problem] share hides it".to_owned(),
        LinkOutcome::Suspended => "it is suspended; see `landbridge status`".to_owned(),
    })
}
