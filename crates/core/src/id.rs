//! The names of things: sites, problems, rows and the origin of an entry.
//!
//! Each is parsed once, where it enters (configuration, wire, database), and is valid from then on.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The longest problem id that is carried, in bytes. Ids are keys of tickets, not texts.
pub const PROBLEM_BYTES_MAX: usize = 1024;

/// Why a name or a number was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdError {
    /// Not a site name.
    #[error("{0:?} is no site name: 1 to 64 of the characters A-Z a-z 0-9 . _ -, the first a letter or a digit")]
    Site(String),
    /// Not a problem id.
    #[error("a problem id has 1 to {PROBLEM_BYTES_MAX} bytes, this one has {0}")]
    Problem(usize),
    /// Not a work id.
    #[error("{0:?} is no work id: a whole number from 1 to 9223372036854775807")]
    Work(String),
    /// Not a problem's name.
    #[error("{0:?} is no name of a problem: it is written site/problem, as in N/4711")]
    Name(String),
    /// Not an origin.
    #[error("{0:?} is no origin: it is written site/work id, as in N/17")]
    Origin(String),
}

/// The name of one participating system, unique among all bridged sites (DESIGN §1).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SiteName(Arc<str>);

impl SiteName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn is_name_char(c: char) -> bool {
        c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
    }
}

impl FromStr for SiteName {
    type Err = IdError;

    fn from_str(s: &str) -> Result<Self, IdError> {
        let good =
            s.len() <= 64 && s.starts_with(|c: char| c.is_ascii_alphanumeric()) && s.chars().all(Self::is_name_char);
        if good { Ok(Self(s.into())) } else { Err(IdError::Site(s.chars().take(80).collect())) }
    }
}

/// The local id of a problem (a ticket), of any type, carried as text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProblemId(Arc<str>);

impl ProblemId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProblemId {
    type Err = IdError;

    fn from_str(s: &str) -> Result<Self, IdError> {
        if s.is_empty() || s.len() > PROBLEM_BYTES_MAX {
            return Err(IdError::Problem(s.len()));
        }
        Ok(Self(s.into()))
    }
}

macro_rules! text_id {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(s: String) -> Result<Self, IdError> {
                s.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().to_owned()
            }
        }
    )*};
}
text_id!(SiteName, ProblemId);

/// The number of a row within its history: 1 to 2^63-1, unique and ascending within its problem, gaps allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkId(NonZeroU64);

impl WorkId {
    /// The smallest number.
    pub const MIN: WorkId = WorkId(NonZeroU64::MIN);

    /// The end of the numbers that rows of a history have; behind it are those of markers in a table of their own. A
    /// table to which a million rows a second are appended gets there in 146,000 years.
    pub const APART: i64 = 1 << 62;

    /// The number `n`, or nothing where it lies outside 1 to 2^63-1.
    pub fn new(n: i64) -> Option<Self> {
        u64::try_from(n).ok().and_then(NonZeroU64::new).map(Self)
    }

    /// The number as databases carry it.
    pub fn get(self) -> i64 {
        self.0.get() as i64
    }

    /// The number of a marker in a table of its own (DESIGN §3): kept apart from the numbers of rows by lying above
    /// [`WorkId::APART`], where no row of a history does. Nothing where `number` is below 1 or too large.
    pub fn apart(number: i64) -> Option<Self> {
        (number >= 1).then(|| number.checked_add(Self::APART)).flatten().and_then(Self::new)
    }

    /// The number in the table of markers, where this is one of those.
    pub fn apart_number(self) -> Option<i64> {
        (self.get() > Self::APART).then(|| self.get() - Self::APART)
    }
}

impl fmt::Display for WorkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for WorkId {
    type Err = IdError;

    fn from_str(s: &str) -> Result<Self, IdError> {
        let plain = !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        let number = if plain { s.parse().ok().and_then(Self::new) } else { None };
        number.ok_or_else(|| IdError::Work(s.chars().take(40).collect()))
    }
}

/// Where an entry was first written. With the problem and the text this is the entry's identity (DESIGN §1).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Origin {
    /// The site at which a person or an application wrote the entry.
    pub site: SiteName,
    /// Its work id there.
    pub work: WorkId,
}

impl Origin {
    /// The origin `site/work`.
    pub fn new(site: SiteName, work: WorkId) -> Self {
        Self { site, work }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.site, self.work)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Origin {
    type Err = IdError;

    fn from_str(s: &str) -> Result<Self, IdError> {
        let (site, work) = s.split_once('/').ok_or_else(|| IdError::Origin(s.chars().take(120).collect()))?;
        Ok(Self { site: site.parse()?, work: work.parse()? })
    }
}

impl TryFrom<String> for Origin {
    type Error = IdError;

    fn try_from(s: String) -> Result<Self, IdError> {
        s.parse()
    }
}

impl From<Origin> for String {
    fn from(o: Origin) -> String {
        o.to_string()
    }
}

/// What a site calls a problem: `site/problem`. The *home name* is that of the site where the problem was first seen
/// (DESIGN §5).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProblemName {
    /// The site.
    pub site: SiteName,
    /// The problem's id there.
    pub problem: ProblemId,
}

impl ProblemName {
    /// The name `site/problem`.
    pub fn new(site: SiteName, problem: ProblemId) -> Self {
        Self { site, problem }
    }
}

impl fmt::Display for ProblemName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.site, self.problem)
    }
}

impl fmt::Debug for ProblemName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ProblemName {
    type Err = IdError;

    fn from_str(s: &str) -> Result<Self, IdError> {
        let (site, problem) = s.split_once('/').ok_or_else(|| IdError::Name(s.chars().take(120).collect()))?;
        Ok(Self { site: site.parse()?, problem: problem.parse()? })
    }
}

impl TryFrom<String> for ProblemName {
    type Error = IdError;

    fn try_from(s: String) -> Result<Self, IdError> {
        s.parse()
    }
}

impl From<ProblemName> for String {
    fn from(name: ProblemName) -> String {
        name.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_where_they_enter() {
        for good in ["1", "N", "help-desk.eu_2", &"a".repeat(64)] {
            assert!(good.parse::<SiteName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a b", "a/b", "ä", &"a".repeat(65)] {
            assert!(bad.parse::<SiteName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn work_ids_end_where_a_signed_64_bit_column_ends() {
        assert!("9223372036854775807".parse::<WorkId>().is_ok());
        for bad in ["0", "-1", "+1", "", "9223372036854775808", "1.0", " 1"] {
            assert!(bad.parse::<WorkId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_origin_reads_back_as_it_is_written() {
        let o: Origin = "eu-1/42".parse().unwrap();
        assert_eq!(o.to_string(), "eu-1/42");
        assert!("42".parse::<Origin>().is_err());
        assert!("a/b/1".parse::<Origin>().is_err());
    }
}
