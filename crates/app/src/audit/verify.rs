//! Whether lines are the record that they say: chain, seals, numbers and form, line by line and in bounded memory. It names
//! the first line that is wrong, and how.
//!
//! What it cannot see, it says: seals of keys that are not at hand, and whether lines are missing behind the last one
//! (that takes a [`Head`] that was kept elsewhere).

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::chain::{self, After, Flaw, Hash256, Head, KeyId, Keys, Left, Line, Read, Seal, What};

/// How many places of one kind are named; all are counted.
pub const NAMED_MAX: usize = 20;

/// How a line is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// Its bytes are not those that were written, or somebody without the key wrote it.
    Changed,
    /// Lines before it are not there.
    Missing,
    /// It does not belong where it stands.
    Inserted,
    /// It stands before a line that belongs before it.
    Reordered,
    /// It breaks off, and no later line says why.
    Torn,
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            How::Changed => "changed",
            How::Missing => "missing",
            How::Inserted => "inserted",
            How::Reordered => "reordered",
            How::Torn => "torn",
        })
    }
}

/// The first line that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wrong {
    /// In which file.
    pub file: String,
    /// Which line of the file, from 1.
    pub line: u64,
    /// The number that belongs there.
    pub seq: u64,
    /// How.
    pub how: How,
    /// In a sentence.
    pub why: String,
}

/// Lines whose key is not at hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unchecked {
    /// The first of them.
    pub first: u64,
    /// The last of them.
    pub last: u64,
    /// How many.
    pub lines: u64,
}

/// Bytes that are no line, where that is explained: a write that did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TornPlace {
    /// In which file.
    pub file: String,
    /// Which line of the file, from 1.
    pub line: u64,
    /// How many bytes.
    pub bytes: u64,
    /// The number of the line that says so; nothing at the end of a file, where none came any more.
    pub said_by: Option<u64>,
}

/// A file that was begun by an operator's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Accepted {
    /// The number of its first line.
    pub seq: u64,
    /// What was wrong with the former one, as that line says.
    pub why: String,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Genuine lines, up to the first wrong one.
    pub lines: u64,
    /// Lines that say that entries leave.
    pub deliveries: u64,
    /// Lines that say that the entries of earlier ones leave once more.
    pub repeated: u64,
    /// Entries in them, those that left once more not counted again.
    pub entries: u64,
    /// Entries whose text left.
    pub texts: u64,
    /// The number of the first line.
    pub first: Option<u64>,
    /// The place of the last line.
    pub head: Option<Head>,
    /// What stands before the first line, in a file that was not given.
    pub after: Option<After>,
    /// Lines whose seal is genuine.
    pub sealed: u64,
    /// The last line that a genuine seal vouches for: its own, or that of a line behind it.
    pub vouched: Option<u64>,
    /// Lines whose key is not at hand, by key.
    pub unchecked: BTreeMap<String, Unchecked>,
    /// Writes that did not come to their end.
    pub torn: u64,
    /// The first of them.
    pub torn_first: Vec<TornPlace>,
    /// Lines of batches that did not come to their end: what they name had not left.
    pub not_left: u64,
    /// Heads that were asked for and are there.
    pub heads_met: u64,
    /// Where somebody began a file by an operator's word, behind a line that could not be checked.
    pub accepted: Vec<Accepted>,
    /// The first line that is wrong; nothing where all is as it was written.
    pub wrong: Option<Wrong>,
}

/// Reads lines.
pub struct Verifier<'k> {
    keys: Option<&'k Keys>,
    wanted: Vec<Head>,
    at: Option<Head>,
    file: String,
    line: u64,
    garbage: Option<Garbage>,
    batch: Option<(u32, u32)>,
    search: Option<Search>,
    /// Where the files end in torn bytes.
    torn_end: Option<u64>,
    report: Report,
}

/// Bytes that are no line, not explained yet.
struct Garbage {
    line: u64,
    bytes: u64,
    hasher: blake3::Hasher,
    /// Whole lines stand in it that do not belong there.
    holds_lines: bool,
    /// One of them is the one behind the next.
    replaces: bool,
}

/// After the first wrong line: what would tell how it is wrong.
#[derive(Clone, Copy)]
enum Search {
    /// Whether the very next line goes on from before it.
    Next(Head),
    /// Whether a later line does.
    Later(Head),
}

impl<'k> Verifier<'k> {
    /// Reads lines that are sealed by `keys`; without any, only the chain is checked. `wanted`: places that the record must
    /// have.
    pub fn new(keys: Option<&'k Keys>, wanted: Vec<Head>) -> Self {
        Self {
            keys,
            wanted,
            at: None,
            file: String::new(),
            line: 0,
            garbage: None,
            batch: None,
            search: None,
            torn_end: None,
            report: Report::default(),
        }
    }

    /// The lines of the next file follow.
    pub fn begin_file(&mut self, name: &str) {
        self.end_file();
        (self.file, self.line, self.torn_end) = (name.to_owned(), 0, None);
    }

    /// The next line, without its line end; `ended`: whether it has one. The line, where it is genuine.
    pub fn line(&mut self, bytes: &[u8], ended: bool) -> Option<Line> {
        self.line += 1;
        let read = chain::read(bytes);
        if self.report.wrong.is_some() {
            self.look_on(read.ok());
            return None;
        }
        match read {
            // Whole but for its line end, it is whole: the next writer puts that behind it.
            Ok(read) => self.whole(read, bytes, ended),
            Err(_) if chain::is_torn(bytes) || self.garbage.is_some() => {
                self.spoilt(bytes, ended);
                None
            }
            Err(flaw) => {
                let why = match flaw {
                    Flaw::Form => "it has not the form of a line",
                    Flaw::Hash => "its hash is not that of its bytes",
                    Flaw::Version => "it is of a version that this program does not know",
                };
                self.wrong(How::Changed, why, Search::Next(self.before()));
                None
            }
        }
    }

    /// What was found, once there are no more lines.
    pub fn finish(mut self) -> Report {
        self.end_file();
        self.end_batch();
        self.report.head = self.at;
        for head in std::mem::take(&mut self.wanted) {
            self.meet(head);
        }
        self.report
    }

    /// The place before the next line.
    fn before(&self) -> Head {
        self.at.unwrap_or(Head::NONE)
    }

    fn whole(&mut self, read: Read, bytes: &[u8], ended: bool) -> Option<Line> {
        let before = match self.at {
            Some(before) => before,
            None => self.first(&read)?,
        };
        if !read.continues(before) {
            if self.garbage.is_some() {
                self.spoilt(bytes, ended);
                if let Some(garbage) = &mut self.garbage {
                    garbage.holds_lines = true;
                    garbage.replaces |= read.head.seq == before.seq.wrapping_add(2);
                }
                return None;
            }
            self.out_of_place(&read, before);
            return None;
        }
        let seal = self.keys.map_or(Seal::Unknown, |keys| read.seal(keys));
        if seal == Seal::Forged {
            self.wrong(How::Changed, "its seal was not made by the key that it names", Search::Next(before));
            return None;
        }
        let torn = match &read.line.what {
            What::Torn(torn) | What::Begin { torn: Some(torn), .. } => Some(torn),
            _ => None,
        };
        let garbage = self.garbage.take();
        match (garbage, torn) {
            (None, None) => {}
            (Some(garbage), Some(torn))
                if garbage.bytes == torn.bytes && Hash256::finish(&garbage.hasher) == torn.blake3 =>
            {
                self.torn(garbage.line, torn.bytes, Some(read.head.seq));
                self.end_batch();
            }
            (Some(garbage), _) => {
                self.unexplained(&garbage, How::Inserted);
                return None;
            }
            (None, Some(_)) => {
                let why = "it speaks of a torn line before it, and there is none";
                self.wrong(How::Missing, why, Search::Later(before));
                return None;
            }
        }
        self.genuine(&read, seal).then_some(read.line)
    }

    /// The first line of all that are given. The place before it.
    fn first(&mut self, read: &Read) -> Option<Head> {
        let before = match &read.line.what {
            What::Begin { after: Some(after), .. } => {
                self.report.after = Some(after.clone());
                Head { seq: after.seq, hash: after.hash }
            }
            What::Begin { after: None, .. } => Head::NONE,
            _ => {
                if let Some(garbage) = self.garbage.take() {
                    self.unexplained(&garbage, How::Changed);
                    return None;
                }
                self.wrong(How::Missing, "the first line of a file is missing before it", Search::Later(Head::NONE));
                return None;
            }
        };
        self.report.first = Some(before.seq.saturating_add(1));
        self.at = Some(before);
        Some(before)
    }

    fn out_of_place(&mut self, read: &Read, before: Head) {
        let forged = self.keys.is_some_and(|keys| read.seal(keys) == Seal::Forged);
        let (how, why, search) = if forged {
            (How::Changed, "its seal was not made by the key that it names".to_owned(), Search::Next(before))
        } else if read.head.seq == before.seq.wrapping_add(1) {
            let why = "the hash that it names for the line before is another: one of the two was changed";
            (How::Changed, why.to_owned(), Search::Next(before))
        } else if read.head.seq > before.seq {
            let why = match read.head.seq - before.seq - 1 {
                1 => format!("line number {} is missing before it", before.seq + 1),
                many => format!("{many} lines from number {} on are missing before it", before.seq + 1),
            };
            (How::Missing, why, Search::Later(before))
        } else if self.line == 1 && matches!(read.line.what, What::Begin { .. }) {
            let why = format!("the files were not given oldest first: this one begins with number {}", read.head.seq);
            (How::Reordered, why, Search::Next(before))
        } else {
            let why = format!("it is number {}, which stands further up", read.head.seq);
            (How::Inserted, why, Search::Next(before))
        };
        self.wrong(how, &why, search);
    }

    /// Counts a line, unless a head that was kept names another one with its number.
    fn genuine(&mut self, read: &Read, seal: Seal) -> bool {
        if self.wanted.iter().any(|wanted| wanted.seq == read.head.seq && wanted.hash != read.head.hash) {
            self.report.wrong = Some(Wrong {
                file: self.file.clone(),
                line: self.line,
                seq: read.head.seq,
                how: How::Changed,
                why: "the head that was kept elsewhere names another hash for it".to_owned(),
            });
            return false;
        }
        self.at = Some(read.head);
        let report = &mut self.report;
        report.lines += 1;
        match seal {
            Seal::Genuine => {
                report.sealed += 1;
                report.vouched = Some(read.head.seq);
            }
            _ => unchecked(&mut report.unchecked, &read.line.key, read.head.seq),
        }
        let wanted = self.wanted.len();
        self.wanted.retain(|wanted| *wanted != read.head);
        self.report.heads_met += (wanted - self.wanted.len()) as u64;
        match &read.line.what {
            What::Leaving(leaving) => {
                let (n, of) = leaving.batch;
                if !matches!(self.batch, Some((last, all)) if all == of && n == last.saturating_add(1)) {
                    self.end_batch();
                }
                self.batch = Some((n, of));
                let report = &mut self.report;
                report.deliveries += 1;
                report.entries += leaving.entries.len() as u64;
                report.texts += leaving.entries.iter().filter(|entry| entry.left == Left::Text).count() as u64;
            }
            What::Begin { accepted, .. } => {
                self.end_batch();
                if let Some(why) = accepted.as_ref().filter(|_| self.report.accepted.len() < NAMED_MAX) {
                    self.report.accepted.push(Accepted { seq: read.head.seq, why: why.clone() });
                }
            }
            What::Again(_) => {
                self.end_batch();
                self.report.repeated += 1;
            }
            What::Torn(_) => self.end_batch(),
        }
        true
    }

    /// No further line of the batch comes.
    fn end_batch(&mut self) {
        if let Some((n, _)) = self.batch.take().filter(|(n, of)| n < of) {
            self.report.not_left += u64::from(n);
        }
    }

    fn spoilt(&mut self, bytes: &[u8], ended: bool) {
        let line = self.line;
        let garbage = self.garbage.get_or_insert_with(|| Garbage {
            line,
            bytes: 0,
            hasher: blake3::Hasher::new(),
            holds_lines: false,
            replaces: false,
        });
        garbage.hasher.update(bytes);
        garbage.bytes += bytes.len() as u64;
        if ended {
            garbage.hasher.update(b"\n");
            garbage.bytes += 1;
        }
    }

    fn torn(&mut self, line: u64, bytes: u64, said_by: Option<u64>) {
        self.report.torn += 1;
        if self.report.torn_first.len() < NAMED_MAX {
            self.report.torn_first.push(TornPlace { file: self.file.clone(), line, bytes, said_by });
        }
    }

    fn unexplained(&mut self, garbage: &Garbage, otherwise: How) {
        let (how, why) = if garbage.replaces {
            (How::Changed, "it has not the form of a line")
        } else if garbage.holds_lines {
            (How::Torn, "it breaks off, lines are missing behind it, and no later line says why")
        } else {
            (otherwise, "it is no line, and no later line says why")
        };
        let (seq, file) = (self.before().seq.saturating_add(1), self.file.clone());
        self.report.wrong = Some(Wrong { file, line: garbage.line, seq, how, why: why.to_owned() });
    }

    fn end_file(&mut self) {
        let Some(garbage) = self.garbage.take() else { return };
        if self.report.wrong.is_some() {
            return;
        }
        if garbage.holds_lines {
            self.unexplained(&garbage, How::Torn);
        } else {
            self.torn_end = Some(garbage.line);
            self.torn(garbage.line, garbage.bytes, None);
        }
    }

    fn wrong(&mut self, how: How, why: &str, search: Search) {
        let (seq, file) = (self.before().seq.saturating_add(1), self.file.clone());
        self.report.wrong = Some(Wrong { file, line: self.line, seq, how, why: why.to_owned() });
        self.search = Some(search);
    }

    /// What stands behind a wrong line may tell how it is wrong.
    fn look_on(&mut self, read: Option<Read>) {
        let (Some(search), Some(wrong)) = (self.search, &mut self.report.wrong) else { return };
        let goes_on = |before: Head| read.as_ref().is_some_and(|read| read.continues(before));
        match search {
            Search::Next(before) => {
                self.search = None;
                let skips = read.as_ref().is_some_and(|read| read.head.seq == before.seq.wrapping_add(2));
                if goes_on(before) {
                    (wrong.how, wrong.why) = (How::Inserted, "the lines around it belong together".to_owned());
                } else if skips && wrong.how == How::Inserted {
                    (wrong.how, wrong.why) = (How::Changed, "another line stands in its place".to_owned());
                }
            }
            Search::Later(before) if goes_on(before) && wrong.how == How::Missing => {
                self.search = None;
                wrong.how = How::Reordered;
                wrong.why = format!("number {} belongs before it, and stands in line {}", wrong.seq, self.line);
            }
            Search::Later(_) => {}
        }
    }

    /// Whether the record has the place `head`.
    fn meet(&mut self, head: Head) {
        let report = &mut self.report;
        let after = report.after.as_ref().map(|after| Head { seq: after.seq, hash: after.hash });
        if after == Some(head) {
            report.heads_met += 1;
            return;
        }
        if report.wrong.is_some() {
            return;
        }
        let last = report.head.map_or(0, |last| last.seq);
        let mut seq = head.seq;
        let (how, why) = if head.seq > last {
            seq = last + 1;
            match last {
                0 => (How::Missing, format!("the record is empty, and went on to number {} once", head.seq)),
                _ => (How::Missing, format!("the record ends with number {last}, and went on to {} once", head.seq)),
            }
        } else if report.first.is_some_and(|first| head.seq < first) {
            (How::Missing, format!("number {} is in a file before this one: give that too", head.seq))
        } else {
            (How::Changed, format!("number {} has another hash than the head that was kept elsewhere", head.seq))
        };
        let line = self.torn_end.unwrap_or(self.line + 1);
        report.wrong = Some(Wrong { file: self.file.clone(), line, seq, how, why });
    }
}

fn unchecked(all: &mut BTreeMap<String, Unchecked>, key: &KeyId, seq: u64) {
    let name = key.to_string();
    // Whoever forges lines could name a new key in each.
    let name = if all.len() < NAMED_MAX || all.contains_key(&name) { name } else { "others".to_owned() };
    let unchecked = all.entry(name).or_insert(Unchecked { first: seq, last: seq, lines: 0 });
    unchecked.last = seq;
    unchecked.lines += 1;
}

#[cfg(test)]
mod tests;
