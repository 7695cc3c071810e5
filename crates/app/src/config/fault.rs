//! A fault of the configuration: where it is, what is wrong and what to write instead.
//!
//! Faults are collected, never returned one by one. A fault quotes the file as it is written, so that a value that
//! came out of the environment is never shown; secrets are not quoted at all.

use std::fmt;
use std::path::{Path, PathBuf};

/// A place in the file, both counted from 1; columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub path: PathBuf,
    /// Where in the file; nothing where the file as a whole is meant.
    pub place: Option<Place>,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub instead: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if let Some(Place { line, column }) = self.place {
            write!(f, "{line}:{column}:")?;
        }
        write!(f, " {}; {}", self.what, self.instead)
    }
}

/// Everything that is wrong with the configuration, in the order of the file; at least one fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// The one fault of a file that could not be read.
    pub(super) fn of_file(path: &Path, what: impl Into<String>, instead: impl Into<String>) -> Self {
        let (path, what, instead) = (path.to_owned(), what.into(), instead.into());
        Self(vec![Fault { path, place: None, what, instead }])
    }

    /// `findings` about the file at `path` with the content `text`.
    pub(super) fn locate(path: &Path, text: &str, mut findings: Vec<Finding>) -> Self {
        findings.sort_by_key(|f| f.at);
        let mut places = Places::of(text);
        let fault = |f: Finding| Fault {
            path: path.to_owned(),
            place: Some(places.next(f.at)),
            what: f.what,
            instead: f.instead,
        };
        let mut faults: Vec<Fault> = findings.into_iter().map(fault).collect();
        faults.dedup();
        Self(faults)
    }

    /// Each fault, in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Fault> {
        self.0.iter()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.iter().enumerate() {
            write!(f, "{}{fault}", if i == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// A fault before its place is known as line and column.
#[derive(Debug)]
pub(super) struct Finding {
    /// The byte of the file at which it begins.
    pub at: usize,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub instead: String,
}

/// Turns ascending bytes of a text into places, in one pass over the text.
struct Places<'a> {
    chars: std::iter::Peekable<std::str::CharIndices<'a>>,
    place: Place,
}

impl<'a> Places<'a> {
    fn of(text: &'a str) -> Self {
        Self { chars: text.char_indices().peekable(), place: Place { line: 1, column: 1 } }
    }

    /// The place of byte `at`, which is not before the last one asked for.
    fn next(&mut self, at: usize) -> Place {
        while let Some((_, c)) = self.chars.next_if(|(i, c)| i + c.len_utf8() <= at) {
            if c == '\n' {
                self.place = Place { line: self.place.line + 1, column: 1 };
            } else {
                self.place.column += 1;
            }
        }
        self.place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_lines_and_characters_from_one() {
        let place = |text, at| {
            let place = Places::of(text).next(at);
            (place.line, place.column)
        };
        assert_eq!(place("", 0), (1, 1));
        assert_eq!(place("a\nüb = 1", 5), (2, 3));
        assert_eq!(place("a\nü", 3), (2, 1));
        assert_eq!(place("a\n", 99), (2, 1));
        let mut places = Places::of("a\nbc");
        let columns = [0, 2, 3, 3, 4].map(|at| places.next(at).column);
        assert_eq!(columns, [1, 1, 2, 2, 3]);
    }
}
