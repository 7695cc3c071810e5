//! Whether a database is what the mapping says. Every fault is reported at once, with what to write instead.

mod apart;
mod by_statements;
mod problem_table;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use landbridge_flow::StoreError;
use landbridge_flow::ports::Kind;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::append::{Shape, expressions};
use super::fault::Trouble;
use super::lane::{FLAGS, FileMark};
use super::schema::{Affinity, Column, Table, insert_triggers, table_names};
use super::values::Keeps;
use super::{session, statements};
use crate::inspection::Inspection;
use crate::mapping::{Mapping, Numbering, TableName};

/// What was found out about a database and its mapping.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// For a person.
    pub(super) inspection: Inspection,
    /// What the adapter works by.
    pub(super) found: Found,
}

/// What the adapter has to know of the columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The history's problem column.
    pub(super) problem: IdColumn,
    /// The id in the table of the problems.
    pub(super) problem_id: IdColumn,
    /// The problem column of the table of the markers.
    pub(super) marker_problem: IdColumn,
    /// The declared width of the text column.
    pub(super) text_chars_max: Option<usize>,
    /// The declared width of the link column.
    pub(super) link_chars_max: Option<usize>,
    /// How the shared columns of entries keep their values.
    pub(super) fields: BTreeMap<String, Keeps>,
    /// The same of problems.
    pub(super) problem_fields: BTreeMap<String, Keeps>,
    /// Whether the query of the mapping has a condition of its own, a column `share`.
    pub(super) read_share: bool,
}

impl Found {
    /// How the entry's shared column of this name keeps its values.
    pub(super) fn keeps(&self, name: &str) -> Keeps {
        self.fields.get(name).copied().unwrap_or_default()
    }
}

/// How a column keeps problem ids.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct IdColumn {
    /// It turns nothing into its own kind: 17 and '17' are two values.
    pub(super) untyped: bool,
    /// It holds texts only.
    pub(super) text: bool,
}

impl IdColumn {
    fn of(column: &Column) -> Self {
        let affinity = column.affinity();
        Self { untyped: affinity == Affinity::Blob, text: affinity == Affinity::Text }
    }
}

/// Compares the database at `path` with `mapping` and changes nothing.
///
/// # Errors
/// Where the file is missing, is no database, or does not answer. What is wrong with the mapping is in
/// [`Inspection::faults`].
pub fn inspect(path: &Path, mapping: &Mapping) -> Result<Inspection, StoreError> {
    look(path, mapping, FLAGS, Duration::from_secs(5)).map(|seen| seen.inspection)
}

/// The same with these flags and this patience.
pub(super) fn look(path: &Path, mapping: &Mapping, flags: OpenFlags, busy: Duration) -> Result<Seen, StoreError> {
    let file = FileMark::of(path)?;
    let look = || -> Result<Seen, Trouble> {
        let connection = session::connect(file.path(), flags, busy)?;
        let mut inspector = Inspector { connection: &connection, mapping, seen: Seen::default() };
        inspector.encoding()?;
        inspector.problem_table()?;
        match mapping.statements() {
            None => inspector.history()?,
            Some(by) => inspector.statements(by)?,
        }
        inspector.also()?;
        inspector.markers()?;
        if inspector.seen.inspection.faults.is_empty() {
            inspector.reads();
        }
        Ok(inspector.seen)
    };
    look().map_err(|e| e.translate(path))
}

struct Inspector<'a> {
    connection: &'a Connection,
    mapping: &'a Mapping,
    seen: Seen,
}

impl Inspector<'_> {
    fn fault(&mut self, sentence: String) {
        self.seen.inspection.faults.push(sentence);
    }

    fn encoding(&mut self) -> Result<(), Trouble> {
        let encoding: String = self.connection.query_row("pragma encoding", [], |r| r.get(0))?;
        if encoding != "UTF-8" {
            self.fault(format!(
                "the database is encoded in {encoding}, and only UTF-8 is bridged: dump it into a database made with \
                 `pragma encoding = 'UTF-8'`"
            ));
        }
        Ok(())
    }

    fn history(&mut self) -> Result<(), Trouble> {
        let m = self.mapping;
        let Some(mapped) = m.table() else { return Ok(()) };
        let Some(table) = self.table("[history] table", &mapped.name)? else {
            return Ok(());
        };
        if table.kind != "table" {
            self.fault(format!(
                "[history] table: {} is a {} and rows cannot be appended to it reliably. Name the table beneath, and \
                 give the condition of the {} as [history] where",
                table.name, table.kind, table.kind
            ));
            return Ok(());
        }
        if let Some(problem) = self.own_column("[history] problem", &table, &m.problem) {
            self.seen.found.problem = IdColumn::of(problem);
            self.wants_index(&table, problem);
        }
        if let Some(text) = self.own_column("[history] text", &table, &m.text) {
            self.seen.found.text_chars_max = text.width();
            if matches!(text.affinity(), Affinity::Integer | Affinity::Real | Affinity::Numeric) {
                self.seen.inspection.notes.push(format!(
                    "column {} is declared as {}, which SQLite takes for numbers: a text such as 007 would be kept as \
                     7 and is refused instead. Declare it as TEXT",
                    text.name, text.declared
                ));
            }
        }
        for (name, column) in &m.fields {
            if let Some(column) = self.own_column(&format!("[history] fields, {name}"), &table, column) {
                self.seen.found.fields.insert(name.clone(), column.keeps());
            }
        }
        self.insert_triggers(&table)?;
        if let Some(work) = self.own_column("[history] work", &table, &m.work) {
            self.numbering(&table, work);
        }
        self.condition("[history] where", &table, m.within.as_deref())?;
        self.condition("[history] share", &table, m.share.as_deref())?;
        for (peer, share) in &m.peers {
            self.condition(&format!("[[peer]] {peer} share"), &table, share.as_deref())?;
        }
        self.expressions(&table)?;
        if [&self.mapping.problem, &self.mapping.work, &self.mapping.text].iter().all(|c| table.column(c).is_some()) {
            // A misspelt column would be asked for twice, the second time with the wrong advice.
            self.columns_without_value(&table);
        }
        if self.seen.inspection.faults.is_empty() {
            self.appends();
        }
        Ok(())
    }

    fn table(&mut self, key: &str, name: &TableName) -> Result<Option<Table>, Trouble> {
        if let Some(schema) = name.schema.as_ref().filter(|schema| !schema.eq_ignore_ascii_case("main")) {
            self.fault(format!(
                "{key}: a SQLite database file has only the schema main, and {name} is in {schema}. Write {}",
                TableName::plain(&name.name)
            ));
            return Ok(None);
        }
        let table = Table::find(self.connection, &name.name)?;
        if table.is_none() {
            let there = listed(table_names(self.connection)?.iter());
            self.fault(format!("{key}: there is no table {name}. The tables here are: {there}"));
        }
        Ok(table)
    }

    fn column<'t>(&mut self, key: &str, table: &'t Table, name: &str) -> Option<&'t Column> {
        let column = table.column(name);
        if column.is_none() {
            self.fault(format!(
                "{key}: table {} has no column {name}. Its columns are: {}",
                table.name,
                listed(table.columns.iter().map(|c| &c.name))
            ));
        }
        column
    }

    /// A column that appended rows get a value in.
    fn own_column<'t>(&mut self, key: &str, table: &'t Table, name: &str) -> Option<&'t Column> {
        let column = self.column(key, table, name)?;
        if column.computed {
            self.fault(format!(
                "{key}: column {name} of table {} is computed from others and cannot be written. Name the column that \
                 it is computed from",
                table.name
            ));
        }
        Some(column)
    }

    fn wants_index(&mut self, table: &Table, column: &Column) {
        if table.kind == "table" && !table.is_indexed(column) {
            self.seen.inspection.notes.push(format!(
                "no index of table {} begins with column {}, so that each look at a problem reads the whole table: \
                 create index {} on {} ({})",
                table.name,
                column.name,
                statements::quoted(&format!("{}_{}", table.name, column.name)),
                statements::quoted(&table.name),
                statements::quoted(&column.name),
            ));
        }
    }

    fn numbering(&mut self, table: &Table, work: &Column) {
        let (name, gives_out) = (&table.name, table.gives_out(work));
        match work.affinity() {
            Affinity::Integer | Affinity::Numeric => {}
            Affinity::Blob => self.seen.inspection.notes.push(format!(
                "column {} of table {name} has no type; only rows with a whole number in it are bridged",
                work.name
            )),
            Affinity::Text | Affinity::Real => self.fault(format!(
                "[history] work: column {} of table {name} is declared as {}, and work ids are whole numbers. Name an \
                 integer column",
                work.name, work.declared
            )),
        }
        match self.mapping.numbering() {
            Numbering::PerProblem if !table.is_unique([&self.mapping.problem, &self.mapping.work]) => {
                let instead = if gives_out {
                    "SQLite gives out the numbers of that column itself: write numbering = \"generated\"".to_owned()
                } else {
                    format!(
                        "create unique index {} on {} ({}, {})",
                        statements::quoted(&format!("{name}_{}", work.name)),
                        statements::quoted(name),
                        statements::quoted(&self.mapping.problem),
                        statements::quoted(&work.name)
                    )
                };
                self.fault(format!(
                    "[history] numbering = \"per-problem\": table {name} has no primary key or unique index on exactly \
                     ({}, {}), so that two writers could give out the same number. {instead}",
                    self.mapping.problem, self.mapping.work
                ));
            }
            Numbering::Generated if table.without_rowid => self.fault(format!(
                "[history] numbering = \"generated\": table {name} was made `without rowid`, where SQLite gives out no \
                 numbers. Write numbering = \"per-problem\", or remake the table"
            )),
            Numbering::Generated if !gives_out => self.fault(format!(
                "[history] numbering = \"generated\": column {} of table {name} is no `integer primary key`, and SQLite \
                 gives out the numbers of no other column. Write numbering = \"per-problem\", or name that column",
                work.name
            )),
            _ => {}
        }
    }

    /// Compiles a condition. A word in double quotes must be a column here: SQLite would take a misspelt one for a
    /// string, and the condition would silently mean something else.
    fn condition(&mut self, key: &str, table: &Table, sql: Option<&str>) -> Result<(), Trouble> {
        let Some(sql) = sql else {
            return Ok(());
        };
        let from = format!("select 1 from {}", statements::quoted(&table.name));
        let columns = format!("{} are: {}", table.name, listed(table.columns.iter().map(|c| &c.name)));
        self.condition_of(key, &from, &columns, sql)
    }

    /// The same of a history that is a query.
    fn condition_on(&mut self, key: &str, from: &str, sql: Option<&str>) -> Result<(), Trouble> {
        match sql {
            Some(sql) => self.condition_of(key, from, "[history] read are the only ones", sql),
            None => Ok(()),
        }
    }

    fn condition_of(&mut self, key: &str, from: &str, columns: &str, sql: &str) -> Result<(), Trouble> {
        match self.strictly(&format!("{from} where {}", statements::part(Some(sql))))? {
            Err(said) => self.fault(format!(
                "{key} does not compile: {said}. Strings stand in single quotes; the columns of {columns}"
            )),
            Ok(parameters) if !parameters.is_empty() => self
                .fault(format!("{key}: a condition has no parameters, and this one has {}", listed(parameters.iter()))),
            Ok(_) => {}
        }
        Ok(())
    }

    /// The names of the parameters of a statement, or what SQLite says against it.
    fn strictly(&self, sql: &str) -> Result<Result<Vec<String>, String>, Trouble> {
        let before = self.connection.db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML)?;
        self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
        let names = self.connection.prepare(sql).map(|statement| {
            let name = |at| statement.parameter_name(at).unwrap_or("?").to_owned();
            (1..=statement.parameter_count()).map(name).collect()
        });
        self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, before)?;
        Ok(names.map_err(|e| said(&e)))
    }

    fn expressions(&mut self, table: &Table) -> Result<(), Trouble> {
        let m = self.mapping;
        let Some(mapped) = m.table() else { return Ok(()) };
        let given = mapped.insert.iter().map(|e| ("insert", e)).chain(mapped.marker.iter().map(|e| ("marker", e)));
        for (section, (column, sql)) in given {
            let key = format!("[history.{section}] {column}");
            self.own_column(&key, table, column);
            if [&m.problem, &m.work, &m.text].iter().any(|own| own.eq_ignore_ascii_case(column)) {
                self.fault(format!("{key}: the bridge itself fills this column. Leave the key out"));
            }
            let fields = m.fields.keys().map(String::as_str);
            let known: Vec<&str> = ["site", "text"].into_iter().chain(fields).collect();
            self.expression(&key, sql, &known)?;
        }
        Ok(())
    }

    /// A trigger may change what is written, or refuse it.
    fn insert_triggers(&mut self, table: &Table) -> Result<(), Trouble> {
        let triggers = insert_triggers(self.connection, &table.name)?;
        if !triggers.is_empty() {
            self.seen.inspection.notes.push(format!(
                "table {} has triggers that fire when a row is added ({}). What they do to a row of the bridge is read back, \
                 and the row is refused where it is no longer what was sent",
                table.name,
                listed(triggers.iter())
            ));
        }
        Ok(())
    }

    /// Columns that refuse null, have no default and get no value.
    fn columns_without_value(&mut self, table: &Table) {
        let m = self.mapping;
        let own = [&m.problem, &m.work, &m.text];
        let is = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
        for column in table.columns.iter().filter(|c| c.needs_value() && !c.computed && !table.gives_out(c)) {
            let name = column.name.as_str();
            let by_expression = |kind| expressions(m, kind).iter().any(|(c, _)| is(c, name));
            let by_field = m.fields.values().any(|c| is(c, name));
            let entries = by_field || by_expression(Kind::Entry);
            let (section, rows) = match (entries, by_expression(Kind::Marker)) {
                _ if own.iter().any(|c| is(c, name)) => continue,
                (true, true) => continue,
                (true, false) if m.markers.is_some() => continue,
                // A marker has no fields.
                (true, false) => ("marker", "markers"),
                (false, _) => ("insert", "appended rows"),
            };
            self.fault(format!(
                "column {name} of table {} must not be null and has no default: give {rows} a value with \
                 [history.{section}] {name} = \"...\"",
                table.name
            ));
        }
    }

    /// Compiles the very statements that will append.
    fn appends(&mut self) {
        for (kind, rows) in [(Kind::Entry, "entries"), (Kind::Marker, "markers")] {
            let shape = Shape::with(self.mapping, kind, |_| true);
            if let Err(e) = self.connection.prepare(&shape.sql) {
                self.fault(format!(
                    "the statement that appends {rows} does not compile: {}. It reads: {}",
                    said(&e),
                    shape.sql.replace('\n', " ")
                ));
            }
        }
    }
}

/// What SQLite said, without the statement that it said it of.
fn said(e: &rusqlite::Error) -> String {
    match e {
        rusqlite::Error::SqlInputError { msg, .. } | rusqlite::Error::SqliteFailure(_, Some(msg)) => msg.clone(),
        rusqlite::Error::MultipleStatement => "it ends and another statement follows".to_owned(),
        e => e.to_string(),
    }
}

fn listed<'n>(names: impl Iterator<Item = &'n String>) -> String {
    let names: Vec<&str> = names.map(String::as_str).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
