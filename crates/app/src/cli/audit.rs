//! `landbridge audit`: the record of what left to whom, checked, shown and moved on. What a line is and when it is genuine is
//! `crate::audit`'s; here it is asked and told.

mod compare;
mod show;
mod verify;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::Context;
use crate::audit::file::End;
use crate::audit::lines::Lines;
use crate::audit::{AuditError, RecordFile};
use crate::cache::Cache;
use crate::config::keyfile::load_keys;
use crate::config::{self, Audit, Config};
use crate::exit::{Exit, Failure};
use crate::render::{count, json, say};
use crate::site;

/// Check and show the record of what left to whom
///
/// With `[audit] file` in the configuration, everything that is about to leave for a peer is first written to that file and
/// forced to the disk: one JSON object a line, chained to the line before it and sealed with a key of the site. Where it cannot be
/// written, nothing leaves. By default it has no texts, only digests that nobody can guess without the site's key; with
/// `texts = true` it has the texts too. docs/audit.md says what it proves, and what it does not.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit status:
  0  done
  2  wrong command line
  3  wrong configuration: no [audit] file, no such file, no key
  6  the record is not as it was written, or its end is broken

Example:
  landbridge audit verify
  landbridge audit head >> /mnt/elsewhere/heads")]
pub struct AuditArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Verify(verify::VerifyArgs),
    Show(show::ShowArgs),
    Head(HeadArgs),
    Rotate(RotateArgs),
    Key(KeyArgs),
}

/// Print number and hash of the last line, to be kept elsewhere
///
/// Nobody can see from the file alone that lines are missing at its end. Keep what this prints where whoever could cut the
/// file cannot change it (an auditor's mailbox, another company); `landbridge audit verify --head SEQ:HASH` then proves that the record
/// still goes on from there.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit status:
  0  printed
  3  wrong configuration, or there is no record yet
  6  the end of the record is not as it should be

Example:
  landbridge audit head | mail -s \"head of site 1\" auditor@example.com")]
pub struct HeadArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Move the record aside and begin a new file that goes on from it
///
/// The old file gets the number of its last line as its ending (`egress.audit.231`), and the first line of the new one names
/// it and its last hash. Running bridges notice by themselves. A `logrotate` that renames the file does the same, as long as it neither
/// truncates (`copytruncate`) nor compresses at once (use `delaycompress`).
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit status:
  0  done
  3  wrong configuration
  6  the end of the record is not as it should be, and nothing was moved

Example:
  landbridge audit rotate")]
pub struct RotateArgs {
    /// Also where the end of the record is not as it should be, or cannot be checked
    ///
    /// On your word a new file is begun, and its first line says what was wrong with the former one. Bridges go on sending
    /// then. Find out first how it came about.
    #[arg(long)]
    accept: bool,
}

/// Print the key of the digests, for an auditor
///
/// The digests in the record are keyed, so that nobody who reads it can find short texts by guessing. Whoever has this key
/// can compare a text with a digest, and also guess. It seals nothing: neither lines of the record nor markers.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit status:
  0  printed: the name of each key, and the key in hexadecimal digits
  3  wrong configuration, or no key

Example:
  landbridge audit key | head -1 | cut -d' ' -f2 | xxd -r -p > text.key
  printf %s 'the text' > text; b3sum --keyed text < text.key")]
pub struct KeyArgs {}

/// Does what was asked.
pub async fn run(args: &AuditArgs, context: &Context) -> Result<Exit, Failure> {
    match &args.verb {
        Verb::Verify(args) => verify::run(args, context).await,
        Verb::Show(args) => show::run(args, context),
        Verb::Head(args) => head(args, context),
        Verb::Rotate(args) => rotate(args, context),
        Verb::Key(_) => key(context),
    }
}

fn head(args: &HeadArgs, context: &Context) -> Result<Exit, Failure> {
    #[derive(Serialize)]
    struct Printed {
        head: String,
        seq: u64,
        hash: String,
        torn_bytes: u64,
    }
    let End { head, torn_bytes } = record(&context.config)?.end()?;
    if args.json {
        let printed = Printed { head: head.to_string(), seq: head.seq, hash: head.hash.to_string(), torn_bytes };
        say(&json(&printed)?)?;
    } else {
        say(&head.to_string())?;
    }
    Ok(Exit::Done)
}

fn rotate(args: &RotateArgs, context: &Context) -> Result<Exit, Failure> {
    let cache = Arc::new(Cache::beside(&context.config));
    let record = record_known_to(&context.config, cache.clone())?;
    let path = record.path().display().to_string();
    let rotated = record.rotate(args.accept);
    cache.finish();
    match rotated? {
        Some(aside) => say(&format!("{path} is {} now, and a new one goes on from it.", aside.display()))?,
        None => say(&format!("{path} was begun; there was none."))?,
    }
    Ok(Exit::Done)
}

fn key(context: &Context) -> Result<Exit, Failure> {
    for key in record(&context.config)?.keys().iter() {
        say(&format!("{} {}", key.id(), key.reveal_text_key()))?;
    }
    Ok(Exit::Done)
}

/// The record of the configuration, with the keys of the site. The database is not asked.
fn record(path: &Path) -> Result<RecordFile, Failure> {
    record_known_to(path, Arc::new(Cache::beside(path)))
}

fn record_known_to(path: &Path, cache: Arc<Cache>) -> Result<RecordFile, Failure> {
    let config = config::load(path)?;
    let audit = audit(&config)?.clone();
    site::record(&config, &audit, &load_keys(&config.key_file)?, cache)
}

fn audit(config: &Config) -> Result<&Audit, Failure> {
    let none = || {
        let what = format!("{} keeps no record of what leaves", config.path.display());
        Failure::new(Exit::Configuration, what, "write `[audit]` with `file = \"egress.audit\"`, or name a FILE")
    };
    config.audit.as_ref().ok_or_else(none)
}

/// The lines of a file of the record. A writer is waited for.
fn lines(path: &Path) -> Result<Lines, Failure> {
    let unreadable = |source| AuditError::Open { path: path.to_owned(), source };
    let file = File::open(path).map_err(|e| {
        let next = match e.kind() {
            io::ErrorKind::NotFound => "name a file that is there: rotation renames them, the oldest comes first",
            io::ErrorKind::PermissionDenied => {
                "give this user the right to read it, or be the user who runs the bridge"
            }
            _ => "see to its disk",
        };
        Failure::new(Exit::Configuration, unreadable(e).to_string(), next)
    })?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(AuditError::NoFile { path: path.to_owned() }.into());
    }
    file.lock_shared().map_err(unreadable)?;
    let lines = Lines::of(&file);
    let _ = file.unlock();
    Ok(lines.map_err(unreadable)?)
}

/// The files that are meant: those named, or that of the configuration.
fn files(named: &[PathBuf], config: Option<&Config>) -> Result<Vec<PathBuf>, Failure> {
    match (named, config) {
        ([], Some(config)) => match audit(config)?.file.clone() {
            path if path.exists() => Ok(vec![path]),
            path => Err(AuditError::Missing { path }.into()),
        },
        (named, _) => Ok(named.to_vec()),
    }
}

fn torn_words(bytes: u64) -> String {
    format!("{} of a write that did not come to its end", count(bytes, "byte"))
}
