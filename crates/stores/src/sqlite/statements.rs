//! Every statement that the adapter sends, as a database administrator can read it without Rust.
//!
//! Names are quoted by [`quoted`] and qualified with their table, so that a column that is gone is an error and never
//! a string. Conditions and expressions of the mapping stand in parentheses of their own, the closing one on a line of
//! its own, where no comment of theirs reaches it. Values are always bound.

use landbridge_core::SiteName;

use crate::mapping::{Mapping, Numbering, ProblemTable, Source};

/// Begins a read: with the first look at the database its snapshot is taken.
pub(super) const BEGIN_READ: &str = "begin deferred; select 1 from sqlite_schema limit 1";
/// Begins a write: the only writer from here on, so that what is read stays true until the commit.
pub(super) const BEGIN_WRITE: &str = "begin immediate";
/// A number that changes with every commit of another connection.
pub(super) const SIGNAL: &str = "pragma data_version";

/// A name of the mapping as it stands in SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A column, named with its table.
pub(super) fn column(table: &str, name: &str) -> String {
    format!("{}.{}", quoted(table), quoted(name))
}

/// A condition or an expression of the mapping as part of a statement; true where there is none.
pub(super) fn part(sql: Option<&str>) -> String {
    sql.map_or_else(|| "1".to_owned(), |sql| format!("({sql}\n)"))
}

/// The savepoint at this depth, set.
pub(super) fn savepoint(depth: usize) -> String {
    format!("savepoint landbridge_{depth}")
}

/// The savepoint at this depth, undone and taken away.
pub(super) fn rollback_to(depth: usize) -> String {
    format!("rollback to landbridge_{depth}; release landbridge_{depth}")
}

/// The savepoint at this depth, taken away.
pub(super) fn release(depth: usize) -> String {
    format!("release landbridge_{depth}")
}

/// The rows of `table` whose `id` is in the JSON array `?1`, which names none twice: a `from` and the beginning of a
/// `where`.
///
/// The cross join makes SQLite look up each id in the index, whatever its statistics say: a table of few problems with
/// many rows would else be read as a whole for each of them. Whoever compares by `nocase` finds more than was asked
/// for; the second comparison takes that away.
fn asked(table: &str, id: &str) -> String {
    format!(
        "from (select value as landbridge_asked from json_each(?1))\n     cross join {table}\n\
         where {id} = landbridge_asked\n  and cast({id} as text) collate binary = cast(landbridge_asked as text)"
    )
}

/// What a statement calls the history: its table, or the query of the mapping.
pub(super) fn alias(m: &Mapping) -> &str {
    m.table().map_or("history", |table| &table.name.name)
}

/// The history in a `from`.
fn source(m: &Mapping) -> String {
    match &m.source {
        Source::Table(table) => quoted(&table.name.name),
        Source::Statements(statements) => format!("({}\n) as {}", statements.read, quoted(alias(m))),
    }
}

/// The columns of the history under their mapped names.
struct Names {
    table: String,
    problem: String,
    work: String,
    text: String,
}

impl Names {
    fn of(m: &Mapping) -> Self {
        let of = alias(m);
        Self { table: source(m), problem: column(of, &m.problem), work: column(of, &m.work), text: column(of, &m.text) }
    }

    /// What makes a row of the table a row of a history. The plus keeps the planner from reading by number.
    fn is_row(&self) -> String {
        format!("typeof({work}) = 'integer' and +{work} > 0 and {text} is not null", work = self.work, text = self.text)
    }

    /// The text, where it begins with one of the phrases bound from `first` on.
    fn marker(&self, phrases: usize, first: usize) -> String {
        let text = &self.text;
        let begins = |n| format!("substr(cast({text} as text), 1, length(?{n})) = ?{n}");
        let any: Vec<String> = (first..first + phrases).map(begins).collect();
        if any.is_empty() {
            return "null".to_owned();
        }
        format!("case when {} then cast({text} as text) end", any.join(" or "))
    }
}

/// The rows of the problems in the JSON array `?1`. From `?2` on, the marker phrases, each with its space.
///
/// Columns: problem, work id, text of a marker, bytes of the text, and for each of `open` whether the row may leave.
pub(super) fn rows(m: &Mapping, open: &[Vec<&str>]) -> String {
    let names = Names::of(m);
    let (table, problem, work, text) = (&names.table, &names.problem, &names.work, &names.text);
    let open: String = open.iter().map(|all| format!(",\n       {}", all_of(all))).collect();
    format!(
        "select cast({problem} as text), {work},\n       {marker},\n       octet_length({text}){open}\n\
         {asked}\n  and {is_row}\n  and {within}",
        asked = asked(table, problem),
        marker = names.marker(m.phrases.len(), 2),
        is_row = names.is_row(),
        within = part(m.within.as_deref()),
    )
}

/// Whether every one of these conditions is true. Null is not.
fn all_of(conditions: &[&str]) -> String {
    if conditions.is_empty() {
        return "1".to_owned();
    }
    let parts: Vec<String> = conditions.iter().map(|c| part(Some(c))).collect();
    format!("({}) is true", parts.join(" and "))
}

/// The conditions that a row must meet to leave: those for all peers, and those of `peer`.
pub(super) fn open_to<'m>(m: &'m Mapping, peer: Option<&SiteName>) -> Vec<&'m str> {
    let of_peer = peer.and_then(|p| m.peers.get(p)).and_then(Option::as_deref);
    m.share.as_deref().into_iter().chain(of_peer).collect()
}

/// Of the problems in the JSON array `?1`, those that are there and may be delivered to.
pub(super) fn visible(t: &ProblemTable) -> String {
    let (table, id) = (quoted(&t.name.name), column(&t.name.name, &t.id));
    let share = part(t.share.as_deref());
    format!("select cast({id} as text)\n{}\n  and {share} is true", asked(&table, &id))
}

/// The text and the shared columns of some rows. Where numbers are unique, `?1` is a JSON array of them; otherwise an
/// array of pairs of problem and number.
pub(super) fn bodies(m: &Mapping) -> String {
    let names = Names::of(m);
    let (table, problem, work, text) = (&names.table, &names.problem, &names.work, &names.text);
    let fields: String = m.fields.values().map(|f| format!(", {}", column(alias(m), f))).collect();
    let asked = match m.numbering() {
        Numbering::Generated => format!("{work} in (select value from json_each(?1))"),
        Numbering::PerProblem => {
            format!("({problem}, {work}) in (select value ->> 0, value ->> 1 from json_each(?1))")
        }
    };
    format!(
        "select cast({problem} as text), {work}, cast({text} as text){fields}\n\
         from {table}\nwhere {asked}\n  and {is_row}\n  and {within}",
        is_row = names.is_row(),
        within = part(m.within.as_deref()),
    )
}

/// The highest number of problem `?1`, over the whole table: `where` hides rows, not their numbers.
pub(super) fn highest(m: &Mapping) -> String {
    let Names { table, problem, work, .. } = Names::of(m);
    format!(
        "select {work}\nfrom {table}\nwhere {problem} = ?1\n  and typeof({work}) = 'integer'\norder by {work} desc\nlimit 1"
    )
}

/// The problem's id as some row has it, among the forms in the JSON array `?1`: a column without a type keeps numbers
/// and texts apart.
pub(super) fn stored_form(table: &str, id: &str) -> String {
    let (table, id) = (quoted(table), column(table, id));
    format!("select {id}\n{}\nlimit 1", asked(&table, &id))
}

/// One row more: `?1` the problem, `?2` the text, and from `?3` on the number, where it is ours to give, and the
/// `fields`; in the expressions `:site`, `:text` and the received fields by their names.
///
/// Brings back the number, the problem as it is kept, and whether the text is kept as it was sent.
pub(super) fn append(m: &Mapping, fields: &[&str], expressions: &[(&str, &str)]) -> String {
    let mut columns = vec![quoted(&m.problem), quoted(&m.text)];
    if m.numbering() == Numbering::PerProblem {
        columns.push(quoted(&m.work));
    }
    columns.extend(fields.iter().map(|f| quoted(f)));
    let mut values: Vec<String> = (1..=columns.len()).map(|n| format!("?{n}")).collect();
    columns.extend(expressions.iter().map(|(name, _)| quoted(name)));
    values.extend(expressions.iter().map(|(_, sql)| part(Some(sql))));
    let Names { table, problem, work, text } = Names::of(m);
    format!(
        "insert or abort into {table}\n       ({})\nvalues ({})\n\
         returning {work}, cast({problem} as text), (cast({text} as text) collate binary) = ?2",
        columns.join(", "),
        values.join(", ")
    )
}

/// The next `?2` problem ids behind `?1` (bytes), in byte order.
///
/// A text column is walked along its index. Another column has to be sorted as text for each page: 9 stands behind
/// 10 in byte order.
pub(super) fn page(m: &Mapping, is_text: bool) -> String {
    let Names { table, problem, .. } = Names::of(m);
    let key = if is_text { problem.clone() } else { format!("cast({problem} as text)") };
    let kinds = if is_text { "('text')" } else { "('text', 'integer', 'real')" };
    format!(
        "select distinct {key} collate binary\nfrom {table}\nwhere {key} > cast(?1 as text) collate binary\n  \
         and typeof({problem}) in {kinds}\norder by {key} collate binary\nlimit ?2"
    )
}

/// Of one row, whether it meets each of these conditions. `?1` is a JSON array of its problem's forms, `?2` its number.
pub(super) fn conditions(m: &Mapping, conditions: &[&str]) -> String {
    let Names { table, problem, work, text } = Names::of(m);
    let each: String = conditions.iter().map(|c| format!(",\n       {} is true", part(Some(c)))).collect();
    format!(
        "select {work}{each}\n{asked}\n  and {work} = ?2 and typeof({work}) = 'integer' and {text} is not null",
        asked = asked(&table, &problem),
    )
}
