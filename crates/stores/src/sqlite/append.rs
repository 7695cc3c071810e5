//! Appending rows.
//!
//! A prepared statement runs once for each row. A statement for many rows would save a fifth of the time, but SQLite
//! does not promise in which order it hands back their numbers; and a trigger that appends rows of its own between
//! ours, or a row that is refused, is seen here at the row where it happens.

use std::collections::{BTreeSet, HashMap};

use landbridge_core::message::{Code, Refusal};
use landbridge_core::{ProblemId, WorkId};
use landbridge_flow::StoreError;
use landbridge_flow::ports::{Append, Kind};
use rusqlite::types::Value;
use rusqlite::{CachedStatement, Connection, OptionalExtension, ffi};

use super::fault::{Trouble, row as refused};
use super::problems::of_this_row;
use super::{Plan, apart, by_statements, statements, values};
use crate::mapping::{Mapping, Numbering, Source};

/// Appends `rows` in their order and returns their work ids. Then come the statements of `also`, once for each problem
/// that entries were appended to.
pub(super) fn append(connection: &Connection, plan: &Plan, rows: &[Append]) -> Result<Vec<WorkId>, Trouble> {
    let mut problems = Problems::default();
    let mut works = Vec::with_capacity(rows.len());
    for alike in rows.chunk_by(same_columns) {
        if let (Some(table), Kind::Marker) = (&plan.mapping.markers, alike[0].kind) {
            works.extend(apart::append(connection, table, alike)?);
            continue;
        }
        match &plan.mapping.source {
            Source::Table(_) => {
                let shape = Shape::of(&plan.mapping, &alike[0]);
                let mut statement = connection.prepare_cached(&shape.sql)?;
                let values = shape.values(&statement);
                for row in alike {
                    works.push(append_one(connection, plan, &mut problems, &mut statement, &values, row)?);
                }
            }
            Source::Statements(by) => {
                for row in alike {
                    let known = problems.look_up(connection, plan, &row.problem)?;
                    works.push(by_statements::append(connection, by, known, row)?);
                }
            }
        }
    }
    let of_entries: BTreeSet<&ProblemId> =
        rows.iter().filter(|row| row.kind == Kind::Entry).map(|row| &row.problem).collect();
    for sql in &plan.mapping.also {
        for problem in &of_entries {
            let known = problems.look_up(connection, plan, problem)?;
            by_statements::also(connection, sql, &known.stored)?;
        }
    }
    Ok(works)
}

fn same_columns(a: &Append, b: &Append) -> bool {
    a.kind == b.kind && (a.kind == Kind::Marker || a.fields.keys().eq(b.fields.keys()))
}

fn append_one(
    connection: &Connection,
    plan: &Plan,
    problems: &mut Problems,
    statement: &mut CachedStatement<'_>,
    values: &[Bound],
    row: &Append,
) -> Result<WorkId, Trouble> {
    if let Some(limit) = plan.found.text_chars_max
        && row.text.chars().count() > limit
    {
        let refusal = Refusal { code: Code::TextTooLong, limit: Some(limit as u64) };
        let detail = format!("column {} takes {limit} characters", plan.mapping.text);
        return Err(StoreError::Row { refusal, detail }.into());
    }
    let known = problems.look_up(connection, plan, &row.problem)?;
    let first = insert(plan, known, statement, values, row);
    let number_is_taken = match &first {
        Err(Trouble::Sql(rusqlite::Error::SqliteFailure(e, _))) => {
            matches!(e.extended_code, ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY)
        }
        _ => false,
    };
    // A constraint can be made to end the transaction; then there is nothing to append to.
    if !number_is_taken || connection.is_autocommit() {
        return first;
    }
    // Nobody else writes, and still the number can be taken: by a row that a trigger appended beside ours.
    let now = highest(connection, plan, &row.problem)?;
    if now == known.highest {
        return first;
    }
    known.highest = now;
    insert(plan, known, statement, values, row)
}

/// Runs the statement and judges what it brought back.
fn insert(
    plan: &Plan,
    known: &mut Known,
    statement: &mut CachedStatement<'_>,
    values: &[Bound],
    row: &Append,
) -> Result<WorkId, Trouble> {
    let per_problem = plan.mapping.numbering() == Numbering::PerProblem;
    let number = if per_problem { known.highest.checked_add(1) } else { Some(0) };
    let number = number.ok_or_else(|| refused(Code::Value, "the problem's numbers are used up"))?;
    for (at, value) in values.iter().enumerate() {
        let at = at + 1;
        match value {
            Bound::Problem => statement.raw_bind_parameter(at, &known.stored)?,
            Bound::Text => statement.raw_bind_parameter(at, &row.text)?,
            Bound::Number => statement.raw_bind_parameter(at, number)?,
            Bound::Site => statement.raw_bind_parameter(at, row.site.as_str())?,
            Bound::Field(name) => {
                let value = row.fields.get(name).and_then(Option::as_deref);
                statement.raw_bind_parameter(at, values::kept(value, plan.found.keeps(name)))?;
            }
        }
    }
    let mut kept = statement.raw_query();
    let Some(first) = kept.next().map_err(of_this_row)? else {
        return Err(
            refused(Code::Trigger, "the table ignored the row, as raise(ignore) and `on conflict ignore` do").into()
        );
    };
    let work: i64 = first.get(0)?;
    let same_problem = values::problem(first.get_ref(1)?).as_ref() == Some(&row.problem);
    let same_text = first.get::<_, Option<bool>>(2)? == Some(true);
    while kept.next()?.is_some() {}
    if !same_problem || !same_text {
        let column = if same_text { &plan.mapping.problem } else { &plan.mapping.text };
        return Err(refused(Code::Value, format!("column {column} would keep another value than was sent")).into());
    }
    known.highest = known.highest.max(work);
    let work = WorkId::new(work);
    Ok(work.ok_or_else(|| refused(Code::Value, "the table gave out a number below 1"))?)
}

/// What one call knows of the problems that it appends to.
#[derive(Default)]
struct Problems(HashMap<ProblemId, Known>);

pub(super) struct Known {
    /// The id in the form in which the column has it.
    pub(super) stored: Value,
    /// The highest number so far; of a history that is a query, that of this call.
    pub(super) highest: i64,
}

impl Problems {
    fn look_up(&mut self, connection: &Connection, plan: &Plan, id: &ProblemId) -> Result<&mut Known, Trouble> {
        if !self.0.contains_key(id) {
            let stored = stored_form(connection, plan, id)?;
            let highest = highest(connection, plan, id)?;
            self.0.insert(id.clone(), Known { stored, highest });
        }
        let missing = || StoreError::Broken("a problem was lost on the way".to_owned()).into();
        self.0.get_mut(id).ok_or_else(missing)
    }
}

/// The id as rows of the history have it, else as the table of the problems has it, else as text. Only a column
/// without a type leaves that open; any other turns the text into its own kind.
pub(super) fn stored_form(connection: &Connection, plan: &Plan, id: &ProblemId) -> Result<Value, Trouble> {
    if plan.found.problem.untyped {
        for asked in plan.asks([id]) {
            let mut statement = connection.prepare_cached(&statements::stored_form(&plan.mapping))?;
            if let Some(form) = statement.query_row([asked], |r| r.get(0)).optional()? {
                return Ok(form);
            }
        }
        if let Some(table) = &plan.mapping.problems {
            let mut statement = connection.prepare_cached(&statements::stored_id(table))?;
            let asked = values::problems_json([id], plan.found.problem_id.untyped);
            if let Some(form) = statement.query_row([asked], |r| r.get(0)).optional()? {
                return Ok(form);
            }
        }
    }
    Ok(Value::Text(id.as_str().to_owned()))
}

/// The highest number that any row of the problem has; 0 where there is none, or where numbers are not ours to give.
fn highest(connection: &Connection, plan: &Plan, id: &ProblemId) -> Result<i64, Trouble> {
    let mut highest = 0;
    if plan.mapping.numbering() == Numbering::PerProblem {
        let mut statement = connection.prepare_cached(&statements::highest(&plan.mapping))?;
        for form in values::forms(id, plan.found.problem.untyped) {
            let work: Option<i64> = statement.query_row([form], |r| r.get(0)).optional()?;
            highest = highest.max(work.unwrap_or(0));
        }
    }
    Ok(highest)
}

/// The statement for rows that fill the same columns.
pub(super) struct Shape {
    /// Its text.
    pub(super) sql: String,
    /// What its numbered parameters stand for.
    numbered: Vec<Bound>,
}

/// What is bound to a parameter.
#[derive(Debug, Clone)]
enum Bound {
    Problem,
    Text,
    Number,
    Site,
    /// Null where that field did not come.
    Field(String),
}

impl Shape {
    fn of(mapping: &Mapping, row: &Append) -> Self {
        Self::with(mapping, row.kind, |field| row.fields.contains_key(field))
    }

    /// The shape of a row of this kind with those fields. A field that did not come leaves its column to the table's
    /// default; an expression of the mapping stands before a received value.
    pub(super) fn with(mapping: &Mapping, kind: Kind, came: impl Fn(&str) -> bool) -> Self {
        let expressions = expressions(mapping, kind);
        let by_expression = |column: &str| expressions.iter().any(|(c, _)| c.eq_ignore_ascii_case(column));
        let fields: Vec<(&str, &str)> = mapping
            .fields
            .iter()
            .map(|(name, column)| (name.as_str(), column.as_str()))
            .filter(|(name, column)| kind == Kind::Entry && came(name) && !by_expression(column))
            .collect();
        let mut numbered = vec![Bound::Problem, Bound::Text];
        if mapping.numbering() == Numbering::PerProblem {
            numbered.push(Bound::Number);
        }
        numbered.extend(fields.iter().map(|(name, _)| Bound::Field((*name).to_owned())));
        let columns: Vec<&str> = fields.iter().map(|(_, column)| *column).collect();
        Self { sql: statements::append(mapping, &columns, &expressions), numbered }
    }

    /// What each parameter of the prepared statement stands for, in its order: the numbered ones, then the names in
    /// the expressions. SQLite itself finds those, so quotes and comments are its business.
    fn values(&self, statement: &rusqlite::Statement<'_>) -> Vec<Bound> {
        let mut values = self.numbered.clone();
        values.extend((values.len() + 1..=statement.parameter_count()).map(|at| {
            match statement.parameter_name(at).and_then(|name| name.get(1..)) {
                Some("site") => Bound::Site,
                Some("text") => Bound::Text,
                other => Bound::Field(other.unwrap_or_default().to_owned()),
            }
        }));
        values
    }
}

/// The shared columns that the bridge itself fills with what it received. In statements, the administrator's SQL does.
pub(super) fn fields_kept(mapping: &Mapping) -> BTreeSet<String> {
    let expressions = expressions(mapping, Kind::Entry);
    let by_expression = |column: &str| expressions.iter().any(|(c, _)| c.eq_ignore_ascii_case(column));
    let kept = mapping.fields.iter().filter(|(_, column)| mapping.table().is_some() && !by_expression(column));
    kept.map(|(name, _)| name.clone()).collect()
}

/// The expressions of the mapping for a row of this kind: for a marker, `marker` column by column over `insert`.
pub(super) fn expressions(mapping: &Mapping, kind: Kind) -> Vec<(&str, &str)> {
    let Some(table) = mapping.table() else { return Vec::new() };
    let mut all: Vec<(&str, &str)> = table.insert.iter().map(|(c, sql)| (c.as_str(), sql.as_str())).collect();
    if kind == Kind::Marker {
        for (column, sql) in &table.marker {
            all.retain(|(c, _)| !c.eq_ignore_ascii_case(column));
            all.push((column, sql));
        }
    }
    all
}
