//! The problems themselves: found by their home name, and created where there are none.

use std::collections::HashMap;
use std::sync::Arc;

use landbridge_core::message::Code;
use landbridge_core::{ProblemId, ProblemName, value};
use landbridge_flow::StoreError;
use landbridge_flow::ports::NewProblem;

use super::fault::row as refused;
use super::statements;
use super::txn::PostgresTxn;
use super::values::Params;

/// Of each home name, the problems that have it in the link column.
pub(super) async fn find(txn: &mut PostgresTxn, homes: &[ProblemName]) -> Result<Vec<Vec<ProblemId>>, StoreError> {
    let plan = Arc::clone(&txn.plan);
    let nothing = || Ok(vec![Vec::new(); homes.len()]);
    let Some(table) = &plan.mapping.problems else { return nothing() };
    let (Some(link), Some(column)) = (&table.link, &plan.found.link) else { return nothing() };
    let names: Vec<String> = homes.iter().map(ToString::to_string).collect();
    let asked: Vec<String> = names.iter().filter(|name| column.fits(name)).cloned().collect();
    if asked.is_empty() {
        return nothing();
    }
    let mut found: HashMap<String, Vec<ProblemId>> = HashMap::new();
    for row in txn.query(&statements::find(table, link, column), Params::default().texts(asked)).await? {
        let (home, id): (String, &str) = (txn.get(&row, 0)?, txn.get(&row, 1)?);
        found.entry(home).or_default().extend(id.parse::<ProblemId>());
    }
    Ok(names.iter().map(|name| found.get(name).cloned().unwrap_or_default()).collect())
}

/// Creates problems and returns their ids in the same order.
pub(super) async fn create(txn: &mut PostgresTxn, new: &[NewProblem]) -> Result<Vec<ProblemId>, StoreError> {
    let plan = Arc::clone(&txn.plan);
    let not_said = || StoreError::Mapping("[problem] create is not set".to_owned());
    let table = plan.mapping.problems.as_ref().ok_or_else(not_said)?;
    let (Some(link), Some(expressions)) = (&table.link, &table.create) else { return Err(not_said()) };
    let mut ids = Vec::with_capacity(new.len());
    for alike in new.chunk_by(|a, b| a.fields.keys().eq(b.fields.keys())) {
        let fields: Vec<&str> = table
            .fields
            .iter()
            .filter(|(name, column)| alike[0].fields.contains_key(*name) && !expressions.contains_key(*column))
            .map(|(name, _)| name.as_str())
            .collect();
        let each = |of: fn(&NewProblem) -> String| alike.iter().map(of).collect::<Vec<_>>();
        let params = Params::default().texts(each(|p| p.home.to_string())).texts(each(|p| p.home.site.to_string()));
        let params = table.fields.keys().fold(params, |params, name| {
            params.nullable(alike.iter().map(|p| p.fields.get(name).cloned().flatten()).collect())
        });
        let rows = txn.query(&statements::create(table, &plan.found, &fields, link), params).await?;
        if rows.len() != alike.len() {
            return Err(refused(
                Code::Trigger,
                format!("table {} ignored a new problem, as a trigger can", table.name),
            ));
        }
        for (row, given) in rows.iter().zip(alike) {
            let id: Option<&str> = txn.get(row, 0)?;
            if txn.get::<Option<&str>>(row, 1)? != Some(given.home.to_string().as_str()) {
                return Err(refused(Code::Value, format!("column {link} would keep another home name than was given")));
            }
            for (at, name) in fields.iter().enumerate() {
                let Some(field) = plan.found.problem_fields.get(*name) else { continue };
                let kept = field.canonical(txn.get(row, 2 + at)?);
                let sent = given.fields.get(*name).and_then(Option::as_deref);
                if !value::same(sent, kept.as_deref()) {
                    let column = table.fields.get(*name).map_or(*name, String::as_str);
                    return Err(refused(
                        Code::Value,
                        format!("column {column} would keep another value than was sent"),
                    ));
                }
            }
            let id = id.and_then(|id| id.parse().ok());
            ids.push(id.ok_or_else(|| refused(Code::Value, format!("column {} got no id of a problem", table.id)))?);
        }
    }
    Ok(ids)
}
