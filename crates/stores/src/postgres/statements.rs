//! Every statement that the adapter sends about a history, as a database administrator can read it without Rust.
//!
//! Names are quoted by [`quoted`] and qualified; names of our own begin with `landbridge`, so that they never hide a
//! column that a condition or an expression of the mapping means. Those stand in parentheses of their own, the closing
//! one on a line of its own, where no comment of theirs reaches it. Values are always bound, many at once as arrays.

use std::collections::BTreeMap;

use landbridge_core::{SiteName, WorkId};

use super::Found;
use super::values::{Class, FieldColumn, IdColumn};
use crate::mapping::{Mapping, Numbering, ProblemTable, Source, Statements, TableName};
use crate::sqltext;

/// Begins a read: with the first look at the database its snapshot is taken, and it stays until the end.
pub(super) const BEGIN_READ: &str = "begin isolation level repeatable read, read only; select 1";
/// Begins a write. A deferred foreign key would fail the whole batch at the commit; so each row is looked at at once.
/// Its answer is [`READ_ONLY`] where nothing may be written: `read write` would put itself above an administrator's
/// `default_transaction_read_only`.
pub(super) const BEGIN_WRITE: &str = "begin isolation level read committed; set constraints all immediate; \
                                      select pg_catalog.current_setting('transaction_read_only')";
/// What a begin answers on a standby, and where the administrator has forbidden to write.
pub(super) const READ_ONLY: &str = "on";
/// The transactions that are over and open: changes with each that writes.
pub(super) const SIGNAL: &str = "select pg_catalog.pg_current_snapshot()::pg_catalog.text";
/// Waits for the shards `$2` of the class `$1`, in ascending order, until the end of the transaction.
pub(super) const LOCK: &str = "select pg_catalog.count(pg_catalog.pg_advisory_xact_lock($1::pg_catalog.int4, shard))\n\
                               from (select shard from pg_catalog.unnest($2::pg_catalog.int4[]) as shard\n      \
                               order by shard offset 0) as shards";

/// A name of the mapping as it stands in SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A table as it stands in a `from`.
pub(super) fn table(name: &TableName) -> String {
    let schema = name.schema.as_ref().map(|schema| format!("{}.", quoted(schema))).unwrap_or_default();
    format!("{schema}{}", quoted(&name.name))
}

/// A column, named with its table.
pub(super) fn column(of: &str, name: &str) -> String {
    format!("{}.{}", quoted(of), quoted(name))
}

/// A condition or an expression of the mapping as part of a statement; true where there is none.
pub(super) fn part(sql: Option<&str>) -> String {
    sql.map_or_else(|| "true".to_owned(), |sql| format!("({sql}\n)"))
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

/// The array of texts `$n` as an array of the column's type. The type is without length: a cast to `char(8)` would cut.
fn array(n: usize, id: &IdColumn) -> String {
    match id.class {
        Class::Other => format!("${n}::pg_catalog.text[]"),
        _ => format!("${n}::pg_catalog.text[]::{}[]", id.sql_type),
    }
}

/// The column as it is compared with such an array.
fn compared(column: &str, id: &IdColumn) -> String {
    match id.class {
        Class::Other => format!("{column}::pg_catalog.text"),
        _ => column.to_owned(),
    }
}

fn is_any(column: &str, id: &IdColumn, n: usize) -> String {
    format!("{} = any ({})", compared(column, id), array(n, id))
}

/// What a statement calls the history: its table, or the query of the mapping.
pub(super) fn alias(m: &Mapping) -> &str {
    m.table().map_or("history", |table| &table.name.name)
}

/// The history in a `from`.
pub(super) fn source(m: &Mapping) -> String {
    match &m.source {
        Source::Table(t) => table(&t.name),
        Source::Statements(statements) => format!("({}\n) as {}", statements.read, quoted(alias(m))),
    }
}

/// The columns of the history under their mapped names.
struct Names {
    source: String,
    problem: String,
    work: String,
    text: String,
    is_row: String,
}

impl Names {
    fn of(m: &Mapping, found: &Found) -> Self {
        let of = alias(m);
        let (work, text) = (column(of, &m.work), column(of, &m.text));
        let whole =
            if found.work_is_integer { String::new() } else { format!(" and {work} = pg_catalog.trunc({work})") };
        let is_row = format!("{work} between 1 and {}{whole} and {text} is not null", WorkId::APART);
        let text = format!("{text}::pg_catalog.text");
        Self { source: source(m), problem: column(of, &m.problem), work, text, is_row }
    }
}

/// The encoding of the text, where the mapping names one.
fn encoding(m: &Mapping) -> Option<String> {
    let name = m.statements()?.text_encoding.as_ref()?;
    Some(format!("{}::pg_catalog.text", column(alias(m), name)))
}

/// The text, where it begins with one of the phrases bound from `first` on: compared byte by byte, whatever the
/// column's collation holds for equal.
fn marker(text: &str, encoding: Option<&str>, phrases: usize, first: usize) -> String {
    let begins = |n| format!("pg_catalog.starts_with({text} collate \"C\", ${n})");
    let mut any: Vec<String> = (first..first + phrases).map(begins).collect();
    // What is encoded has to be decoded before anybody can tell.
    any.extend(encoding.map(|e| format!("pg_catalog.lower({e}) in ('base64', 'quoted-printable')")));
    if any.is_empty() {
        return "null::pg_catalog.text".to_owned();
    }
    format!("case when {} then {text} end", any.join(" or "))
}

/// The rows of the problems in the array `$1`. From `$2` on, the marker phrases, each with its space.
///
/// Columns: problem, work id, text of a marker, its encoding, bytes of the text, and for each of `open` whether the
/// row may leave.
pub(super) fn rows(m: &Mapping, found: &Found, open: &[Vec<String>]) -> String {
    let Names { source, problem, work, text, is_row } = Names::of(m, found);
    let open: String = open.iter().map(|all| format!(",\n       {}", all_of(all))).collect();
    let encoding = encoding(m);
    format!(
        "select {problem}::pg_catalog.text, {work}::pg_catalog.int8,\n       {marker},\n       {shown},\n       \
         pg_catalog.octet_length({text})::pg_catalog.int8{open}\nfrom {source}\nwhere {asked}\n  and {is_row}\n  and {within}",
        marker = marker(&text, encoding.as_deref(), m.phrases.len(), 2),
        shown = encoding.as_deref().unwrap_or("null::pg_catalog.text"),
        asked = is_any(&problem, &found.problem, 1),
        within = part(m.within.as_deref()),
    )
}

/// The markers of the problems in the array `$1`, where they have a table of their own. From `$2` on, the phrases.
pub(super) fn markers(name: &TableName, problem: &IdColumn, phrases: usize) -> String {
    let of = |c| column(&name.name, c);
    let text = format!("{}::pg_catalog.text", of("text"));
    let begins: Vec<String> =
        (2..2 + phrases).map(|n| format!("pg_catalog.starts_with({text} collate \"C\", ${n})")).collect();
    format!(
        "select {id}::pg_catalog.text, {number}::pg_catalog.int8, {text}\nfrom {table}\nwhere {asked}\n  \
         and ({begins})",
        id = of("problem"),
        number = of("number"),
        table = table(name),
        asked = is_any(&of("problem"), problem, 1),
        begins = if begins.is_empty() { "false".to_owned() } else { begins.join(" or ") },
    )
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
    let of_read = found.read_has_share.then(|| column(alias(m), "share"));
    let of_peer = peer.and_then(|p| m.peers.get(p)).cloned().flatten();
    of_read.into_iter().chain(m.share.clone()).chain(of_peer).collect()
}

/// Of the problems in the array `$1`, whether they may be delivered to, their home name, their shared columns.
pub(super) fn problems(t: &ProblemTable, id: &IdColumn, fields: &BTreeMap<String, FieldColumn>) -> String {
    let of = |c: &str| column(&t.name.name, c);
    let link = t.link.as_deref().map_or_else(|| "null".to_owned(), of);
    let shown: String = t
        .fields
        .iter()
        .filter_map(|(name, column)| Some(format!(",\n       {}", fields.get(name)?.shown(&of(column)))))
        .collect();
    format!(
        "select {id_column}::pg_catalog.text, {share} is true, {link}::pg_catalog.text{shown}\nfrom {table}\nwhere {asked}",
        id_column = of(&t.id),
        share = part(t.share.as_deref()),
        table = table(&t.name),
        asked = is_any(&of(&t.id), id, 1),
    )
}

/// The text and the shared columns of the rows whose problems are in the array `$1` and whose numbers are in `$2`.
///
/// `pinned`: nobody deletes these rows or gives them other numbers until the end of the transaction. The weakest lock
/// that does so is taken; whoever edits other columns is not held up.
pub(super) fn bodies(m: &Mapping, found: &Found, pinned: bool) -> String {
    let Names { source, problem, work, text, is_row } = Names::of(m, found);
    let fields: String = m
        .fields
        .iter()
        .filter_map(|(name, c)| Some(format!(",\n       {}", found.fields.get(name)?.shown(&column(alias(m), c)))))
        .collect();
    let pin = if pinned { format!("\nfor key share of {}", quoted(alias(m))) } else { String::new() };
    format!(
        "select {problem}::pg_catalog.text, {work}::pg_catalog.int8, {text}, {encoding}{fields}\n\
         from unnest({ids}, $2::pg_catalog.int8[]) as landbridge(landbridge_problem, landbridge_work)\n     \
         join {source}\n       on {compared} = landbridge.landbridge_problem and {work} = landbridge.landbridge_work\n\
         where {is_row}\n  and {within}{pin}",
        encoding = encoding(m).unwrap_or_else(|| "null::pg_catalog.text".to_owned()),
        ids = array(1, &found.problem),
        compared = compared(&problem, &found.problem),
        within = part(m.within.as_deref()),
    )
}

/// Deletes the rows whose problems, numbers and texts are in the arrays `$1`, `$2` and `$3`, where they are still that.
/// Texts are compared byte by byte.
fn remove_from(table: &str, ids: &str, [problem, work, text]: [&str; 3]) -> String {
    format!(
        "delete from {table}\nusing unnest({ids}, $2::pg_catalog.int8[], $3::pg_catalog.text[]) as \
         landbridge(landbridge_problem, landbridge_work, landbridge_text)\nwhere {problem} = \
         landbridge.landbridge_problem and {work} = landbridge.landbridge_work\n  and {text} collate \"C\" = \
         landbridge.landbridge_text collate \"C\""
    )
}

/// Deletes markers of the history.
pub(super) fn remove(m: &Mapping, found: &Found) -> String {
    let Names { source, problem, work, text, .. } = Names::of(m, found);
    remove_from(&source, &array(1, &found.problem), [&compared(&problem, &found.problem), &work, &text])
}

/// Deletes markers from a table of their own.
pub(super) fn remove_markers(name: &TableName, problem: &IdColumn) -> String {
    let of = |c| column(&name.name, c);
    let text = format!("{}::pg_catalog.text", of("text"));
    remove_from(&table(name), &array(1, problem), [&compared(&of("problem"), problem), &of("number"), &text])
}

/// The texts of the markers whose numbers are in the array `$1`, from their own table.
pub(super) fn marker_bodies(name: &TableName) -> String {
    let of = |c| column(&name.name, c);
    format!(
        "select {problem}::pg_catalog.text, {number}::pg_catalog.int8, {text}::pg_catalog.text\nfrom {table}\n\
         where {number} = any ($1::pg_catalog.int8[])",
        problem = of("problem"),
        number = of("number"),
        text = of("text"),
        table = table(name),
    )
}

/// The highest number of each problem of the array `$1`, over the whole table: `where` hides rows, not their numbers.
pub(super) fn highest(m: &Mapping, found: &Found) -> String {
    let Names { source, problem, work, .. } = Names::of(m, found);
    format!(
        "select landbridge.landbridge_asked,\n       greatest(least(coalesce((select {work} from {source}\n         \
         where {compared} = landbridge.landbridge_problem and {work} is not null\n         order by {work} desc\n         \
         limit 1), 0), {apart}), 0)::pg_catalog.int8\n\
         from unnest($1::pg_catalog.text[], {ids}) as landbridge(landbridge_asked, landbridge_problem)",
        compared = compared(&problem, &found.problem),
        ids = array(1, &found.problem),
        apart = WorkId::APART,
    )
}

/// What the statements that append call a field: its place among the shared columns.
fn field_name(at: usize) -> String {
    format!("landbridge.landbridge_field_{at}")
}

/// An expression of the mapping with its parameters as columns of the rows to append.
fn expression(sql: &str, fields: &BTreeMap<String, String>) -> String {
    let bound = sqltext::bind(sql, |name| match name {
        "site" => "landbridge.landbridge_site".to_owned(),
        "text" => "landbridge.landbridge_text".to_owned(),
        "home" => "landbridge.landbridge_home".to_owned(),
        name => fields.keys().position(|f| f == name).map_or_else(|| "null".to_owned(), field_name),
    });
    part(Some(&bound))
}

/// A condition of the mapping is compiled alone with this.
pub(super) fn probe_expression(sql: &str, fields: &BTreeMap<String, String>) -> String {
    let names: Vec<String> = (0..fields.len()).map(|at| format!("landbridge_field_{at}")).collect();
    let names = ["landbridge_site", "landbridge_text", "landbridge_home"].map(str::to_owned).into_iter().chain(names);
    let columns: Vec<String> = names.map(|name| format!("null::pg_catalog.text as {name}")).collect();
    format!("select {} from (select {}) as landbridge", expression(sql, fields), columns.join(", "))
}

/// Rows more, of one shape: `$1` the problems, `$2` the texts, `$3` the sites, `$4` the numbers (not used where the
/// database gives them out), and from `$5` on each shared column, all as arrays in the order of the rows.
///
/// Brings back, in this order, the number, the problem and the text as they are kept, and the filled `fields`.
pub(super) fn append(m: &Mapping, found: &Found, fields: &[&str], expressions: &[(&str, &str)]) -> String {
    let Names { source, problem, work, text, .. } = Names::of(m, found);
    let mut columns = vec![quoted(&m.problem), quoted(&m.text)];
    let mut values = vec![
        format!("landbridge.landbridge_problem::{}", found.problem.sql_type),
        format!("landbridge.landbridge_text::{}", found.text_type),
    ];
    if m.numbering() == Numbering::PerProblem {
        columns.push(quoted(&m.work));
        values.push("landbridge.landbridge_work".to_owned());
    }
    let mut kept = String::new();
    for (at, (name, c)) in m.fields.iter().enumerate().filter(|(_, (name, _))| fields.contains(&name.as_str())) {
        let Some(field) = found.fields.get(name) else { continue };
        columns.push(quoted(c));
        values.push(format!("{}::{}", field_name(at), field.sql_type));
        kept.push_str(&format!(", {}", field.shown(&column(alias(m), c))));
    }
    columns.extend(expressions.iter().map(|(name, _)| quoted(name)));
    values.extend(expressions.iter().map(|(_, sql)| expression(sql, &m.fields)));
    format!(
        "insert into {source}\n       ({columns})\nselect {values}\nfrom {given}\norder by landbridge.landbridge_n\n\
         returning {work}::pg_catalog.int8, {problem}::pg_catalog.text, {text}{kept}",
        columns = columns.join(", "),
        values = values.join(",\n       "),
        given = given(&["problem", "text", "site"], Some("work"), m.fields.len()),
    )
}

/// Arrays of texts as rows: `names`, perhaps one of numbers, then so many fields.
fn given(names: &[&str], number: Option<&str>, fields: usize) -> String {
    let mut columns: Vec<String> = names.iter().map(|name| format!("landbridge_{name}")).collect();
    let mut arrays: Vec<String> = (1..=columns.len()).map(|n| format!("${n}::pg_catalog.text[]")).collect();
    if let Some(number) = number {
        columns.push(format!("landbridge_{number}"));
        arrays.push(format!("${}::pg_catalog.int8[]", columns.len()));
    }
    for at in 0..fields {
        columns.push(format!("landbridge_field_{at}"));
        arrays.push(format!("${}::pg_catalog.text[]", columns.len()));
    }
    format!("unnest({})\n     with ordinality as landbridge({}, landbridge_n)", arrays.join(", "), columns.join(", "))
}

/// Markers more in their own table: `$1` the problems, `$2` the texts. Brings back what [`append`] does.
pub(super) fn append_markers(name: &TableName, problem: &IdColumn) -> String {
    let of = |c| column(&name.name, c);
    format!(
        "insert into {table} (\"problem\", \"text\")\nselect landbridge.landbridge_problem::{ty}, \
         landbridge.landbridge_text\nfrom {given}\norder by landbridge.landbridge_n\n\
         returning {number}::pg_catalog.int8, {id}::pg_catalog.text, {text}::pg_catalog.text",
        table = table(name),
        ty = problem.sql_type,
        given = given(&["problem", "text"], None, 0),
        number = of("number"),
        id = of("problem"),
        text = of("text"),
    )
}

/// Of each home name in the array `$1`, the problems that have it.
pub(super) fn find(t: &ProblemTable, link: &str, of_link: &IdColumn) -> String {
    let (id, link) = (column(&t.name.name, &t.id), column(&t.name.name, link));
    format!(
        "select {link}::pg_catalog.text, {id}::pg_catalog.text\nfrom {table}\nwhere {asked}\norder by 1, 2",
        table = table(&t.name),
        asked = is_any(&link, of_link, 1),
    )
}

/// Problems more: `$1` the home names, `$2` the home sites, and from `$3` on each shared column of a problem. Brings
/// back, in this order, the id, the home name, and the filled `fields`.
pub(super) fn create(t: &ProblemTable, found: &Found, fields: &[&str], link: &str) -> String {
    let of = |c: &str| column(&t.name.name, c);
    let expressions = t.create.clone().unwrap_or_default();
    let (mut columns, mut values, mut kept) = (vec![], vec![], String::new());
    if !expressions.contains_key(link) {
        let ty = found.link.as_ref().map_or("pg_catalog.text", |link| link.sql_type.as_str());
        columns.push(quoted(link));
        values.push(format!("landbridge.landbridge_home::{ty}"));
    }
    for (at, (name, c)) in t.fields.iter().enumerate().filter(|(_, (name, _))| fields.contains(&name.as_str())) {
        let Some(field) = found.problem_fields.get(name) else { continue };
        columns.push(quoted(c));
        values.push(format!("{}::{}", field_name(at), field.sql_type));
        kept.push_str(&format!(", {}", field.shown(&of(c))));
    }
    columns.extend(expressions.keys().map(|c| quoted(c)));
    values.extend(expressions.values().map(|sql| expression(sql, &t.fields)));
    format!(
        "insert into {table}\n       ({columns})\nselect {values}\nfrom {given}\norder by landbridge.landbridge_n\n\
         returning {id}::pg_catalog.text, {link}::pg_catalog.text{kept}",
        table = table(&t.name),
        columns = columns.join(", "),
        values = values.join(",\n       "),
        given = given(&["home", "site"], None, t.fields.len()),
        id = of(&t.id),
        link = of(link),
    )
}

/// The next `$2` problem ids behind the id `$1`, or the first ones where that is null.
///
/// Along an index each id is looked up from the one before, however many rows it has. A column that holds different
/// spellings for equal, or has no order, is walked in byte order of its text.
pub(super) fn page(m: &Mapping, found: &Found) -> String {
    let Names { source, problem, .. } = Names::of(m, found);
    let id = &found.problem;
    let after = format!("$1::pg_catalog.text::{}", id.sql_type);
    if !id.ordered {
        let key = format!("{problem}::pg_catalog.text collate \"C\"");
        return format!(
            "select distinct {key}\nfrom {source}\nwhere {problem} is not null and ($1 is null or {key} > $1)\n\
             order by 1\nlimit $2"
        );
    }
    if !id.indexed {
        return format!(
            "select landbridge.landbridge_id::pg_catalog.text\nfrom (select distinct {problem} as landbridge_id\n      \
             from {source}\n      where {problem} is not null and ($1 is null or {problem} > {after})\n      \
             order by 1\n      limit $2) as landbridge\norder by landbridge.landbridge_id"
        );
    }
    let next = |behind: &str| {
        format!("select {problem} as landbridge_id from {source} where {behind} order by {problem} limit 1")
    };
    format!(
        "with recursive landbridge as (\n  ({first})\n  union all\n  select ({following})\n  from landbridge\n  \
         where landbridge.landbridge_id is not null\n)\nselect landbridge_id::pg_catalog.text from landbridge\n\
         where landbridge_id is not null\nlimit $2",
        first = next(&format!("{problem} is not null and ($1 is null or {problem} > {after})")),
        following = next(&format!("{problem} > landbridge.landbridge_id")),
    )
}

/// Of one row, whether it meets each of these conditions. `$1` is an array of its problem, `$2` its number.
pub(super) fn conditions(m: &Mapping, found: &Found, conditions: &[String]) -> String {
    let Names { source, problem, work, text, .. } = Names::of(m, found);
    let each: String = conditions.iter().map(|c| format!(",\n       {} is true", part(Some(c)))).collect();
    format!(
        "select {problem}::pg_catalog.text{each}\nfrom {source}\nwhere {asked}\n  and {work} = $2\n  and {text} is not null",
        asked = is_any(&problem, &found.problem, 1),
    )
}

/// A statement of the mapping with its parameters numbered, each occurrence by itself: the same value may stand where a
/// number is wanted and where a text is. The names come back in the order of the numbers.
pub(super) fn numbered(sql: &str) -> (String, Vec<String>) {
    let mut names = Vec::new();
    let sql = sqltext::bind(sql, |name| {
        names.push(name.to_owned());
        format!("${}", names.len())
    });
    (sql, names)
}

/// The number of the row that was just appended, as text.
pub(super) fn work_from(statements: &Statements) -> String {
    format!("select {}::pg_catalog.text", part(Some(&statements.work_from)))
}
