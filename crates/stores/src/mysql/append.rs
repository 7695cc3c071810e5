//! Appending rows to a table: many in one statement, their numbers counted here or given out by the server.
//!
//! `returning` would need the right to read every column that is written, and MySQL does not know it. An `insert ...
//! values` of several rows takes its auto-increment numbers in one piece whatever `innodb_autoinc_lock_mode` says,
//! because the server knows beforehand how many there are; so the first number and the distance tell all of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use landbridge_core::message::{Code, Refusal};
use landbridge_core::{ProblemId, WorkId};
use landbridge_flow::StoreError;
use landbridge_flow::ports::{Append, Kind};
use mysql_async::Value;

use super::fault::{Trouble, key, row as refused};
use super::pool::Session;
use super::values::{Form, IdClass};
use super::{Plan, read, rowwise, statements, values};
use crate::mapping::{Mapping, Numbering, TableName};
use crate::sqltext;

/// Rows of one statement.
const ROWS_MAX: usize = 1024;
/// Values of one statement; the protocol ends at 65,535.
const VALUES_MAX: usize = 60_000;

/// What stands for a value in a statement of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bound {
    Problem,
    Text,
    Number,
    Site,
    /// A shared column as it came: null where it did not.
    Field(String),
    /// The same as its own column takes it.
    Column(String),
}

/// One column of an appended row: its quoted name, what stands for its value, and what is bound there.
pub(super) struct Slot {
    pub(super) column: String,
    pub(super) holder: String,
    pub(super) bound: Vec<Bound>,
}

impl Slot {
    fn one(column: &str, holder: String, bound: Bound) -> Self {
        Self { column: statements::quoted(column), holder, bound: vec![bound] }
    }

    /// A column that an expression of the mapping fills.
    pub(super) fn expression(column: &str, sql: &str, mut name: impl FnMut(&str) -> Bound) -> Self {
        let mut bound = Vec::new();
        let sql = sqltext::bind(sql, |parameter| {
            bound.push(name(parameter));
            "?".to_owned()
        });
        Self { column: statements::quoted(column), holder: statements::part(Some(&sql)), bound }
    }
}

/// The shared columns that are kept as they came: those that no expression fills.
pub(super) fn fields_kept(mapping: &Mapping) -> BTreeSet<String> {
    if mapping.statements().is_some() {
        return BTreeSet::new();
    }
    let expressions = expressions(mapping, Kind::Entry);
    let filled = |column: &str| expressions.iter().any(|(c, _)| c.eq_ignore_ascii_case(column));
    mapping.fields.iter().filter(|(_, column)| !filled(column)).map(|(name, _)| name.clone()).collect()
}

/// The expressions of the mapping for a row of this kind: for a marker, `marker` column by column over `insert`.
pub(super) fn expressions(mapping: &Mapping, kind: Kind) -> Vec<(&str, &str)> {
    let Some(table) = mapping.table() else { return Vec::new() };
    let mut all: Vec<(&str, &str)> = table.insert.iter().map(|(c, sql)| (c.as_str(), sql.as_str())).collect();
    if kind == Kind::Marker {
        for (column, sql) in &table.marker {
            all.retain(|(c, _)| !c.eq_ignore_ascii_case(column));
            all.push((column, sql));
        }
    }
    all
}

/// The columns of a row of this kind with those fields. A field that did not come leaves its column to the table's
/// default; an expression of the mapping stands before a received value.
pub(super) fn slots(mapping: &Mapping, problem: &IdClass, kind: Kind, came: impl Fn(&str) -> bool) -> Vec<Slot> {
    let expressions = expressions(mapping, kind);
    let by_expression = |column: &str| expressions.iter().any(|(c, _)| c.eq_ignore_ascii_case(column));
    let plain = || "?".to_owned();
    let mut slots = vec![
        Slot::one(&mapping.problem, problem.written(), Bound::Problem),
        Slot::one(&mapping.text, plain(), Bound::Text),
    ];
    if mapping.numbering() == Numbering::PerProblem {
        slots.push(Slot::one(&mapping.work, plain(), Bound::Number));
    }
    for (name, column) in &mapping.fields {
        if kind == Kind::Entry && came(name) && !by_expression(column) {
            slots.push(Slot::one(column, plain(), Bound::Column(name.clone())));
        }
    }
    slots.extend(expressions.iter().map(|(column, sql)| {
        Slot::expression(column, sql, |name| match name {
            "site" => Bound::Site,
            "text" => Bound::Text,
            field => Bound::Field(field.to_owned()),
        })
    }));
    slots
}

/// The columns of a marker in a table of its own.
pub(super) fn marker_slots(problem: &IdClass) -> Vec<Slot> {
    vec![Slot::one("problem", problem.written(), Bound::Problem), Slot::one("text", "?".to_owned(), Bound::Text)]
}

/// Appends `rows` in their order and returns their work ids.
pub(super) async fn append(session: &mut Session, plan: &Plan, rows: &[Append]) -> Result<Vec<WorkId>, Trouble> {
    let mapping = &plan.mapping;
    let apart = |row: &Append| mapping.markers.is_some() && row.kind == Kind::Marker;
    for row in rows.iter().filter(|row| !apart(row)) {
        fits(plan, row)?;
    }
    let in_history = rows.iter().filter(|row| !apart(row)).map(|row| &row.problem);
    let mut numbers = Numbers::look_up(session, plan, in_history).await?;
    let mut works = Vec::with_capacity(rows.len());
    for alike in rows.chunk_by(same_columns) {
        let Some(first) = alike.first() else { continue };
        let new = match &mapping.markers {
            Some(table) if apart(first) => {
                let slots = marker_slots(&plan.found.marker_problem);
                let target = Target { table, class: &plan.found.marker_problem, slots: &slots };
                let numbers = insert(session, plan, &target, alike, None).await?;
                numbers.into_iter().map(WorkId::apart).collect()
            }
            _ => match mapping.table() {
                None => rowwise::append(session, plan, alike).await?,
                Some(table) => {
                    let class = &plan.found.problem;
                    let slots = slots(mapping, class, first.kind, |field| first.fields.contains_key(field));
                    let target = Target { table: &table.name, class, slots: &slots };
                    let new = insert(session, plan, &target, alike, Some(&mut numbers)).await?;
                    let new: Vec<Option<WorkId>> = new.into_iter().map(WorkId::new).collect();
                    kept(session, plan, &slots, alike, &new).await?;
                    new
                }
            },
        };
        let wrong = || refused(Code::Value, "the table gave out a number below 1 or above 2^62");
        let new: Option<Vec<WorkId>> = new.into_iter().collect();
        works.extend(new.ok_or_else(wrong)?);
    }
    also(session, plan, rows).await?;
    Ok(works)
}

fn same_columns(a: &Append, b: &Append) -> bool {
    a.kind == b.kind && (a.kind == Kind::Marker || a.fields.keys().eq(b.fields.keys()))
}

/// A text that is longer than its column is refused by name and without asking the server.
fn fits(plan: &Plan, row: &Append) -> Result<(), Trouble> {
    let column = plan.found.history.as_ref().and_then(|t| t.column(&plan.mapping.text));
    let limit = column.filter(|c| matches!(c.data_type.as_str(), "char" | "varchar")).and_then(|c| c.chars_max());
    match limit {
        Some(limit) if row.text.chars().count() > limit => {
            let refusal = Refusal { code: Code::TextTooLong, limit: Some(limit as u64) };
            let detail = format!("column {} takes {limit} characters", plan.mapping.text);
            Err(StoreError::Row { refusal, detail }.into())
        }
        _ => Ok(()),
    }
}

/// Where rows go, and what their columns are.
struct Target<'t> {
    table: &'t TableName,
    class: &'t IdClass,
    slots: &'t [Slot],
}

/// Appends rows of the same columns and returns their numbers.
async fn insert(
    session: &mut Session,
    plan: &Plan,
    target: &Target<'_>,
    rows: &[Append],
    mut numbers: Option<&mut Numbers>,
) -> Result<Vec<i64>, Trouble> {
    let counted = plan.mapping.numbering() == Numbering::PerProblem && numbers.is_some();
    let columns: Vec<(String, String)> = target.slots.iter().map(|s| (s.column.clone(), s.holder.clone())).collect();
    let a_row: usize = target.slots.iter().map(|s| s.bound.len()).sum();
    let mut works = Vec::with_capacity(rows.len());
    let mut rest = rows;
    while !rest.is_empty() {
        let (some, later) = rest.split_at(how_many(rest, a_row, session.packet_max));
        rest = later;
        let mut bound = Vec::with_capacity(some.len() * a_row);
        for row in some {
            let number = match &mut numbers {
                Some(numbers) if counted => numbers.next(&row.problem)?,
                _ => 0,
            };
            if counted {
                works.push(number);
            }
            for what in target.slots.iter().flat_map(|slot| &slot.bound) {
                bound.push(value(plan, target.class, row, number, what)?);
            }
        }
        let sql = statements::insert(target.table, &columns, some.len());
        let inserted = match session.ask(&sql, bound).await {
            Ok(answer) => answer.inserted,
            Err(e) => return Err(taken(session, plan, e, some, numbers.filter(|_| counted)).await?),
        };
        if !counted {
            let first = i64::try_from(inserted).unwrap_or(0);
            if first == 0 {
                let detail = "the table gave out no number: its trigger or its column does that by itself";
                return Err(refused(Code::Trigger, detail).into());
            }
            works.extend((0..some.len() as i64).map(|at| first.saturating_add(at * session.increment)));
        }
    }
    Ok(works)
}

/// How many of `rows` go into the next statement: a power of two, so that the server meets few different ones.
fn how_many(rows: &[Append], a_row: usize, packet_max: usize) -> usize {
    let size = |row: &Append| {
        let fields: usize = row.fields.values().flatten().map(String::len).sum();
        (row.text.len() + fields + row.problem.as_str().len() + 100) * 2
    };
    let mut bytes = 0;
    let fit = rows.iter().take(ROWS_MAX.min(VALUES_MAX / a_row.max(1))).take_while(|row| {
        bytes += size(row);
        bytes < packet_max / 2
    });
    let fit = fit.count().max(1);
    if fit.is_power_of_two() { fit } else { fit.next_power_of_two() / 2 }
}

fn value(plan: &Plan, class: &IdClass, row: &Append, number: i64, what: &Bound) -> Result<Value, Trouble> {
    let text = |text: &str| Value::Bytes(text.as_bytes().to_vec());
    Ok(match what {
        Bound::Problem => class.bind(row.problem.as_str()).ok_or_else(|| {
            refused(Code::Value, format!("column {} cannot hold the problem's id", plan.mapping.problem))
        })?,
        Bound::Text => text(&row.text),
        Bound::Number => Value::Int(number),
        Bound::Site => text(row.site.as_str()),
        Bound::Field(name) => row.fields.get(name).and_then(Option::as_deref).map_or(Value::NULL, text),
        Bound::Column(name) => {
            let column = plan.mapping.fields.get(name);
            let column = column.and_then(|c| plan.found.history.as_ref()?.column(c));
            values::received(row.fields.get(name).and_then(Option::as_deref), column)
        }
    })
}

/// Whether a duplicate key means that somebody else took a number first: only where a number of ours is there now. A
/// trigger that fails in another table looks the same otherwise, and would be tried again without end.
async fn taken(
    session: &mut Session,
    plan: &Plan,
    e: Trouble,
    rows: &[Append],
    numbers: Option<&mut Numbers>,
) -> Result<Trouble, Trouble> {
    let on_number = match &e {
        Trouble::Sql(mysql_async::Error::Server(e)) if e.code == 1062 => {
            key(&e.message).is_some_and(|key| plan.found.keys.iter().any(|k| k.eq_ignore_ascii_case(key)))
        }
        _ => false,
    };
    let Some(before) = numbers.filter(|_| on_number) else { return Ok(e) };
    let now = Numbers::look_up(session, plan, rows.iter().map(|row| &row.problem)).await?;
    let moved = rows.iter().any(|row| now.highest(&row.problem) > before.at_first(&row.problem));
    Ok(if moved { StoreError::Taken.into() } else { e })
}

/// The numbers that one call gives out: those of ids that the column takes for one are counted together.
#[derive(Default)]
struct Numbers {
    /// Which counter an id has.
    of: HashMap<ProblemId, usize>,
    /// The highest number so far, and at first.
    counters: Vec<(i64, i64)>,
}

impl Numbers {
    async fn look_up(
        session: &mut Session,
        plan: &Plan,
        problems: impl Iterator<Item = &ProblemId>,
    ) -> Result<Self, Trouble> {
        let mut numbers = Self::default();
        if plan.mapping.numbering() != Numbering::PerProblem {
            return Ok(numbers);
        }
        let asked: BTreeSet<&ProblemId> = problems.collect();
        let asked: Vec<(&ProblemId, Value)> =
            asked.into_iter().filter_map(|p| Some((p, plan.found.problem.bind(p.as_str())?))).collect();
        let mut same: BTreeMap<String, usize> = BTreeMap::new();
        for some in asked.chunks(statements::ASKED_MAX / 4) {
            let padded = statements::filled(some.to_vec());
            let each = |(_, id): &(&ProblemId, Value)| match plan.found.collation {
                Some(_) => vec![id.clone(), id.clone()],
                None => vec![id.clone()],
            };
            let sql = statements::highest(&plan.mapping, &plan.found, padded.len());
            for row in &session.ask(&sql, padded.iter().flat_map(each).collect()).await?.rows {
                let at = row.first().and_then(values::number).and_then(|at| usize::try_from(at).ok());
                let Some((problem, _)) = at.and_then(|at| padded.get(at)) else { continue };
                let highest = row.get(1).and_then(values::number).unwrap_or(0).max(0);
                let alone = || format!("{} alone", problem.as_str());
                let key = row.get(2).and_then(values::text).unwrap_or_else(alone);
                let fresh = numbers.counters.len();
                let counter = *same.entry(key).or_insert(fresh);
                match numbers.counters.get_mut(counter) {
                    Some(known) => *known = (known.0.max(highest), known.1.max(highest)),
                    None => numbers.counters.push((highest, highest)),
                }
                numbers.of.insert((*problem).clone(), counter);
            }
        }
        Ok(numbers)
    }

    fn next(&mut self, problem: &ProblemId) -> Result<i64, Trouble> {
        let unknown = || refused(Code::Value, "the problem column cannot hold the problem's id");
        let counter = self.of.get(problem).and_then(|at| self.counters.get_mut(*at)).ok_or_else(unknown)?;
        let next = counter.0.checked_add(1).filter(|n| *n <= WorkId::APART);
        counter.0 = next.ok_or_else(|| refused(Code::Value, "the problem's numbers are used up"))?;
        Ok(counter.0)
    }

    fn counter(&self, problem: &ProblemId) -> (i64, i64) {
        self.of.get(problem).and_then(|at| self.counters.get(*at)).copied().unwrap_or_default()
    }

    fn highest(&self, problem: &ProblemId) -> i64 {
        self.counter(problem).0
    }

    fn at_first(&self, problem: &ProblemId) -> i64 {
        self.counter(problem).1
    }
}

/// Reads the fields that were written directly back: what strict mode lets through (a rounded decimal, a fraction of a
/// second cut off) is refused too.
async fn kept(
    session: &mut Session,
    plan: &Plan,
    slots: &[Slot],
    rows: &[Append],
    works: &[Option<WorkId>],
) -> Result<(), Trouble> {
    let mapping = &plan.mapping;
    let direct = |b: &Bound| match b {
        Bound::Column(name) => mapping.fields.get_key_value(name),
        _ => None,
    };
    let written: Vec<(&String, &String)> = slots.iter().flat_map(|s| s.bound.iter().filter_map(direct)).collect();
    if written.is_empty() {
        return Ok(());
    }
    let places: Vec<(ProblemId, WorkId)> =
        rows.iter().zip(works).filter_map(|(row, work)| Some((row.problem.clone(), (*work)?))).collect();
    let sent: HashMap<&(ProblemId, WorkId), &Append> = places.iter().zip(rows).collect();
    let columns: Vec<&str> = written.iter().map(|(_, column)| column.as_str()).collect();
    for (count, bound) in read::row_chunks(plan, &places) {
        let answer = session.ask(&statements::kept(mapping, &plan.found, &columns, count), bound).await?;
        let forms: Vec<Form> = answer.columns.iter().map(Form::of).collect();
        for row in &answer.rows {
            let at = |at: usize| row.get(at).unwrap_or(&Value::NULL);
            let (Some(problem), Some(work)) = (values::problem(at(0)), values::work(at(1))) else { continue };
            let Some(sent) = sent.get(&(problem, work)) else { continue };
            for (n, (name, column)) in written.iter().enumerate() {
                let form = forms.get(2 + n).copied().unwrap_or(Form::Plain);
                let came = sent.fields.get(*name).and_then(Option::as_deref);
                let info = plan.found.history.as_ref().and_then(|t| t.column(column));
                if !values::same(came, values::canonical(at(2 + n), form).as_deref(), info) {
                    let declared = info.map_or_else(String::new, |c| format!(" ({})", c.column_type));
                    let detail = format!("column {column}{declared} would keep another value than was sent");
                    return Err(refused(Code::Value, detail).into());
                }
            }
        }
    }
    Ok(())
}

/// Runs the statements that the mapping wants for each problem that entries were appended to.
async fn also(session: &mut Session, plan: &Plan, rows: &[Append]) -> Result<(), Trouble> {
    let entries = rows.iter().filter(|row| row.kind == Kind::Entry);
    let problems: BTreeSet<&ProblemId> = entries.map(|row| &row.problem).collect();
    for sql in &plan.mapping.also {
        for problem in &problems {
            let mut bound = Vec::new();
            let sql = sqltext::bind(sql, |_| {
                bound.extend(plan.found.problem.bind(problem.as_str()));
                plan.found.problem.holder()
            });
            session.ask(&sql, bound).await?;
        }
    }
    Ok(())
}
