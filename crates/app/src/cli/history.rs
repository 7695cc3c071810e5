//! `landbridge history`: the rows of one problem as a person reads them, with who wrote each, who holds it and whom it
//! is owed. Reads only, and reads no text that no condition lets out.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use landbridge_core::entry::Row;
use landbridge_core::{Ledger, Origin, ProblemId, SiteName, WorkId};
use landbridge_flow::ports::Mode;
use landbridge_flow::survey::{self, Line, LineKind};
use landbridge_flow::{Bridge, StoreError};
use serde::Serialize;

use super::Context;
use crate::exit::{Exit, Failure};
use crate::render::{self, Cell, Table, Tone};
use crate::site::Site;

/// Show the rows of a problem, who wrote each and who holds it
///
/// Prints every row of the problem in the order of its numbers: the entries written here (`own`), the copies of entries
/// of other sites (`from N/6`: entry 6 of site N), and the markers by which the bridge records what a peer holds. The last
/// column says which peers hold an entry and which are still owed it.
///
/// The text of a row that no condition lets out is not read from the database: it is shown as `(not shared, not read)`.
/// Control characters in texts are shown as signs and never reach the terminal. A row under *differs* (one entry that is
/// here more than once, with different texts) is pointed out with its texts, and so is a marker that does not verify.
///
/// Nothing is written, and no peer is asked.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit status:
  0  done
  2  the problem has no rows here
  6  the problem is suspended, or an entry differs

Example:
  landbridge history ABC
  landbridge history ABC --json | jq '.rows[] | select(.kind == \"copy\")'")]
pub struct HistoryArgs {
    /// The problem, as this site's database calls it
    problem: ProblemId,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the history.
pub async fn run(args: &HistoryArgs, context: &Context) -> Result<Exit, Failure> {
    let site = Site::open(&context.config).await?;
    let history = read(&site.bridge, &args.problem).await?;
    let view = View::of(&site.bridge, &history);
    if args.json {
        render::say(&render::json(&view)?)?;
    } else {
        view.print(context)?;
    }
    Ok(if view.suspended.is_empty() && view.differs.is_empty() { Exit::Done } else { Exit::Person })
}

/// One problem, read for a person.
pub(super) struct History {
    pub(super) problem: ProblemId,
    pub(super) ledger: Ledger,
    pub(super) rows: Vec<Row>,
    pub(super) lines: Vec<Line>,
    pub(super) differs: Vec<(Origin, Vec<WorkId>)>,
}

/// Reads `problem`; a failure that says so where it has no rows.
pub(super) async fn read(bridge: &Bridge, problem: &ProblemId) -> Result<History, Failure> {
    let lines = survey::lines(bridge, problem).await?;
    let (rows, ledger) = ledger(bridge, problem).await?;
    if lines.is_empty() || rows.is_empty() {
        return Err(no_rows(bridge, problem));
    }
    let differs = ledger.doubles(&rows).collect();
    Ok(History { problem: problem.clone(), ledger, rows, lines, differs })
}

/// A failure that names the first of `problems` that is not here: it has no rows, nor is it in the table of the problems.
pub(super) async fn must_be_here(site: &Site, problems: &[ProblemId]) -> Result<(), Failure> {
    // Without a table of problems every id could be one.
    let listed = site.config.mapping.problems.is_some();
    for page in problems.chunks(survey::PAGE_PROBLEMS) {
        let read = site.bridge.store.begin(Mode::Read).await?.rows(page, None).await?;
        let mut both = page.iter().zip(read);
        if let Some((problem, _)) = both.find(|(_, read)| read.rows.is_empty() && !(listed && read.visible)) {
            return Err(no_rows(&site.bridge, problem));
        }
    }
    Ok(())
}

fn no_rows(bridge: &Bridge, problem: &ProblemId) -> Failure {
    Failure::usage(
        format!("problem {problem} has no rows in the history of site {}", bridge.site()),
        "give the problem's id as it stands in the mapped problem column; one that only the peer has is asked for there",
    )
}

async fn ledger(bridge: &Bridge, problem: &ProblemId) -> Result<(Vec<Row>, Ledger), StoreError> {
    let mut txn = bridge.store.begin(Mode::Read).await?;
    let rows = txn.rows(std::slice::from_ref(problem), None).await?.pop().unwrap_or_default().rows;
    let ledger = bridge.ledger(problem, &rows);
    Ok((rows, ledger))
}

impl History {
    /// Whether the conditions that are the same for all peers let the row out, so that its text was read.
    pub(super) fn is_open(&self, work: WorkId) -> bool {
        self.rows.iter().any(|row| row.work == work && row.open)
    }

    /// The peers that hold the entry of this line, whether or not it may still leave.
    pub(super) fn holders<'a>(&'a self, line: &'a Line) -> impl Iterator<Item = &'a SiteName> {
        let entry = is_entry(&line.kind);
        line.peers.keys().filter(move |peer| entry && self.ledger.holds(peer, line.work))
    }

    /// The peers that are owed the entry of this line; nobody is owed anything of a suspended problem.
    pub(super) fn owed<'a>(&'a self, line: &'a Line) -> impl Iterator<Item = &'a SiteName> {
        let flows = is_entry(&line.kind) && self.ledger.unverified().is_empty();
        line.peers.iter().filter(move |(_, kept)| flows && kept.is_none()).map(|(peer, _)| peer)
    }
}

/// Whether a row of this kind is an entry.
pub(super) fn is_entry(kind: &LineKind) -> bool {
    matches!(kind, LineKind::Own | LineKind::Copy(_))
}

/// Says of a line what it is, in a word or two.
pub(super) fn kind_words(kind: &LineKind) -> String {
    match kind {
        LineKind::Own => "own".into(),
        LineKind::Copy(origin) => format!("from {origin}"),
        LineKind::Marker => "marker".into(),
        LineKind::Unverified => "marker that does not verify".into(),
    }
}

/// The text of a line for a person, and how it stands out.
pub(super) fn text_cell(history: &History, line: &Line) -> Cell {
    match (&line.text, &line.kind) {
        (Some(text), LineKind::Marker) => Cell::new(text, Tone::Dim),
        (Some(text), LineKind::Unverified) => Cell::new(text, Tone::Bad),
        (Some(text), _) => text.as_str().into(),
        (None, _) if history.is_open(line.work) => Cell::new("(no UTF-8 text: not sent)", Tone::Bad),
        (None, _) => Cell::new("(not shared, not read)", Tone::Dim),
    }
}

/// Names with commas.
pub(super) fn list<T: ToString>(names: impl IntoIterator<Item = T>) -> String {
    names.into_iter().map(|name| name.to_string()).collect::<Vec<_>>().join(", ")
}

#[derive(Debug, Serialize)]
struct View {
    site: SiteName,
    history: String,
    problem: ProblemId,
    /// Rows of markers that do not verify.
    suspended: Vec<i64>,
    differs: Vec<Differing>,
    rows: Vec<RowView>,
    #[serde(skip)]
    cells: Vec<Cell>,
}

#[derive(Debug, Serialize)]
struct RowView {
    row: i64,
    /// It is a row of the table of markers.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    apart: bool,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<Origin>,
    /// Null where it is not shared, and therefore not read.
    text: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    fields: BTreeMap<String, Option<String>>,
    held_by: Vec<SiteName>,
    owed_to: Vec<SiteName>,
    #[serde(skip)]
    words: String,
}

/// One entry that is here more than once, with different texts.
#[derive(Debug, Serialize)]
struct Differing {
    origin: Origin,
    rows: Vec<i64>,
    /// Null where it is not shared, and therefore not read.
    texts: Vec<Option<String>>,
}

impl View {
    fn of(bridge: &Bridge, history: &History) -> Self {
        let text = |work: &WorkId| history.lines.iter().find(|l| l.work == *work).and_then(|l| l.text.clone());
        let differing = |(origin, rows): &(Origin, Vec<WorkId>)| Differing {
            origin: origin.clone(),
            rows: rows.iter().map(|work| work.get()).collect(),
            texts: rows.iter().map(text).collect(),
        };
        let row = |line: &Line| RowView {
            row: line.work.apart_number().unwrap_or(line.work.get()),
            apart: line.work.apart_number().is_some(),
            kind: line.kind.word(),
            origin: is_entry(&line.kind).then(|| history.ledger.origin(line.work)),
            text: line.text.clone(),
            fields: line.fields.clone(),
            held_by: history.holders(line).cloned().collect(),
            owed_to: history.owed(line).cloned().collect(),
            words: kind_words(&line.kind),
        };
        View {
            site: bridge.site().clone(),
            history: bridge.history.clone(),
            problem: history.problem.clone(),
            suspended: history.ledger.unverified().iter().map(|(work, _)| work.get()).collect(),
            differs: history.differs.iter().map(differing).collect(),
            rows: history.lines.iter().map(row).collect(),
            cells: history.lines.iter().map(|line| text_cell(history, line)).collect(),
        }
    }

    fn print(&self, context: &Context) -> Result<(), Failure> {
        let fields: BTreeSet<&str> = self.rows.iter().flat_map(|row| row.fields.keys().map(String::as_str)).collect();
        let head = [">row", "kind"].into_iter().chain(fields.iter().copied()).chain(["text", "held or owed"]);
        let mut table = Table::new(head);
        for (row, text) in self.rows.iter().zip(&self.cells) {
            let tone = match row.kind {
                "marker" => Tone::Dim,
                "unverified" => Tone::Bad,
                _ => Tone::Plain,
            };
            let field = |name: &&str| Cell::new(row.fields.get(*name).cloned().flatten().unwrap_or_default(), tone);
            // The number of a marker in a table of its own.
            let number = if row.apart { format!("m{}", row.row) } else { row.row.to_string() };
            let left = [Cell::new(number, tone), Cell::new(&row.words, tone)];
            table.row(left.into_iter().chain(fields.iter().map(field)).chain([text.clone(), self.peers(row)]));
        }
        render::say(&context.screen.table(&table))?;
        self.print_suspended(context)?;
        for differing in &self.differs {
            self.print_differing(context, differing)?;
        }
        Ok(())
    }

    fn peers(&self, row: &RowView) -> Cell {
        let (held, owed) = (list(&row.held_by), list(&row.owed_to));
        match (row.held_by.is_empty(), row.owed_to.is_empty()) {
            (true, true) => Cell::default(),
            (false, true) => Cell::new(format!("held by {held}"), Tone::Good),
            (true, false) => Cell::new(format!("owed to {owed}"), Tone::Warn),
            (false, false) => Cell::new(format!("held by {held}; owed to {owed}"), Tone::Warn),
        }
    }

    fn print_suspended(&self, context: &Context) -> Result<(), Failure> {
        if self.suspended.is_empty() {
            return Ok(());
        }
        let text = suspended_words(&self.problem, &self.suspended);
        Ok(render::say(&format!("\n{}", context.screen.prose(&text)))?)
    }

    fn print_differing(&self, context: &Context, differing: &Differing) -> Result<(), Failure> {
        let text = format!(
            "Entry {} is here more than once, with different texts, in rows {}. Its number was given out again after a \
             restore, or the entry was edited before its receipt came. Nothing is lost; a person decides which is right.",
            differing.origin,
            list(&differing.rows).replace(", ", " and "),
        );
        render::say(&format!("\n{}", context.screen.prose(&text)))?;
        let mut table = Table::new([">row", "text"]);
        for (row, text) in differing.rows.iter().zip(&differing.texts) {
            let text = text.as_deref().unwrap_or("(not shared, not read)");
            table.row([row.to_string().into(), Cell::new(text, Tone::Warn)]);
        }
        Ok(render::say(&context.screen.table(&table))?)
    }
}

/// Why a problem is suspended, and what to do.
pub(super) fn suspended_words(problem: &ProblemId, rows: &[i64]) -> String {
    let row = rows.first().copied().unwrap_or_default();
    format!(
        "Problem {problem} is suspended: nothing of it is sent or taken. The text of row {} is a complete marker that none \
         of this site's keys sealed for this problem. It was pasted or merged from another ticket, somebody typed it, or \
         the key it was sealed with is missing.\n\
         Where it is no marker of this bridge but a text like any other, say so:\n  \
         landbridge disown {} {row}\n\
         Where the key is lost, have the markers signed again (read its help first):\n  \
         landbridge rekey --lost-key --dry-run",
        list(rows),
        shell_word(problem.as_str()),
    )
}

/// `text` as one word of a shell's command line.
pub(crate) fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/@%+=:,".contains(c);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_id_is_one_word_of_a_command_line() {
        assert_eq!(shell_word("ABC-1"), "ABC-1");
        assert_eq!(shell_word("it's; rm *"), "'it'\\''s; rm *'");
        assert_eq!(shell_word("-x"), "'-x'");
    }
}
