//! Reading: the rows of problems, the bodies of rows, the pages of a sweep. One statement answers for many problems;
//! the problems themselves, and markers in a table of their own, are asked for beside it in the same transaction.

use std::collections::HashMap;
use std::sync::Arc;

use landbridge_core::entry::Row;
use landbridge_core::{Digest, Fields, ProblemId, SiteName, WorkId};
use landbridge_flow::StoreError;
use landbridge_flow::ports::{Body, Condition, Mode, ProblemRows, Swept};

use super::statements;
use super::txn::PostgresTxn;
use super::values::Params;
use crate::encoding;
use crate::mapping::Numbering;

/// The rows of each of `problems`, in the order asked.
pub(super) async fn rows(
    txn: &mut PostgresTxn,
    problems: &[ProblemId],
    peer: Option<&SiteName>,
) -> Result<Vec<ProblemRows>, StoreError> {
    let plan = Arc::clone(&txn.plan);
    let mut found = look_at_problems(txn, problems).await?;
    let open = [statements::open_to(&plan.mapping, &plan.found, peer)];
    for seen in all_rows(txn, problems, &open).await? {
        if let Some(of_problem) = found.get_mut(&seen.problem) {
            let open = of_problem.visible && seen.open.iter().all(|open| *open);
            of_problem.rows.push(Row { work: seen.work, marker: seen.marker, open, bytes: seen.bytes });
        }
    }
    for of_problem in found.values_mut() {
        of_problem.rows.sort_unstable_by_key(|r| r.work);
    }
    Ok(problems.iter().map(|p| found.get(p).cloned().unwrap_or_default()).collect())
}

/// A row as the statements bring it.
struct Seen {
    problem: ProblemId,
    work: WorkId,
    marker: Option<String>,
    bytes: u64,
    open: Vec<bool>,
}

/// The rows of the history and the markers beside it. Their problems are compared with `problems` by the caller: a
/// column may hold other spellings for equal.
async fn all_rows(
    txn: &mut PostgresTxn,
    problems: &[ProblemId],
    open: &[Vec<String>],
) -> Result<Vec<Seen>, StoreError> {
    let plan = Arc::clone(&txn.plan);
    let (mapping, found) = (&plan.mapping, &plan.found);
    let begins = |text: &str| {
        let phrase = |p: &String| text.strip_prefix(p.as_str()).is_some_and(|rest| rest.starts_with(' '));
        mapping.phrases.iter().any(phrase)
    };
    let with_phrases = |asked: Vec<String>| {
        let params = Params::default().texts(asked);
        mapping.phrases.iter().fold(params, |params, phrase| params.text(Some(format!("{phrase} "))))
    };
    let mut all = Vec::new();
    let asked = found.problem.asked(problems);
    if !asked.is_empty() {
        let sql = statements::rows(mapping, found, open);
        for row in txn.query(&sql, with_phrases(asked)).await? {
            let (id, work): (&str, i64) = (txn.get(&row, 0)?, txn.get(&row, 1)?);
            let (Ok(problem), Some(work)) = (id.parse(), WorkId::new(work)) else { continue };
            let (marker, encoding): (Option<&str>, Option<&str>) = (txn.get(&row, 2)?, txn.get(&row, 3)?);
            let marker = marker.and_then(|text| encoding::decoded(text, encoding)).filter(|text| begins(text));
            let bytes = txn.get::<i64>(&row, 4)?.unsigned_abs();
            let open = (0..open.len()).map(|at| txn.get(&row, 5 + at)).collect::<Result<_, _>>()?;
            all.push(Seen { problem, work, marker, bytes, open });
        }
    }
    if let (Some(name), Some(column)) = (&mapping.markers, &found.markers) {
        let asked = column.asked(problems);
        if !asked.is_empty() {
            let sql = statements::markers(name, column, mapping.phrases.len());
            for row in txn.query(&sql, with_phrases(asked)).await? {
                let (id, number): (&str, i64) = (txn.get(&row, 0)?, txn.get(&row, 1)?);
                let (Ok(problem), Some(work)) = (id.parse(), WorkId::apart(number)) else { continue };
                let text: String = txn.get(&row, 2)?;
                let (bytes, open) = (text.len() as u64, vec![false; open.len()]);
                all.push(Seen { problem, work, marker: Some(text), bytes, open });
            }
        }
    }
    Ok(all)
}

/// Of each problem, whether it may be delivered to, its home name and its shared columns; without rows. Without a
/// table of the problems, every id that the history could hold may be.
async fn look_at_problems(
    txn: &mut PostgresTxn,
    problems: &[ProblemId],
) -> Result<HashMap<ProblemId, ProblemRows>, StoreError> {
    let plan = Arc::clone(&txn.plan);
    let mut all: HashMap<ProblemId, ProblemRows> = HashMap::with_capacity(problems.len());
    for problem in problems {
        let visible = plan.mapping.problems.is_none() && plan.found.problem.fits(problem.as_str());
        all.insert(problem.clone(), ProblemRows { visible, ..ProblemRows::default() });
    }
    let (Some(table), Some(id)) = (&plan.mapping.problems, &plan.found.problem_id) else { return Ok(all) };
    let asked = id.asked(problems);
    if asked.is_empty() {
        return Ok(all);
    }
    let fields = &plan.found.problem_fields;
    let sql = statements::problems(table, id, fields);
    for row in txn.query(&sql, Params::default().texts(asked)).await? {
        let id = txn.get::<&str>(&row, 0)?.parse::<ProblemId>().ok();
        let Some(of_problem) = id.and_then(|id| all.get_mut(&id)) else { continue };
        of_problem.visible |= txn.get::<bool>(&row, 1)?;
        of_problem.home = txn.get::<Option<&str>>(&row, 2)?.and_then(|home| home.trim_end_matches(' ').parse().ok());
        of_problem.fields = Fields::new();
        for (at, (name, field)) in fields.iter().enumerate() {
            of_problem.fields.insert(name.clone(), field.canonical(txn.get(&row, 3 + at)?));
        }
    }
    Ok(all)
}

/// The bodies of `asked`, in that order.
///
/// In a write transaction the rows are pinned, where a number that a deletion frees can be given out again: with
/// numbers of our own. A sequence gives no number out twice, so generated numbers need no lock, and the bridge no right
/// to one. The rows of a query cannot be pinned in general (it may join and group), and the locks would need the right to
/// update every table in it; statements take their numbers from the database, and so are left unpinned too.
pub(super) async fn bodies(
    txn: &mut PostgresTxn,
    asked: &[(ProblemId, WorkId)],
) -> Result<Vec<Option<Body>>, StoreError> {
    let plan = Arc::clone(&txn.plan);
    let (mapping, found) = (&plan.mapping, &plan.found);
    let mut all: HashMap<(ProblemId, WorkId), Body> = HashMap::with_capacity(asked.len());
    let (mut ids, mut works, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
    for (problem, work) in asked {
        match work.apart_number() {
            Some(number) => numbers.push(number),
            None if found.problem.fits(problem.as_str()) => {
                ids.push(problem.as_str().to_owned());
                works.push(work.get());
            }
            None => {}
        }
    }
    if !ids.is_empty() {
        let pinned = txn.mode == Mode::Write && mapping.numbering() == Numbering::PerProblem;
        let sql = statements::bodies(mapping, found, pinned);
        for row in txn.query(&sql, Params::default().texts(ids).numbers(works)).await? {
            let (id, work): (&str, i64) = (txn.get(&row, 0)?, txn.get(&row, 1)?);
            let (Ok(problem), Some(work)) = (id.parse(), WorkId::new(work)) else { continue };
            let text = encoding::decoded(txn.get(&row, 2)?, txn.get(&row, 3)?);
            let mut fields = Fields::new();
            for (at, (name, field)) in found.fields.iter().enumerate() {
                fields.insert(name.clone(), field.canonical(txn.get(&row, 4 + at)?));
            }
            all.insert((problem, work), Body { text, fields });
        }
    }
    if let Some(name) = mapping.markers.as_ref().filter(|_| !numbers.is_empty()) {
        for row in txn.query(&statements::marker_bodies(name), Params::default().numbers(numbers)).await? {
            let (id, number): (&str, i64) = (txn.get(&row, 0)?, txn.get(&row, 1)?);
            let (Ok(problem), Some(work)) = (id.parse(), WorkId::apart(number)) else { continue };
            all.insert((problem, work), Body { text: txn.get(&row, 2)?, fields: Fields::new() });
        }
    }
    Ok(asked.iter().map(|row| all.get(row).cloned()).collect())
}

/// The next `limit` problems behind `after`, with their digests.
///
/// The digest is over a sum, one summand for each row, so that a problem of any length takes the same memory.
pub(super) async fn sweep(
    txn: &mut PostgresTxn,
    after: Option<&ProblemId>,
    limit: usize,
) -> Result<Vec<Swept>, StoreError> {
    let plan = Arc::clone(&txn.plan);
    let (mapping, found) = (&plan.mapping, &plan.found);
    let peers = mapping.peers.iter().filter(|(_, share)| share.is_some()).map(|(name, _)| name);
    let mut open = vec![statements::open_to(mapping, found, None)];
    open.extend(peers.map(|peer| statements::open_to(mapping, found, Some(peer))));
    let sql = statements::page(mapping, found);
    let mut swept = Vec::new();
    let mut behind = after.map(|p| p.as_str().to_owned());
    if behind.as_ref().is_some_and(|id| !found.problem.fits(id)) {
        return Ok(swept);
    }
    while swept.len() < limit {
        let wanted = limit - swept.len();
        let params = Params::default().text(behind.clone()).number(i64::try_from(wanted).unwrap_or(i64::MAX));
        let mut page: Vec<String> = Vec::new();
        for row in txn.query(&sql, params).await? {
            page.push(txn.get(&row, 0)?);
        }
        // Ids that are none are left out.
        let problems: Vec<ProblemId> = page.iter().filter_map(|id| id.parse().ok()).collect();
        let look = look_at_problems(txn, &problems).await?;
        let mut sums: HashMap<ProblemId, (u64, u64)> = HashMap::new();
        for seen in all_rows(txn, &problems, &open).await? {
            let mut bytes = seen.work.get().to_be_bytes().to_vec();
            bytes.extend(seen.open.iter().map(|open| u8::from(*open)));
            bytes.extend(seen.marker.as_deref().unwrap_or_default().as_bytes());
            let sum = sums.entry(seen.problem).or_default();
            *sum = (sum.0 + 1, sum.1.wrapping_add(Digest::of_bytes(&bytes).short()));
        }
        // A problem without a row in the history is none of ours.
        for problem in problems {
            if let Some((count, sum)) = sums.get(&problem) {
                let of_problem = look.get(&problem);
                let mut all = [count.to_be_bytes(), sum.to_be_bytes()].concat();
                all.push(u8::from(of_problem.is_some_and(|p| p.visible)));
                let home = of_problem.and_then(|p| p.home.as_ref()).map(ToString::to_string);
                all.extend(home.unwrap_or_default().as_bytes());
                swept.push(Swept { problem, digest: Digest::of_bytes(&all).short() });
            }
        }
        match page.pop() {
            Some(last) if page.len() + 1 >= wanted => behind = Some(last),
            _ => break,
        }
    }
    Ok(swept)
}

/// Every condition of the mapping and whether it lets this row pass; nothing where there is no such row.
pub(super) async fn conditions(
    txn: &mut PostgresTxn,
    problem: &ProblemId,
    work: WorkId,
) -> Result<Option<Vec<Condition>>, StoreError> {
    let plan = Arc::clone(&txn.plan);
    let (mapping, found) = (&plan.mapping, &plan.found);
    let mut of_row: Vec<(String, Option<SiteName>, String)> = Vec::new();
    let mut add = |name: &str, peer: Option<&SiteName>, sql: &Option<String>| {
        of_row.extend(sql.as_ref().map(|sql| (name.to_owned(), peer.cloned(), sql.clone())));
    };
    add("where", None, &mapping.within);
    let of_read = found.read_has_share.then(|| "share".to_owned());
    add("read share", None, &of_read);
    add("share", None, &mapping.share);
    for (peer, share) in &mapping.peers {
        add(&format!("peer {peer} share"), Some(peer), share);
    }
    if !found.problem.fits(problem.as_str()) {
        return Ok(None);
    }
    let sql: Vec<String> = of_row.iter().map(|(_, _, sql)| sql.clone()).collect();
    let sql = statements::conditions(mapping, found, &sql);
    let params = Params::default().texts(vec![problem.as_str().to_owned()]).number(work.get());
    let rows = txn.query(&sql, params).await?;
    let mut conditions = None;
    for row in &rows {
        if txn.get::<&str>(row, 0)? == problem.as_str() {
            let passes: Vec<bool> = (1..=of_row.len()).map(|at| txn.get(row, at)).collect::<Result<_, _>>()?;
            let condition = |((name, peer, sql), passes)| Condition { name, peer, sql, passes };
            conditions = Some(of_row.iter().cloned().zip(passes).map(condition).collect::<Vec<_>>());
        }
    }
    let Some(mut conditions) = conditions else { return Ok(None) };
    if let Some(table) = &mapping.problems {
        let passes =
            look_at_problems(txn, std::slice::from_ref(problem)).await?.get(problem).is_some_and(|p| p.visible);
        let there = format!("{} is in {}", table.id, table.name);
        let sql = table.share.as_ref().map_or_else(|| there.clone(), |share| format!("{there} and {share}"));
        conditions.push(Condition { name: "problem.share".to_owned(), peer: None, sql, passes });
    }
    Ok(Some(conditions))
}
