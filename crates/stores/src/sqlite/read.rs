//! Reading: the rows of problems, the bodies of rows, the pages of a sweep. One statement answers for many problems;
//! whether a problem itself may be seen is asked once beside it, in the same snapshot.

use std::collections::{BTreeMap, HashMap};

use landbridge_core::entry::Row;
use landbridge_core::{Digest, ProblemId, SiteName, WorkId};
use landbridge_flow::ports::{Body, Condition, ProblemRows, Swept};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, params_from_iter};

use super::fault::Trouble;
use super::problems::{Known, known};
use super::{Plan, apart, statements, values};
use crate::encoding;
use crate::mapping::Numbering;

impl Plan {
    /// What a statement about `problems` is asked with, one call after the other: of a table for all at once, of a
    /// query for one at a time (see `statements`).
    pub(super) fn asks<'p>(&self, problems: impl IntoIterator<Item = &'p ProblemId>) -> Vec<Value> {
        let untyped = self.found.problem.untyped;
        match self.mapping.statements() {
            None => vec![Value::Text(values::problems_json(problems, untyped))],
            Some(_) => {
                let once: std::collections::BTreeSet<_> = problems.into_iter().collect();
                once.into_iter().flat_map(|p| values::forms(p, untyped)).collect()
            }
        }
    }

    /// A text of the history as it is read, out of its transfer encoding where the mapping names one.
    fn decoded(&self, text: ValueRef<'_>, encoded: ValueRef<'_>) -> Option<String> {
        match self.mapping.statements().and_then(|s| s.text_encoding.as_ref()) {
            None => values::text(text),
            Some(_) => encoding::decoded(&values::text(text)?, values::text(encoded).as_deref()),
        }
    }

    fn begins_as_marker(&self, text: &str) -> bool {
        let begins = |phrase: &String| text.strip_prefix(phrase.as_str()).is_some_and(|rest| rest.starts_with(' '));
        self.mapping.phrases.iter().any(begins)
    }
}

/// The rows of each of `problems`, in the order asked.
pub(super) fn rows(
    connection: &Connection,
    plan: &Plan,
    problems: &[ProblemId],
    peer: Option<&SiteName>,
) -> Result<Vec<ProblemRows>, Trouble> {
    let mut known = known(connection, plan, problems)?;
    let mut found: HashMap<&ProblemId, ProblemRows> = HashMap::with_capacity(problems.len());
    for problem in problems {
        if !found.contains_key(problem) {
            let Known { visible, home, fields } = known.remove(problem).unwrap_or_default();
            found.insert(problem, ProblemRows { visible, home, fields, rows: Vec::new() });
        }
    }
    let sql = statements::rows(&plan.mapping, &[statements::open_to(&plan.mapping, plan.found.read_share, peer)]);
    each_row(connection, plan, &sql, problems, |problem, work, marker, row| {
        if let Some(of_problem) = found.get_mut(problem) {
            let open = row.get(OPEN)? && of_problem.visible;
            let bytes = row.get::<_, i64>(3)?.unsigned_abs();
            of_problem.rows.push(Row { work, marker, open, bytes });
        }
        Ok(())
    })?;
    apart::rows(connection, plan, problems, |problem, row| {
        if let Some(of_problem) = found.get_mut(problem) {
            of_problem.rows.push(row);
        }
    })?;
    for of_problem in found.values_mut() {
        of_problem.rows.sort_unstable_by_key(|r| r.work);
    }
    Ok(problems.iter().map(|p| found.get(p).cloned().unwrap_or_default()).collect())
}

/// Where in a row of [`statements::rows`] begins what may leave.
const OPEN: usize = 5;

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
    for asked in plan.asks(problems) {
        let phrases = plan.mapping.phrases.iter().map(|p| Value::Text(format!("{p} ")));
        let mut rows = statement.query(params_from_iter(std::iter::once(asked).chain(phrases)))?;
        while let Some(row) = rows.next()? {
            // A marker whose bytes are no text verifies nowhere: it is an entry.
            let marker = plan.decoded(row.get_ref(2)?, row.get_ref(4)?).filter(|text| plan.begins_as_marker(text));
            let work = WorkId::new(row.get(1)?).filter(|work| work.apart_number().is_none());
            if let (Some(problem), Some(work)) = (values::problem(row.get_ref(0)?), work) {
                with(&problem, work, marker, row)?;
            }
        }
    }
    Ok(())
}

/// The bodies of `asked`, in that order.
pub(super) fn bodies(
    connection: &Connection,
    plan: &Plan,
    asked: &[(ProblemId, WorkId)],
) -> Result<Vec<Option<Body>>, Trouble> {
    let mut statement = connection.prepare_cached(&statements::bodies(&plan.mapping))?;
    let mut found = HashMap::with_capacity(asked.len());
    for asked in bodies_asks(plan, asked) {
        let mut rows = statement.query(params_from_iter(asked))?;
        while let Some(row) = rows.next()? {
            let (Some(problem), Some(work)) = (values::problem(row.get_ref(0)?), WorkId::new(row.get(1)?)) else {
                continue;
            };
            let text = plan.decoded(row.get_ref(2)?, row.get_ref(3)?);
            let mut fields = landbridge_core::Fields::new();
            for (at, name) in plan.mapping.fields.keys().enumerate() {
                fields.insert(name.clone(), values::canonical(row.get_ref(4 + at)?, plan.found.keeps(name)));
            }
            found.insert((problem, work), Body { text, fields });
        }
    }
    apart::bodies(connection, plan, asked, &mut found)?;
    Ok(asked.iter().map(|row| found.get(row).cloned()).collect())
}

/// What [`statements::bodies`] is asked with, one call after the other.
fn bodies_asks(plan: &Plan, asked: &[(ProblemId, WorkId)]) -> Vec<Vec<Value>> {
    let rows: Vec<_> = asked.iter().filter(|(_, work)| work.apart_number().is_none()).cloned().collect();
    let works = |works: &[WorkId]| Value::Text(values::works_json(works.iter().map(|w| w.get())));
    if plan.mapping.statements().is_some() {
        let mut by_problem: BTreeMap<&ProblemId, Vec<WorkId>> = BTreeMap::new();
        rows.iter().for_each(|(problem, work)| by_problem.entry(problem).or_default().push(*work));
        let each = by_problem.into_iter().flat_map(|(problem, numbers)| {
            plan.asks([problem]).into_iter().map(move |form| vec![form, works(&numbers)])
        });
        return each.collect();
    }
    vec![vec![match plan.mapping.numbering() {
        Numbering::Generated => works(&rows.iter().map(|(_, work)| *work).collect::<Vec<_>>()),
        Numbering::PerProblem => Value::Text(values::pairs_json(&rows, plan.found.problem.untyped)),
    }]]
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
    let read_share = plan.found.read_share;
    let mut open = vec![statements::open_to(&plan.mapping, read_share, None)];
    open.extend(peers.iter().map(|peer| statements::open_to(&plan.mapping, read_share, Some(peer))));
    let sql = statements::rows(&plan.mapping, &open);
    let mut swept = Vec::new();
    let mut behind = after.map_or_else(Vec::new, |p| p.as_str().as_bytes().to_vec());
    while swept.len() < limit {
        let (problems, last) = page(connection, plan, &behind, limit - swept.len())?;
        let known = known(connection, plan, &problems)?;
        let mut sums: HashMap<ProblemId, (u64, u64)> = HashMap::new();
        each_row(connection, plan, &sql, &problems, |problem, work, marker, row| {
            let open = (0..open.len()).map(|at| row.get(OPEN + at)).collect::<rusqlite::Result<Vec<bool>>>()?;
            add(sums.entry(problem.clone()).or_default(), work, &open, marker.as_deref());
            Ok(())
        })?;
        apart::rows(connection, plan, &problems, |problem, row| {
            if let Some(sum) = sums.get_mut(problem) {
                add(sum, row.work, &[], row.marker.as_deref());
            }
        })?;
        // A problem without a row in the history is none of ours.
        for problem in problems {
            if let Some((count, sum)) = sums.get(&problem) {
                let of_problem = known.get(&problem);
                let visible = of_problem.is_some_and(|known| known.visible);
                let home = of_problem.and_then(|known| known.home.as_ref()).map(ToString::to_string);
                let mut all = [count.to_be_bytes(), sum.to_be_bytes(), u64::from(visible).to_be_bytes()].concat();
                all.extend(home.unwrap_or_default().into_bytes());
                swept.push(Swept { problem, digest: Digest::of_bytes(&all).short() });
            }
        }
        match last {
            Some(last) => behind = last,
            None => break,
        }
    }
    Ok(swept)
}

/// One row more in the count and the sum of a problem.
fn add(sum: &mut (u64, u64), work: WorkId, open: &[bool], marker: Option<&str>) {
    let mut bytes = work.get().to_be_bytes().to_vec();
    bytes.extend(open.iter().map(|open| u8::from(*open)));
    bytes.extend(marker.unwrap_or_default().as_bytes());
    *sum = (sum.0 + 1, sum.1.wrapping_add(Digest::of_bytes(&bytes).short()));
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
    if plan.found.read_share {
        of_row.push(("read share".to_owned(), None, statements::READ_SHARE.to_owned()));
    }
    of_row.extend(named("share", &mapping.share));
    for (peer, share) in &mapping.peers {
        of_row.extend(share.as_ref().map(|sql| (format!("peer {peer} share"), Some(peer.clone()), sql.clone())));
    }
    let sql: Vec<&str> = of_row.iter().map(|(_, _, sql)| sql.as_str()).collect();
    let mut statement = connection.prepare_cached(&statements::conditions(mapping, &sql))?;
    let mut passes = None;
    for asked in plan.asks([problem]) {
        let mut rows = statement.query((asked, work.get()))?;
        if let Some(row) = rows.next()? {
            passes = Some((1..=of_row.len()).map(|at| row.get(at)).collect::<rusqlite::Result<Vec<bool>>>()?);
        }
    }
    let Some(passes) = passes else {
        return Ok(None);
    };
    let mut conditions: Vec<Condition> = of_row
        .into_iter()
        .zip(passes)
        .map(|((name, peer, sql), passes)| Condition { name, peer, sql, passes })
        .collect();
    if let Some(table) = &mapping.problems {
        let passes = known(connection, plan, std::slice::from_ref(problem))?.get(problem).is_some_and(|k| k.visible);
        let there = format!("{} is in {}", table.id, table.name);
        let sql = table.share.as_ref().map_or_else(|| there.clone(), |share| format!("{there} and {share}"));
        conditions.push(Condition { name: "problem.share".to_owned(), peer: None, sql, passes });
    }
    Ok(Some(conditions))
}
