//! `landbridge compact`: fewer markers. Folds those that newer ones can replace into one for each peer, and deletes them.

use clap::Args;
use landbridge_core::ProblemId;
use landbridge_flow::compact::{Compacted, compact};
use landbridge_flow::survey;
use serde::Serialize;

use super::Context;
use crate::exit::{Exit, Failure};
use crate::lock;
use crate::render::{self, Cell, Table, Tone, count};
use crate::site::Site;

/// Problems of one transaction at most: others wait meanwhile.
const PROBLEMS_MAX: usize = 100;
/// How many problems are named; the others are counted.
const NAMED_MAX: usize = 20;

/// Fold old markers into fewer and delete them
///
/// A ticket that is long in use collects markers: one for each exchange. Everything that the markers of a problem say fits
/// into one for each peer. `compact` appends those ("copy in system N: 1-2,4,8 era 1"), then deletes the markers that they
/// replace, then reads the problem again and compares: where it would not say exactly what it said before, nothing is
/// changed. All that is one transaction, under the locks that bridges hold when they exchange, so it can run beside
/// `landbridge run` here and beside other bridges of the same database, and a crash costs a second run and nothing else.
///
/// Entries are never touched, and no peer is asked or notices. What the markers say of entries that are gone is kept. A text
/// of a deleted marker that somebody pastes again later says nothing: the new markers belong to a new era. Copies of markers
/// that somebody pasted stay where they are. Suspended problems are left alone.
///
/// Nothing is deleted unless the configuration says so under [markers]: `compact = true`. The database user needs the right
/// to delete, which `landbridge grants --compact` prints. THE DANGER is not this command but that right: databases give it
/// for whole tables, so whoever gets hold of this user and its password can delete every row of the table in which the
/// markers are. With [markers] table that is a table of the markers alone. The bridge itself deletes nothing but markers that
/// it sealed. `landbridge run` never does it by itself.
///
/// Applications that show or cache the number of rows of a ticket will show another one afterwards.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit status:
  0  done, or nothing to do
  1  problems were left alone, because the table does not take the new markers
  2  a problem has no rows here
  3  [markers] compact is not set, or the database user may not delete
  4  the database did not delete what it was told to; nothing was changed
  6  suspended problems were left alone

Example:
  landbridge compact --dry-run
  landbridge compact ABC XYZ --min-markers 2
  landbridge compact --json")]
pub struct CompactArgs {
    /// The problems; without any, all of this site
    #[arg(value_name = "PROBLEM")]
    problems: Vec<ProblemId>,
    /// Fold only where it makes at least so many rows less
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    min_markers: u64,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct View {
    dry_run: bool,
    /// Problems that were looked at.
    problems_seen: u64,
    /// Problems whose markers were folded.
    problems: u64,
    /// Markers of those.
    markers_before: u64,
    markers_after: u64,
    rows_deleted: u64,
    suspended: Named<ProblemId>,
    left: Named<Left>,
}

/// A count, and the first few.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Named<T> {
    count: u64,
    first: Vec<T>,
}

/// A problem whose markers cannot be folded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Left {
    problem: ProblemId,
    why: String,
}

impl<T> Named<T> {
    fn of(all: impl IntoIterator<Item = T>) -> Self {
        let mut named = Named { count: 0, first: Vec::new() };
        for one in all {
            named.count += 1;
            if named.first.len() < NAMED_MAX {
                named.first.push(one);
            }
        }
        named
    }

    fn add(&mut self, more: Named<T>) {
        self.count += more.count;
        self.first.extend(more.first.into_iter().take(NAMED_MAX.saturating_sub(self.first.len())));
    }
}

impl View {
    fn of(done: Compacted, dry_run: bool) -> Self {
        Self {
            dry_run,
            problems_seen: done.seen,
            problems: done.problems,
            markers_before: done.before,
            markers_after: done.after,
            rows_deleted: done.deleted,
            suspended: Named::of(done.suspended),
            left: Named::of(done.left.into_iter().map(|(problem, why)| Left { problem, why })),
        }
    }

    fn add(&mut self, more: View) {
        self.problems_seen += more.problems_seen;
        self.problems += more.problems;
        self.markers_before += more.markers_before;
        self.markers_after += more.markers_after;
        self.rows_deleted += more.rows_deleted;
        self.suspended.add(more.suspended);
        self.left.add(more.left);
    }

    fn exit(&self) -> Exit {
        match (self.suspended.count, self.left.count) {
            (0, 0) => Exit::Done,
            (0, _) => Exit::Left,
            _ => Exit::Person,
        }
    }
}

/// Folds and says how much.
pub async fn run(args: &CompactArgs, context: &Context) -> Result<Exit, Failure> {
    // `rekey` must not retire the key that this signs with.
    let _shared = lock::shared(&context.config)?;
    let site = Site::open(&context.config).await?;
    // A dry run changes nothing, so nothing need be allowed.
    if let (Err(why), false) = (site.config.mapping.may_remove(), args.dry_run) {
        let next = "landbridge.example.toml shows how; read `landbridge compact --help` before you set it, then run `landbridge \
                    grants --compact`";
        return Err(Failure::new(Exit::Configuration, why, next));
    }
    let view = if args.problems.is_empty() { all(&site, args).await? } else { some(&site, args).await? };
    if args.json {
        render::say(&render::json(&view)?)?;
    } else {
        print(&view, args, context)?;
    }
    Ok(view.exit())
}

/// The problems asked for.
async fn some(site: &Site, args: &CompactArgs) -> Result<View, Failure> {
    let mut view = View::of(Compacted::default(), args.dry_run);
    let mut unknown = Vec::new();
    for page in args.problems.chunks(PROBLEMS_MAX) {
        unknown.extend(compact(&site.bridge, page, args.min_markers, true).await?.unknown);
    }
    if !unknown.is_empty() {
        let named: Vec<_> = unknown.iter().take(NAMED_MAX).map(ProblemId::as_str).collect();
        let what = format!("no rows are here of {}", named.join(", "));
        return Err(Failure::usage(what, "name problems as this site's database calls them"));
    }
    for page in args.problems.chunks(PROBLEMS_MAX) {
        view.add(View::of(compact(&site.bridge, page, args.min_markers, args.dry_run).await?, args.dry_run));
    }
    Ok(view)
}

/// All problems, page by page.
async fn all(site: &Site, args: &CompactArgs) -> Result<View, Failure> {
    let mut view = View::of(Compacted::default(), args.dry_run);
    let bar = render::progress("problems looked at", None);
    let at_once = site.bridge.limits.batch_problems_max.clamp(1, PROBLEMS_MAX);
    let mut after = None;
    loop {
        let page = survey::page(&site.bridge, after.as_ref()).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.clone());
        for some in page.chunks(at_once) {
            view.add(View::of(compact(&site.bridge, some, args.min_markers, args.dry_run).await?, args.dry_run));
            bar.inc(some.len() as u64);
        }
    }
    bar.finish_and_clear();
    Ok(view)
}

fn print(view: &View, args: &CompactArgs, context: &Context) -> Result<(), Failure> {
    let (would, are) = if view.dry_run { ("would be ", "would be") } else { ("", "are") };
    let mut text = match view.problems {
        0 => format!(
            "Nothing to fold: in none of {} would it make at least {} less.",
            count(view.problems_seen, "problem"),
            count(args.min_markers, "row")
        ),
        _ => format!(
            "The markers of {} {would}folded: {} before, {} afterwards, {} {would}deleted.",
            count(view.problems, "problem"),
            view.markers_before,
            view.markers_after,
            count(view.rows_deleted, "row")
        ),
    };
    if view.dry_run {
        text += " Nothing was changed.";
    }
    if view.suspended.count > 0 {
        text += &format!(
            " {} suspended and {are} left alone; see `landbridge status`.",
            if view.suspended.count == 1 {
                "1 problem is".to_owned()
            } else {
                format!("{} problems are", view.suspended.count)
            }
        );
    }
    render::say(&context.screen.prose(&text))?;
    if view.left.first.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(["problem", "left as it is, because"]);
    for Left { problem, why } in &view.left.first {
        table.row([problem.as_str().into(), Cell::new(why.clone(), Tone::Bad)]);
    }
    render::say(&context.screen.table(&table))?;
    match view.left.count.saturating_sub(view.left.first.len() as u64) {
        0 => Ok(()),
        more => Ok(render::say(&format!("and {}", count(more, "further problem")))?),
    }
}
