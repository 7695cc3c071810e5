//! Appending rows: one statement for each run of rows that fill the same columns, or the statements of the mapping row
//! by row. What a column would keep otherwise than it was sent is refused here, while it is still known which row it was.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use landbridge_core::message::{Code, Refusal};
use landbridge_core::{ProblemId, WorkId, value};
use landbridge_flow::StoreError;
use landbridge_flow::ports::{Append, Kind};
use tokio_postgres::Row;

use super::fault::row as refused;
use super::txn::PostgresTxn;
use super::values::Params;
use super::{Plan, statements};
use crate::mapping::{Mapping, Numbering, Statements};

/// Appends `rows` in their order and returns their work ids.
pub(super) async fn append(txn: &mut PostgresTxn, rows: &[Append]) -> Result<Vec<WorkId>, StoreError> {
    let plan = Arc::clone(&txn.plan);
    let mapping = &plan.mapping;
    let apart = |row: &Append| mapping.markers.is_some() && row.kind == Kind::Marker;
    let mut highest = if mapping.numbering() == Numbering::PerProblem {
        highest(txn, &plan, rows.iter().filter(|row| !apart(row)).map(|row| &row.problem)).await?
    } else {
        HashMap::new()
    };
    let mut works = Vec::with_capacity(rows.len());
    for alike in rows.chunk_by(same_columns) {
        let Some(first) = alike.first() else { continue };
        let appended = match mapping.statements() {
            _ if apart(first) => markers_apart(txn, &plan, alike).await?,
            Some(statements) => row_by_row(txn, &plan, statements, alike).await?,
            None => at_once(txn, &plan, &mut highest, alike).await?,
        };
        works.extend(appended);
    }
    ascending(rows, &works)?;
    also(txn, &plan, rows).await?;
    Ok(works)
}

fn same_columns(a: &Append, b: &Append) -> bool {
    a.kind == b.kind && (a.kind == Kind::Marker || a.fields.keys().eq(b.fields.keys()))
}

/// The expressions of the mapping for a row of this kind: for a marker, `marker` column by column over `insert`.
pub(super) fn expressions(mapping: &Mapping, kind: Kind) -> Vec<(&str, &str)> {
    let Some(table) = mapping.table() else { return Vec::new() };
    let mut all: BTreeMap<&str, &str> = table.insert.iter().map(|(c, sql)| (c.as_str(), sql.as_str())).collect();
    if kind == Kind::Marker {
        all.extend(table.marker.iter().map(|(c, sql)| (c.as_str(), sql.as_str())));
    }
    all.into_iter().collect()
}

/// The shared columns that a row of this kind fills, of those that `came`: an expression of the mapping stands before
/// a received value, and a field that did not come leaves its column to the table's default.
pub(super) fn filled(mapping: &Mapping, kind: Kind, came: impl Fn(&str) -> bool) -> Vec<&str> {
    let expressions = expressions(mapping, kind);
    let by_expression = |column: &str| expressions.iter().any(|(c, _)| *c == column);
    let of_entry = mapping.fields.iter().filter(|_| kind == Kind::Entry);
    of_entry.filter(|(name, c)| came(name) && !by_expression(c)).map(|(name, _)| name.as_str()).collect()
}

/// The highest number so far of each problem.
async fn highest<'r>(
    txn: &mut PostgresTxn,
    plan: &Plan,
    problems: impl Iterator<Item = &'r ProblemId> + Send,
) -> Result<HashMap<String, i64>, StoreError> {
    let asked = plan.found.problem.asked(problems);
    let mut highest = HashMap::with_capacity(asked.len());
    if !asked.is_empty() {
        let sql = statements::highest(&plan.mapping, &plan.found);
        for row in txn.query(&sql, Params::default().texts(asked)).await? {
            highest.insert(txn.get(&row, 0)?, txn.get(&row, 1)?);
        }
    }
    Ok(highest)
}

/// Before the database is asked: what it would take and keep otherwise, or refuse without saying how much would fit.
fn fits(plan: &Plan, rows: &[Append]) -> Result<(), StoreError> {
    for row in rows {
        if !plan.found.problem.fits(row.problem.as_str()) {
            let column = &plan.mapping.problem;
            return Err(refused(Code::Value, format!("column {column} cannot hold the problem's id as it is written")));
        }
        if let Some(limit) = plan.found.text_chars_max
            && row.text.chars().count() > limit
        {
            let refusal = Refusal { code: Code::TextTooLong, limit: Some(limit as u64) };
            let detail = format!("column {} takes {limit} characters", plan.mapping.text);
            return Err(StoreError::Row { refusal, detail });
        }
    }
    Ok(())
}

/// Rows that fill the same columns, in one statement.
async fn at_once(
    txn: &mut PostgresTxn,
    plan: &Plan,
    highest: &mut HashMap<String, i64>,
    rows: &[Append],
) -> Result<Vec<WorkId>, StoreError> {
    fits(plan, rows)?;
    let (mapping, found) = (&plan.mapping, &plan.found);
    let Some(first) = rows.first() else { return Ok(Vec::new()) };
    let fields = filled(mapping, first.kind, |name| first.fields.contains_key(name));
    let sql = statements::append(mapping, found, &fields, &expressions(mapping, first.kind));
    let mut numbers = Vec::with_capacity(rows.len());
    for row in rows {
        let number = highest.entry(row.problem.as_str().to_owned()).or_default();
        if *number >= WorkId::APART {
            return Err(refused(Code::Value, "the problem's numbers are used up"));
        }
        *number += 1;
        numbers.push(*number);
    }
    let each = |of: fn(&Append) -> &str| rows.iter().map(|row| of(row).to_owned()).collect::<Vec<_>>();
    let params = Params::default()
        .texts(each(|row| row.problem.as_str()))
        .texts(each(|row| &row.text))
        .texts(each(|row| row.site.as_str()))
        .numbers(numbers);
    let params = mapping.fields.keys().fold(params, |params, name| {
        params.nullable(rows.iter().map(|row| row.fields.get(name).cloned().flatten()).collect())
    });
    let kept = match txn.query_raw(&sql, params).await? {
        Ok(kept) => kept,
        Err(e) => return Err(taken(plan, &e).unwrap_or_else(|| txn.translate(&e))),
    };
    let works = judge(txn, plan, rows, &kept, &mapping.called())?;
    for (row, given) in kept.iter().zip(rows) {
        for (at, name) in fields.iter().enumerate() {
            let Some(field) = found.fields.get(*name) else { continue };
            let kept = field.canonical(txn.get(row, 3 + at)?);
            if !value::same(given.fields.get(*name).and_then(Option::as_deref), kept.as_deref()) {
                let column = mapping.fields.get(*name).map_or(*name, String::as_str);
                return Err(refused(Code::Value, format!("column {column} would keep another value than was sent")));
            }
        }
    }
    Ok(works)
}

/// Somebody else took the number first, where the constraint says just that.
fn taken(plan: &Plan, e: &tokio_postgres::Error) -> Option<StoreError> {
    let db = e.as_db_error().filter(|db| db.code().code() == "23505")?;
    let constraint = db.constraint()?;
    plan.found.number_indices.iter().any(|name| name == constraint).then_some(StoreError::Taken)
}

/// Markers in a table of their own.
async fn markers_apart(txn: &mut PostgresTxn, plan: &Plan, rows: &[Append]) -> Result<Vec<WorkId>, StoreError> {
    let (Some(name), Some(column)) = (&plan.mapping.markers, &plan.found.markers) else { return Ok(Vec::new()) };
    if rows.iter().any(|row| !column.fits(row.problem.as_str())) {
        return Err(refused(Code::Value, format!("column problem of table {name} cannot hold the problem's id")));
    }
    let each = |of: fn(&Append) -> &str| rows.iter().map(|row| of(row).to_owned()).collect::<Vec<_>>();
    let params = Params::default().texts(each(|row| row.problem.as_str())).texts(each(|row| &row.text));
    let kept = txn.query(&statements::append_markers(name, column), params).await?;
    let works = judge(txn, plan, rows, &kept, &format!("table {name}"))?;
    let apart = works.into_iter().map(|work| WorkId::apart(work.get()));
    apart
        .map(|work| work.ok_or_else(|| refused(Code::Value, format!("the numbers of table {name} are used up"))))
        .collect()
}

/// What came back of each row: its number; and its problem and text must be what was sent.
fn judge(
    txn: &PostgresTxn,
    plan: &Plan,
    rows: &[Append],
    kept: &[Row],
    called: &str,
) -> Result<Vec<WorkId>, StoreError> {
    if kept.len() != rows.len() {
        let said = "ignored a row, as a trigger that returns null and a rule do";
        return Err(refused(Code::Trigger, format!("{called} {said}")));
    }
    let mut works = Vec::with_capacity(rows.len());
    for (row, given) in kept.iter().zip(rows) {
        let (problem, text): (Option<&str>, Option<&str>) = (txn.get(row, 1)?, txn.get(row, 2)?);
        if problem != Some(given.problem.as_str()) || text != Some(given.text.as_str()) {
            let same = problem == Some(given.problem.as_str());
            let column = if same { &plan.mapping.text } else { &plan.mapping.problem };
            return Err(refused(Code::Value, format!("column {column} would keep another value than was sent")));
        }
        let work = txn.get::<Option<i64>>(row, 0)?.and_then(WorkId::new).filter(|work| work.get() <= WorkId::APART);
        works.push(work.ok_or_else(|| refused(Code::Value, format!("{called} gave out a number that is none")))?);
    }
    Ok(works)
}

/// The numbers of one problem ascend in the order given: what was written later must stand later.
fn ascending(rows: &[Append], works: &[WorkId]) -> Result<(), StoreError> {
    let mut last: HashMap<(&ProblemId, bool), WorkId> = HashMap::new();
    for (row, work) in rows.iter().zip(works) {
        let before = last.insert((&row.problem, work.apart_number().is_some()), *work);
        if before.is_some_and(|before| before >= *work) {
            return Err(StoreError::Mapping(
                "the numbers that the database gives out do not ascend: use an ascending sequence".to_owned(),
            ));
        }
    }
    Ok(())
}

/// The statements that run once for each problem to which entries were appended.
async fn also(txn: &mut PostgresTxn, plan: &Plan, rows: &[Append]) -> Result<(), StoreError> {
    if plan.mapping.also.is_empty() {
        return Ok(());
    }
    let entries = rows.iter().filter(|row| row.kind == Kind::Entry);
    let problems: BTreeSet<&ProblemId> = entries.map(|row| &row.problem).collect();
    for problem in problems {
        for sql in &plan.mapping.also {
            let (sql, names) = statements::numbered(sql);
            let params = names.iter().fold(Params::default(), |params, name| {
                params.inferred((name == "problem").then(|| problem.as_str().to_owned()))
            });
            txn.execute(&sql, params).await?;
        }
    }
    Ok(())
}

/// The statements of the mapping, row by row.
async fn row_by_row(
    txn: &mut PostgresTxn,
    plan: &Plan,
    by: &Statements,
    rows: &[Append],
) -> Result<Vec<WorkId>, StoreError> {
    let mut works = Vec::with_capacity(rows.len());
    for row in rows {
        fits(plan, std::slice::from_ref(row))?;
        let mut work = None;
        for (at, sql) in by.append.iter().enumerate() {
            let (sql, names) = statements::numbered(sql);
            let params =
                names.iter().fold(Params::default(), |params, name| params.inferred(parameter(by, row, work, name)));
            let changed = match txn.query_raw_count(&sql, params).await? {
                Ok(changed) => changed,
                Err(e) => return Err(statement_refused(txn, row, &e)),
            };
            if at == 0 {
                if changed == 0 {
                    return Err(refused(Code::Trigger, "the first statement of [history] append appended no row"));
                }
                work = Some(number_given(txn, by, row).await?);
            }
        }
        works.push(work.ok_or_else(|| StoreError::Mapping("[history] append has no statement".to_owned()))?);
    }
    Ok(works)
}

/// The number of the row that the first statement appended.
async fn number_given(txn: &mut PostgresTxn, by: &Statements, row: &Append) -> Result<WorkId, StoreError> {
    let (sql, names) = statements::numbered(&statements::work_from(by));
    let params = names.iter().fold(Params::default(), |params, name| params.inferred(parameter(by, row, None, name)));
    let rows = txn.query(&sql, params).await?;
    let number: Option<&str> = match rows.first() {
        Some(row) => txn.get(row, 0)?,
        None => None,
    };
    let work = number.and_then(|n| n.parse().ok()).filter(|work: &WorkId| work.get() <= WorkId::APART);
    work.ok_or_else(|| StoreError::Mapping("[history] work_from: what it says is no number of a row".to_owned()))
}

fn parameter(by: &Statements, row: &Append, work: Option<WorkId>, name: &str) -> Option<String> {
    match name {
        "problem" => Some(row.problem.as_str().to_owned()),
        "text" => Some(row.text.clone()),
        "site" => Some(row.site.as_str().to_owned()),
        "work" => work.map(|work| work.to_string()),
        "kind" => Some(match row.kind {
            Kind::Entry => by.append_kind.entry.clone(),
            Kind::Marker => by.append_kind.marker.clone(),
        }),
        name => row.fields.get(name).cloned().flatten(),
    }
}

/// What a statement said against a row. Which column was too narrow it does not say; the text's length tells.
fn statement_refused(txn: &mut PostgresTxn, row: &Append, e: &tokio_postgres::Error) -> StoreError {
    let limit = e.as_db_error().filter(|db| db.code().code() == "22001").and_then(|db| {
        let (_, width) = db.message().rsplit_once('(')?;
        width.trim_end_matches(')').parse::<u64>().ok()
    });
    match limit {
        Some(limit) if row.text.chars().count() as u64 > limit => {
            let refusal = Refusal { code: Code::TextTooLong, limit: Some(limit) };
            StoreError::Row { refusal, detail: "a statement of [history] append".to_owned() }
        }
        _ => txn.translate(e),
    }
}
