//! The scribe reads and writes the markers of one site's history: it knows the phrases, the keys and the width of the
//! text column.
//!
//! A text is an entry, a marker of ours, or a complete marker that does not verify. The last is never trusted and
//! never sent: the ledger suspends its problem (DESIGN §3).

use std::collections::BTreeSet;

use thiserror::Error;

use crate::cursor;
use crate::id::{ProblemId, SiteName};
use crate::marker::Marker;
use crate::seal::{Keyring, SEAL_CHARS, is_seal};

const SEAL_WORD: &str = "; seal ";

/// The text column is too narrow for a marker of one range.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a text of {chars_max} characters is too narrow for the marker of problem {problem}")]
pub struct TooNarrow {
    /// The column's width, in characters.
    pub chars_max: usize,
    /// The problem whose marker did not fit.
    pub problem: ProblemId,
}

/// What a text of the history is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// Something that a person or an application wrote.
    Entry,
    /// A marker of this site, history and problem, under one of our keys.
    Marker(Marker),
    /// A complete marker that none of our keys sealed for this place. It carries what the marker says, for an
    /// operator who vouches for it (`rekey`).
    Unverified(Marker),
}

/// Reads and writes the markers of one site's history.
#[derive(Debug, Clone)]
pub struct Scribe {
    site: SiteName,
    history: String,
    phrases: Vec<String>,
    keys: Keyring,
    chars_max: Option<usize>,
}

impl Scribe {
    /// A scribe of `site` and `history`. `phrases`: the first is written, all are read; without any, the default
    /// `copy in system` is used. `chars_max`: the width of the text column in characters, where it has one.
    pub fn new(
        site: SiteName,
        history: impl Into<String>,
        phrases: Vec<String>,
        keys: Keyring,
        chars_max: Option<usize>,
    ) -> Self {
        let phrases = if phrases.is_empty() { vec![DEFAULT_PHRASE.into()] } else { phrases };
        Self { site, history: history.into(), phrases, keys, chars_max }
    }

    /// The site that it writes for.
    pub fn site(&self) -> &SiteName {
        &self.site
    }

    /// The beginnings that every marker has one of: what a store looks for.
    pub fn phrases(&self) -> &[String] {
        &self.phrases
    }

    /// Where the next page of a comparison begins, told to nobody but this site.
    pub fn cursor(&self, problem: &ProblemId) -> String {
        cursor::seal(&self.keys, problem)
    }

    /// The problem behind which the page begins; nothing where the cursor is none of this site's.
    pub fn problem_of(&self, cursor: &str) -> Option<ProblemId> {
        cursor::open(&self.keys, cursor)
    }

    /// The same scribe with other keys.
    pub fn with_keys(&self, keys: Keyring) -> Self {
        Self { keys, ..self.clone() }
    }

    /// Whether `text` has the whole form of a marker, sealed by whomever.
    pub fn is_complete(&self, text: &str) -> bool {
        self.parts(text).is_some()
    }

    /// What `text` is in `problem`. White space behind a marker is the column's (`char(n)`) and is passed over.
    pub fn read(&self, problem: &ProblemId, text: &str) -> Reading {
        let Some((marker, body, seal)) = self.parts(text) else { return Reading::Entry };
        if self.keys.verifies(&self.sealed(problem, body), seal) {
            Reading::Marker(marker)
        } else {
            Reading::Unverified(marker)
        }
    }

    /// The texts of `marker`, sealed: several where the column is too narrow for one. A text that is among `taken`
    /// is numbered, so that each is unlike every one before it.
    pub fn write(
        &self,
        problem: &ProblemId,
        marker: Marker,
        taken: &BTreeSet<String>,
    ) -> Result<Vec<String>, TooNarrow> {
        let phrase = self.phrases.first().map_or(DEFAULT_PHRASE, String::as_str);
        let room = self.chars_max.map_or(usize::MAX, |n| n.saturating_sub(SEAL_WORD.len() + SEAL_CHARS));
        let parts = marker
            .split(phrase, room)
            .ok_or_else(|| TooNarrow { chars_max: self.chars_max.unwrap_or_default(), problem: problem.clone() })?;
        let mut written: Vec<String> = Vec::with_capacity(parts.len());
        for mut part in parts {
            let text = loop {
                let text = self.seal(problem, &part.body(phrase));
                if !taken.contains(&text) && !written.contains(&text) {
                    break text;
                }
                part.number += 1;
            };
            written.push(text);
        }
        Ok(written)
    }

    fn seal(&self, problem: &ProblemId, body: &str) -> String {
        format!("{body}{SEAL_WORD}{}", self.keys.seal(&self.sealed(problem, body)))
    }

    fn sealed<'a>(&'a self, problem: &'a ProblemId, body: &'a str) -> [&'a str; 4] {
        [self.site.as_str(), &self.history, problem.as_str(), body]
    }

    fn parts<'a>(&self, text: &'a str) -> Option<(Marker, &'a str, &'a str)> {
        let text = text.trim_end();
        let (body, seal) = text.rsplit_once(SEAL_WORD).filter(|(_, seal)| is_seal(seal))?;
        let marker = self.phrases.iter().find_map(|phrase| Marker::parse(body, phrase))?;
        Some((marker, body, seal))
    }
}

/// The phrase that a marker begins with unless the configuration names another.
pub const DEFAULT_PHRASE: &str = "copy in system";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marker::tests::marker_strategy;

    fn scribe(key: u8) -> Scribe {
        Scribe::new("1".parse().unwrap(), "work_history", vec![], Keyring::new([key; 32]), None)
    }

    fn problem(p: &str) -> ProblemId {
        p.parse().unwrap()
    }

    fn written(s: &Scribe) -> String {
        let marker = Marker::parse("copy in system N: 1-2", DEFAULT_PHRASE).unwrap();
        s.write(&problem("ABC"), marker, &BTreeSet::new()).unwrap().remove(0)
    }

    #[test]
    fn a_marker_is_ours_in_its_own_problem_and_unverified_in_another() {
        let s = scribe(1);
        let text = written(&s);
        assert!(matches!(s.read(&problem("ABC"), &text), Reading::Marker(_)), "{text}");
        assert!(matches!(s.read(&problem("ABC"), &format!("{text}  \n")), Reading::Marker(_)));
        assert!(matches!(s.read(&problem("ABD"), &text), Reading::Unverified(_)));
        assert!(matches!(scribe(2).read(&problem("ABC"), &text), Reading::Unverified(_)));
    }

    #[test]
    fn a_typed_marker_without_a_seal_is_an_entry() {
        let s = scribe(1);
        for text in ["copy in system N: 1-2", "copy in system N: 1-2; seal", "copy in system N: 1-2; seal uuuuuuuuuu"] {
            assert_eq!(s.read(&problem("ABC"), text), Reading::Entry, "{text}");
        }
        assert_eq!(s.read(&problem("ABC"), &format!("> {}", written(&s))), Reading::Entry);
    }

    #[test]
    fn a_repetition_is_numbered() {
        let s = scribe(1);
        let marker = Marker::parse("copy in system N: 1-2", DEFAULT_PHRASE).unwrap();
        let first = s.write(&problem("ABC"), marker.clone(), &BTreeSet::new()).unwrap();
        let second = s.write(&problem("ABC"), marker, &first.iter().cloned().collect()).unwrap();
        assert!(second[0].starts_with("copy in system N: 1-2 no 2; seal "), "{}", second[0]);
    }

    #[test]
    fn a_former_phrase_is_still_read() {
        let s = scribe(1);
        let renamed = Scribe { phrases: vec!["Kopie in System".into(), DEFAULT_PHRASE.into()], ..s.clone() };
        assert!(matches!(renamed.read(&problem("ABC"), &written(&s)), Reading::Marker(_)));
        assert!(written(&renamed).starts_with("Kopie in System N: 1-2; seal "));
        assert_eq!(s.read(&problem("ABC"), &written(&renamed)), Reading::Entry);
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_written_is_read_as_a_marker(m in marker_strategy(), width in 500_usize..2000) {
            let s = Scribe { chars_max: Some(width), ..scribe(3) };
            let p = problem("a/b \"c\"");
            if let Ok(texts) = s.write(&p, m, &BTreeSet::new()) {
                for text in texts {
                    assert!(text.chars().count() <= width);
                    assert!(matches!(s.read(&p, &text), Reading::Marker(_)), "{}", text);
                }
            }
        }
    }
}
