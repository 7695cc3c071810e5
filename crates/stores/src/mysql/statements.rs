//! Every statement that the adapter sends, as a database administrator can read it without Rust.
//!
//! Names are quoted by [`quoted`] and qualified with their table. Conditions and expressions of the mapping stand in
//! parentheses of their own, the closing one on a line of its own, where no comment of theirs reaches it. Values are
//! always bound. Lists of values are filled up to a power of two with the last one, so that the server meets few
//! different statements.

use std::collections::BTreeSet;

use landbridge_core::{SiteName, WorkId};

use super::values::IdClass;
use super::{Found, TextForm};
use crate::mapping::{Mapping, Numbering, ProblemTable, Source, TableName};

/// Begins a read: its snapshot is taken here.
pub(super) const BEGIN_READ: &str =
    "set transaction isolation level repeatable read; start transaction with consistent snapshot, read only";
/// Begins a write: each statement sees what is committed by then.
pub(super) const BEGIN_WRITE: &str = "set transaction isolation level read committed; start transaction";

/// How many values one statement asks for.
pub(super) const ASKED_MAX: usize = 512;

/// What every connection is set to. Quotes are read as standard SQL has them, so that the administrator's strings mean
/// what they say; what a column cannot keep is an error and never silently another value.
pub(super) fn settings(busy_seconds: u64) -> String {
    format!(
        "set names utf8mb4; set session \
         sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_BACKSLASH_ESCAPES,ERROR_FOR_DIVISION_BY_ZERO', \
         time_zone = '+00:00', autocommit = 1, innodb_lock_wait_timeout = {busy_seconds}, \
         lock_wait_timeout = {busy_seconds}"
    )
}

/// A name of the mapping as it stands in SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A table as it stands in SQL.
pub(super) fn table(name: &TableName) -> String {
    match &name.schema {
        Some(schema) => format!("{}.{}", quoted(schema), quoted(&name.name)),
        None => quoted(&name.name),
    }
}

/// A column, named with its table.
pub(super) fn column(table: &str, name: &str) -> String {
    format!("{}.{}", quoted(table), quoted(name))
}

/// A condition or an expression of the mapping as part of a statement; true where there is none.
pub(super) fn part(sql: Option<&str>) -> String {
    sql.map_or_else(|| "true".to_owned(), |sql| format!("({sql}\n)"))
}

/// Waits for named locks, one after the other: `and` looks no further than the first that could not be had.
pub(super) fn take_locks(names: &BTreeSet<String>, busy_seconds: u64) -> String {
    let each: Vec<String> = names.iter().map(|name| format!("get_lock('{name}', {busy_seconds}) = 1")).collect();
    format!("select {}", each.join("\n   and "))
}

/// Frees named locks; one that is not held does no harm.
pub(super) fn release_locks(names: &BTreeSet<String>) -> String {
    let each: Vec<String> = names.iter().map(|name| format!("release_lock('{name}')")).collect();
    format!("do {}", each.join(", "))
}

/// The savepoint at this depth, set.
pub(super) fn savepoint(depth: usize) -> String {
    format!("savepoint landbridge_{depth}")
}

/// The savepoint at this depth, undone and taken away.
pub(super) fn rollback_to(depth: usize) -> String {
    format!("rollback to savepoint landbridge_{depth}; release savepoint landbridge_{depth}")
}

/// The savepoint at this depth, taken away.
pub(super) fn release(depth: usize) -> String {
    format!("release savepoint landbridge_{depth}")
}

/// So many holders, filled up to a power of two.
pub(super) fn holders(holder: &str, count: usize) -> String {
    vec![holder; count.next_power_of_two()].join(", ")
}

/// `values` filled up as [`holders`] has it.
pub(super) fn filled<T: Clone>(mut values: Vec<T>) -> Vec<T> {
    if let Some(last) = values.last().cloned() {
        values.resize(values.len().next_power_of_two(), last);
    }
    values
}

/// What a statement calls the history: its table, or the query of the mapping.
pub(super) fn alias(m: &Mapping) -> &str {
    m.table().map_or("history", |table| &table.name.name)
}

/// The history in a `from`.
pub(super) fn source(m: &Mapping) -> String {
    match &m.source {
        Source::Table(of) => table(&of.name),
        Source::Statements(statements) => format!("({}\n) as {}", statements.read, quoted(alias(m))),
    }
}

/// The columns of the history under their mapped names.
pub(super) struct Names {
    pub(super) table: String,
    pub(super) problem: String,
    pub(super) work: String,
    pub(super) text: String,
}

impl Names {
    pub(super) fn of(m: &Mapping) -> Self {
        let of = alias(m);
        Self { table: source(m), problem: column(of, &m.problem), work: column(of, &m.work), text: column(of, &m.text) }
    }

    /// What makes a row of the table a row of a history.
    fn is_row(&self) -> String {
        format!("{} between 1 and {} and {} is not null", self.work, WorkId::APART, self.text)
    }
}

/// The bytes of the beginning of a text, `chars` characters, in UTF-8.
fn beginning(text: &str, chars: usize, form: &TextForm) -> String {
    match form {
        TextForm::Bytes => format!("left({text}, {chars})"),
        _ => format!("cast(convert(left({text}, {chars}) using utf8mb4) as binary)"),
    }
}

/// The text, where it begins with one of the phrases, each bound with its space.
fn marker(text: &str, phrases: &[String], form: &TextForm) -> String {
    let begins = |phrase: &String| {
        let count = if *form == TextForm::Bytes { phrase.len() } else { phrase.chars().count() };
        format!("{} = cast(? as binary)", beginning(text, count + 1, form))
    };
    let any: Vec<String> = phrases.iter().map(begins).collect();
    if any.is_empty() { "null".to_owned() } else { format!("case when {} then {text} end", any.join(" or ")) }
}

/// The length of the text in UTF-8.
fn length(text: &str, form: &TextForm) -> String {
    match form {
        TextForm::Utf8 | TextForm::Bytes => format!("octet_length({text})"),
        TextForm::Other => format!("octet_length(convert({text} using utf8mb4))"),
    }
}

/// The rows of `count` problems, bound behind the marker phrases.
///
/// Columns: problem, work id, text of a marker, bytes of the text, the text's encoding, and for each of `open` whether
/// the row may leave.
pub(super) fn rows(m: &Mapping, found: &Found, open: &[Vec<String>], count: usize) -> String {
    let names = Names::of(m);
    let (table, problem, work, text) = (&names.table, &names.problem, &names.work, &names.text);
    let open: String = open.iter().map(|all| format!(",\n       {}", all_of(all))).collect();
    format!(
        "select {problem}, {work},\n       {marker},\n       {length}, {encoding}{open}\nfrom {table}\n\
         where {problem} in ({asked})\n  and {is_row}\n  and {within}",
        marker = marker(text, &m.phrases, &found.text),
        length = length(text, &found.text),
        encoding = encoding(m),
        asked = holders(&found.problem.holder(), count),
        is_row = names.is_row(),
        within = part(m.within.as_deref()),
    )
}

/// The transfer encoding of a row's text; null where there is none.
fn encoding(m: &Mapping) -> String {
    let of = m.statements().and_then(|s| s.text_encoding.as_deref());
    of.map_or_else(|| "null".to_owned(), |c| column(alias(m), c))
}

/// Whether every one of these conditions is true. Null is not.
fn all_of(conditions: &[String]) -> String {
    if conditions.is_empty() {
        return "true".to_owned();
    }
    let parts: Vec<String> = conditions.iter().map(|c| part(Some(c))).collect();
    format!("({}) is true", parts.join(" and "))
}

/// The conditions that a row must meet to leave: those for all peers, and those of `peer`.
pub(super) fn open_to(m: &Mapping, found: &Found, peer: Option<&SiteName>) -> Vec<String> {
    let of_peer = peer.and_then(|p| m.peers.get(p)).and_then(Option::as_deref);
    let of_read = found.read_has_share.then(|| column(alias(m), "share"));
    m.share.as_deref().into_iter().chain(of_peer).map(str::to_owned).chain(of_read).collect()
}

/// Of `count` problems, whether they may be delivered to, their home name and their fields.
pub(super) fn problems(t: &ProblemTable, id: &IdClass, count: usize) -> String {
    let of = &t.name.name;
    let link = t.link.as_ref().map_or_else(|| "null".to_owned(), |link| column(of, link));
    let fields: String = t.fields.values().map(|f| format!(", {}", column(of, f))).collect();
    format!(
        "select {key}, {share} is true, {link}{fields}\nfrom {table}\nwhere {key} in ({asked})",
        key = column(of, &t.id),
        share = part(t.share.as_deref()),
        table = table(&t.name),
        asked = holders(&id.holder(), count),
    )
}

/// The text, its encoding and the shared columns of `count` rows, asked for by problem and number; `pinned`: nobody else
/// can change or delete them until the end of the transaction.
///
/// `lock in share mode` wants no right beyond `select`; the server locks what its index finds, which is those rows.
pub(super) fn bodies(m: &Mapping, found: &Found, count: usize, pinned: bool) -> String {
    let names = Names::of(m);
    let (table, problem, work, text) = (&names.table, &names.problem, &names.work, &names.text);
    let fields: String = m.fields.values().map(|f| format!(", {}", column(alias(m), f))).collect();
    // A small table would else be read as a whole, and the read wait for every row that somebody else holds.
    let by =
        found.keys.first().filter(|_| pinned).map_or_else(String::new, |k| format!(" force index ({})", quoted(k)));
    format!(
        "select {problem}, {work}, {text}, {encoding}{fields}\nfrom {table}{by}\nwhere {asked}\n  and {is_row}\n  and \
         {within}{pinned}",
        encoding = encoding(m),
        asked = asked_rows(m, found, &names, count),
        is_row = names.is_row(),
        within = part(m.within.as_deref()),
        pinned = if pinned { "\nlock in share mode" } else { "" },
    )
}

/// Deletes `count` rows, each bound as problem, number and text, where they are still that. Texts are compared byte by
/// byte.
fn remove_from(
    table: &str,
    class: &IdClass,
    [problem, work, text]: [&str; 3],
    form: &TextForm,
    count: usize,
) -> String {
    let same = match form {
        TextForm::Bytes => format!("{text} = cast(? as binary)"),
        _ => format!("cast(convert({text} using utf8mb4) as binary) = cast(? as binary)"),
    };
    let one = format!("{problem} = {} and {work} = ? and {same}", class.holder());
    format!("delete from {table}\nwhere ({})", vec![one; count.next_power_of_two()].join("\n   or "))
}

/// Deletes markers of the history.
pub(super) fn remove(m: &Mapping, found: &Found, count: usize) -> String {
    let Names { table, problem, work, text } = Names::of(m);
    remove_from(&table, &found.problem, [&problem, &work, &text], &found.text, count)
}

/// Deletes markers from a table of their own.
pub(super) fn remove_markers(name: &TableName, found: &Found, count: usize) -> String {
    let of = |c: &str| column(&name.name, c);
    let (problem, number, text) = (of("problem"), of("number"), of("text"));
    remove_from(&table(name), &found.marker_problem, [&problem, &number, &text], &found.marker_text, count)
}

/// The shared columns of `count` rows as they are kept, whether they belong to the history or not.
pub(super) fn kept(m: &Mapping, found: &Found, columns: &[&str], count: usize) -> String {
    let names = Names::of(m);
    let of: String = columns.iter().map(|f| format!(", {}", column(alias(m), f))).collect();
    format!(
        "select {}, {}{of}\nfrom {}\nwhere {}",
        names.problem,
        names.work,
        names.table,
        asked_rows(m, found, &names, count)
    )
}

/// Numbers that are unique are asked for alone.
fn asked_rows(m: &Mapping, found: &Found, names: &Names, count: usize) -> String {
    match m.numbering() {
        Numbering::Generated => format!("{} in ({})", names.work, holders("?", count)),
        Numbering::PerProblem => {
            // A list of ranges: MariaDB looks up pairs by the index only when they are written like this.
            let pair = format!("{} = {} and {} = ?", names.problem, found.problem.holder(), names.work);
            format!("({})", vec![pair; count.next_power_of_two()].join("\n   or "))
        }
    }
}

/// The highest number of each of `count` problems, over the whole table: `where` hides rows, not their numbers. With it
/// what is equal for ids that the column takes for one.
///
/// Columns: the place among those asked for, the number, the sameness. Bound: each id twice where ids can be the same,
/// else once.
pub(super) fn highest(m: &Mapping, found: &Found, count: usize) -> String {
    let Names { table, problem, work, .. } = Names::of(m);
    let holder = found.problem.holder();
    let same = match &found.collation {
        Some((charset, collation)) => {
            format!("md5(weight_string(convert(? using {charset}) collate {collation} as char(300)))")
        }
        None => "null".to_owned(),
    };
    let one = |at| format!("select {at}, (select max({work}) from {table} where {problem} = {holder}), {same}");
    (0..count).map(one).collect::<Vec<_>>().join("\nunion all\n")
}

/// So many rows more: `columns`, each with what stands for its value.
pub(super) fn insert(name: &TableName, columns: &[(String, String)], rows: usize) -> String {
    let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    let values: Vec<&str> = columns.iter().map(|(_, value)| value.as_str()).collect();
    let one = format!("({})", values.join(", "));
    format!("insert into {}\n       ({})\nvalues {}", table(name), names.join(", "), vec![one; rows].join(",\n       "))
}

/// The next problems behind the bound one, in the order of the column, where ids that its collation takes for one come
/// as one of them; at the beginning nothing is bound.
pub(super) fn page(m: &Mapping, found: &Found, begun: bool, limit: usize) -> String {
    let Names { table, problem, .. } = Names::of(m);
    let behind = match begun {
        true => format!("{problem} > {}", found.problem.holder()),
        false => format!("{problem} is not null"),
    };
    format!("select distinct {problem}\nfrom {table}\nwhere {behind}\norder by {problem}\nlimit {limit}")
}

/// Of one row, whether it meets each of these conditions. Bound: the problem and the number.
pub(super) fn conditions(m: &Mapping, found: &Found, conditions: &[String]) -> String {
    let Names { table, problem, work, text } = Names::of(m);
    let each: String = conditions.iter().map(|c| format!(",\n       {} is true", part(Some(c)))).collect();
    format!(
        "select {problem}{each}\nfrom {table}\nwhere {problem} = {} and {work} = ? and {text} is not null",
        found.problem.holder()
    )
}

/// The markers of `count` problems in their own table, bound behind the phrases.
pub(super) fn markers(m: &Mapping, name: &TableName, found: &Found, count: usize) -> String {
    let of = |c: &str| column(&name.name, c);
    let (problem, number, text) = (of("problem"), of("number"), of("text"));
    format!(
        "select {problem}, {number},\n       {},\n       {}\nfrom {}\nwhere {problem} in ({}) and {number} >= 1",
        marker(&text, &m.phrases, &found.marker_text),
        length(&text, &found.marker_text),
        table(name),
        holders(&found.marker_problem.holder(), count),
    )
}

/// The texts of `count` markers in their own table.
pub(super) fn marker_bodies(name: &TableName, count: usize) -> String {
    let of = |c: &str| column(&name.name, c);
    format!(
        "select {}, {}, {}\nfrom {}\nwhere {} in ({})",
        of("problem"),
        of("number"),
        of("text"),
        table(name),
        of("number"),
        holders("?", count)
    )
}

/// The problems whose link column has one of `count` home names.
pub(super) fn linked(t: &ProblemTable, link: &str, class: &IdClass, count: usize) -> String {
    let (link, id) = (column(&t.name.name, link), column(&t.name.name, &t.id));
    let asked = holders(&class.holder(), count);
    format!("select {link}, {id}\nfrom {}\nwhere {link} in ({asked})", table(&t.name))
}

/// Columns of one problem as they are kept.
pub(super) fn problem(t: &ProblemTable, id: &IdClass, columns: &[&str]) -> String {
    let of: Vec<String> = columns.iter().map(|c| column(&t.name.name, c)).collect();
    format!(
        "select {}\nfrom {}\nwhere {} = {}",
        of.join(", "),
        table(&t.name),
        column(&t.name.name, &t.id),
        id.holder()
    )
}
