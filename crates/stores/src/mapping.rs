//! Which table and columns are a history: what the configuration says about the database, checked for form, not yet
//! against the database.
//!
//! Conditions and expressions are the administrator's SQL and go into statements as they stand. Names are always
//! quoted, values always bound.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use landbridge_core::SiteName;
use thiserror::Error;

/// Who gives out the work ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbering {
    /// The highest number of the problem and one more.
    PerProblem,
    /// The database: identity, auto-increment, rowid, a default.
    Generated,
}

/// The name of a table, perhaps with its schema (PostgreSQL) or database (MySQL, MariaDB).
///
/// Written `table` or `schema.table`. A part that has a dot or a double quote in it stands in double quotes, as in
/// `desk."odd.name"`; inside them a double quote is doubled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    /// The schema; nothing where the database's own search finds the table.
    pub schema: Option<String>,
    /// The table.
    pub name: String,
}

/// Not the name of a table.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a table is written TABLE or SCHEMA.TABLE; a part with a dot or a double quote in it stands in double quotes")]
pub struct TableNameError;

impl TableName {
    /// A table without a schema.
    pub fn plain(name: impl Into<String>) -> Self {
        Self { schema: None, name: name.into() }
    }
}

impl FromStr for TableName {
    type Err = TableNameError;

    fn from_str(s: &str) -> Result<Self, TableNameError> {
        let (first, rest) = part(s)?;
        match rest {
            None => Ok(Self { schema: None, name: first }),
            Some(rest) => match part(rest)? {
                (name, None) => Ok(Self { schema: Some(first), name }),
                _ => Err(TableNameError),
            },
        }
    }
}

/// The first part of a name, and what stands behind its dot.
fn part(s: &str) -> Result<(String, Option<&str>), TableNameError> {
    let (name, behind) = match s.strip_prefix('"') {
        Some(quoted) => {
            let (mut name, mut rest) = (String::new(), quoted);
            loop {
                let (piece, behind) = rest.split_once('"').ok_or(TableNameError)?;
                name.push_str(piece);
                match behind.strip_prefix('"') {
                    Some(more) => {
                        name.push('"');
                        rest = more;
                    }
                    None => break (name, behind),
                }
            }
        }
        None => {
            let (name, behind) = s.split_at(s.find('.').unwrap_or(s.len()));
            (name.to_owned(), behind)
        }
    };
    if name.trim().is_empty() || name.contains('\0') {
        return Err(TableNameError);
    }
    match behind.strip_prefix('.') {
        Some(rest) => Ok((name, Some(rest))),
        None if behind.is_empty() => Ok((name, None)),
        None => Err(TableNameError),
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, end) in self.schema.iter().map(|s| (s, ".")).chain([(&self.name, "")]) {
            if name.contains(['.', '"']) {
                write!(f, "\"{}\"{end}", name.replace('"', "\"\""))?;
            } else {
                write!(f, "{name}{end}")?;
            }
        }
        Ok(())
    }
}

/// A history: where its rows are, which of them, and how one is appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Where rows are read and appended.
    pub source: Source,
    /// The column with the problem's id.
    pub problem: String,
    /// The column with the row's number.
    pub work: String,
    /// The column with the text.
    pub text: String,
    /// Condition: the rows that belong to the history at all. All where absent.
    pub within: Option<String>,
    /// Condition: the rows that may leave. All where absent.
    pub share: Option<String>,
    /// Further shared columns: the name on the wire and the column here.
    pub fields: BTreeMap<String, String>,
    /// Statements that run once for each problem that entries were appended to: `:problem` is bound. Not for markers.
    pub also: Vec<String>,
    /// A table of their own for the markers, with the columns `problem`, `number` (generated) and `text`. In the history
    /// where absent.
    pub markers: Option<TableName>,
    /// Whether the bridge may delete its own markers when newer ones replace them (`compact`).
    pub compact: bool,
    /// The table of the problems.
    pub problems: Option<ProblemTable>,
    /// Condition of each peer: the rows that it may see. All where absent.
    pub peers: BTreeMap<SiteName, Option<String>>,
    /// The beginnings of markers: the first is written, all are read.
    pub phrases: Vec<String>,
}

/// Where the rows of a history are, and how one is appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// One plain table.
    Table(Table),
    /// Statements, for histories that are no single plain table (DESIGN §8). [`Mapping::problem`], `work` and `text` are
    /// then the columns of `read` of these names.
    Statements(Statements),
}

/// The plain table of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: TableName,
    /// Who gives out the numbers.
    pub numbering: Numbering,
    /// SQL expressions for further columns of an appended entry. `:site`, `:text` and `:FIELD` are bound.
    pub insert: BTreeMap<String, String>,
    /// The same for markers, over those of `insert`.
    pub marker: BTreeMap<String, String>,
}

/// Statements instead of a table. They run row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statements {
    /// A query with the columns `problem`, `work`, `text` and, as it needs, `share` (a condition), shared fields and
    /// whatever conditions and `text_encoding` name. No two of its rows have the same problem and work id.
    pub read: String,
    /// The statements that append one row, in their order. `:problem`, `:text`, `:kind`, `:site` and `:FIELD` are bound,
    /// and `:work` in all behind the first.
    pub append: Vec<String>,
    /// SQL expression for the new row's number, asked after the first statement of `append`.
    pub work_from: String,
    /// What `:kind` is for an entry and for a marker.
    pub append_kind: AppendKind,
    /// The column of `read` that names the MIME transfer encoding of the text: none, quoted-printable, base64.
    pub text_encoding: Option<String>,
    /// The statements that delete one marker, in their order: `:problem`, `:work` and `:text` are bound. The first one
    /// changes something only where all three are what was read. Empty where the mapping does not say how.
    pub remove: Vec<String>,
}

/// What `:kind` stands for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AppendKind {
    /// In an entry.
    pub entry: String,
    /// In a marker.
    pub marker: String,
}

impl Mapping {
    /// The plain table of the history, where it is one.
    pub fn table(&self) -> Option<&Table> {
        match &self.source {
            Source::Table(table) => Some(table),
            Source::Statements(_) => None,
        }
    }

    /// The statements, where the history is mapped by them.
    pub fn statements(&self) -> Option<&Statements> {
        match &self.source {
            Source::Table(_) => None,
            Source::Statements(statements) => Some(statements),
        }
    }

    /// Who gives out the numbers. Statements take them from the database.
    pub fn numbering(&self) -> Numbering {
        self.table().map_or(Numbering::Generated, |table| table.numbering)
    }

    /// Whether markers may be deleted, and whether the mapping says how.
    pub fn may_remove(&self) -> Result<(), &'static str> {
        match &self.source {
            _ if !self.compact => {
                Err("nothing is deleted: [markers] compact is not set; write `compact = true` there where it may be")
            }
            Source::Statements(by) if by.remove.is_empty() && self.markers.is_none() => {
                Err("this history is mapped by statements, and [history] remove does not say how a marker is deleted")
            }
            _ => Ok(()),
        }
    }

    /// How the history is called in messages to people.
    pub fn called(&self) -> String {
        self.table().map_or_else(|| "[history] read".to_owned(), |table| format!("table {}", table.name))
    }
}

/// The table of the problems themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProblemTable {
    /// The table.
    pub name: TableName,
    /// The column with the id that the history's problem column refers to.
    pub id: String,
    /// Condition: the problems that are bridged. All where absent.
    pub share: Option<String>,
    /// Shared columns of the problem: the name on the wire and the column here.
    pub fields: BTreeMap<String, String>,
    /// The text column in which the bridge keeps the home name, `site/id` of where the problem was first seen.
    pub link: Option<String>,
    /// SQL expressions for further columns of a problem that the bridge creates; `:site` (the home), `:home` (its name
    /// there, as in the link column) and `:FIELD` are bound. Nothing where it creates none.
    pub create: Option<BTreeMap<String, String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_table_reads_back_as_it_is_written() {
        for (written, schema, name) in [
            ("WORK_HISTORY", None, "WORK_HISTORY"),
            ("desk.Work History", Some("desk"), "Work History"),
            ("\"odd.name\"", None, "odd.name"),
            ("desk.\"a\"\"b.c\"", Some("desk"), "a\"b.c"),
        ] {
            let table: TableName = written.parse().unwrap();
            assert_eq!((table.schema.as_deref(), table.name.as_str()), (schema, name));
            assert_eq!(table.to_string(), written);
        }
        for bad in ["", ".", "a.", ".a", "a.b.c", "\"a", "\"a\"b", " "] {
            assert!(bad.parse::<TableName>().is_err(), "{bad}");
        }
    }
}
