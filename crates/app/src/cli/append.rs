//! `landbridge append`: a row as the application would append it.

use std::collections::BTreeSet;
use std::io::Read;

use clap::Args;
use landbridge_core::{Fields, ProblemId, WorkId};
use landbridge_flow::bridge::shards;
use landbridge_flow::ports::{Append, Kind, Mode};
use landbridge_flow::{Bridge, Remedy, StoreError};

use super::Context;
use crate::exit::{Exit, Failure};
use crate::render::say;
use crate::site::Site;

/// Append work to the local history, as the application would
///
/// For scripts, and for trying a bridge. The row gets its number as `[history] numbering` says, and the values of
/// `[history.insert]` in the other columns; there `:site` is this site. A running bridge sends it within moments; otherwise
/// the next `landbridge sync` does. On success the work id is printed.
///
/// A text that is a complete marker is refused: nobody but the bridge writes markers.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit status:
  0  appended                2  wrong field, marker text or no text
  3  wrong configuration     4  the database does not take the row

Examples:
  landbridge append ABC 'open ticket for analysis'
  landbridge append ABC --field author=ann 'solve ticket ABC'
  dmesg | landbridge append ABC -")]
pub struct AppendArgs {
    /// The problem, by its id at this site
    #[arg(value_name = "PROBLEM")]
    problem: ProblemId,

    /// The text, or `-` to read it from standard input
    ///
    /// From standard input everything is taken up to its end, without the last line end. It must be UTF-8.
    #[arg(value_name = "TEXT", allow_hyphen_values = true)]
    text: String,

    /// A value for a shared column of `[history] fields`; may be given several times
    #[arg(long = "field", value_name = "NAME=VALUE", value_parser = super::name_and_value)]
    fields: Vec<(String, String)>,
}

/// Appends the row.
pub async fn run(args: &AppendArgs, context: &Context) -> Result<Exit, Failure> {
    let site = Site::open(&context.config).await?;
    let fields = fields(&site, &args.fields)?;
    let text = if args.text == "-" { from_stdin()? } else { args.text.clone() };
    if text.is_empty() {
        return Err(Failure::usage("there is no text", "give one, or `-` and the text on standard input"));
    }
    if site.bridge.scribe.is_complete(&text) {
        return Err(Failure::usage(
            "the text is a complete marker, and only the bridge writes markers",
            "leave its seal out to quote it",
        ));
    }
    let row = Append { problem: args.problem.clone(), kind: Kind::Entry, text, fields, site: site.name().clone() };
    say(&append(&site.bridge, row).await?.to_string())?;
    Ok(Exit::Done)
}

fn fields(site: &Site, given: &[(String, String)]) -> Result<Fields, Failure> {
    let known = &site.config.mapping.fields;
    let (mut fields, mut seen) = (Fields::new(), BTreeSet::new());
    for (name, value) in given {
        if !known.contains_key(name) {
            let there = match known.keys().map(String::as_str).collect::<Vec<_>>() {
                there if there.is_empty() => "[history] fields in the configuration names none".to_owned(),
                there => format!("there are: {}", there.join(", ")),
            };
            return Err(Failure::usage(format!("{name} is no shared field of this history"), there));
        }
        if !seen.insert(name) {
            return Err(Failure::usage(format!("the field {name} is given twice"), "give it once"));
        }
        fields.insert(name.clone(), Some(value.clone()));
    }
    Ok(fields)
}

fn from_stdin() -> Result<String, Failure> {
    let wrong = |e| Failure::usage(format!("standard input cannot be read as text: {e}"), "send UTF-8 text into it");
    let mut text = String::new();
    std::io::stdin().lock().read_to_string(&mut text).map_err(wrong)?;
    let line = text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    Ok(line.map_or_else(|| text.clone(), str::to_owned))
}

async fn append(bridge: &Bridge, row: Append) -> Result<WorkId, StoreError> {
    loop {
        match append_once(bridge, &row).await {
            Err(taken) if taken.remedy().0 == Remedy::Now => continue,
            done => return done,
        }
    }
}

async fn append_once(bridge: &Bridge, row: &Append) -> Result<WorkId, StoreError> {
    let mut txn = bridge.store.begin(Mode::Write).await?;
    txn.lock(&shards([&row.problem])).await?;
    let work = txn.append(std::slice::from_ref(row)).await?.pop();
    txn.commit().await?;
    work.ok_or_else(|| StoreError::Broken("it gave the new row no number".to_owned()))
}
