//! The table of the problems themselves: what it says of those that are asked for, who has which home name, and problems
//! that the bridge creates.

use std::collections::HashMap;

use landbridge_core::message::{Code, Refusal};
use landbridge_core::value::same;
use landbridge_core::{Fields, ProblemId, ProblemName};
use landbridge_flow::StoreError;
use landbridge_flow::ports::NewProblem;
use rusqlite::types::Value;
use rusqlite::{Connection, ffi};

use super::fault::{Trouble, row as refused};
use super::values::{self, Keeps};
use super::{Plan, statements};
use crate::mapping::ProblemTable;

/// What the table says of one problem.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// Whether it may be delivered to.
    pub(super) visible: bool,
    /// The link column, where it is a home name.
    pub(super) home: Option<ProblemName>,
    /// The shared columns; none where it may not be delivered to.
    pub(super) fields: Fields,
}

/// What is known of those of `problems` that are there. Without a table of the problems, all are, and nothing else is.
pub(super) fn known(
    connection: &Connection,
    plan: &Plan,
    problems: &[ProblemId],
) -> Result<HashMap<ProblemId, Known>, Trouble> {
    let Some(table) = &plan.mapping.problems else {
        let visible = Known { visible: true, ..Known::default() };
        return Ok(problems.iter().map(|p| (p.clone(), visible.clone())).collect());
    };
    let mut statement = connection.prepare_cached(&statements::problems(table))?;
    let mut rows = statement.query([values::problems_json(problems, plan.found.problem_id.untyped)])?;
    let mut all: HashMap<ProblemId, Known> = HashMap::new();
    while let Some(row) = rows.next()? {
        let Some(id) = values::problem(row.get_ref(0)?) else { continue };
        let mut known = Known { visible: row.get(1)?, ..Known::default() };
        known.home = values::text(row.get_ref(2)?).and_then(|home| home.parse().ok());
        if known.visible {
            for (at, name) in table.fields.keys().enumerate() {
                let keeps = plan.found.keeps_of_problem(name);
                known.fields.insert(name.clone(), values::canonical(row.get_ref(3 + at)?, keeps));
            }
        }
        // Two rows of one id are no key; one that is shared makes the problem visible, as a condition does.
        let before = all.entry(id).or_default();
        if !before.visible {
            *before = known;
        }
    }
    Ok(all)
}

/// Of each home name, the problems that have it in the link column.
pub(super) fn find(
    connection: &Connection,
    plan: &Plan,
    homes: &[ProblemName],
) -> Result<Vec<Vec<ProblemId>>, Trouble> {
    let Some((table, link)) = linked(plan) else {
        return Ok(vec![Vec::new(); homes.len()]);
    };
    let names: Vec<String> = homes.iter().map(ToString::to_string).collect();
    let asked = {
        let mut once: Vec<&str> = names.iter().map(String::as_str).collect();
        once.sort_unstable();
        once.dedup();
        values::texts_json(once)
    };
    let mut statement = connection.prepare_cached(&statements::find(table, link))?;
    let mut rows = statement.query([asked])?;
    let mut found: HashMap<String, Vec<ProblemId>> = HashMap::new();
    while let Some(row) = rows.next()? {
        if let (Some(id), Some(home)) = (values::problem(row.get_ref(0)?), values::text(row.get_ref(1)?)) {
            found.entry(home).or_default().push(id);
        }
    }
    Ok(names.iter().map(|home| found.get(home).cloned().unwrap_or_default()).collect())
}

fn linked(plan: &Plan) -> Option<(&ProblemTable, &str)> {
    let table = plan.mapping.problems.as_ref()?;
    Some((table, table.link.as_deref()?))
}

/// Creates problems and returns their ids in the same order.
pub(super) fn create(connection: &Connection, plan: &Plan, new: &[NewProblem]) -> Result<Vec<ProblemId>, Trouble> {
    let Some((table, link, expressions)) =
        linked(plan).and_then(|(table, link)| Some((table, link, table.create.as_ref()?)))
    else {
        return Err(StoreError::Mapping("[problem] create is not set".to_owned()).into());
    };
    let expressions: Vec<(&str, &str)> = expressions.iter().map(|(c, sql)| (c.as_str(), sql.as_str())).collect();
    let mut ids = Vec::with_capacity(new.len());
    for problem in new {
        let home = problem.home.to_string();
        if let Some(limit) = plan.found.link_chars_max
            && home.chars().count() > limit
        {
            let refusal = Refusal { code: Code::Value, limit: Some(limit as u64) };
            let detail = format!("column {link} takes {limit} characters, and the home name of the problem is longer");
            return Err(StoreError::Row { refusal, detail }.into());
        }
        ids.push(create_one(connection, plan, table, link, &expressions, problem, &home)?);
    }
    read_back(connection, plan, table, new, &ids)?;
    Ok(ids)
}

fn create_one(
    connection: &Connection,
    plan: &Plan,
    table: &ProblemTable,
    link: &str,
    expressions: &[(&str, &str)],
    problem: &NewProblem,
    home: &str,
) -> Result<ProblemId, Trouble> {
    // A field that did not come leaves its column to the table's default.
    let fields: Vec<(&String, &String)> = table
        .fields
        .iter()
        .filter(|(name, column)| problem.fields.contains_key(*name) && is_kept(table, column))
        .collect();
    let columns: Vec<&str> = fields.iter().map(|(_, column)| column.as_str()).collect();
    let field = |name: &str| {
        let value = problem.fields.get(name).and_then(Option::as_deref);
        values::kept(value, plan.found.keeps_of_problem(name))
    };
    let mut statement = connection.prepare_cached(&statements::create(table, link, &columns, expressions))?;
    statement.raw_bind_parameter(1, home)?;
    for (at, (name, _)) in fields.iter().enumerate() {
        statement.raw_bind_parameter(at + 2, field(name))?;
    }
    for at in fields.len() + 2..=statement.parameter_count() {
        let value = match statement.parameter_name(at).and_then(|name| name.get(1..)) {
            Some("site") => Value::Text(problem.home.site.as_str().to_owned()),
            Some("home") => Value::Text(home.to_owned()),
            other => field(other.unwrap_or_default()),
        };
        statement.raw_bind_parameter(at, value)?;
    }
    let mut kept = statement.raw_query();
    let Some(first) = kept.next().map_err(of_this_row)? else {
        return Err(refused(Code::Trigger, "the table of the problems ignored the new one").into());
    };
    let id = values::problem(first.get_ref(0)?);
    while kept.next()?.is_some() {}
    let missing = || refused(Code::NullInColumn, format!("column {} got no id; see [problem.insert]", table.id));
    Ok(id.ok_or_else(missing)?)
}

/// Whether no expression of the mapping fills this column of the problem's table.
fn is_kept(table: &ProblemTable, column: &str) -> bool {
    !table.create.iter().flatten().any(|(by, _)| by.eq_ignore_ascii_case(column))
}

/// What was prepared and fails is an expression or a trigger, on this row's values.
pub(super) fn of_this_row(e: rusqlite::Error) -> Trouble {
    match &e {
        rusqlite::Error::SqliteFailure(code, _) if code.extended_code == ffi::SQLITE_ERROR => {
            refused(Code::Trigger, e.to_string()).into()
        }
        _ => e.into(),
    }
}

/// What was created is what was sent, or it is refused. Fields of a problem that is not shared are not looked at.
fn read_back(
    connection: &Connection,
    plan: &Plan,
    table: &ProblemTable,
    new: &[NewProblem],
    ids: &[ProblemId],
) -> Result<(), Trouble> {
    let kept = known(connection, plan, ids)?;
    for (problem, id) in new.iter().zip(ids) {
        let Some(kept) = kept.get(id).filter(|kept| kept.home.as_ref() == Some(&problem.home)) else {
            let detail = "a created problem does not read back with its home name: look at the triggers of the table";
            return Err(refused(Code::Value, detail).into());
        };
        for (name, column) in table.fields.iter().filter(|(_, column)| is_kept(table, column)) {
            if let (Some(sent), Some(back)) = (problem.fields.get(name), kept.fields.get(name))
                && !same(sent.as_deref(), back.as_deref())
            {
                let detail = format!("column {column} would keep another value of the field {name} than was sent");
                return Err(refused(Code::Value, detail).into());
            }
        }
    }
    Ok(())
}

impl super::inspect::Found {
    /// How the problem's shared column of this name keeps its values.
    fn keeps_of_problem(&self, name: &str) -> Keeps {
        self.problem_fields.get(name).copied().unwrap_or_default()
    }
}
