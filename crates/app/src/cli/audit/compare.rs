//! What left, against what is in the database now: whose text was changed since, and what is gone. Information, never a
//! fault: an application may change and delete its rows. Rows are read a page at a time.

use landbridge_core::{Digest, Origin, ProblemId, WorkId};
use landbridge_flow::Bridge;
use landbridge_flow::ports::{Body, Mode};
use serde::Serialize;

use super::Context;
use crate::audit::chain::{Hash256, KeyId, Keys, Left, Line, What};
use crate::exit::Failure;
use crate::render::{Cell, Table, Tone, count, say};

/// Rows read with one statement.
const PAGE_ROWS: usize = 1000;
/// How many are listed; all are counted.
const LISTED_MAX: usize = 1000;

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub struct Compared {
    same: u64,
    changed: u64,
    gone: u64,
    /// The key of their digests is not at hand.
    unknown: u64,
    /// The first of those that are not the same.
    first: Vec<Difference>,
}

#[derive(Debug, Serialize)]
struct Difference {
    seq: u64,
    problem: ProblemId,
    row: i64,
    origin: Origin,
    now: Now,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Now {
    Same,
    Changed,
    Gone,
    Unknown,
}

/// Compares lines as they come.
pub struct Comparison<'a> {
    bridge: &'a Bridge,
    keys: &'a Keys,
    waiting: Vec<Waiting>,
    compared: Compared,
}

struct Waiting {
    seq: u64,
    key: KeyId,
    problem: ProblemId,
    row: WorkId,
    origin: Origin,
    left: Left,
    digest: Hash256,
}

impl<'a> Comparison<'a> {
    /// With the rows of this site.
    pub fn new(bridge: &'a Bridge, keys: &'a Keys) -> Self {
        Self { bridge, keys, waiting: Vec::new(), compared: Compared::default() }
    }

    /// Compares what this line says that left.
    pub async fn add(&mut self, line: Line) -> Result<(), Failure> {
        let What::Leaving(leaving) = line.what else { return Ok(()) };
        for entry in leaving.entries {
            let Some(row) = WorkId::new(entry.row) else { continue };
            self.waiting.push(Waiting {
                seq: line.seq,
                key: line.key.clone(),
                problem: leaving.problem.clone(),
                row,
                origin: entry.origin,
                left: entry.left,
                digest: entry.digest,
            });
            if self.waiting.len() >= PAGE_ROWS {
                self.page().await?;
            }
        }
        Ok(())
    }

    /// What came of all of them.
    pub async fn finish(mut self) -> Result<Compared, Failure> {
        self.page().await?;
        Ok(self.compared)
    }

    async fn page(&mut self) -> Result<(), Failure> {
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.is_empty() {
            return Ok(());
        }
        // Each row once: it may have left for many peers.
        let mut rows: Vec<_> = waiting.iter().map(|w| (w.problem.clone(), w.row)).collect();
        rows.sort();
        rows.dedup();
        let mut txn = self.bridge.store.begin(Mode::Read).await?;
        let bodies = txn.bodies(&rows).await?;
        drop(txn);
        for waiting in waiting {
            let place = rows.binary_search_by(|row| row.cmp(&(waiting.problem.clone(), waiting.row))).ok();
            let body = place.and_then(|at| bodies.get(at)).and_then(Option::as_ref);
            let now = self.now(&waiting, body);
            let all = &mut self.compared;
            match now {
                Now::Same => all.same += 1,
                Now::Changed => all.changed += 1,
                Now::Gone => all.gone += 1,
                Now::Unknown => all.unknown += 1,
            }
            if now != Now::Same && all.first.len() < LISTED_MAX {
                let Waiting { seq, problem, row, origin, .. } = waiting;
                all.first.push(Difference { seq, problem, row: row.get(), origin, now });
            }
        }
        Ok(())
    }

    fn now(&self, waiting: &Waiting, body: Option<&Body>) -> Now {
        let Some(key) = self.keys.get(&waiting.key) else { return Now::Unknown };
        let Some(Body { text, .. }) = body else { return Now::Gone };
        let digest = text.as_ref().map(|text| match waiting.left {
            Left::Text => key.digest(text),
            Left::Digest => key.digest(&Digest::of(text).to_string()),
        });
        if digest == Some(waiting.digest) { Now::Same } else { Now::Changed }
    }
}

impl Compared {
    /// In words.
    pub fn words(&self) -> String {
        let mut text = format!("Of what left, {} in the database as it left.", are(self.same));
        if self.changed + self.gone > 0 {
            text += &format!(" {} changed since, and {} gone.", are(self.changed), are(self.gone));
        }
        if self.unknown > 0 {
            text += &format!(
                " Of {} the digests cannot be compared: their key is not at hand.",
                count(self.unknown, "entry")
            );
        }
        text + "\n"
    }

    /// A table of those that are not the same.
    pub fn print(&self, context: &Context) -> Result<(), Failure> {
        let mut table = Table::new([">number", "problem", ">row", "entry", "now"]);
        for d in &self.first {
            let (word, tone) = match d.now {
                Now::Same => continue,
                Now::Changed => ("changed", Tone::Warn),
                Now::Gone => ("gone", Tone::Warn),
                Now::Unknown => ("key not at hand", Tone::Bad),
            };
            let cells = [d.seq.to_string(), d.problem.to_string(), d.row.to_string(), d.origin.to_string()];
            table.row(cells.into_iter().map(Cell::from).chain([Cell::new(word, tone)]));
        }
        if table.is_empty() {
            return Ok(());
        }
        say(&context.screen.table(&table))?;
        let all = self.changed + self.gone + self.unknown;
        match all.saturating_sub(self.first.len() as u64) {
            0 => Ok(()),
            more => Ok(say(&format!("and {more} more"))?),
        }
    }
}

fn are(n: u64) -> String {
    format!("{} {}", count(n, "entry"), if n == 1 { "is" } else { "are" })
}
