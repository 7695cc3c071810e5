//! Every statement that the adapter sends, as a database administrator can read it without Rust.
//!
//! Names are quoted by [`quoted`] and qualified with their table, so that a column that is gone is an error and never
//! a string. Conditions and expressions of the mapping stand in parentheses of their own, the closing one on a line of
//! its own, where no comment of theirs reaches it. Values are always bound.

use landbridge_core::SiteName;

use crate::mapping::{Mapping, Numbering, ProblemTable, Source, TableName};

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
    /// The column with the transfer encoding of the text, or null.
    encoding: String,
    /// Whether the history is a query.
    by_statements: bool,
}

impl Names {
    fn of(m: &Mapping) -> Self {
        let of = alias(m);
        let encoding = m.statements().and_then(|s| s.text_encoding.as_deref());
        Self {
            table: source(m),
            problem: column(of, &m.problem),
            work: column(of, &m.work),
            text: column(of, &m.text),
            encoding: encoding.map_or_else(|| "null".to_owned(), |c| format!("cast({} as text)", column(of, c))),
            by_statements: m.statements().is_some(),
        }
    }

    /// The rows of the problems that `?1` asks for: a `from` and the beginning of a `where`. Of a table, `?1` is a JSON
    /// array of ids. A query is asked for one id at a time, in one of the forms that it may have: a comparison with
    /// one value is all that SQLite carries into each part of a `union all`, down to the index of the table beneath.
    fn asked(&self) -> String {
        let Self { table, problem, .. } = self;
        if self.by_statements {
            return format!(
                "from {table}\nwhere {problem} = ?1\n  and typeof({problem}) = typeof(?1)\n  \
                 and cast({problem} as text) collate binary = cast(?1 as text)"
            );
        }
        asked(table, problem)
    }

    /// What makes a row of the table a row of a history. The plus keeps the planner from reading by number.
    fn is_row(&self) -> String {
        format!("typeof({work}) = 'integer' and +{work} > 0 and {text} is not null", work = self.work, text = self.text)
    }

    /// The text, where it begins with one of the phrases bound from `first` on.
    fn marker(&self, phrases: usize, first: usize) -> String {
        let text = &self.text;
        let begins = |n| format!("substr(cast({text} as text), 1, length(?{n})) = ?{n}");
        let mut any: Vec<String> = (first..first + phrases).map(begins).collect();
        if self.encoding != "null" {
            // Only the decoded text says how it begins.
            any.push(format!("coalesce(trim(lower({})), '') in ('base64', 'quoted-printable')", self.encoding));
        }
        if any.is_empty() {
            return "null".to_owned();
        }
        format!("case when {} then cast({text} as text) end", any.join(" or "))
    }
}

/// The rows of the problems that `?1` asks for. From `?2` on, the marker phrases, each with its space.
///
/// Columns: problem, work id, text of a marker, bytes of the text, its transfer encoding, and for each of `open`
/// whether the row may leave.
pub(super) fn rows(m: &Mapping, open: &[Vec<&str>]) -> String {
    let names = Names::of(m);
    let Names { problem, work, text, encoding, .. } = &names;
    let open: String = open.iter().map(|all| format!(",\n       {}", all_of(all))).collect();
    format!(
        "select cast({problem} as text), {work},\n       {marker},\n       octet_length({text}), {encoding}{open}\n\
         {asked}\n  and {is_row}\n  and {within}",
        asked = names.asked(),
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

/// The condition that `read` itself has in a column of this name.
pub(super) const READ_SHARE: &str = "\"history\".\"share\"";

/// The conditions that a row must meet to leave: those for all peers, and those of `peer`. `read_share`: the query of the
/// mapping has one of its own.
pub(super) fn open_to<'m>(m: &'m Mapping, read_share: bool, peer: Option<&SiteName>) -> Vec<&'m str> {
    let of_peer = peer.and_then(|p| m.peers.get(p)).and_then(Option::as_deref);
    read_share.then_some(READ_SHARE).into_iter().chain(m.share.as_deref()).chain(of_peer).collect()
}

/// The problems in the JSON array `?1` that are there: id, whether it may be delivered to, the link column, and, where
/// it may, the shared columns.
pub(super) fn problems(t: &ProblemTable) -> String {
    let of = &t.name.name;
    let (table, id) = (quoted(of), column(of, &t.id));
    let share = t.share.as_deref().map_or_else(|| "1".to_owned(), |sql| format!("{} is true", part(Some(sql))));
    let link = link(t);
    let fields: String =
        t.fields.values().map(|f| format!(",\n       case when {share} then {} end", column(of, f))).collect();
    format!("select cast({id} as text), {share}, {link}{fields}\n{}", asked(&table, &id))
}

fn link(t: &ProblemTable) -> String {
    t.link.as_ref().map_or_else(|| "null".to_owned(), |link| format!("cast({} as text)", column(&t.name.name, link)))
}

/// Of the home names in the JSON array `?1`, the problems that have them in `link`: id and home name.
pub(super) fn find(t: &ProblemTable, link: &str) -> String {
    let (table, id, link) = (quoted(&t.name.name), column(&t.name.name, &t.id), column(&t.name.name, link));
    format!("select cast({id} as text), cast({link} as text)\n{}\norder by 1", asked(&table, &link))
}

/// One problem more: `?1` its home name for the link column, from `?2` on the `fields`; in the expressions `:site`,
/// `:home` and the received fields by their names. Brings back the id.
pub(super) fn create(t: &ProblemTable, link: &str, fields: &[&str], expressions: &[(&str, &str)]) -> String {
    let columns = std::iter::once(&link).chain(fields).map(|c| quoted(c));
    let columns: Vec<String> = columns.chain(expressions.iter().map(|(name, _)| quoted(name))).collect();
    let values = (1..=fields.len() + 1).map(|n| format!("?{n}"));
    let values: Vec<String> = values.chain(expressions.iter().map(|(_, sql)| part(Some(sql)))).collect();
    format!(
        "insert or abort into {}\n       ({})\nvalues ({})\nreturning cast({} as text)",
        quoted(&t.name.name),
        columns.join(", "),
        values.join(", "),
        column(&t.name.name, &t.id)
    )
}

/// The markers of the problems in the JSON array `?1`, in a table of their own: problem, number, text.
pub(super) fn markers(t: &TableName) -> String {
    let of = |c| column(&t.name, c);
    let (problem, number, text) = (of("problem"), of("number"), of("text"));
    format!(
        "select cast({problem} as text), {number}, cast({text} as text)\n{}\n  and {text} is not null",
        asked(&quoted(&t.name), &problem)
    )
}

/// The markers with the numbers in the JSON array `?1`: as [`markers`].
pub(super) fn marker_bodies(t: &TableName) -> String {
    let of = |c| column(&t.name, c);
    let (problem, number, text) = (of("problem"), of("number"), of("text"));
    format!(
        "select cast({problem} as text), {number}, cast({text} as text)\nfrom {}\n\
         where {number} in (select value from json_each(?1))\n  and {text} is not null",
        quoted(&t.name)
    )
}

/// One marker more in a table of their own: `?1` the problem, `?2` the text. Brings back as [`append`] does.
pub(super) fn append_marker(t: &TableName) -> String {
    let of = |c| column(&t.name, c);
    format!(
        "insert or abort into {}\n       (\"problem\", \"text\")\nvalues (?1, ?2)\n\
         returning {}, cast({} as text), (cast({} as text) collate binary) = ?2",
        quoted(&t.name),
        of("number"),
        of("problem"),
        of("text")
    )
}

/// Deletes the rows of the JSON array `?1`, each problem, number and text, that are still that.
///
/// The first condition finds them by an index; the second compares exactly, whatever the collation of a column is.
fn remove_from(table: &str, [problem, work, text]: [&str; 3], by_number: bool) -> String {
    let found = match by_number {
        true => format!("{work} in (select value ->> 1 from json_each(?1))"),
        false => format!("({problem}, {work}) in (select value ->> 0, value ->> 1 from json_each(?1))"),
    };
    format!(
        "delete from {table}\nwhere {found}\n  and (cast({problem} as text) collate binary, {work}, cast({text} as text) \
         collate binary)\n      in (select cast(value ->> 0 as text), value ->> 1, value ->> 2 from json_each(?1))"
    )
}

/// Deletes markers of the history.
pub(super) fn remove(m: &Mapping) -> String {
    let Names { table, problem, work, text, .. } = Names::of(m);
    remove_from(&table, [&problem, &work, &text], m.numbering() == Numbering::Generated)
}

/// Deletes markers from a table of their own.
pub(super) fn remove_markers(t: &TableName) -> String {
    let of = |c| column(&t.name, c);
    remove_from(&quoted(&t.name), [&of("problem"), &of("number"), &of("text")], true)
}

/// The text, its transfer encoding and the shared columns of some rows. Where numbers are unique in the table, `?1` is a
/// JSON array of them; otherwise an array of pairs of problem and number. Of a query, `?1` is a problem as in
/// [`rows`] and `?2` a JSON array of its numbers.
pub(super) fn bodies(m: &Mapping) -> String {
    let names = Names::of(m);
    let Names { table, problem, work, text, encoding, .. } = &names;
    let fields: String = m.fields.values().map(|f| format!(", {}", column(alias(m), f))).collect();
    let asked = match m.numbering() {
        _ if names.by_statements => {
            format!("{}\n  and +{work} in (select value from json_each(?2))", names.asked())
        }
        Numbering::Generated => format!("from {table}\nwhere {work} in (select value from json_each(?1))"),
        Numbering::PerProblem => {
            format!("from {table}\nwhere ({problem}, {work}) in (select value ->> 0, value ->> 1 from json_each(?1))")
        }
    };
    format!(
        "select cast({problem} as text), {work}, cast({text} as text), {encoding}{fields}\n\
         {asked}\n  and {is_row}\n  and {within}",
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

/// The problem's id as some row of the history has it, as `?1` asks for: a column without a type keeps numbers and texts
/// apart.
pub(super) fn stored_form(m: &Mapping) -> String {
    let names = Names::of(m);
    format!("select {}\n{}\nlimit 1", names.problem, names.asked())
}

/// The problem's id as the table of the problems has it, among the forms in the JSON array `?1`.
pub(super) fn stored_id(t: &ProblemTable) -> String {
    let (table, id) = (quoted(&t.name.name), column(&t.name.name, &t.id));
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
    let Names { table, problem, work, text, .. } = Names::of(m);
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

/// Of one row, whether it meets each of these conditions. `?1` asks for its problem as in [`rows`], `?2` is its number.
pub(super) fn conditions(m: &Mapping, conditions: &[&str]) -> String {
    let names = Names::of(m);
    let Names { work, text, .. } = &names;
    let each: String = conditions.iter().map(|c| format!(",\n       {} is true", part(Some(c)))).collect();
    format!(
        "select {work}{each}\n{asked}\n  and {work} = ?2 and typeof({work}) = 'integer' and {text} is not null",
        asked = names.asked(),
    )
}

/// An expression of the mapping, asked for by itself.
pub(super) fn value_of(sql: &str) -> String {
    format!("select {}", part(Some(sql)))
}

/// The query of the mapping, for a look at its columns.
pub(super) fn whole(m: &Mapping) -> String {
    format!("select *\nfrom {}", source(m))
}
