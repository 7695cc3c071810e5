//! `landbridge audit verify`: whether the record is as it was written, and how far that can be said.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::compare::{Compared, Comparison};
use super::{Context, audit, files, lines, torn_words};
use crate::audit::chain::{Head, Keys, Line};
use crate::audit::verify::{Accepted, Report, Verifier};
use crate::audit::{AuditError, RecordFile};
use crate::cache::Cache;
use crate::config::keyfile::load_keys;
use crate::config::{self, Config};
use crate::exit::{Exit, Failure};
use crate::render::{self, count, json, progress, say};
use crate::site::{self, Site};

/// Check that the record is as it was written
///
/// Reads the files in the order given, the oldest first, or the file of the configuration, and checks of every line that its hash is
/// that of its bytes, that it goes on from the line before it, that its number is the next, and that its seal was made by a
/// key of this site. The first line that is wrong is named, and how: changed, missing, inserted, reordered or torn.
///
/// A seal vouches for its own line and for all before it. Lines that were sealed by a key which is no longer at hand are
/// therefore vouched for by the first genuine seal behind them; where there is none, that is told and the exit status is 6.
///
/// A write that did not come to its end (power cut, full disk, kill) leaves a torn line. What it named had not left, and
/// the next line of the bridge says so. That is counted and is not wrong.
///
/// It cannot be seen from the files that lines are missing behind the last one: give a --head that was kept elsewhere. Of the
/// file of the configuration the cache beside it knows how far it went, for as long as nobody deletes that, too; with
/// --chain-only it is not asked. Nor does it prove that the program which wrote it was this one: docs/audit.md says what is
/// proved.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit status:
  0  everything is as it was written
  2  wrong command line
  3  wrong configuration, or a file or the key cannot be read
  4  the database failed (--against-database)
  6  the record is not as it was written, is empty, or nothing vouches for its end

Example:
  landbridge audit verify egress.audit.231 egress.audit --head 17:4f5a...")]
pub struct VerifyArgs {
    /// The files, the oldest first; without any, that of the configuration
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,

    /// A line that the record must have, as `landbridge audit head` printed it; may be given many times
    #[arg(long, value_name = "SEQ:HASH")]
    head: Vec<Head>,

    /// Check no seals: for whoever has the files and not the key
    #[arg(long, conflicts_with = "against_database")]
    chain_only: bool,

    /// Compare the digests with the texts that are in the database now
    ///
    /// Lists entries whose text was changed since it left, and those that are gone. That is information: an application
    /// may change and delete its rows.
    #[arg(long)]
    against_database: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Printed<'a> {
    files: Vec<String>,
    keys_at_hand: bool,
    #[serde(flatten)]
    report: &'a Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<&'a Compared>,
}

/// Checks and prints.
pub async fn run(args: &VerifyArgs, context: &Context) -> Result<Exit, Failure> {
    let needs_config = args.files.is_empty() || !args.chain_only;
    let config = if needs_config { Some(config::load(&context.config)?) } else { None };
    let record = match &config {
        Some(config) if !args.chain_only && config.audit.is_some() => Some(record(config)?),
        _ => None,
    };
    let mut heads = args.head.clone();
    // Asked before the lines are read: a bridge may go on meanwhile.
    if let Some(record) = record.as_ref().filter(|record| is_last(record.path(), &args.files)) {
        match record.end() {
            Err(error @ AuditError::Left { .. }) if !record.path().exists() => return Err(error.into()),
            Err(AuditError::Left { left, .. }) => heads.push(left),
            // Whatever else is wrong is found in the lines.
            _ => {}
        }
    }
    let files = files(&args.files, config.as_ref())?;
    let keys = match (&config, &record) {
        (_, Some(record)) => Some(record.keys().clone()),
        // The keys of a record that is looked at, and not written, need no [audit] section.
        (Some(config), None) if !args.chain_only => Some(Keys::of(&load_keys(&config.key_file)?)),
        _ => None,
    };
    let site = if args.against_database { Some(Site::open(&context.config).await?) } else { None };
    let mut comparison = site.as_ref().zip(keys.as_ref()).map(|(site, keys)| Comparison::new(&site.bridge, keys));

    let bar = progress("lines checked", None);
    let mut verifier = Verifier::new(keys.as_ref(), heads);
    for file in &files {
        verifier.begin_file(&file.display().to_string());
        for line in lines(file)? {
            let line = line?;
            bar.inc(1);
            let genuine: Option<Line> = verifier.line(&line.bytes, line.ended);
            if let (Some(comparison), Some(line)) = (&mut comparison, genuine) {
                comparison.add(line).await?;
            }
        }
    }
    bar.finish_and_clear();
    let report = verifier.finish();
    let compared = match comparison {
        Some(comparison) => Some(comparison.finish().await?),
        None => None,
    };
    if args.json {
        let files = files.iter().map(|file| file.display().to_string()).collect();
        say(&json(&Printed { files, keys_at_hand: keys.is_some(), report: &report, database: compared.as_ref() })?)?;
    } else {
        let mut text = words(&report, keys.is_some(), args.head.len());
        if let Some(compared) = &compared {
            text += &compared.words();
        }
        for line in text.lines() {
            say(&context.screen.prose(&render::visible(line)))?;
        }
        if let Some(compared) = &compared {
            compared.print(context)?;
        }
    }
    Ok(if report.wrong.is_some() || uncovered(&report, keys.is_some()) { Exit::Person } else { Exit::Done })
}

fn record(config: &Config) -> Result<RecordFile, Failure> {
    let cache = Arc::new(Cache::beside(&config.path));
    site::record(config, audit(config)?, &load_keys(&config.key_file)?, cache)
}

/// Whether the last of these files is that of the running record.
fn is_last(record: &Path, files: &[PathBuf]) -> bool {
    match (files.last(), fs::canonicalize(record)) {
        (None, _) => true,
        (Some(last), Ok(record)) => fs::canonicalize(last).is_ok_and(|last| last == record),
        (Some(_), Err(_)) => false,
    }
}

/// Whether there is no line at all, or some that no genuine seal vouches for, although seals were to be checked.
fn uncovered(report: &Report, keys: bool) -> bool {
    report.head.is_none()
        || keys && report.head.is_some_and(|head| report.lines > 0 && report.vouched != Some(head.seq))
}

fn words(report: &Report, keys: bool, heads: usize) -> String {
    let mut text = String::new();
    match &report.wrong {
        Some(wrong) => {
            text += &format!("WRONG: {}, line {} (number {}): {}. ", wrong.file, wrong.line, wrong.seq, wrong.how);
            text += &format!("{}.\n", capital(&wrong.why));
            text += &format!("Before it {} as written.\n", are(report.lines));
        }
        None if report.lines == 0 => {
            text += "EMPTY: there is not one line in it. A bridge writes the first with the first entry that leaves, and \
                     goes on behind a file that was moved aside: name that, too.\n";
        }
        None => text += &format!("{} as written.\n", capital(&are(report.lines))),
    }
    if let (Some(first), Some(head)) = (report.first, report.head) {
        text += &format!(
            "Numbers {first} to {}: {} that left ({} with the text, {} as a digest), in {}.\n",
            head.seq,
            count(report.entries, "entry"),
            report.texts,
            report.entries - report.texts,
            count(report.deliveries, "delivery")
        );
    }
    if report.repeated > 0 {
        text += &format!(
            "{} that entries left once more, because the peer had not confirmed them.\n",
            say_lines(report.repeated)
        );
    }
    if let Some(after) = &report.after {
        let file = after.file.as_deref().unwrap_or("a file whose name is not known");
        text += &format!(
            "They go on from number {} of {file}, which was not given; its hash was {}.\n",
            after.seq, after.hash
        );
    }
    match report.vouched {
        _ if !keys => text += "No seal was checked: whoever can write the file could have computed all its hashes.\n",
        Some(last) => text += &format!("Seals of this site vouch for everything up to number {last}.\n"),
        None if report.lines > 0 => text += "No seal of this site vouches for any of them.\n",
        None => {}
    }
    for (key, unchecked) in report.unchecked.iter().filter(|_| keys) {
        text += &format!(
            "Not checked by themselves: the seals of {} by key {key}, which is not at hand, among numbers {} to {}.\n",
            count(unchecked.lines, "line"),
            unchecked.first,
            unchecked.last
        );
    }
    if uncovered(report, keys) {
        text +=
            "NOTHING VOUCHES FOR THE LAST LINES: find the key that sealed them (FILE.keys, backups of the key file).\n";
    }
    for torn in &report.torn_first {
        let said = match torn.said_by {
            Some(seq) => format!("number {seq} says so"),
            None => "the next line that is written will say so".to_owned(),
        };
        text += &format!("Torn: {}, line {}: {}; {said}.", torn.file, torn.line, torn_words(torn.bytes));
        text += " What it named had not left, unless somebody cut the file there.\n";
    }
    if report.not_left > 0 {
        text += &format!(
            "{} of batches that did not come to their end: they had not left.\n",
            count(report.not_left, "line")
        );
    }
    for Accepted { seq, why } in &report.accepted {
        text += &format!(
            "Number {seq} begins a file on an operator's word (`audit rotate --accept`), and says why: {why}.\n"
        );
    }
    if heads > 0 && report.wrong.is_none() {
        text += &format!("It goes on from {}.\n", if heads == 1 { "the head given" } else { "all heads given" });
    }
    if let Some(head) = report.head.filter(|_| report.wrong.is_none()) {
        text += &format!("Head: {head}\n");
    }
    text
}

fn are(lines: u64) -> String {
    format!("{} {}", count(lines, "line"), if lines == 1 { "is" } else { "are" })
}

fn say_lines(lines: u64) -> String {
    format!("{} {}", count(lines, "line"), if lines == 1 { "says" } else { "say" })
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
