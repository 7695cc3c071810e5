//! Reading: the rows of problems, the bodies of rows, the pages of a sweep. One statement answers for many problems;
//! the problems themselves and markers in a table of their own are asked for beside it.
//!
//! The server finds what its collation takes for equal; what comes back is compared byte by byte with what was asked,
//! so that `abc` and `ABC ` are two problems.

use std::collections::{BTreeSet, HashMap};

use landbridge_core::entry::Row;
use landbridge_core::{Digest, Fields, ProblemId, ProblemName, SiteName, WorkId};
use landbridge_flow::StoreError;
use landbridge_flow::ports::{Body, Condition, Mode, ProblemRows, Swept};
use mysql_async::Value;

use super::fault::Trouble;
use super::pool::Session;
use super::values::{Form, IdClass};
use super::{Plan, TextForm, statements, values};
use crate::encoding;
use crate::mapping::Numbering;

/// The rows of each of `problems`, in the order asked.
pub(super) async fn rows(
    session: &mut Session,
    plan: &Plan,
    problems: &[ProblemId],
    peer: Option<&SiteName>,
) -> Result<Vec<ProblemRows>, Trouble> {
    let mut found = problem_table(session, plan, problems).await?;
    let open = [statements::open_to(&plan.mapping, &plan.found, peer)];
    for read in read_rows(session, plan, problems, &open).await? {
        if let Some(of_problem) = found.get_mut(&read.problem) {
            let open = of_problem.visible && read.open.first().copied().unwrap_or(false);
            of_problem.rows.push(Row { work: read.work, marker: read.marker, open, bytes: read.bytes });
        }
    }
    for of_problem in found.values_mut() {
        of_problem.rows.sort_unstable_by_key(|r| r.work);
    }
    Ok(problems.iter().map(|p| found.get(p).cloned().unwrap_or_default()).collect())
}

/// What the table of the problems says of `problems`. Without one, all are visible.
async fn problem_table(
    session: &mut Session,
    plan: &Plan,
    problems: &[ProblemId],
) -> Result<HashMap<ProblemId, ProblemRows>, Trouble> {
    let mut found: HashMap<ProblemId, ProblemRows> = HashMap::with_capacity(problems.len());
    let Some(table) = &plan.mapping.problems else {
        let visible = || ProblemRows { visible: true, ..ProblemRows::default() };
        return Ok(problems.iter().map(|p| (p.clone(), visible())).collect());
    };
    problems.iter().for_each(|p| drop(found.insert(p.clone(), ProblemRows::default())));
    for asked in chunks(problems, &plan.found.problem_id) {
        let sql = statements::problems(table, &plan.found.problem_id, asked.len());
        let answer = session.ask(&sql, statements::filled(asked)).await?;
        let forms: Vec<Form> = answer.columns.iter().map(Form::of).collect();
        for row in &answer.rows {
            let Some(of_problem) = row.first().and_then(values::problem).and_then(|p| found.get_mut(&p)) else {
                continue;
            };
            of_problem.visible |= row.get(1).is_some_and(values::truth);
            let home = row.get(2).and_then(values::text).and_then(|home| home.parse::<ProblemName>().ok());
            of_problem.home = home.or(of_problem.home.take());
            of_problem.fields = fields(table.fields.keys(), row, &forms, 3);
        }
    }
    Ok(found)
}

fn fields<'k>(names: impl Iterator<Item = &'k String>, row: &[Value], forms: &[Form], from: usize) -> Fields {
    let value = |at: usize| values::canonical(row.get(at)?, forms.get(at).copied().unwrap_or(Form::Plain));
    names.enumerate().map(|(at, name)| (name.clone(), value(from + at))).collect()
}

/// The ids as the column has them, none twice, in lists of a bounded length.
fn chunks<'p>(problems: impl IntoIterator<Item = &'p ProblemId>, class: &IdClass) -> Vec<Vec<Value>> {
    let problems: BTreeSet<&ProblemId> = problems.into_iter().collect();
    let asked: Vec<Value> = problems.into_iter().filter_map(|p| class.bind(p.as_str())).collect();
    asked.chunks(statements::ASKED_MAX).map(<[Value]>::to_vec).collect()
}

/// A row as it was read.
struct Read {
    problem: ProblemId,
    work: WorkId,
    marker: Option<String>,
    bytes: u64,
    open: Vec<bool>,
}

/// The rows of `problems` and their markers, with whether each of `open` lets them out.
async fn read_rows(
    session: &mut Session,
    plan: &Plan,
    problems: &[ProblemId],
    open: &[Vec<String>],
) -> Result<Vec<Read>, Trouble> {
    let (mapping, found) = (&plan.mapping, &plan.found);
    let phrases = || mapping.phrases.iter().map(|p| Value::Bytes(format!("{p} ").into_bytes()));
    let encoded = mapping.statements().is_some_and(|s| s.text_encoding.is_some());
    let mut read = Vec::new();
    for asked in chunks(problems, &found.problem) {
        let sql = statements::rows(mapping, found, open, asked.len());
        let answer = session.ask(&sql, phrases().chain(statements::filled(asked)).collect()).await?;
        for row in &answer.rows {
            let at = |at: usize| row.get(at).unwrap_or(&Value::NULL);
            let (Some(problem), Some(work)) = (values::problem(at(0)), values::work(at(1))) else { continue };
            // A marker whose bytes are no text verifies nowhere: it is an entry.
            let marker = values::bytes(at(2)).and_then(|text| decoded(text, at(4), encoded));
            let open = (5..5 + open.len()).map(|n| values::truth(at(n))).collect();
            let bytes = values::number(at(3)).unwrap_or(0).unsigned_abs();
            read.push(Read { problem, work, marker, bytes, open });
        }
    }
    let Some(table) = &mapping.markers else { return Ok(read) };
    for asked in chunks(problems, &found.marker_problem) {
        let sql = statements::markers(mapping, table, found, asked.len());
        let answer = session.ask(&sql, phrases().chain(statements::filled(asked)).collect()).await?;
        for row in &answer.rows {
            let at = |at: usize| row.get(at).unwrap_or(&Value::NULL);
            let number = values::number(at(1)).and_then(WorkId::apart);
            let (Some(problem), Some(work)) = (values::problem(at(0)), number) else { continue };
            let bytes = values::number(at(3)).unwrap_or(0).unsigned_abs();
            read.push(Read { problem, work, marker: values::text(at(2)), bytes, open: vec![false; open.len()] });
        }
    }
    Ok(read)
}

/// A text as it was written.
fn decoded(text: &[u8], encoded_as: &Value, encoded: bool) -> Option<String> {
    match encoded {
        false => String::from_utf8(text.to_vec()).ok(),
        true => std::str::from_utf8(text).ok().and_then(|t| encoding::decoded(t, values::text(encoded_as).as_deref())),
    }
}

/// The bodies of `asked`, in that order.
pub(super) async fn bodies(
    session: &mut Session,
    plan: &Plan,
    asked: &[(ProblemId, WorkId)],
    mode: Mode,
) -> Result<Vec<Option<Body>>, Trouble> {
    let (mapping, found) = (&plan.mapping, &plan.found);
    let mut read: HashMap<(ProblemId, WorkId), Body> = HashMap::with_capacity(asked.len());
    // Numbers of the database's are not given out twice (`inspect` says where they are); only where the bridge itself
    // counts could a row be deleted and its number come back with another text before a marker that names it is there.
    let pinned = mode == Mode::Write && mapping.numbering() == Numbering::PerProblem;
    let encoded = mapping.statements().is_some_and(|s| s.text_encoding.is_some());
    for (count, bound) in row_chunks(plan, asked) {
        let answer = session.ask(&statements::bodies(mapping, found, count, pinned), bound).await?;
        let forms: Vec<Form> = answer.columns.iter().map(Form::of).collect();
        for row in &answer.rows {
            let at = |at: usize| row.get(at).unwrap_or(&Value::NULL);
            let (Some(problem), Some(work)) = (values::problem(at(0)), values::work(at(1))) else { continue };
            let text = values::bytes(at(2)).and_then(|text| decoded(text, at(3), encoded));
            read.insert((problem, work), Body { text, fields: fields(mapping.fields.keys(), row, &forms, 4) });
        }
    }
    if let Some(table) = &mapping.markers {
        let numbers: Vec<Value> = asked.iter().filter_map(|(_, work)| work.apart_number()).map(Value::Int).collect();
        for numbers in numbers.chunks(statements::ASKED_MAX) {
            let sql = statements::marker_bodies(table, numbers.len());
            for row in &session.ask(&sql, statements::filled(numbers.to_vec())).await?.rows {
                let at = |at: usize| row.get(at).unwrap_or(&Value::NULL);
                let number = values::number(at(1)).and_then(WorkId::apart);
                if let (Some(problem), Some(work)) = (values::problem(at(0)), number) {
                    read.insert((problem, work), Body { text: values::text(at(2)), fields: Fields::new() });
                }
            }
        }
    }
    Ok(asked.iter().map(|row| read.get(row).cloned()).collect())
}

/// The rows of the history among `asked` as values to bind, in lists of a bounded length, each with its count.
pub(super) fn row_chunks(plan: &Plan, asked: &[(ProblemId, WorkId)]) -> Vec<(usize, Vec<Value>)> {
    let class = &plan.found.problem;
    let rows = asked.iter().filter(|(_, work)| work.get() <= WorkId::APART);
    let pairs: Vec<(Value, Value)> =
        rows.filter_map(|(p, work)| Some((class.bind(p.as_str())?, Value::Int(work.get())))).collect();
    let flat = |pairs: &[(Value, Value)]| -> Vec<Value> {
        let pairs = statements::filled(pairs.to_vec());
        match plan.mapping.numbering() {
            Numbering::Generated => pairs.into_iter().map(|(_, work)| work).collect(),
            Numbering::PerProblem => pairs.into_iter().flat_map(|(p, work)| [p, work]).collect(),
        }
    };
    pairs.chunks(statements::ASKED_MAX).map(|pairs| (pairs.len(), flat(pairs))).collect()
}

/// The next `limit` problems behind `after`, with their digests.
///
/// Pages are cut by what the column's collation takes for equal: all ids of one such group come together, so that the
/// order of the column carries on behind any of them. The digest is over a sum, one summand for each row.
pub(super) async fn sweep(
    session: &mut Session,
    plan: &Plan,
    after: Option<&ProblemId>,
    limit: usize,
) -> Result<Vec<Swept>, Trouble> {
    let (mapping, found) = (&plan.mapping, &plan.found);
    let peers: Vec<_> = mapping.peers.iter().filter(|(_, share)| share.is_some()).map(|(name, _)| name).collect();
    let mut open = vec![statements::open_to(mapping, found, None)];
    open.extend(peers.iter().map(|peer| statements::open_to(mapping, found, Some(peer))));
    let mut behind = match after {
        None => None,
        Some(after) => {
            let foreign =
                || StoreError::Broken("a sweep goes on behind a problem that is none of this table".to_owned());
            Some(found.problem.bind(after.as_str()).ok_or_else(foreign)?)
        }
    };
    let mut swept = Vec::new();
    while swept.len() < limit {
        let wanted = limit - swept.len();
        let sql = statements::page(mapping, found, behind.is_some(), wanted);
        let page = session.ask(&sql, behind.iter().cloned().collect()).await?.rows;
        let asked: Vec<ProblemId> = page.iter().filter_map(|r| r.first().and_then(values::problem)).collect();
        let mut sums: HashMap<ProblemId, (u64, u64)> = HashMap::new();
        for read in read_rows(session, plan, &asked, &open).await? {
            let apart = read.work.apart_number().is_some();
            let mut bytes = read.work.get().to_be_bytes().to_vec();
            bytes.extend(read.open.iter().map(|open| u8::from(*open)));
            bytes.extend(read.marker.as_deref().unwrap_or_default().as_bytes());
            let sum = sums.entry(read.problem).or_default();
            *sum = (sum.0 + u64::from(!apart), sum.1.wrapping_add(Digest::of_bytes(&bytes).short()));
        }
        // A problem without a row in the history is none of ours.
        sums.retain(|_, (count, _)| *count > 0);
        let exact: Vec<ProblemId> = sums.keys().cloned().collect();
        let problems = problem_table(session, plan, &exact).await?;
        let mut in_order: Vec<ProblemId> = Vec::with_capacity(exact.len());
        in_order.extend(asked.iter().filter(|p| sums.contains_key(*p)).cloned());
        let mut alike: Vec<ProblemId> = exact.into_iter().filter(|p| !asked.contains(p)).collect();
        alike.sort_unstable();
        // Behind any id of a group the column's order goes on with the next group; the last of the page must be of the
        // last group.
        let last = in_order.pop();
        in_order.extend(alike);
        in_order.extend(last);
        for problem in in_order {
            let (count, sum) = sums.get(&problem).copied().unwrap_or_default();
            let visible = u64::from(problems.get(&problem).is_some_and(|p| p.visible));
            let all = [count.to_be_bytes(), sum.to_be_bytes(), visible.to_be_bytes()];
            swept.push(Swept { problem, digest: Digest::of_bytes(all.as_flattened()).short() });
        }
        match page.last().and_then(|r| r.first()) {
            Some(last) if page.len() == wanted => behind = Some(last.clone()),
            _ => break,
        }
    }
    Ok(swept)
}

/// Every condition of the mapping and whether it lets this row pass; nothing where there is no such row.
pub(super) async fn conditions(
    session: &mut Session,
    plan: &Plan,
    problem: &ProblemId,
    work: WorkId,
) -> Result<Option<Vec<Condition>>, Trouble> {
    let (mapping, found) = (&plan.mapping, &plan.found);
    let Some(bound) = found.problem.bind(problem.as_str()) else { return Ok(None) };
    let named = |name: &str, sql: &Option<String>| sql.as_ref().map(|sql| (name.to_owned(), None, sql.clone()));
    let mut of_row: Vec<(String, Option<SiteName>, String)> = Vec::new();
    of_row.extend(named("where", &mapping.within));
    of_row.extend(named("share", &mapping.share));
    if found.read_has_share {
        of_row.push(("read.share".to_owned(), None, statements::column(statements::alias(mapping), "share")));
    }
    for (peer, share) in &mapping.peers {
        of_row.extend(share.as_ref().map(|sql| (format!("peer {peer} share"), Some(peer.clone()), sql.clone())));
    }
    let sql: Vec<String> = of_row.iter().map(|(_, _, sql)| sql.clone()).collect();
    let statement = statements::conditions(mapping, found, &sql);
    let answer = session.ask(&statement, vec![bound, Value::Int(work.get())]).await?;
    let exact = |r: &&Vec<Value>| r.first().and_then(values::problem).as_ref() == Some(problem);
    let Some(row) = answer.rows.iter().find(exact) else { return Ok(None) };
    let passes = |at: usize| row.get(1 + at).is_some_and(values::truth);
    let mut conditions: Vec<Condition> = of_row
        .into_iter()
        .enumerate()
        .map(|(at, (name, peer, sql))| Condition { name, peer, sql, passes: passes(at) })
        .collect();
    if let Some(table) = &mapping.problems {
        let visible = problem_table(session, plan, std::slice::from_ref(problem)).await?;
        let passes = visible.get(problem).is_some_and(|p| p.visible);
        let there = format!("{} is in {}", table.id, table.name);
        let sql = table.share.as_ref().map_or_else(|| there.clone(), |share| format!("{there} and {share}"));
        conditions.push(Condition { name: "problem.share".to_owned(), peer: None, sql, passes });
    }
    Ok(Some(conditions))
}

/// How a text column of this character set is read.
pub(super) fn text_form(charset: Option<&str>) -> TextForm {
    match charset {
        Some("utf8mb4" | "utf8mb3" | "utf8" | "ascii") => TextForm::Utf8,
        Some("binary") | None => TextForm::Bytes,
        Some(_) => TextForm::Other,
    }
}
