//! Appending by statements, row by row: histories that are no single plain table (DESIGN §8). After the first statement
//! the database is asked for the row's number, which the later ones may use.

use landbridge_core::WorkId;
use landbridge_core::message::Code;
use landbridge_flow::StoreError;
use landbridge_flow::ports::{Append, Kind};
use mysql_async::Value;

use super::fault::{Trouble, row as refused};
use super::pool::Session;
use super::{Plan, statements, values};
use crate::sqltext;

/// Appends `rows` in their order.
pub(super) async fn append(
    session: &mut Session,
    plan: &Plan,
    rows: &[Append],
) -> Result<Vec<Option<WorkId>>, Trouble> {
    let Some(mapped) = plan.mapping.statements() else {
        return Err(StoreError::Broken("the history is mapped by no statements".to_owned()).into());
    };
    let mut works = Vec::with_capacity(rows.len());
    for row in rows {
        let mut work = None;
        for (at, sql) in mapped.append.iter().enumerate() {
            let (sql, bound) = bind(plan, sql, row, work)?;
            session.ask(&sql, bound).await?;
            if at == 0 {
                let (sql, bound) = bind(plan, &work_from(&mapped.work_from), row, None)?;
                let answer = session.ask(&sql, bound).await?;
                let number = answer.rows.first().and_then(|r| r.first()).and_then(values::number);
                work = number.and_then(WorkId::new).filter(|work| work.get() <= WorkId::APART);
                let none = "[history] work_from gave no number after the first statement of append";
                work.ok_or_else(|| refused(Code::Value, none))?;
            }
        }
        works.push(work);
    }
    Ok(works)
}

/// The question for the number of the row that the first statement appended.
pub(super) fn work_from(sql: &str) -> String {
    format!("select {}", statements::part(Some(sql)))
}

/// The names that a statement of `append` may use, besides those of fields.
pub(super) const PARAMETERS: [&str; 5] = ["problem", "text", "kind", "site", "work"];

fn bind(plan: &Plan, sql: &str, row: &Append, work: Option<WorkId>) -> Result<(String, Vec<Value>), Trouble> {
    let text = |text: &str| Value::Bytes(text.as_bytes().to_vec());
    let class = &plan.found.problem;
    let kind = plan.mapping.statements().map(|s| match row.kind {
        Kind::Entry => s.append_kind.entry.as_str(),
        Kind::Marker => s.append_kind.marker.as_str(),
    });
    let foreign = || refused(Code::Value, "the problem column cannot hold the problem's id");
    let problem = class.bind(row.problem.as_str()).ok_or_else(foreign)?;
    let mut bound = Vec::new();
    let sql = sqltext::bind(sql, |name| {
        bound.push(match name {
            "problem" => problem.clone(),
            "text" => text(&row.text),
            "kind" => text(kind.unwrap_or_default()),
            "site" => text(row.site.as_str()),
            "work" => work.map_or(Value::NULL, |work| Value::Int(work.get())),
            field => row.fields.get(field).and_then(Option::as_deref).map_or(Value::NULL, text),
        });
        if name == "problem" { class.holder() } else { "?".to_owned() }
    });
    Ok((sql, bound))
}
