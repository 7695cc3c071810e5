//! `landbridge audit show`: what left, as a person reads it, page by page.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use landbridge_core::{ProblemId, SiteName};

use super::{Context, files, lines};
use crate::audit::chain::{self, Again, Entry, Leaving, Left, Line, Way, What};
use crate::config;
use crate::exit::{Exit, Failure};
use crate::render::{self, Cell, Table, Tone, count, note, say};

/// Entries of one page: a table has the widths of its columns from them.
const PAGE_ENTRIES: usize = 200;

/// Show what left to whom
///
/// Prints every entry that was recorded as leaving, in the order of the record: when, for whom, by which way, the problem and the row here, how many
/// bytes of text, or that only a digest left, and which shared columns left with it. An entry that left several times, because a
/// receipt was lost or for several peers, stands there as often.
///
/// Nothing is checked by this: `landbridge audit verify` does. With --json the lines themselves are printed.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit status:
  0  shown
  2  there is no such peer, and nothing left for one
  3  wrong configuration, or a file cannot be read
  6  something in the files is no line of the record, and was passed over

Example:
  landbridge audit show --peer N --problem ABC
  landbridge audit show --json | jq -r '.peer as $p | .entries[]? | [$p, .origin, .bytes] | @tsv'")]
pub struct ShowArgs {
    /// The files, the oldest first; without any, that of the configuration
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Only what left for this peer
    #[arg(long, value_name = "SITE")]
    peer: Option<SiteName>,

    /// Only what left of this problem, as it is called here
    #[arg(long, value_name = "PROBLEM")]
    problem: Option<ProblemId>,

    /// Print the lines as they are recorded
    #[arg(long)]
    json: bool,
}

/// Prints.
pub fn run(args: &ShowArgs, context: &Context) -> Result<Exit, Failure> {
    let config = if args.files.is_empty() { Some(config::load(&context.config)?) } else { None };
    let (mut page, mut shown, mut unread) = (Table::new(HEAD), 0_u64, 0_u64);
    let mut on_page = 0;
    let (mut asked_for, mut first) = (BTreeSet::new(), None);
    for file in files(&args.files, config.as_ref())? {
        for line in lines(&file)? {
            let line = line?;
            if !render::heard() {
                return Ok(Exit::Done);
            }
            let Ok(read) = chain::read(&line.bytes) else {
                // Torn writes are explained by the line behind them; `verify` tells whether this is one.
                unread += u64::from(!chain::is_torn(&line.bytes));
                continue;
            };
            let begins = *first.get_or_insert(read.head.seq);
            // A line that repeats others says by their numbers which; what stood in a file that was not given is not known.
            let of_problem = |again: &Again| {
                let (from, to) = (again.from.min(again.to), again.to);
                args.problem.is_none() || from < begins || asked_for.range(from..=to).next().is_some()
            };
            let of_peer = |peer: &SiteName| args.peer.as_ref().is_none_or(|wanted| wanted == peer);
            let rows: Vec<_> = match &read.line.what {
                What::Leaving(leaving)
                    if of_peer(&leaving.peer) && args.problem.as_ref().is_none_or(|p| *p == leaving.problem) =>
                {
                    shown += leaving.entries.len() as u64;
                    if args.problem.is_some() {
                        asked_for.insert(read.head.seq);
                    }
                    leaving.entries.iter().map(|entry| row(&read.line, leaving, entry)).collect()
                }
                What::Again(again) if of_peer(&again.peer) && of_problem(again) => vec![once_more(&read.line, again)],
                _ => continue,
            };
            if args.json {
                let value: serde_json::Value = serde_json::from_slice(&line.bytes).map_err(std::io::Error::from)?;
                say(&render::json_line(&value)?)?;
                continue;
            }
            for row in rows {
                page.row(row);
                on_page += 1;
                if on_page == PAGE_ENTRIES {
                    say(&context.screen.table(&std::mem::replace(&mut page, Table::new(HEAD))))?;
                    on_page = 0;
                }
            }
        }
    }
    if !args.json {
        if on_page > 0 {
            say(&context.screen.table(&page))?;
        }
        let whom = args.peer.as_ref().map_or(String::new(), |peer| format!(" for {peer}"));
        say(&format!("{} left{whom}. Not checked here: `landbridge audit verify`.", count(shown, "entry")))?;
    }
    if let (0, Some(peer), Some(config)) = (shown, &args.peer, &config)
        && config.peers.iter().all(|known| known.name != *peer)
    {
        return Err(Failure::usage(format!("{peer} is no peer, and nothing left for it"), "name one of [[peer]]"));
    }
    if let (0, Some(problem)) = (shown, &args.problem) {
        note(&format!("no line of the record names problem {problem}; is it written as in the database here?"));
    }
    if unread > 0 {
        note(&format!("{} no lines of a record; see `landbridge audit verify`", are(unread)));
        return Ok(Exit::Person);
    }
    Ok(Exit::Done)
}

const HEAD: [&str; 8] = [">number", "time", "for", "way", "problem", ">row", "entry", "what"];

fn way(way: Way) -> Cell {
    match way {
        Way::Push => "push",
        Way::Pull => "pull",
    }
    .into()
}

fn once_more(line: &Line, again: &Again) -> Vec<Cell> {
    let what = match again.to - again.from.min(again.to) {
        0 => format!("number {} once more", again.from),
        _ => format!("numbers {} to {} once more", again.from, again.to),
    };
    let (number, none) = (line.seq.to_string().into(), Cell::default);
    vec![
        number,
        line.time.as_str().into(),
        again.peer.as_str().into(),
        way(again.way),
        none(),
        none(),
        none(),
        Cell::new(what, Tone::Dim),
    ]
}

fn row(line: &Line, leaving: &Leaving, entry: &Entry) -> Vec<Cell> {
    let mut what = match (&entry.text, entry.left) {
        (Some(text), _) => text.clone(),
        (None, Left::Text) => count(entry.bytes, "byte"),
        (None, Left::Digest) => "digest only".to_owned(),
    };
    let columns = entry.fields.iter().chain(&leaving.problem_fields).cloned().collect::<Vec<_>>().join(", ");
    if !columns.is_empty() {
        what += &format!(" ({columns})");
    }
    let tone = if entry.left == Left::Text { Tone::Plain } else { Tone::Dim };
    vec![
        line.seq.to_string().into(),
        line.time.as_str().into(),
        leaving.peer.as_str().into(),
        way(leaving.way),
        leaving.problem.as_str().into(),
        entry.row.to_string().into(),
        entry.origin.to_string().into(),
        Cell::new(what, tone),
    ]
}

fn are(lines: u64) -> String {
    format!("{} {}", count(lines, "line"), if lines == 1 { "is" } else { "are" })
}
