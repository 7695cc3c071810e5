//! `landbridge repair`: an operator's word that what one side lost is sent again, or that its loss is meant.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use clap::Args;
use landbridge_core::judge::Repair;
use landbridge_core::message::{Code, Missing, Refusal, Word};
use landbridge_core::{ProblemId, SiteName};
use landbridge_flow::Event;
use landbridge_flow::ports::Compares;
use landbridge_flow::repair::{Loss, alike_here, lost_here, lost_there, on_their_way, recognise, record, tell_lost};
use landbridge_flow::verify::{Finding, Found, compare};
use serde::Serialize;

use super::Context;
use super::adopt::agreed;
use super::history::must_be_here;
use super::verify::{Shown, failed, findings, leave_out_edits, recognise_here, recognise_there, table, unmarked};
use crate::cache::{EditsSeen, Lost, Wish};
use crate::daemon::{Daemon, DaemonOptions};
use crate::exit::{Exit, Failure};
use crate::lock;
use crate::patience::Patient;
use crate::render::{self, Screen, Tone, count, json, say};
use crate::site::Site;
use crate::status::still_true;

/// How often it is looked whether everything has come.
const LOOK: Duration = Duration::from_millis(300);

/// Send again what a peer lost, and fetch back what this site lost
///
/// After a database was restored from a backup. First everything is compared, as `landbridge verify` does, and shown. Then
/// for what the peer lacks a marker is appended to each problem ("copy in system N: lost 4-7") and the entries are sent
/// again, whoever wrote them; and the peer is told what is lacking here, and sends it. What this site wrote itself is taken
/// back from the peer only while this command runs, and only what is shown as lacking: a peer could otherwise put words into
/// this site's mouth. The command
/// ends when all has come and both agree, or when nothing has come for as long as --wait says.
///
/// Entries that the peer wrote itself and lost are taken back there only while its operator repairs, too. Where both
/// databases were restored, run it at both sites at the same time.
///
/// Numbers that were given out again after the restore hide nothing: the old entry comes back beside the new one, and both
/// are shown as *differs*. What comes back is appended behind what is there. Nothing else is changed: conditions hold as
/// always, and what was deleted while its marker is still there stays deleted.
///
/// Where somebody deleted this site's markers and left the rows (a clean-up of internal notes), the rows look as if they had
/// been written here. Peers refuse them as an *echo*. With --recognise a row that no marker names and that has the very text
/// of what the peer gives back is taken for it: the marker is written again, and nothing is appended.
///
/// Where both sites have an entry, each with another text, nothing is done: it was edited, as far as can be told. With --texts
/// it counts as two entries under one number, and each site gets the other's as a further row: for where a number was given
/// out again after one restore, before another. Name the problems: of an edited entry the former text, perhaps a password that
/// was taken out, comes back where it was edited, once its operator repairs as well.
///
/// With --accept nothing is sent: the loss is meant, as where old tickets were purged with their markers. It is recorded at
/// both sites, and neither shows it any more.
///
/// A peer that dials this site cannot be asked from here. Then what its bridge last told is sent again, and this command
/// waits for its operator to run `repair` at that end. What this site lacks it knows once that operator has said `verify`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit status:
  0  both agree
  1  not done, because nobody agreed, or something is still on its way
  2  there is no such problem or peer, or nobody to ask (no terminal, and no --yes)
  3  wrong configuration, or another repair runs
  4  the database failed
  5  the peer did not answer as it should
  6  something differs and is not repaired (with --dry-run, or where a link is lost)

Example:
  landbridge repair --peer N --dry-run
  landbridge repair --peer N --yes
  landbridge repair --peer N --accept ABC")]
pub struct RepairArgs {
    /// The peer
    #[arg(long, value_name = "SITE")]
    peer: SiteName,
    /// Only these problems
    #[arg(value_name = "PROBLEM")]
    problems: Vec<ProblemId>,
    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Record that the loss is meant, and send nothing
    #[arg(long)]
    accept: bool,
    /// Take rows that no marker names for what is lacking here, where they have its text
    #[arg(long, conflicts_with = "accept")]
    recognise: bool,
    /// Fetch or send what is lacking although a row with its text is there that no marker names
    #[arg(long, conflicts_with_all = ["recognise", "accept"])]
    distinct: bool,
    /// Bring both texts to both sites, where each has another one of an entry
    #[arg(long, conflicts_with = "accept")]
    texts: bool,
    /// Ask nothing
    #[arg(long, short)]
    yes: bool,
    /// End when nothing has come for so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
    /// Print JSON instead of sentences
    #[arg(long)]
    json: bool,
}

/// What was done.
#[derive(Debug, Default, Serialize)]
struct Summary {
    /// Whether nothing was done: the counts say what would be.
    dry_run: bool,
    /// Rows here whose markers were written again.
    recognised: u64,
    /// Rows that are recorded as lost at the peer, and are sent again unless the loss is meant.
    rows_again: u64,
    /// Rows that the peer sends again.
    rows_back: u64,
    /// Entries and rows that have not come, here or there.
    on_their_way: u64,
    /// Whether the losses are recorded as meant.
    accepted: bool,
    /// What still differs.
    left: Vec<Shown>,
}

/// Repairs.
pub async fn run(args: &RepairArgs, context: &Context) -> Result<Exit, Failure> {
    let site = Site::open(&context.config).await?;
    let peer = site.peer(&args.peer)?;
    if peer.paused {
        let next = "take `paused` out of its [[peer]] first";
        return Err(Failure::new(Exit::Configuration, format!("{} is paused", args.peer), next));
    }
    let (name, screen) = (&args.peer, context.screen);
    let Some(dialled) = site.dial(peer, None)? else { return from_afar(args, &site, screen).await };
    let dialled = Patient(dialled);
    let mut found = findings(&site, name, &dialled, &args.problems, true).await?;
    if !args.texts {
        leave_out_edits(&site.cache.learnt().edits_seen, name, &mut found);
    }
    let shown: Vec<_> = found.iter().map(|finding| Shown::of(name, finding)).collect();
    if !args.json {
        say(&differences(name, &shown, screen))?;
    }
    if found.is_empty() || args.dry_run {
        let would = would_be_done(args, &found, site.bridge.is_linked());
        if args.json {
            say(&json(&Summary { left: shown, ..would })?)?;
        } else if !found.is_empty() {
            say(&screen.prose(&undone(name, &would)))?;
        }
        return Ok(if found.is_empty() { Exit::Done } else { Exit::Person });
    }
    let is_nothing_to_do = |finding: &Finding| match &finding.found {
        Found::Lacking { here, .. } => !finding.is_to_repair(args.word()) && (!args.recognise || here.alike.is_empty()),
        Found::Unseen { .. } | Found::LinkLost { .. } => false,
    };
    if found.iter().all(is_nothing_to_do) {
        if args.json {
            say(&json(&Summary { left: shown, ..Summary::default() })?)?;
        } else {
            say(&screen.prose(&nothing_to_do(name, site.name(), &shown)))?;
        }
        return Ok(Exit::Person);
    }
    if !is_agreed(args)? {
        return Ok(Exit::Left);
    }
    let summary = if args.accept {
        accept(&site, name, &dialled, &found).await?
    } else {
        send_again(args, &site, name, &dialled, &found).await?
    };
    site.cache.finish();
    if args.json {
        say(&json(&summary)?)?;
    } else {
        say(&screen.prose(&sentence(name, &summary)))?;
        if !summary.left.is_empty() {
            say(&table(name, &summary.left, screen))?;
            say(&screen.prose(unmarked(name, site.name(), &summary.left).trim_start()))?;
        }
    }
    Ok(match &summary.left[..] {
        [] if summary.on_their_way == 0 => Exit::Done,
        [] => Exit::Left,
        left if left.iter().all(Shown::comes_still) && !args.accept => Exit::Left,
        _ => Exit::Person,
    })
}

impl RepairArgs {
    fn word(&self) -> Word {
        Word { texts: self.texts, distinct: self.distinct }
    }
}

/// Why there is nothing to do although something differs.
fn nothing_to_do(peer: &SiteName, site: &SiteName, shown: &[Shown]) -> String {
    let mut text = unmarked(peer, site, shown);
    if shown.iter().any(|shown| !shown.other_text.is_empty()) {
        text += &format!(
            " Nothing is lacking here or at {peer}. What has another text may have been edited (then `landbridge verify \
             --acknowledge` says so); if these are two entries under one number, `repair --texts` brings both to both."
        );
    }
    format!("Nothing was done.{text}")
}

fn is_agreed(args: &RepairArgs) -> Result<bool, Failure> {
    let peer = &args.peer;
    let question = if args.accept {
        format!("Record at this site and at {peer} that these losses are meant?")
    } else if args.texts {
        format!(
            "Send {peer} again what it lacks, take back what is lacking here, and bring both versions of every other text to \
             both sites, as rows of their own? Where one is an edit its former text comes back too, and none of it is undone"
        )
    } else if args.recognise {
        format!(
            "Take rows here that no marker names for what is lacking with their texts, send {peer} again what it lacks, and take \
             back what else is lacking here?"
        )
    } else {
        format!("Send {peer} again what it lacks, and take back what is lacking here?")
    };
    let is_agreed = args.yes || agreed(&question)?;
    if !is_agreed {
        render::note("nothing was changed");
    }
    Ok(is_agreed)
}

async fn accept(site: &Site, name: &SiteName, peer: &dyn Compares, found: &[Finding]) -> Result<Summary, Failure> {
    let linked = site.bridge.is_linked();
    let there = found.iter().map(|finding| (finding.problem.clone(), all_lost_there(finding, linked)));
    let there: Vec<Loss> = there.filter(|(_, missing)| !missing.is_empty()).collect();
    let here = lost_here(found, Word::default());
    let rows_again = record(&site.bridge, name, &there, true).await?.iter().sum();
    let told = tell_lost(&site.bridge, name, peer, &here, true).await;
    let rows_back = sum(&told.map_err(|failure| failed(name, failure))?);
    let problems: Vec<_> = found.iter().map(|finding| finding.problem.clone()).collect();
    let left = still_differing(site, name, peer, &problems).await?;
    Ok(Summary { rows_again, rows_back, accepted: true, left, ..Summary::default() })
}

/// What `--dry-run` leaves undone.
fn would_be_done(args: &RepairArgs, found: &[Finding], linked: bool) -> Summary {
    let there: Vec<_> = match args.accept {
        true => found.iter().map(|finding| (finding.problem.clone(), all_lost_there(finding, linked))).collect(),
        false => lost_there(found, args.word()),
    };
    let alike = if args.recognise { alike_here(found) } else { Vec::new() };
    Summary {
        dry_run: true,
        recognised: alike.iter().map(|(_, missing)| missing.alike.len() as u64).sum(),
        rows_again: entries(&there),
        rows_back: entries(&lost_here(found, args.word())),
        accepted: args.accept,
        ..Summary::default()
    }
}

fn undone(name: &SiteName, would: &Summary) -> String {
    let (there, here) = (count(would.rows_again, "entry"), count(would.rows_back, "entry"));
    let recognised = match would.recognised {
        0 => String::new(),
        rows => format!(" {} here would get a marker again.", count(rows, "row")),
    };
    if would.accepted {
        return format!(
            "Nothing was done. It would be recorded that the loss of {there} at {name} and of {here} here is meant."
        );
    }
    format!("Nothing was done.{recognised} {there} would be sent again to {name}, and {here} fetched back from it.")
}

/// What the peer lost, where a problem that it shows no more counts as lost whole: on purpose. Not where sites number
/// differently: its number may be another ticket's there by now, and that nothing was exchanged would link the two.
fn all_lost_there(finding: &Finding, linked: bool) -> Missing {
    match &finding.found {
        Found::Lacking { there, .. } => there.to_repair(Word::default()),
        Found::Unseen { exchanged } if !linked => Missing { origins: exchanged.clone(), ..Missing::default() },
        Found::Unseen { .. } | Found::LinkLost { .. } => Missing::default(),
    }
}

/// Entries of these losses.
fn entries(losses: &[Loss]) -> u64 {
    losses.iter().map(|(_, missing)| missing.all().len()).fold(0, u64::saturating_add)
}

/// What a peer says has no bound.
fn sum(rows: &[u64]) -> u64 {
    rows.iter().copied().fold(0, u64::saturating_add)
}

async fn send_again(
    args: &RepairArgs,
    site: &Site,
    name: &SiteName,
    peer: &dyn Compares,
    found: &[Finding],
) -> Result<Summary, Failure> {
    let mut recognised = 0;
    if args.recognise {
        recognised = recognise(&site.bridge, name, &alike_here(found)).await?;
    }
    let (there, here) = (lost_there(found, args.word()), lost_here(found, args.word()));
    let named = Repair::new(here.clone(), args.recognise);
    let _door = lock::repair(&site.config.path, name, &named)?;
    // Where no bridge runs, this process is one until all has come.
    let bridge = if lock::is_running(&site.config.path) {
        None
    } else {
        Some((lock::shared(&site.config.path)?, Daemon::start(site, DaemonOptions::default()).await?))
    };
    let rows_again = record(&site.bridge, name, &there, false).await?.iter().sum();
    let told = tell_lost(&site.bridge, name, peer, &here, false).await;
    let told = told.map_err(|failure| failed(name, failure))?;
    let rows_back = sum(&told);
    if bridge.is_none() {
        // What the peer refused before its operator repaired, too, waits for a word.
        let retry = Wish::Retry(Some(name.clone()));
        if let Err(e) = site.cache.wish(&retry, None) {
            tracing::warn!("what {name} refused before is not sent again ({e}): say `landbridge retry --peer {name}`");
        }
    }
    let coming: Vec<_> = here.into_iter().zip(told).collect();
    let problems: Vec<_> = found.iter().map(|finding| finding.problem.clone()).collect();
    let (left, on_their_way) = wait_until_all_came(args, site, name, peer, &problems, (&coming, &there)).await?;
    if let Some((_running, daemon)) = bridge {
        daemon.stop().await;
    }
    Ok(Summary { recognised, rows_again, rows_back, on_their_way, left, ..Summary::default() })
}

/// Compares again and again, until nothing is left, or nothing more comes.
async fn wait_until_all_came(
    args: &RepairArgs,
    site: &Site,
    name: &SiteName,
    peer: &dyn Compares,
    problems: &[ProblemId],
    (here, there): (&[(Loss, u64)], &[Loss]),
) -> Result<(Vec<Shown>, u64), Failure> {
    let bar = render::progress("problems repaired", Some(problems.len() as u64));
    let mut progress = Progress::new(args.wait);
    let edits = if args.texts { EditsSeen::new() } else { site.cache.learnt().edits_seen };
    let (left, coming) = loop {
        // What is recorded as lost is in no account, so that both agree before anything has come.
        let coming = on_their_way(&site.bridge, name, here, there).await?;
        let mut left = compare(&site.bridge, name, peer, problems).await.map_err(|failure| failed(name, failure))?;
        leave_out_edits(&edits, name, &mut left);
        bar.set_position(problems.len().saturating_sub(left.len()) as u64);
        // What the peer says ends the wait, and never prolongs it.
        let is_over = progress.is_over(coming);
        if is_over || (coming == 0 && !left.iter().any(|finding| finding.is_to_repair(args.word()))) {
            break (left, coming);
        }
        tokio::time::sleep(LOOK).await;
    };
    bar.finish_and_clear();
    Ok((left.iter().map(|finding| Shown::of(name, finding)).collect(), coming))
}

/// Whether anything comes still.
struct Progress {
    fewest: u64,
    since: Instant,
    wait: Duration,
}

impl Progress {
    fn new(wait_seconds: u64) -> Self {
        Self { fewest: u64::MAX, since: Instant::now(), wait: Duration::from_secs(wait_seconds) }
    }

    /// Whether nothing has come for long, now that so many are left.
    fn is_over(&mut self, left: u64) -> bool {
        if left < self.fewest {
            (self.fewest, self.since) = (left, Instant::now());
        }
        self.since.elapsed() >= self.wait
    }
}

async fn still_differing(
    site: &Site,
    name: &SiteName,
    peer: &dyn Compares,
    problems: &[ProblemId],
) -> Result<Vec<Shown>, Failure> {
    let mut left = compare(&site.bridge, name, peer, problems).await.map_err(|failure| failed(name, failure))?;
    leave_out_edits(&site.cache.learnt().edits_seen, name, &mut left);
    // What is gone there for good is no longer counted here, and that is all there is to it.
    let is_open = |finding: &&Finding| !matches!(&finding.found, Found::Unseen { exchanged } if exchanged.is_empty());
    Ok(left.iter().filter(is_open).map(|finding| Shown::of(name, finding)).collect())
}

/// A peer that dials us: what its receipts and comparisons told is sent again, and the door is held open for it.
async fn from_afar(args: &RepairArgs, site: &Site, screen: Screen) -> Result<Exit, Failure> {
    if args.texts {
        let why = format!("{} dials this site, so it is compared from there", args.peer);
        return Err(Failure::usage(&why, "say `landbridge repair --texts` at its end"));
    }
    let (name, learnt) = (&args.peer, still_true(&site.bridge, site.cache.learnt()).await?);
    let asked = |lost: Vec<Lost>| -> Vec<Loss> {
        let is_asked = |lost: &Lost| args.problems.is_empty() || args.problems.contains(&lost.problem);
        let told = lost.into_iter().filter(|lost| lost.peer == *name && is_asked(lost));
        told.map(|lost| (lost.problem.clone(), lost.missing())).collect()
    };
    // What it sends and this site refuses as an echo is there, and no marker names it.
    let echo = Refusal::of(Code::Echo).to_string();
    let echoes = learnt.refused_here.iter().filter(|refused| refused.peer == *name && refused.reason == echo);
    let echoes: BTreeSet<_> = echoes.map(|refused| refused.problem.clone()).collect();
    let (mut there, mut here) = (asked(learnt.diverged), asked(learnt.lost_here));
    let mut advice = String::new();
    if !args.distinct {
        let before = there.len();
        there.retain(|(problem, _)| !echoes.contains(problem));
        if there.len() < before {
            advice += &recognise_there(name, site.name());
        }
    }
    let alike: Vec<Loss> = here.iter().filter(|(_, missing)| !missing.alike.is_empty()).cloned().collect();
    here = here.into_iter().map(|(problem, missing)| (problem, missing.to_repair(args.word()))).collect();
    here.retain(|(_, missing)| !missing.is_empty());
    if !alike.is_empty() && !args.recognise && !args.distinct {
        advice += &recognise_here(name);
    }
    let sum =
        |losses: &[Loss]| format!("{} of {}", count(entries(losses), "entry"), count(losses.len() as u64, "problem"));
    let text = format!(
        "{name} dials this site, so it is compared from there. By what was last compared it lacks {}, and this site lacks {}.",
        sum(&there),
        sum(&here)
    );
    say(&screen.prose(&text))?;
    if !advice.is_empty() {
        say(&screen.prose(advice.trim_start()))?;
    }
    let shown = |(problem, missing): &Loss, is_here: bool| Shown::lost(problem, &missing.all(), is_here);
    let all: Vec<_> =
        there.iter().map(|loss| shown(loss, false)).chain(here.iter().map(|loss| shown(loss, true))).collect();
    if all.is_empty() && alike.is_empty() && advice.is_empty() {
        must_be_here(site, &args.problems).await?;
    } else {
        say(&table(name, &all, screen))?;
    }
    if args.dry_run {
        return Ok(if all.is_empty() && alike.is_empty() && advice.is_empty() { Exit::Done } else { Exit::Person });
    }
    let recognises = args.recognise && !alike.is_empty();
    if here.is_empty() && there.is_empty() && !recognises {
        if !advice.is_empty() {
            return Ok(Exit::Person);
        }
        let next =
            format!("let its operator say `landbridge verify --peer {}` first, so that this site knows", site.name());
        return Err(Failure::new(Exit::Left, format!("nothing is known that {name} or this site lacks"), next));
    }
    if !is_agreed(args)? {
        return Ok(Exit::Left);
    }
    if recognises {
        let rows = recognise(&site.bridge, name, &alike).await?;
        say(&format!("{} here recognised.", count(rows, "row")))?;
    }
    let rows: u64 = record(&site.bridge, name, &there, args.accept).await?.iter().sum();
    let what = if args.accept { "recorded as meant" } else { "sent again by the running bridge" };
    say(&format!("{} {what}.", count(rows, "row")))?;
    if args.accept {
        return Ok(Exit::Done);
    }
    let _door = lock::repair(&site.config.path, name, &Repair::new(here.clone(), args.recognise))?;
    if !lock::is_running(&site.config.path) {
        let next = "start `landbridge run`, then repair again";
        return Err(Failure::new(Exit::Left, format!("no bridge runs here that {name} could dial"), next));
    }
    let text = format!(
        "Until this command ends (when all has come, with Ctrl-C, or when nothing has come for {} s), {name} may give back what \
         this site lacks, also what it wrote itself. Its operator now runs `landbridge repair --peer {}` there.",
        args.wait,
        site.name()
    );
    say(&screen.prose(&text))?;
    let here: Vec<_> = here.iter().map(|loss| (loss.clone(), loss.1.all().len())).collect();
    let mut progress = Progress::new(args.wait);
    let left = loop {
        let left = on_their_way(&site.bridge, name, &here, &there).await?;
        if progress.is_over(left) || left == 0 {
            break left;
        }
        tokio::time::sleep(LOOK).await;
    };
    if left == 0 {
        for ((problem, _), _) in &here {
            site.bridge.observer.event(&Event::LostHere { peer: name, problem, missing: &Default::default() });
        }
        site.cache.finish();
    }
    say(&match left {
        0 => screen.paint(Tone::Good, "All has come, here and there."),
        left => screen.prose(&format!(
            "{} still to come. Repair again when {name}'s operator has; what was deleted there, or is internal by now, does \
             not come.",
            count(left, "entry")
        )),
    })?;
    Ok(if left == 0 { Exit::Done } else { Exit::Left })
}

fn differences(name: &SiteName, shown: &[Shown], screen: Screen) -> String {
    if shown.is_empty() {
        return screen.paint(Tone::Good, &format!("{name} and this site agree. There is nothing to repair."));
    }
    let head = format!("{name} and this site differ in {}:", count(shown.len() as u64, "problem"));
    format!("{}\n{}", screen.paint(Tone::Strong, &head), table(name, shown, screen))
}

fn sentence(name: &SiteName, summary: &Summary) -> String {
    let (again, back) = (count(summary.rows_again, "row"), count(summary.rows_back, "row"));
    let recognised = match summary.recognised {
        0 => String::new(),
        rows => format!(
            "{} here recognised: {} written again. ",
            count(rows, "row"),
            if rows == 1 { "its marker was" } else { "their markers were" }
        ),
    };
    let done = if summary.accepted {
        format!("Recorded as meant: {again} that {name} lost, and {back} that this site lost. ")
    } else {
        match (summary.rows_again, summary.rows_back) {
            (0, 0) if summary.recognised > 0 => String::new(),
            (_, 0) => format!("{again} recorded as lost at {name}, to be sent again. "),
            (0, _) => format!("{name} sends {back} again. "),
            _ => format!("{again} recorded as lost at {name}, to be sent again; {name} sends {back} again. "),
        }
    };
    let open = match (summary.left.len() as u64, summary.on_their_way) {
        (0, 0) => return format!("{recognised}{done}Both agree now."),
        (0, coming) => format!("{} still to come", count(coming, "entry")),
        (left, 0) => differ(left),
        (left, coming) => format!("{}, {} still to come", differ(left), count(coming, "entry")),
    };
    if summary.accepted {
        return format!("{done}Not in step yet: {open}.");
    }
    format!(
        "{recognised}{done}Not in step yet: {open}. `landbridge status` shows at each site what it refuses and why; what a site wrote \
         itself it takes back only while its operator runs `landbridge repair --peer` the other there."
    )
}

fn differ(problems: u64) -> String {
    format!("{} still {}", count(problems, "problem"), if problems == 1 { "differs" } else { "differ" })
}
