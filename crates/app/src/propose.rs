//! Which tables look like a history, and what a new row of one would need: guesses from a catalogue, for a person to
//! judge. Every guess says why.

use std::collections::{BTreeMap, BTreeSet};

use landbridge_stores::TableName;
use landbridge_stores::catalog::{Catalog, ColumnInfo, ColumnKind, TableInfo, Vendor};
use landbridge_stores::mapping::Numbering;

use crate::render::count;

/// A table that may be a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The table.
    pub table: TableName,
    /// The column with the problem's id.
    pub problem: String,
    /// The column with the row's number.
    pub work: String,
    /// The column with the text.
    pub text: String,
    /// Who gives out the numbers.
    pub numbering: Numbering,
    /// The table of the problems and its id.
    pub problems: Option<(TableName, String)>,
    /// How much speaks for it.
    pub score: u32,
    /// What.
    pub reasons: Vec<String>,
}

/// What a new row of a history needs besides the mapped columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filling {
    /// Which rows may leave.
    pub share: Option<String>,
    /// Expressions for further columns of an entry.
    pub insert: BTreeMap<String, String>,
    /// The same for markers.
    pub marker: BTreeMap<String, String>,
    /// Columns that need a value for which nothing can be proposed, and why.
    pub open: Vec<(String, String)>,
}

/// The least score of a candidate that is taken without asking, and by how much it must lead.
const CLEAR_SCORE: u32 = 9;
const CLEAR_LEAD: u32 = 3;

const TABLE_WORDS: &[&str] = &[
    "history",
    "comment",
    "journal",
    "note",
    "followup",
    "follow",
    "worklog",
    "log",
    "activity",
    "change",
    "transaction",
    "entry",
    "article",
    "message",
    "update",
    "action",
];
const PROBLEM_WORDS: &[&str] =
    &["problem", "ticket", "issue", "case", "incident", "request", "task", "journalized", "object", "bug"];
const TEXT_WORDS: &[&str] =
    &["text", "body", "comment", "note", "content", "message", "description", "detail", "history", "work", "remark"];
const PERSON_WORDS: &[&str] = &[
    "user", "author", "creator", "created", "owner", "operator", "assigned", "by", "person", "staff", "agent", "writer",
];
const CLOSED_WORDS: &[&str] = &["private", "internal", "confidential", "hidden", "secret"];
const OPEN_WORDS: &[&str] = &["public", "visible", "published", "external", "shared", "shareable"];
const YES_WORDS: &[&str] = &["yes", "y", "true"];
const NO_WORDS: &[&str] = &["no", "n", "false"];

/// The tables that may be a history, the likeliest first.
pub fn candidates(catalog: &Catalog) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = catalog.tables.iter().filter_map(candidate).collect();
    found.sort_by(|a, b| b.score.cmp(&a.score).then_with(|| a.table.cmp(&b.table)));
    found
}

/// The first of `candidates`, where it is clearly the best.
pub fn clear(candidates: &[Candidate]) -> Option<&Candidate> {
    let best = candidates.first().filter(|c| c.score >= CLEAR_SCORE)?;
    candidates.get(1).is_none_or(|next| best.score >= next.score + CLEAR_LEAD).then_some(best)
}

/// Something that speaks for a table: how much, and in words.
type Points = (u32, Option<String>);

/// The best reading of one table.
fn candidate(table: &TableInfo) -> Option<Candidate> {
    if !table.is_table {
        return None;
    }
    let numbered = table.columns.iter().filter_map(|work| {
        let (problem, numbering, points) = numbering(table, work)?;
        Some((work, problem, numbering, points))
    });
    let (work, problem, numbering, (number_score, number_why)) = numbered.max_by_key(|(.., points)| points.0)?;
    let texts = table.columns.iter().filter(|c| c.name != problem.name && c.name != work.name);
    let (text, (text_score, text_why)) =
        texts.filter_map(|c| Some((c, text(table, c)?))).max_by_key(|(_, points)| points.0)?;
    let named = has_word(&table.name.name, TABLE_WORDS);
    let timed = table.columns.iter().any(|c| c.kind == ColumnKind::Time);
    let name_why = named.then(|| "its name sounds like a history".to_owned());
    Some(Candidate {
        table: table.name.clone(),
        problem: problem.name.clone(),
        work: work.name.clone(),
        text: text.name.clone(),
        numbering,
        problems: reference(table, problem).map(|r| (r.table.clone(), r.to.clone())),
        score: number_score + text_score + 2 * u32::from(named) + u32::from(timed),
        reasons: [number_why, text_why, name_why].into_iter().flatten().collect(),
    })
}

/// Whether `work` can number rows, and of which problem.
fn numbering<'t>(table: &'t TableInfo, work: &ColumnInfo) -> Option<(&'t ColumnInfo, Numbering, Points)> {
    if work.kind != ColumnKind::Integer || reference(table, work).is_some() {
        return None;
    }
    let pair = table.unique.iter().filter(|u| u.len() == 2 && u.contains(&work.name));
    let pair = pair.filter_map(|u| {
        let other = table.column(u.iter().find(|c| **c != work.name)?)?;
        let (score, why) = problem(table, other);
        // Two numbers that look alike: the one with a name of its own is the problem.
        let backwards = has_word(&work.name, PROBLEM_WORDS) && score == 0;
        (!backwards).then(|| {
            let why = why.map_or(String::new(), |why| format!(", and {why}"));
            (
                other,
                Numbering::PerProblem,
                (5 + score, Some(format!("{} counts within {}{why}", work.name, other.name))),
            )
        })
    });
    let alone = table.unique.iter().any(|u| u.as_slice() == [work.name.clone()]) && work.is_generated_number;
    let generated = table.columns.iter().filter(|c| alone && c.name != work.name).filter_map(|other| {
        let (score, why) = problem(table, other);
        let why = why?;
        Some((other, Numbering::Generated, (3 + score, Some(format!("{} numbers all rows, and {why}", work.name)))))
    });
    pair.chain(generated).max_by_key(|(.., points)| points.0)
}

/// How much speaks for a column being the problem of a row.
fn problem(table: &TableInfo, column: &ColumnInfo) -> Points {
    let idlike =
        matches!(column.kind, ColumnKind::Integer | ColumnKind::Text(_) | ColumnKind::Other | ColumnKind::Number);
    if !idlike || has_word(&column.name, PERSON_WORDS) {
        return (0, None);
    }
    let (named, refers) = (has_word(&column.name, PROBLEM_WORDS), reference(table, column));
    let score = 2 * u32::from(named) + 3 * u32::from(refers.is_some());
    let why = match refers {
        Some(to) if to.table != table.name => Some(format!("{} refers to {}", column.name, to.table)),
        Some(_) => return (0, None),
        None if named => Some(format!("{} sounds like a problem", column.name)),
        None => None,
    };
    (score, why)
}

fn text(table: &TableInfo, column: &ColumnInfo) -> Option<Points> {
    let length = match column.kind {
        ColumnKind::Text(None) => 3,
        ColumnKind::Text(Some(1000..)) => 2,
        ColumnKind::Text(Some(200..)) => 1,
        _ => return None,
    };
    if column.is_computed || reference(table, column).is_some() || table.unique.iter().any(|u| u.contains(&column.name))
    {
        return None;
    }
    let named = has_word(&column.name, TEXT_WORDS);
    let why = if length == 1 { "has room for some text" } else { "has room for long texts" };
    Some((length + 2 * u32::from(named), Some(format!("{} {why}", column.name))))
}

fn reference<'t>(table: &'t TableInfo, column: &ColumnInfo) -> Option<&'t landbridge_stores::catalog::Reference> {
    table.references.iter().find(|r| r.column.eq_ignore_ascii_case(&column.name))
}

/// What new rows of `table` need besides the columns `taken`. `values` are some of those that a column has.
pub fn filling(vendor: Vendor, table: &TableInfo, taken: &[&str], values: &dyn Fn(&str) -> Vec<String>) -> Filling {
    let mut filling = Filling::default();
    let is_free = |c: &&ColumnInfo| !c.is_computed && !taken.iter().any(|t| t.eq_ignore_ascii_case(&c.name));
    let mut shares = Vec::new();
    for column in table.columns.iter().filter(is_free) {
        if let Some((share, open, closed)) = visibility(vendor, column, values) {
            shares.push(share);
            filling.insert.insert(column.name.clone(), open);
            if let Some(closed) = closed {
                filling.marker.insert(column.name.clone(), closed);
            }
        } else if column.not_null && !column.has_default && !column.is_generated_number {
            match expression(vendor, table, column) {
                Ok(sql) => {
                    filling.insert.insert(column.name.clone(), sql);
                }
                Err(why) => filling.open.push((column.name.clone(), why)),
            }
        }
    }
    filling.share = (!shares.is_empty()).then(|| shares.join(" and "));
    filling
}

/// Which problems may be bridged, where columns of their table tell who may see them.
pub fn problem_share(vendor: Vendor, table: &TableInfo, values: &dyn Fn(&str) -> Vec<String>) -> Option<String> {
    let shares = table.columns.iter().filter_map(|column| visibility(vendor, column, values));
    let shares: Vec<_> = shares.map(|(share, ..)| share).collect();
    (!shares.is_empty()).then(|| shares.join(" and "))
}

/// Where a column tells who may see a row: the condition, and its value in a row for all and in one for few.
fn visibility(
    vendor: Vendor,
    column: &ColumnInfo,
    values: &dyn Fn(&str) -> Vec<String>,
) -> Option<(String, String, Option<String>)> {
    let (open, closed) = (has_word(&column.name, OPEN_WORDS), has_word(&column.name, CLOSED_WORDS));
    let name = in_sql(vendor, &column.name);
    match column.kind {
        ColumnKind::Boolean | ColumnKind::Integer if open != closed => {
            let postgres = vendor == Vendor::Postgres && column.kind == ColumnKind::Boolean;
            let (no, yes) = if postgres { ("false", "true") } else { ("0", "1") };
            let (for_all, for_few) = if open { (yes, no) } else { (no, yes) };
            let share = match (postgres, open) {
                (true, true) => name,
                (true, false) => format!("not {name}"),
                (false, true) => format!("{name} <> 0"),
                (false, false) => format!("{name} = 0"),
            };
            Some((share, for_all.to_owned(), Some(for_few.to_owned())))
        }
        _ if tells_by_value(column) => {
            let seen: BTreeSet<String> = values(&column.name).into_iter().collect();
            let first = |words: &[&str]| {
                seen.iter().find(|v| has_word(v, words)).map(|v| format!("'{}'", v.replace('\'', "''")))
            };
            let answer = |yes: bool| (open != closed).then(|| first(if yes { YES_WORDS } else { NO_WORDS })).flatten();
            let for_all = first(OPEN_WORDS).or_else(|| answer(open))?;
            Some((format!("{name} = {for_all}"), for_all, first(CLOSED_WORDS).or_else(|| answer(closed))))
        }
        _ => None,
    }
}

/// Whether the values of a column may tell who sees a row.
pub fn tells_by_value(column: &ColumnInfo) -> bool {
    let named = [OPEN_WORDS, CLOSED_WORDS, &["visibility"]].into_iter().any(|words| has_word(&column.name, words));
    matches!(column.kind, ColumnKind::Text(_) | ColumnKind::Other) && named
}

/// A value for a column that needs one, or why none can be proposed.
fn expression(vendor: Vendor, table: &TableInfo, column: &ColumnInfo) -> Result<String, String> {
    if let Some(to) = reference(table, column) {
        return Err(format!("it refers to {}", to.table));
    }
    let sql_type = column.sql_type.to_ascii_lowercase();
    let plain = match (column.kind, vendor) {
        (ColumnKind::Time, _) if sql_type == "date" => "current_date",
        (ColumnKind::Time, _) if sql_type.starts_with("time") && !sql_type.starts_with("timestamp") => "current_time",
        // One transaction has one `now()`; entries and markers of it would then be in no order.
        (ColumnKind::Time, Vendor::Postgres) if sql_type.contains("with time zone") || sql_type == "timestamptz" => {
            "clock_timestamp()"
        }
        (ColumnKind::Time, Vendor::Postgres) => "(clock_timestamp() at time zone 'utc')",
        (ColumnKind::Time, Vendor::Mysql) => "utc_timestamp(6)",
        (ColumnKind::Time, Vendor::Sqlite) => "strftime('%Y-%m-%d %H:%M:%f', 'now')",
        (ColumnKind::Boolean, Vendor::Postgres) => "false",
        (ColumnKind::Boolean | ColumnKind::Integer | ColumnKind::Number, _) => "0",
        (ColumnKind::Text(_), _) if has_word(&column.name, PERSON_WORDS) => ":site",
        (ColumnKind::Text(_), _) => "''",
        (ColumnKind::Bytes | ColumnKind::Other, _) => return Err(format!("its type is {}", column.sql_type)),
    };
    Ok(plain.to_owned())
}

/// Whether one of the words of a name is one of `words`, alone or in the plural.
fn has_word(name: &str, words: &[&str]) -> bool {
    let mut pieces = Vec::new();
    let mut piece = String::new();
    let mut lower = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || (lower && c.is_uppercase()) {
            pieces.push(std::mem::take(&mut piece));
        }
        lower = c.is_lowercase();
        if c.is_alphanumeric() {
            piece.extend(c.to_lowercase());
        }
    }
    pieces.push(piece);
    let is = |piece: &str| words.contains(&piece) || piece.strip_suffix('s').is_some_and(|one| words.contains(&one));
    pieces
        .iter()
        .any(|piece| is(piece) || piece.strip_suffix("ies").is_some_and(|one| words.contains(&&*format!("{one}y"))))
}

/// A column as it stands in a condition: plain where it needs no quotes.
fn in_sql(vendor: Vendor, name: &str) -> String {
    let is_plain = |c: char| {
        c.is_ascii_digit()
            || c == '_'
            || c.is_ascii_lowercase()
            || (vendor != Vendor::Postgres && c.is_ascii_uppercase())
    };
    if name.chars().all(is_plain) && !name.starts_with(|c: char| c.is_ascii_digit()) {
        return name.to_owned();
    }
    let quote = if vendor == Vendor::Mysql { '`' } else { '"' };
    format!("{quote}{}{quote}", name.replace(quote, &format!("{quote}{quote}")))
}

/// The candidates in one sentence each, for where nobody can be asked.
pub fn listed(candidates: &[Candidate]) -> String {
    let flags = |c: &Candidate| {
        format!(
            "--table {} --problem {} --work {} --text {} ({}: {})",
            c.table,
            c.problem,
            c.work,
            c.text,
            count(u64::from(c.score), "point"),
            c.reasons.join("; ")
        )
    };
    candidates.iter().take(LISTED_MAX).map(flags).collect::<Vec<_>>().join("\n")
}

/// So many candidates are shown.
pub const LISTED_MAX: usize = 5;

#[cfg(test)]
mod tests;
