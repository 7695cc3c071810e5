//! Markers in a table of their own. Their numbers are kept apart from those of the history's rows.

use std::collections::HashMap;

use landbridge_core::entry::Row;
use landbridge_core::message::Code;
use landbridge_core::{ProblemId, WorkId};
use landbridge_flow::ports::{Append, Body};
use rusqlite::Connection;

use super::fault::{Trouble, row as refused};
use super::problems::of_this_row;
use super::{Plan, statements, values};
use crate::mapping::TableName;

/// Appends markers in their order and returns their numbers.
pub(super) fn append(connection: &Connection, table: &TableName, rows: &[Append]) -> Result<Vec<WorkId>, Trouble> {
    let mut statement = connection.prepare_cached(&statements::append_marker(table))?;
    let mut works = Vec::with_capacity(rows.len());
    for row in rows {
        let mut kept = statement.query((row.problem.as_str(), &row.text))?;
        let Some(first) = kept.next().map_err(of_this_row)? else {
            return Err(refused(Code::Trigger, "the table of the markers ignored the row").into());
        };
        let work = WorkId::apart(first.get(0)?);
        let same_problem = values::problem(first.get_ref(1)?).as_ref() == Some(&row.problem);
        let same_text = first.get::<_, Option<bool>>(2)? == Some(true);
        while kept.next()?.is_some() {}
        let work = work.filter(|_| same_problem && same_text);
        works.push(work.ok_or_else(|| refused(Code::Value, "the table of the markers would keep another row"))?);
    }
    Ok(works)
}

/// The markers of `problems`, as rows that never leave.
pub(super) fn rows(
    connection: &Connection,
    plan: &Plan,
    problems: &[ProblemId],
    mut with: impl FnMut(&ProblemId, Row),
) -> Result<(), Trouble> {
    let Some(table) = &plan.mapping.markers else {
        return Ok(());
    };
    let mut statement = connection.prepare_cached(&statements::markers(table))?;
    let mut rows = statement.query([values::problems_json(problems, plan.found.marker_problem.untyped)])?;
    while let Some(row) = rows.next()? {
        let (Some(problem), Some(work)) = (values::problem(row.get_ref(0)?), WorkId::apart(row.get(1)?)) else {
            continue;
        };
        if let Some(text) = values::text(row.get_ref(2)?) {
            let bytes = text.len() as u64;
            with(&problem, Row { work, marker: Some(text), open: false, bytes });
        }
    }
    Ok(())
}

/// The bodies of those of `asked` that are markers in a table of their own.
pub(super) fn bodies(
    connection: &Connection,
    plan: &Plan,
    asked: &[(ProblemId, WorkId)],
    into: &mut HashMap<(ProblemId, WorkId), Body>,
) -> Result<(), Trouble> {
    let numbers: Vec<i64> = asked.iter().filter_map(|(_, work)| work.apart_number()).collect();
    let Some(table) = plan.mapping.markers.as_ref().filter(|_| !numbers.is_empty()) else {
        return Ok(());
    };
    let mut statement = connection.prepare_cached(&statements::marker_bodies(table))?;
    let mut rows = statement.query([values::works_json(numbers)])?;
    while let Some(row) = rows.next()? {
        if let (Some(problem), Some(work)) = (values::problem(row.get_ref(0)?), WorkId::apart(row.get(1)?)) {
            let body = Body { text: values::text(row.get_ref(2)?), fields: Default::default() };
            into.insert((problem, work), body);
        }
    }
    Ok(())
}
