//! Problems that sites number differently: finding the one of a home name by the link column, and creating it.

use std::collections::HashMap;

use landbridge_core::message::Code;
use landbridge_core::{ProblemId, ProblemName};
use landbridge_flow::StoreError;
use landbridge_flow::ports::NewProblem;
use mysql_async::Value;

use super::append::{Bound, Slot};
use super::fault::{Trouble, row as refused};
use super::pool::Session;
use super::values::Form;
use super::{Plan, statements, values};
use crate::mapping::ProblemTable;

/// Of each home name, the problems that have it in the link column.
pub(super) async fn find(
    session: &mut Session,
    plan: &Plan,
    homes: &[ProblemName],
) -> Result<Vec<Vec<ProblemId>>, Trouble> {
    let mapped = plan.mapping.problems.as_ref().and_then(|t| Some((t, t.link.as_ref()?)));
    let Some((table, link)) = mapped else { return Ok(vec![Vec::new(); homes.len()]) };
    let asked: Vec<Value> = homes.iter().map(|home| Value::Bytes(home.to_string().into_bytes())).collect();
    let mut found: HashMap<String, Vec<ProblemId>> = HashMap::new();
    let column = plan.found.problems.as_ref().and_then(|t| t.column(link));
    let class = column.and_then(super::schema::ColumnInfo::id_class).unwrap_or_default();
    for some in asked.chunks(statements::ASKED_MAX) {
        let sql = statements::linked(table, link, &class, some.len());
        for row in &session.ask(&sql, statements::filled(some.to_vec())).await?.rows {
            let (home, id) = (row.first().and_then(values::text), row.get(1).and_then(values::problem));
            if let (Some(home), Some(id)) = (home, id) {
                found.entry(home).or_default().push(id);
            }
        }
    }
    Ok(homes.iter().map(|home| found.get(&home.to_string()).cloned().unwrap_or_default()).collect())
}

/// Creates problems, one after the other, and returns their ids.
pub(super) async fn create(session: &mut Session, plan: &Plan, new: &[NewProblem]) -> Result<Vec<ProblemId>, Trouble> {
    let mapped = plan.mapping.problems.as_ref().and_then(|t| Some((t, t.link.as_ref()?, t.create.as_ref()?)));
    let Some((table, link, expressions)) = mapped else {
        let missing =
            "[problem] create = true, link and [problem.insert] say how a problem is created, and are not set";
        return Err(StoreError::Mapping(missing.to_owned()).into());
    };
    let mut ids = Vec::with_capacity(new.len());
    for problem in new {
        let came = |name: &str| problem.fields.contains_key(name);
        let (id, slots) = slots(table, link, expressions, came);
        let id = match id {
            Some(expression) => {
                let bound = expression.bound.iter().map(|b| value(plan, table, problem, b)).collect();
                let answer = session.ask(&format!("select {}", expression.holder), bound).await?;
                let id = answer.rows.first().and_then(|r| r.first()).and_then(values::problem);
                Some(id.ok_or_else(|| refused(Code::Value, format!("[problem.insert] {} gave no id", table.id)))?)
            }
            None => None,
        };
        ids.push(one(session, plan, table, link, &slots, problem, id).await?);
    }
    Ok(ids)
}

/// The expression of the id, where there is one, and the other columns of a new problem.
pub(super) fn slots(
    table: &ProblemTable,
    link: &str,
    expressions: &std::collections::BTreeMap<String, String>,
    came: impl Fn(&str) -> bool,
) -> (Option<Slot>, Vec<Slot>) {
    let plain =
        |column: &str, bound| Slot { column: statements::quoted(column), holder: "?".to_owned(), bound: vec![bound] };
    let by_expression = |column: &str| expressions.keys().any(|c| c.eq_ignore_ascii_case(column));
    let mut slots = vec![plain(link, Bound::Text)];
    for (name, column) in &table.fields {
        if came(name) && !by_expression(column) && !column.eq_ignore_ascii_case(link) {
            slots.push(plain(column, Bound::Column(name.clone())));
        }
    }
    let mut id = None;
    for (column, sql) in expressions {
        let slot = Slot::expression(column, sql, |name| match name {
            "site" => Bound::Site,
            "home" => Bound::Text,
            field => Bound::Field(field.to_owned()),
        });
        if column.eq_ignore_ascii_case(&table.id) {
            id = Some(slot);
        } else {
            slots.push(slot);
        }
    }
    (id, slots)
}

fn value(plan: &Plan, table: &ProblemTable, new: &NewProblem, what: &Bound) -> Value {
    let text = |text: &str| Value::Bytes(text.as_bytes().to_vec());
    match what {
        Bound::Site => text(new.home.site.as_str()),
        Bound::Field(name) => new.fields.get(name).and_then(Option::as_deref).map_or(Value::NULL, text),
        Bound::Column(name) => {
            let column = table.fields.get(name).and_then(|c| plan.found.problems.as_ref()?.column(c));
            values::received(new.fields.get(name).and_then(Option::as_deref), column)
        }
        Bound::Text | Bound::Problem | Bound::Number => text(&new.home.to_string()),
    }
}

async fn one(
    session: &mut Session,
    plan: &Plan,
    table: &ProblemTable,
    link: &str,
    slots: &[Slot],
    new: &NewProblem,
    id: Option<ProblemId>,
) -> Result<ProblemId, Trouble> {
    let class = &plan.found.problem_id;
    let foreign = || refused(Code::Value, format!("column {} cannot hold the new problem's id", table.id));
    let mut columns: Vec<(String, String)> = slots.iter().map(|s| (s.column.clone(), s.holder.clone())).collect();
    let mut bound: Vec<Value> = slots.iter().flat_map(|s| &s.bound).map(|what| value(plan, table, new, what)).collect();
    if let Some(id) = &id {
        columns.push((statements::quoted(&table.id), class.written()));
        bound.push(class.bind(id.as_str()).ok_or_else(foreign)?);
    }
    let inserted = session.ask(&statements::insert(&table.name, &columns, 1), bound).await?.inserted;
    let id = match id {
        Some(id) => id,
        None if inserted > 0 => inserted.to_string().parse().map_err(|_| foreign())?,
        None => {
            let detail = format!("the database gave out no number in column {} of table {}", table.id, table.name);
            return Err(refused(Code::Value, detail).into());
        }
    };
    read_back(session, plan, table, link, slots, new, &id).await?;
    Ok(id)
}

/// Another home name or field than was given is no problem of this name.
async fn read_back(
    session: &mut Session,
    plan: &Plan,
    table: &ProblemTable,
    link: &str,
    slots: &[Slot],
    new: &NewProblem,
    id: &ProblemId,
) -> Result<(), Trouble> {
    let direct = |b: &Bound| match b {
        Bound::Column(name) => table.fields.get_key_value(name),
        _ => None,
    };
    let written: Vec<(&String, &String)> = slots.iter().flat_map(|s| s.bound.iter().filter_map(direct)).collect();
    let mut columns = vec![link];
    columns.extend(written.iter().map(|(_, column)| column.as_str()));
    let class = &plan.found.problem_id;
    let bound = class.bind(id.as_str()).into_iter().collect();
    let answer = session.ask(&statements::problem(table, class, &columns), bound).await?;
    let forms: Vec<Form> = answer.columns.iter().map(Form::of).collect();
    let other = |column: &str| refused(Code::Value, format!("column {column} would keep another value than was sent"));
    let row = answer.rows.first().ok_or_else(|| other(&table.id))?;
    if row.first().and_then(values::text).as_deref() != Some(new.home.to_string().as_str()) {
        return Err(other(link).into());
    }
    for (at, (name, column)) in written.iter().enumerate() {
        let kept =
            row.get(1 + at).and_then(|v| values::canonical(v, forms.get(1 + at).copied().unwrap_or(Form::Plain)));
        let info = plan.found.problems.as_ref().and_then(|t| t.column(column));
        if !values::same(new.fields.get(*name).and_then(Option::as_deref), kept.as_deref(), info) {
            return Err(other(column).into());
        }
    }
    Ok(())
}
