//! `landbridge init` without a table: shows what in the database looks like a history, lets a person choose, and
//! completes the answers. What looks like one is for `propose` to say.

use std::collections::BTreeMap;
use std::path::Path;

use landbridge_stores::catalog::{Catalog, TableInfo};
use landbridge_stores::{Database, TableName};

use super::{InitArgs, ask};
use crate::cli::Context;
use crate::config::write::{InitAnswers, ProblemAnswers};
use crate::exit::{Exit, Failure};
use crate::propose::{Candidate, LISTED_MAX, candidates, clear, filling, listed, problem_share, tells_by_value};
use crate::render::{Cell, Screen, Table, Tone, note, say};

/// Rows that are shown of each candidate.
const SAMPLE_ROWS: usize = 3;
/// Characters that are shown of a text.
const SAMPLE_CHARS_MAX: usize = 60;
/// Rows that are read to see which values a column has.
const VALUE_ROWS: usize = 200;

/// Whether something is to be found out about the table.
pub(super) fn is_wanted(args: &InitArgs) -> bool {
    let given = [&args.table, &args.problem, &args.work, &args.text];
    args.preset.is_none() && given.iter().any(|given| given.is_none())
}

/// The database of these answers, as the configuration will name it.
pub(super) fn database(answers: &InitAnswers, path: &Path) -> Result<Database, Failure> {
    let mut asked = answers.clone();
    // The mapping is not known yet; whatever is wrong with the rest is said now.
    asked.preset = Some("[history]\nread = \"select 1\"\nappend = [\"select 1\"]\nwork_from = \"1\"".to_owned());
    Ok(super::read_back(&asked, path)?.connectable()?)
}

/// Looks at the tables and completes the mapping.
pub(super) async fn complete(
    args: &InitArgs,
    answers: &mut InitAnswers,
    context: &Context,
    may_ask: bool,
) -> Result<(), Failure> {
    let database = database(answers, &context.config)?;
    let catalog = database.catalog().await?;
    let found = fitting(args, &catalog)?;
    let chosen = choose(&found, &catalog, &database, context.screen, args.yes, may_ask).await?.clone();
    fill(args, answers, &catalog, &database, &chosen, may_ask).await
}

/// The candidates that agree with the flags.
fn fitting(args: &InitArgs, catalog: &Catalog) -> Result<Vec<Candidate>, Failure> {
    let wanted = match &args.table {
        None => None,
        Some(table) => {
            let name: TableName = table.parse().map_err(|e| Failure::usage(format!("--table: {e}"), "correct it"))?;
            let info = catalog.table(&name).ok_or_else(|| {
                let next = format!("the tables are: {}", names(catalog));
                Failure::usage(format!("there is no table {name} that this user can see"), next)
            })?;
            Some(info.name.clone())
        }
    };
    let is = |given: &Option<String>, name: &str| given.as_ref().is_none_or(|given| given.eq_ignore_ascii_case(name));
    let mut found = candidates(catalog);
    found.retain(|c| {
        wanted.as_ref().is_none_or(|wanted| *wanted == c.table)
            && is(&args.problem, &c.problem)
            && is(&args.work, &c.work)
            && is(&args.text, &c.text)
    });
    if found.is_empty() {
        let what = match wanted {
            Some(table) => format!("table {table} has not the shape of a history: nothing can be proposed for it"),
            None => "no table that this user can see has the shape of a history".to_owned(),
        };
        let next = format!("name it with --table, --problem, --work and --text; the tables are: {}", names(catalog));
        return Err(Failure::usage(what, next));
    }
    Ok(found)
}

/// The tables, or the first of them.
fn names(catalog: &Catalog) -> String {
    const MAX: usize = 40;
    let shown: Vec<String> = catalog.tables.iter().take(MAX).map(|t| t.name.to_string()).collect();
    match catalog.tables.len() {
        0 => "none".to_owned(),
        all if all > MAX => format!("{} and {} more", shown.join(", "), all - MAX),
        _ => shown.join(", "),
    }
}

async fn choose<'c>(
    found: &'c [Candidate],
    catalog: &Catalog,
    database: &Database,
    screen: Screen,
    yes: bool,
    may_ask: bool,
) -> Result<&'c Candidate, Failure> {
    let best = clear(found);
    if !may_ask {
        return match best.filter(|_| yes) {
            Some(best) => {
                note(&format!("Taken: table {}, because {}.", best.table, best.reasons.join("; ")));
                Ok(best)
            }
            None => {
                let why =
                    if yes { "no table is clearly the history" } else { "it is not known which table is the history" };
                let next = "run it on a terminal to choose, or give --yes where one of them clearly leads: what may leave is then \
                            proposed, too. With the flags alone every row may leave: give --share, --insert and --marker with them";
                Err(Failure::usage(format!("{why}; these may be it:\n{}", listed(found)), next))
            }
        };
    }
    let shown = &found[..found.len().min(LISTED_MAX)];
    say(&screen.table(&shape(shown)))?;
    for (i, candidate) in shown.iter().enumerate() {
        say(&format!("\n{}: {}", i + 1, crate::render::visible(&candidate.table.to_string())))?;
        say(&screen.table(&sample(candidate, catalog, database).await))?;
    }
    loop {
        let answer = ask("Which of them is the history", Some("1"))?;
        match answer.parse::<usize>().ok().and_then(|n| shown.get(n.checked_sub(1)?)) {
            Some(chosen) => return Ok(chosen),
            None => note(&format!("Write a number from 1 to {}, or start again with --table.", shown.len())),
        }
    }
}

/// The candidates and what speaks for them.
fn shape(shown: &[Candidate]) -> Table {
    let mut table = Table::new([">", "table", "problem", "work", "text", ">points", "because"]);
    for (i, c) in shown.iter().enumerate() {
        table.row([
            Cell::from((i + 1).to_string()),
            Cell::new(c.table.to_string(), Tone::Strong),
            c.problem.clone().into(),
            c.work.clone().into(),
            c.text.clone().into(),
            c.score.to_string().into(),
            c.reasons.join("; ").into(),
        ]);
    }
    table
}

/// A few rows. That they cannot be read is shown in their place.
async fn sample(candidate: &Candidate, catalog: &Catalog, database: &Database) -> Table {
    let mapped = [&candidate.problem, &candidate.work, &candidate.text];
    let info = catalog.table(&candidate.table);
    let others = info.into_iter().flat_map(|t| &t.columns).map(|c| &c.name).filter(|c| !mapped.contains(c));
    let columns: Vec<String> = mapped.into_iter().chain(others.take(4)).cloned().collect();
    match database.sample(&candidate.table, &columns, SAMPLE_ROWS).await {
        Ok(rows) => {
            // A heading that begins with this sign would be aligned as a number.
            let mut table = Table::new(columns.iter().map(|c| c.trim_start_matches('>')));
            for row in rows {
                table
                    .row(row.into_iter().map(|value| value.map_or(Cell::new("null", Tone::Dim), |v| short(&v).into())));
            }
            table
        }
        Err(e) => {
            let mut table = Table::new(["rows"]);
            table.row([Cell::new(format!("cannot be read: {e}"), Tone::Warn)]);
            table
        }
    }
}

/// The beginning of a text, on one line.
fn short(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SAMPLE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// Puts the chosen table into the answers, and what its rows need. Flags stand above what is proposed.
async fn fill(
    args: &InitArgs,
    answers: &mut InitAnswers,
    catalog: &Catalog,
    database: &Database,
    chosen: &Candidate,
    may_ask: bool,
) -> Result<(), Failure> {
    let history = &mut answers.history;
    history.table = chosen.table.to_string();
    history.problem.clone_from(&chosen.problem);
    history.work.clone_from(&chosen.work);
    history.text.clone_from(&chosen.text);
    if args.numbering.is_none() {
        history.numbering = chosen.numbering;
    }
    if answers.problem.is_none() {
        answers.problem = chosen.problems.clone().map(|(table, id)| ProblemAnswers {
            table: table.to_string(),
            id,
            share: args.problem_share.clone(),
        });
    }
    propose_problems(answers, catalog, database, may_ask).await?;
    let history = &mut answers.history;
    let Some(table) = catalog.table(&chosen.table) else { return Ok(()) };
    let given: Vec<String> = history.insert.keys().chain(history.fields.values()).cloned().collect();
    let taken: Vec<&str> =
        [&chosen.problem, &chosen.work, &chosen.text].into_iter().chain(&given).map(String::as_str).collect();
    let values = values(database, table).await;
    let proposed = filling(catalog.vendor, table, &taken, &|column| values.get(column).cloned().unwrap_or_default());
    let mut open = Vec::new();
    for (column, why) in &proposed.open {
        if may_ask {
            let question = format!("Column {column} needs a value in new rows ({why}); an SQL expression");
            history.insert.insert(column.clone(), ask(&question, None)?);
        } else {
            open.push(format!("column {column} needs a value in new rows, and none can be proposed: {why}"));
        }
    }
    if !open.is_empty() {
        let next =
            "give each an SQL expression, as in --insert \"COLUMN=(select id from users where login = 'bridge')\"";
        return Err(Failure::new(Exit::Usage, open.join("\n"), next));
    }
    for (column, sql) in proposed.insert {
        let sql = match may_ask {
            true => ask(&format!("Column {column} in new rows; an SQL expression"), Some(&sql))?,
            false => sql,
        };
        history.insert.entry(column).or_insert(sql);
    }
    for (column, sql) in proposed.marker {
        history.marker.entry(column).or_insert(sql);
    }
    if let Some(share) = proposed.share.filter(|_| history.share.is_none()) {
        let share = match may_ask {
            true => ask("Which rows may leave this site; an SQL condition", Some(&share))?,
            false => share,
        };
        note(&format!("Only rows with {share} leave this site: [history] share."));
        history.share = Some(share);
    }
    Ok(())
}

/// Which problems are bridged, where the columns of their table tell.
async fn propose_problems(
    answers: &mut InitAnswers,
    catalog: &Catalog,
    database: &Database,
    may_ask: bool,
) -> Result<(), Failure> {
    let Some(problem) = answers.problem.as_mut().filter(|problem| problem.share.is_none()) else { return Ok(()) };
    let name: Option<TableName> = problem.table.parse().ok();
    let Some(table) = name.and_then(|name| catalog.table(&name)) else { return Ok(()) };
    let values = values(database, table).await;
    let look = |column: &str| values.get(column).cloned().unwrap_or_default();
    let Some(share) = problem_share(catalog.vendor, table, &look) else { return Ok(()) };
    let share = match may_ask {
        true => ask("Which problems are bridged; an SQL condition", Some(&share))?,
        false => share,
    };
    note(&format!("Only problems with {share} are bridged: [problem] share."));
    problem.share = Some(share);
    Ok(())
}

/// Values that text columns of the table have, for those that tell who may see a row.
async fn values(database: &Database, table: &TableInfo) -> BTreeMap<String, Vec<String>> {
    let columns: Vec<String> = table.columns.iter().filter(|c| tells_by_value(c)).map(|c| c.name.clone()).collect();
    if columns.is_empty() {
        return BTreeMap::new();
    }
    let rows = database.sample(&table.name, &columns, VALUE_ROWS).await.unwrap_or_default();
    let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in rows {
        for (column, value) in columns.iter().zip(row) {
            values.entry(column.clone()).or_default().extend(value);
        }
    }
    values
}
