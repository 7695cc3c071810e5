//! Deleting markers: one statement for many of a table, or the statements of the mapping row by row.

use std::sync::Arc;

use landbridge_flow::StoreError;
use landbridge_flow::ports::Removal;

use super::statements;
use super::txn::PostgresTxn;
use super::values::{IdColumn, Params};
use crate::mapping::Source;

/// Deletes those of `rows` that still are as they were read, and says how many.
pub(super) async fn remove(txn: &mut PostgresTxn, rows: &[Removal]) -> Result<u64, StoreError> {
    let plan = Arc::clone(&txn.plan);
    let (mapping, found) = (&plan.mapping, &plan.found);
    mapping.may_remove().map_err(|why| StoreError::Mapping(why.to_owned()))?;
    let (apart, of_history): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.work.apart_number().is_some());
    let mut removed = 0;
    if let (Some(name), Some(column)) = (&mapping.markers, &found.markers) {
        removed += at_once(txn, &statements::remove_markers(name, column), column, &apart).await?;
    }
    match &mapping.source {
        Source::Table(_) => {
            removed += at_once(txn, &statements::remove(mapping, found), &found.problem, &of_history).await?;
        }
        Source::Statements(by) => {
            for row in of_history {
                for (at, sql) in by.remove.iter().enumerate() {
                    let changed = by_statement(txn, sql, row).await?;
                    removed += u64::from(at == 0 && changed > 0);
                }
            }
        }
    }
    Ok(removed)
}

async fn at_once(txn: &mut PostgresTxn, sql: &str, problem: &IdColumn, rows: &[&Removal]) -> Result<u64, StoreError> {
    // A problem that the column cannot hold has no rows in it.
    let rows: Vec<_> = rows.iter().filter(|row| problem.fits(row.problem.as_str())).collect();
    if rows.is_empty() {
        return Ok(0);
    }
    let number = |row: &Removal| row.work.apart_number().unwrap_or(row.work.get());
    let params = Params::default()
        .texts(rows.iter().map(|row| row.problem.as_str().to_owned()).collect())
        .numbers(rows.iter().map(|row| number(row)).collect())
        .texts(rows.iter().map(|row| row.text.clone()).collect());
    txn.execute(sql, params).await
}

async fn by_statement(txn: &mut PostgresTxn, sql: &str, row: &Removal) -> Result<u64, StoreError> {
    let (sql, names) = statements::numbered(sql);
    let value = |name: &str| match name {
        "problem" => Some(row.problem.as_str().to_owned()),
        "work" => Some(row.work.to_string()),
        "text" => Some(row.text.clone()),
        _ => None,
    };
    let params = names.iter().fold(Params::default(), |params, name| params.inferred(value(name)));
    txn.execute(&sql, params).await
}
