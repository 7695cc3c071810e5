//! Deleting markers: one statement for many of a table, or the statements of the mapping row by row.

use landbridge_flow::StoreError;
use landbridge_flow::ports::Removal;
use rusqlite::Connection;

use super::append::stored_form;
use super::fault::Trouble;
use super::{Plan, by_statements, statements, values};
use crate::mapping::Source;

/// Deletes those of `rows` that still are as they were read, and says how many.
pub(super) fn remove(connection: &Connection, plan: &Plan, rows: &[Removal]) -> Result<u64, Trouble> {
    plan.mapping.may_remove().map_err(|why| StoreError::Mapping(why.to_owned()))?;
    let (apart, of_history): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.work.apart_number().is_some());
    let mut removed = 0;
    if let Some(table) = plan.mapping.markers.as_ref().filter(|_| !apart.is_empty()) {
        let rows = apart.iter().filter_map(|row| Some((&row.problem, row.work.apart_number()?, row.text.as_str())));
        let asked = values::removals_json(rows, plan.found.marker_problem.untyped);
        removed += connection.prepare_cached(&statements::remove_markers(table))?.execute([asked])? as u64;
    }
    if of_history.is_empty() {
        return Ok(removed);
    }
    match &plan.mapping.source {
        Source::Table(_) => {
            let rows = of_history.iter().map(|row| (&row.problem, row.work.get(), row.text.as_str()));
            let asked = values::removals_json(rows, plan.found.problem.untyped);
            removed += connection.prepare_cached(&statements::remove(&plan.mapping))?.execute([asked])? as u64;
        }
        Source::Statements(by) => {
            for row in of_history {
                let problem = stored_form(connection, plan, &row.problem)?;
                removed += u64::from(by_statements::remove(connection, by, problem, row)?);
            }
        }
    }
    Ok(removed)
}
