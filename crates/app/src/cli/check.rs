//! `landbridge check`: everything that can be known before the first entry travels, each with its result.

use std::io;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use futures_util::future::join_all;
use landbridge_core::{IdSet, Keyring, Marker, Origin, ProblemId, Scribe, WorkId};
use landbridge_flow::Pairing;
use landbridge_http::certificate;
use serde::Serialize;

use super::Context;
use crate::audit::{self, AuditError};
use crate::cache::Cache;
use crate::certificates::{self, State, Whose};
use crate::config::keyfile::load_keys;
use crate::config::{self, Audit, Config, Peer};
use crate::exit::{Exit, Failure};
use crate::lock;
use crate::render::{Cell, Screen, Table, Tone, count, json, say};
use crate::site::Site;

mod rights;

/// Verify the configuration, the database and the peers, without changing anything
///
/// Prints one line for each check: `ok`, `FAULT` with what to do about it, or `note` for
/// what is allowed and worth a look. It looks at
///
///   the configuration and its key file (mode 0600, readable keys)
///   the record of what leaves (`[audit] file`), where one is kept: that it can be gone on with
///   the database: reachable, writable, the table and columns of the mapping, conditions
///     and expressions that compile, a value for every column that needs one, numbers that
///     two writers cannot give out twice, a text column wide enough for a marker
///   which columns are outside the mapping and therefore never read or written
///   the rights of the database user: what the mapping needs and the user lacks, and every
///     column and right that the user has beyond that (`landbridge grants` prints the SQL
///     for a user with exactly these rights)
///   the files of [tls]: that they can be read, that the key is private and belongs to the
///     certificate, that this is this site's and its authority vouches for it, and how long
///     each is still good (from `[tls] warn` before its end it is a note, then a fault)
///   the address that this site listens on
///   every peer that has a `url`: that it is reached, that it is the site that it should be,
///     and that names and token agree; an empty message is sent, no entry
///
/// To see whether the database can be written, a transaction is begun and taken back.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_long_help = "\
Exit status:
  0  no fault
  3  the configuration, the key file, a certificate, the mapping or the address has a
     fault, or the database user lacks a right that the mapping needs
  4  the database does not answer or cannot be written
  5  a peer cannot be reached or does not accept this site

Example:
  landbridge check --offline && systemctl start landbridge"
)]
pub struct CheckArgs {
    /// Do not call peers
    #[arg(long)]
    offline: bool,

    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// Names in one line of the table.
const NAMES_SHOWN_MAX: usize = 40;

/// One check and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    check: String,
    result: Outcome,
    detail: String,
    /// Everything that the sentence is about, where it names only the first few.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    all: Vec<String>,
    #[serde(skip)]
    exit: Exit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Ok,
    Note,
    Fault,
}

/// Checks and prints.
pub async fn run(args: &CheckArgs, context: &Context) -> Result<Exit, Failure> {
    let report = report(&context.config, args.offline).await;
    if args.json {
        say(&json(&report.0)?)?;
    } else {
        say(&report.table(context.screen))?;
    }
    Ok(report.exit())
}

/// All checks, in the order in which one needs the other.
pub async fn report(path: &Path, offline: bool) -> Report {
    let mut report = Report::default();
    let Some(config) = configuration(&mut report, path) else { return report };
    let keys = key_file(&mut report, &config);
    if let (Some(audit), Some(keys)) = (&config.audit, &keys) {
        record(&mut report, &config, audit, keys);
    }
    certificates_good(&mut report, &config);
    let opened = database(&mut report, &config, keys).await;
    listener(&mut report, &config).await;
    if let Some(site) = opened {
        if offline {
            report.note("peers", "not called, as asked");
        } else {
            report.0.extend(join_all(site.config.peers.iter().map(|peer| call(&site, peer))).await);
        }
    }
    report
}

/// What was found.
#[derive(Debug, Default)]
pub struct Report(Vec<Finding>);

impl Report {
    fn add(&mut self, check: &str, result: Outcome, detail: impl Into<String>, exit: Exit) {
        self.0.push(Finding { check: check.to_owned(), result, detail: detail.into(), all: Vec::new(), exit });
    }

    fn ok(&mut self, check: &str, detail: impl Into<String>) {
        self.add(check, Outcome::Ok, detail, Exit::Done);
    }

    fn note(&mut self, check: &str, detail: impl Into<String>) {
        self.add(check, Outcome::Note, detail, Exit::Done);
    }

    /// A note on `names`, of which the table shows the first few and the JSON all.
    fn note_of(&mut self, check: &str, sentence: &str, names: Vec<String>) {
        let shown = names.iter().take(NAMES_SHOWN_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = match names.len().saturating_sub(NAMES_SHOWN_MAX) {
            0 => String::new(),
            more => format!(" and {more} more (`--json` names all)"),
        };
        self.note(check, format!("{sentence}{shown}{more}"));
        if let Some(last) = self.0.last_mut().filter(|_| !more.is_empty()) {
            last.all = names;
        }
    }

    fn fault(&mut self, check: &str, detail: impl Into<String>, exit: Exit) {
        self.add(check, Outcome::Fault, detail, exit);
    }

    fn failure(&mut self, check: &str, failure: Failure) {
        self.0.push(Finding::failure(check, failure));
    }

    /// The status of the first kind of fault: configuration, then database, then peers.
    pub fn exit(&self) -> Exit {
        self.0.iter().map(|f| f.exit).filter(|exit| *exit != Exit::Done).min().unwrap_or(Exit::Done)
    }

    /// The checks as a person reads them.
    pub fn table(&self, screen: Screen) -> String {
        let mut table = Table::new(["check", "result", "what"]);
        for f in &self.0 {
            let (word, tone) = match f.result {
                Outcome::Ok => ("ok", Tone::Good),
                Outcome::Note => ("note", Tone::Warn),
                Outcome::Fault => ("FAULT", Tone::Bad),
            };
            table.row([Cell::from(f.check.clone()), Cell::new(word, tone), f.detail.clone().into()]);
        }
        screen.table(&table)
    }
}

impl Finding {
    fn failure(check: &str, failure: Failure) -> Self {
        let next = failure.next.map_or(String::new(), |next| format!("; next: {next}"));
        let detail = format!("{}{next}", failure.what.trim_end());
        Self { check: check.to_owned(), result: Outcome::Fault, detail, all: Vec::new(), exit: failure.exit }
    }
}

fn configuration(report: &mut Report, path: &Path) -> Option<Config> {
    match config::load(path) {
        Ok(config) => {
            report.ok("configuration", format!("{}: site {}", path.display(), config.site));
            config.notes().into_iter().for_each(|note| report.note("configuration", note));
            Some(config)
        }
        Err(faults) => {
            faults.iter().for_each(|fault| report.fault("configuration", fault.to_string(), Exit::Configuration));
            None
        }
    }
}

fn key_file(report: &mut Report, config: &Config) -> Option<Keyring> {
    match load_keys(&config.key_file) {
        Ok(keys) => {
            let number = crate::render::count(keys.len() as u64, "key");
            report.ok("key file", format!("{}: {number}, private", config.key_file.display()));
            Some(keys)
        }
        Err(e) => {
            report.failure("key file", e.into());
            None
        }
    }
}

/// Whether the record of what leaves can be gone on with. Makes no file.
fn record(report: &mut Report, config: &Config, audit: &Audit, keys: &Keyring) {
    let cache = Arc::new(Cache::beside(&config.path));
    let end = crate::site::record(config, audit, keys, cache).map(|record| record.end());
    let kept = if audit.texts { "with the texts" } else { "digests only" };
    match end {
        Ok(Ok(end)) => {
            report.ok("record", format!("{}: {} so far, {kept}", audit.file.display(), count(end.head.seq, "line")));
        }
        Ok(Err(AuditError::Missing { path })) => match audit::file::folder(&path).is_dir() {
            true => report.ok("record", format!("{} is begun with the first entry that leaves", path.display())),
            false => report.fault("record", format!("{} has no folder: make it", path.display()), Exit::Configuration),
        },
        Ok(Err(error)) => {
            let detail = format!("{error}; nothing leaves; next: {}", error.next());
            report.fault("record", detail, Exit::Configuration);
        }
        Err(failure) => report.failure("record", failure),
    }
}

/// Whether this site can show who it is, and until when it and its peers can.
fn certificates_good(report: &mut Report, config: &Config) {
    for dated in certificates::all(config, &Cache::beside(&config.path).learnt(), certificate::now()) {
        let (whose, file) = (dated.called(), dated.file.map_or(String::new(), |file| format!("{file}: ")));
        let advice = dated.advice.unwrap_or_default();
        match dated.state {
            State::Good => {
                let (ends, days) = (dated.ends.unwrap_or_default(), dated.days_left.unwrap_or_default());
                report.ok("certificate", format!("{file}{whose}, good until {ends} ({days} days)"));
            }
            State::EndsSoon => report.note("certificate", format!("{file}{whose}: {advice}")),
            // What a peer last showed may be replaced by now; calling it says so.
            State::Ended | State::NotYet if dated.whose == Whose::Peer => {
                report.note("certificate", format!("{whose}: {advice}"));
            }
            State::Ended | State::NotYet => {
                report.fault("certificate", format!("{file}{whose}: {advice}"), Exit::Configuration);
            }
            State::Fault => report.fault("certificate", advice, Exit::Configuration),
        }
    }
}

/// Whatever the database says. The opened site, where nothing stands against it.
async fn database(report: &mut Report, config: &Config, keys: Option<Keyring>) -> Option<Site> {
    let database = match config.connectable() {
        Ok(database) => database,
        Err(e) => {
            report.failure("database", e.into());
            return None;
        }
    };
    let inspected = database.inspect(&config.mapping).await;
    let inspection = match inspected {
        Ok(inspection) => inspection,
        Err(e) => {
            report.failure("database", e.into());
            return None;
        }
    };
    inspection.faults.iter().for_each(|fault| report.fault("mapping", fault, Exit::Configuration));
    inspection.notes.iter().for_each(|note| report.note("mapping", note));
    if !inspection.faults.is_empty() {
        // Often the rights are the reason.
        rights::report(report, config, &database).await;
        return None;
    }
    // Without keys no marker is read or written, but the database can be looked at.
    let is_whole = keys.is_some();
    let site = match Site::with_keys(config.clone(), keys.unwrap_or_else(|| Keyring::new([0; 32]))).await {
        Ok(site) => site,
        Err(failure) => {
            report.failure("database", failure);
            return None;
        }
    };
    let capabilities = site.bridge.store.capabilities().clone();
    report.ok("database", format!("{} ({})", site.database(), capabilities.engine));
    report.ok("mapping", format!("{} and its columns are as the configuration says", config.mapping.called()));
    match database.writable(&config.mapping).await {
        Ok(()) => report.ok("writable", "a transaction was begun and taken back"),
        Err(e) => report.failure("writable", e.into()),
    }
    width(report, &site.bridge.scribe, config, capabilities.text_chars_max);
    match config.pairing {
        Pairing::SameId => {}
        Pairing::Linked { create } => {
            let new = if create { "created" } else { "refused until somebody links them" };
            report.ok("pairing", format!("each site has problem ids of its own; problems that are not here are {new}"));
        }
    }
    rights::report(report, config, &database).await;
    is_whole.then_some(site)
}

/// Whether the text column takes a marker of one range: with numbers as large as they may become it is good to know,
/// with small ones it is needed.
fn width(report: &mut Report, scribe: &Scribe, config: &Config, width: Option<usize>) {
    let Some(width) = width else {
        report.ok("text width", "no limit");
        return;
    };
    let longest = config.peers.iter().max_by_key(|peer| peer.name.as_str().len());
    let Some(peer) = longest else { return };
    let fits = |number: i64| {
        let (Some(row), Ok(problem)) = (WorkId::new(number), "1".parse::<ProblemId>()) else { return true };
        // Folded markers say how often.
        let era = if config.mapping.compact { 9_999 } else { 0 };
        let mut held = Marker::for_peer(peer.name.clone());
        held.say(landbridge_core::Group::Held, IdSet::from_iter([row]));
        let mut copy = Marker::for_peer(peer.name.clone());
        copy.say_copies(&[(row, Origin::new(peer.name.clone(), row))]);
        let of_era = |marker| Marker { era, ..marker };
        [held, copy].into_iter().map(of_era).all(|marker| scribe.write(&problem, marker, &Default::default()).is_ok())
    };
    if !fits(999_999) {
        let what = format!(
            "the text column takes {width} characters, and a marker for {} does not fit: choose a wider column or a \
             shorter `phrase`",
            peer.name
        );
        report.fault("text width", what, Exit::Configuration);
    } else if !fits(i64::MAX) {
        report.note("text width", format!("{width} characters: markers fit while work ids have few digits"));
    } else {
        report.ok("text width", format!("{width} characters"));
    }
}

async fn listener(report: &mut Report, config: &Config) {
    let Some(address) = config.listen else {
        report.note("listen", "no [listen]: peers cannot dial this site");
        return;
    };
    match tokio::net::TcpListener::bind(address).await {
        Ok(_) => report.ok("listen", format!("{address} is free")),
        Err(e) if e.kind() == io::ErrorKind::AddrInUse && lock::is_running(&config.path) => {
            report.ok("listen", format!("{address} is used by the running bridge"));
        }
        Err(e) => report.fault(
            "listen",
            format!("{address}: {e}; stop the other program, or give [listen] another port and tell the peers"),
            Exit::Configuration,
        ),
    }
}

/// An empty delivery: whoever answers it with no receipt knows this site, its history and its token.
async fn call(site: &Site, peer: &Peer) -> Finding {
    let check = format!("peer {}", peer.name);
    let found =
        |result, detail: String| Finding { check: check.clone(), result, detail, all: Vec::new(), exit: Exit::Done };
    if peer.paused {
        return found(Outcome::Note, "paused: not called".to_owned());
    }
    let dialled = match site.dial(peer, None) {
        Ok(Some(dialled)) => dialled,
        Ok(None) => return found(Outcome::Note, "it dials us: cannot be called from here".to_owned()),
        Err(failure) => return Finding::failure(&check, failure),
    };
    match site.greet(&peer.name, &dialled).await {
        Ok(()) => found(Outcome::Ok, format!("{} answers", peer.url.as_deref().unwrap_or_default())),
        Err(error) => Finding::failure(&check, Failure::peer(&peer.name, &error)),
    }
}
