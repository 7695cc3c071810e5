//! Which table and columns are a history: what the configuration says about the database, checked for form, not yet
//! against the database.
//!
//! Conditions and expressions are the administrator's SQL and go into statements as they stand. Names are always
//! quoted, values always bound.

use std::collections::BTreeMap;

use landbridge_core::SiteName;

/// Who gives out the work ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbering {
    /// The highest number of the problem and one more.
    PerProblem,
    /// The database: identity, auto-increment, rowid, a default.
    Generated,
}

/// The table of one history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// The table.
    pub table: String,
    /// The column with the problem's id.
    pub problem: String,
    /// The column with the row's number.
    pub work: String,
    /// The column with the text.
    pub text: String,
    /// Who gives out the numbers.
    pub numbering: Numbering,
    /// Condition: the rows that belong to the history at all. All where absent.
    pub within: Option<String>,
    /// Condition: the rows that may leave. All where absent.
    pub share: Option<String>,
    /// Further shared columns: the name on the wire and the column here.
    pub fields: BTreeMap<String, String>,
    /// SQL expressions for further columns of an appended entry. `:site`, `:text` and `:FIELD` are bound.
    pub insert: BTreeMap<String, String>,
    /// The same for markers, over those of `insert`.
    pub marker: BTreeMap<String, String>,
    /// The table of the problems.
    pub problems: Option<ProblemTable>,
    /// Condition of each peer: the rows that it may see. All where absent.
    pub peers: BTreeMap<SiteName, Option<String>>,
    /// The beginnings of markers: the first is written, all are read.
    pub phrases: Vec<String>,
}

/// The table of the problems themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProblemTable {
    /// The table.
    pub table: String,
    /// The column with the id that the history's problem column refers to.
    pub id: String,
    /// Condition: the problems that are bridged. All where absent.
    pub share: Option<String>,
}
