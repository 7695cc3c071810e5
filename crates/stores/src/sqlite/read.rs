//! Reading: the rows of problems, the bodies of rows, the pages of a sweep. One statement answers for many problems;
//! whether a problem itself may be seen is asked once beside it, in the same snapshot.

use std::collections::{HashMap, HashSet};

use landbridge_core::entry::Row;
use landbridge_core::{Digest, ProblemId, SiteName, WorkId};
use landbridge_flow::ports::{Body, Condition, ProblemRows, Swept};
use rusqlite::{Connection, params_from_iter};

use super::fault::Trouble;
use super::{Plan, statements, values};
use crate::mapping::Numbering;

/// The rows of each of `problems`, in the order asked.
pub(super) fn rows(
    connection: &Connection,
    plan: &Plan,
    problems: &[ProblemId],
    peer: Option<&SiteName>,
) -> Result<Vec<ProblemRows>, Trouble> {
    let visible = visible(connection, plan, problems)?;
    let mut found: HashMap<&ProblemId, ProblemRows> = HashMap::with_capacity(problems.len());
    for problem in problems {
        found.insert(problem, ProblemRows { visible: visible.contains(problem), ..ProblemRows::default() });
    }
    let sql = statements::rows(&plan.mapping, &[statements::open_to(&plan.mapping, peer)]);
    each_row(connection, plan, &sql, problems, |problem, work, marker, row| {
        if let Some(of_problem) = found.get_mut(problem) {
            let open = row.get(4)? && of_problem.visible;
            let bytes = row.get::<_, i64>(3)?.unsigned_abs();
            of_problem.rows.push(Row { work, marker, open, bytes });
        }
        Ok(())
    })?;
    for of_problem in found.values_mut() {
        of_problem.rows.sort_unstable_by_key(|r| r.work);
    }
    Ok(problems.iter().map(|p| found.get(p).cloned().unwrap_or_default()).collect())
}

/// Runs a statement of [`statements::rows`] and hands out problem, work id, marker and the row itself.
fn each_row(
    connection: &Connection,
    plan: &Plan,
    sql: &str,
    problems: &[ProblemId],
    mut with: impl FnMut(&ProblemId, WorkId, Option<String>, &rusqlite::Row<'_>) -> rusqlite::Result<()>,
) -> Result<(), Trouble> {
    if problems.is_empty() {
        return Ok(());
    }
    let mut statement = connection.prepare_cached(sql)?;
    let asked = values::problems_json(problems, plan.found.problem.untyped);
    let phrases = plan.mapping.phrases.iter().map(|p| format!("{p} "));
    let mut rows = statement.query(params_from_iter(std::iter::once(asked).chain(phrases)))?;
    while let Some(row) = rows.next()? {
        // A marker whose bytes are no text verifies nowhere: it is an entry.
        let marker = values::text(row.get_ref(2)?);
        if let (Some(problem), Some(work)) = (values::problem(row.get_ref(0)?), WorkId::new(row.get(1)?)) {
            with(&problem, work, marker, row)?;
        }
    }
    Ok(())
}

/// Those of `problems` that are there and may be delivered to. Without a table of the problems, all.
fn visible(connection: &Connection, plan: &Plan, problems: &[ProblemId]) -> Result<HashSet<ProblemId>, Trouble> {
    let Some(table) = &plan.mapping.problems else {
        return Ok(problems.iter().cloned().collect());
    };
    let mut statement = connection.prepare_cached(&statements::visible(table))?;
    let mut rows = statement.query([values::problems_json(problems, plan.found.problem_id.untyped)])?;
    let mut visible = HashSet::new();
    while let Some(row) = rows.next()? {
        visible.extend(values::problem(row.get_ref(0)?));
    }
    Ok(visible)
}

/// The bodies of `asked`, in that order.
pub(super) fn bodies(
    connection: &Connection,
    plan: &Plan,
    asked: &[(ProblemId, WorkId)],
) -> Result<Vec<Option<Body>>, Trouble> {
    let json = match plan.mapping.numbering() {
        Numbering::Generated => values::works_json(asked),
        Numbering::PerProblem => values::pairs_json(asked, plan.found.problem.untyped),
    };
    let mut statement = connection.prepare_cached(&statements::bodies(&plan.mapping))?;
    let mut rows = statement.query([json])?;
    let mut found = HashMap::with_capacity(asked.len());
    while let Some(row) = rows.next()? {
        let (Some(problem), Some(work)) = (values::problem(row.get_ref(0)?), WorkId::new(row.get(1)?)) else {
            continue;
        };
        let text = values::text(row.get_ref(2)?);
        let mut fields = landbridge_core::Fields::new();
        for (at, name) in plan.mapping.fields.keys().enumerate() {
            fields.insert(name.clone(), values::canonical(row.get_ref(3 + at)?));
        }
        found.insert((problem, work), Body { text, fields });
    }
    Ok(asked.iter().map(|row| found.get(row).cloned()).collect())
}

/// The next `limit` problems behind `after`, with their digests.
///
/// The digest is over a sum, one summand for each row, so that a problem of any length takes the same memory.
pub(super) fn sweep(
    connection: &Connection,
    plan: &Plan,
    after: Option<&ProblemId>,
    limit: usize,
) -> Result<Vec<Swept>, Trouble> {
    let peers: Vec<_> = plan.mapping.peers.iter().filter(|(_, share)| share.is_some()).map(|(name, _)| name).collect();
    let mut open = vec![statements::open_to(&plan.mapping, None)];
    open.extend(peers.iter().map(|peer| statements::open_to(&plan.mapping, Some(peer))));
    let sql = statements::rows(&plan.mapping, &open);
    let mut swept = Vec::new();
    let mut behind = after.map_or_else(Vec::new, |p| p.as_str().as_bytes().to_vec());
    while swept.len() < limit {
        let (problems, last) = page(connection, plan, &behind, limit - swept.len())?;
        let visible = visible(connection, plan, &problems)?;
        let mut sums: HashMap<ProblemId, (u64, u64)> = HashMap::new();
        each_row(connection, plan, &sql, &problems, |problem, work, marker, row| {
            let mut bytes = work.get().to_be_bytes().to_vec();
            for at in 0..open.len() {
                bytes.push(row.get::<_, bool>(4 + at)?.into());
            }
            bytes.extend(marker.as_deref().unwrap_or_default().as_bytes());
            let sum = sums.entry(problem.clone()).or_default();
            *sum = (sum.0 + 1, sum.1.wrapping_add(Digest::of_bytes(&bytes).short()));
            Ok(())
        })?;
        // A problem without a row in the history is none of ours.
        for problem in problems {
            if let Some((count, sum)) = sums.get(&problem) {
                let all = [count.to_be_bytes(), sum.to_be_bytes(), u64::from(visible.contains(&problem)).to_be_bytes()];
                swept.push(Swept { problem, digest: Digest::of_bytes(all.as_flattened()).short() });
            }
        }
        match last {
            Some(last) => behind = last,
            None => break,
        }
    }
    Ok(swept)
}

/// The next problem ids behind `behind`, and behind what to go on: nothing at the end. Ids that are none are left out.
fn page(
    connection: &Connection,
    plan: &Plan,
    behind: &[u8],
    limit: usize,
) -> Result<(Vec<ProblemId>, Option<Vec<u8>>), Trouble> {
    let mut statement = connection.prepare_cached(&statements::page(&plan.mapping, plan.found.problem.text))?;
    let mut rows = statement.query((behind, i64::try_from(limit).unwrap_or(i64::MAX)))?;
    let (mut problems, mut last, mut count) = (Vec::new(), Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let id = row.get_ref(0)?;
        problems.extend(values::problem(id));
        last = id.as_bytes().map(<[u8]>::to_vec).unwrap_or_default();
        count += 1;
    }
    Ok((problems, (count == limit).then_some(last)))
}

/// Every condition of the mapping and whether it lets this row pass; nothing where there is no such row.
pub(super) fn conditions(
    connection: &Connection,
    plan: &Plan,
    problem: &ProblemId,
    work: WorkId,
) -> Result<Option<Vec<Condition>>, Trouble> {
    let mapping = &plan.mapping;
    let named = |name: &str, sql: &Option<String>| sql.as_ref().map(|sql| (name.to_owned(), None, sql.clone()));
    let mut of_row: Vec<(String, Option<SiteName>, String)> = Vec::new();
    of_row.extend(named("where", &mapping.within));
    of_row.extend(named("share", &mapping.share));
    for (peer, share) in &mapping.peers {
        of_row.extend(share.as_ref().map(|sql| (format!("peer {peer} share"), Some(peer.clone()), sql.clone())));
    }
    let sql: Vec<&str> = of_row.iter().map(|(_, _, sql)| sql.as_str()).collect();
    let mut statement = connection.prepare_cached(&statements::conditions(mapping, &sql))?;
    let json = values::problems_json([problem], plan.found.problem.untyped);
    let mut rows = statement.query((json, work.get()))?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let passes = (1..=of_row.len()).map(|at| row.get(at)).collect::<rusqlite::Result<Vec<bool>>>()?;
    let mut conditions: Vec<Condition> = of_row
        .into_iter()
        .zip(passes)
        .map(|((name, peer, sql), passes)| Condition { name, peer, sql, passes })
        .collect();
    if let Some(table) = &mapping.problems {
        let passes = visible(connection, plan, std::slice::from_ref(problem))?.contains(problem);
        let there = format!("{} is in {}", table.id, table.name);
        let sql = table.share.as_ref().map_or_else(|| there.clone(), |share| format!("{there} and {share}"));
        conditions.push(Condition { name: "problem.share".to_owned(), peer: None, sql, passes });
    }
    Ok(Some(conditions))
}
