//! Deleting markers: many of a table in one statement, or the statements of the mapping row by row.

use landbridge_flow::StoreError;
use landbridge_flow::ports::Removal;
use mysql_async::Value;

use super::fault::Trouble;
use super::pool::Session;
use super::values::IdClass;
use super::{Plan, statements};
use crate::mapping::Source;
use crate::sqltext;

/// Rows of one statement.
const ROWS_MAX: usize = 256;

/// Deletes those of `rows` that still are as they were read, and says how many.
pub(super) async fn remove(session: &mut Session, plan: &Plan, rows: &[Removal]) -> Result<u64, Trouble> {
    let (mapping, found) = (&plan.mapping, &plan.found);
    mapping.may_remove().map_err(|why| StoreError::Mapping(why.to_owned()))?;
    let (apart, of_history): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.work.apart_number().is_some());
    let mut removed = 0;
    if let Some(name) = &mapping.markers {
        let sql = |count| statements::remove_markers(name, found, count);
        removed += at_once(session, &found.marker_problem, &sql, &apart).await?;
    }
    match &mapping.source {
        Source::Table(_) => {
            let sql = |count| statements::remove(mapping, found, count);
            removed += at_once(session, &found.problem, &sql, &of_history).await?;
        }
        Source::Statements(by) => {
            for row in of_history {
                for (at, sql) in by.remove.iter().enumerate() {
                    let changed = by_statement(session, &found.problem, sql, row).await?;
                    removed += u64::from(at == 0 && changed > 0);
                }
            }
        }
    }
    Ok(removed)
}

fn text(text: &str) -> Value {
    Value::Bytes(text.as_bytes().to_vec())
}

async fn at_once(
    session: &mut Session,
    class: &IdClass,
    sql: &(dyn Fn(usize) -> String + Send + Sync),
    rows: &[&Removal],
) -> Result<u64, Trouble> {
    // A problem that the column cannot hold has no rows in it.
    let bound = |row: &&Removal| {
        let number = row.work.apart_number().unwrap_or(row.work.get());
        Some([class.bind(row.problem.as_str())?, Value::Int(number), text(&row.text)])
    };
    let rows: Vec<[Value; 3]> = rows.iter().filter_map(bound).collect();
    let mut removed = 0;
    for some in rows.chunks(ROWS_MAX) {
        let bound = statements::filled(some.to_vec());
        removed += session.ask(&sql(some.len()), bound.into_iter().flatten().collect()).await?.affected;
    }
    Ok(removed)
}

async fn by_statement(session: &mut Session, class: &IdClass, sql: &str, row: &Removal) -> Result<u64, Trouble> {
    let Some(problem) = class.bind(row.problem.as_str()) else { return Ok(0) };
    let mut bound = Vec::new();
    let sql = sqltext::bind(sql, |name| {
        bound.push(match name {
            "problem" => problem.clone(),
            "work" => Value::Int(row.work.get()),
            "text" => text(&row.text),
            _ => Value::NULL,
        });
        if name == "problem" { class.holder() } else { "?".to_owned() }
    });
    Ok(session.ask(&sql, bound).await?.affected)
}
