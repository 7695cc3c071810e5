//! Appending by the statements of the mapping: row by row, one statement after the other, with everything that they name
//! bound. What the history then says of the row is found out by the flow, which reads it back.

use std::collections::BTreeMap;

use landbridge_core::WorkId;
use landbridge_core::message::Code;
use landbridge_flow::ports::{Append, Kind, Removal};
use rusqlite::Connection;
use rusqlite::types::Value;

use super::append::Known;
use super::fault::{Trouble, row as refused};
use super::problems::of_this_row;
use super::statements;
use crate::mapping::Statements;

/// What the names in the statements stand for. A field that did not come is null.
type Named = BTreeMap<String, Value>;

/// Appends one row and returns its number.
pub(super) fn append(
    connection: &Connection,
    by: &Statements,
    known: &mut Known,
    row: &Append,
) -> Result<WorkId, Trouble> {
    let mut named = Named::new();
    for (name, value) in &row.fields {
        named.insert(name.clone(), value.clone().map_or(Value::Null, Value::Text));
    }
    let kind = if row.kind == Kind::Entry { &by.append_kind.entry } else { &by.append_kind.marker };
    let texts = [("text", row.text.as_str()), ("kind", kind), ("site", row.site.as_str())];
    named.extend(texts.map(|(name, text)| (name.to_owned(), Value::Text(text.to_owned()))));
    named.insert("problem".to_owned(), known.stored.clone());

    let mut work = None;
    for sql in &by.append {
        let before = connection.total_changes();
        run(connection, sql, &named)?;
        if work.is_none() {
            if connection.total_changes() == before {
                let detail = "the first statement of [history] append wrote nothing";
                return Err(refused(Code::Trigger, detail).into());
            }
            let number = number(connection, &by.work_from, &named)?;
            // An older number would be that of another row, and of that one everything might read back as sent.
            if number <= known.highest {
                let detail = "[history] work_from gave no number behind that of the row before";
                return Err(refused(Code::Value, detail).into());
            }
            known.highest = number;
            work = WorkId::new(number).filter(|work| work.apart_number().is_none());
            named.insert("work".to_owned(), Value::Integer(number));
        }
    }
    Ok(work.ok_or_else(|| refused(Code::Value, "[history] work_from gave a number that no row has"))?)
}

/// Deletes one marker. Whether the first statement changed anything.
pub(super) fn remove(connection: &Connection, by: &Statements, problem: Value, row: &Removal) -> Result<bool, Trouble> {
    let named: Named = [
        ("problem".to_owned(), problem),
        ("work".to_owned(), Value::Integer(row.work.get())),
        ("text".to_owned(), Value::Text(row.text.clone())),
    ]
    .into();
    let mut deleted = false;
    for (at, sql) in by.remove.iter().enumerate() {
        let before = connection.total_changes();
        run(connection, sql, &named)?;
        deleted |= at == 0 && connection.total_changes() > before;
    }
    Ok(deleted)
}

/// Runs one of the statements that follow the rows of a problem.
pub(super) fn also(connection: &Connection, sql: &str, problem: &Value) -> Result<(), Trouble> {
    run(connection, sql, &[("problem".to_owned(), problem.clone())].into())
}

fn run(connection: &Connection, sql: &str, named: &Named) -> Result<(), Trouble> {
    let mut statement = connection.prepare_cached(sql)?;
    bind(&mut statement, named)?;
    let mut rows = statement.raw_query();
    while rows.next().map_err(of_this_row)?.is_some() {}
    Ok(())
}

/// The whole number that an expression gives; 0 where it gives none.
fn number(connection: &Connection, sql: &str, named: &Named) -> Result<i64, Trouble> {
    let mut statement = connection.prepare_cached(&statements::value_of(sql))?;
    bind(&mut statement, named)?;
    let mut rows = statement.raw_query();
    let value = rows.next().map_err(of_this_row)?.map(|row| row.get(0)).transpose()?;
    Ok(if let Some(Value::Integer(number)) = value { number } else { 0 })
}

fn bind(statement: &mut rusqlite::Statement<'_>, named: &Named) -> rusqlite::Result<()> {
    for at in 1..=statement.parameter_count() {
        let name = statement.parameter_name(at).and_then(|name| name.get(1..)).unwrap_or_default();
        let value = named.get(name).cloned().unwrap_or(Value::Null);
        statement.raw_bind_parameter(at, value)?;
    }
    Ok(())
}
