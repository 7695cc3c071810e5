//! What a mapping needs of its database: which columns of which tables are read, inserted and changed. `grants` writes
//! it as SQL and `check` compares it with what the database user may do.
//!
//! Everything comes from the mapping and the catalogue; what the administrator's SQL reads is looked up in `rights/sql`.
//! What cannot be told is said to be so, never guessed.

mod sql;

use std::collections::{BTreeMap, BTreeSet};

use landbridge_stores::TableName;
use landbridge_stores::catalog::{Catalog, TableInfo, Vendor};
use landbridge_stores::mapping::{Mapping, Numbering, Source, Table};
use serde::Serialize;

/// What is needed, table by table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// By table, named as the catalogue has it.
    pub tables: BTreeMap<TableName, TableNeeds>,
    /// Sequences that give out numbers (PostgreSQL).
    pub sequences: BTreeSet<TableName>,
    /// What cannot be told, a sentence each.
    pub unresolved: BTreeSet<String>,
}

/// What is needed of one table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TableNeeds {
    /// The columns that are read.
    pub select: BTreeSet<String>,
    /// The columns that appended rows get a value in.
    pub insert: BTreeSet<String>,
    /// The columns that are changed, or that a row is held still by.
    pub update: BTreeSet<String>,
    /// Whether rows are deleted: by a statement of the administrator's, or markers where [markers] compact allows it.
    pub delete: bool,
}

/// The stack that SQL is parsed on: a chain of thousands of operators becomes a tree as deep as it is long.
const STACK_BYTES: usize = 256 << 20;

/// What `mapping` needs of the database with this catalogue.
pub fn needs(mapping: &Mapping, catalog: &Catalog) -> Needs {
    let found = std::thread::scope(|scope| {
        let reading =
            std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, || read(mapping, catalog));
        reading.ok().and_then(|reading| reading.join().ok())
    });
    found.unwrap_or_else(|| Needs {
        unresolved: BTreeSet::from(["the mapping: its SQL could not be read".to_owned()]),
        ..Needs::default()
    })
}

fn read(mapping: &Mapping, catalog: &Catalog) -> Needs {
    let mut reader = Reader { catalog, needs: Needs::default() };
    match &mapping.source {
        Source::Table(table) => reader.history(mapping, table),
        Source::Statements(statements) => {
            let columns = reader.statement("[history] read", &statements.read);
            for (i, sql) in statements.append.iter().enumerate() {
                reader.statement(&format!("statement {} of [history] append", i + 1), sql);
            }
            reader.expression("[history] work_from", &statements.work_from, None);
            for (key, condition) in conditions(mapping) {
                reader.condition_on_query(&key, condition, columns.as_ref());
            }
        }
    }
    for (i, sql) in mapping.also.iter().enumerate() {
        reader.statement(&format!("statement {} of [history] also", i + 1), sql);
    }
    reader.problems(mapping);
    if let Some(markers) = &mapping.markers {
        let own = ["problem", "number", "text"];
        reader.columns("[markers] table", markers, own, |n| &mut n.select);
        reader.columns("[markers] table", markers, ["problem", "text"], |n| &mut n.insert);
        reader.sequences(markers);
    }
    if mapping.compact {
        reader.removal(mapping);
    }
    reader.needs
}

/// The conditions on rows of the history, and what they are called.
fn conditions(m: &Mapping) -> Vec<(String, &str)> {
    let own = [("[history] where", &m.within), ("[history] share", &m.share)];
    let own = own.into_iter().filter_map(|(key, sql)| Some((key.to_owned(), sql.as_deref()?)));
    let peers = m.peers.iter().filter_map(|(peer, sql)| Some((format!("[[peer]] {peer} share"), sql.as_deref()?)));
    own.chain(peers).collect()
}

struct Reader<'a> {
    catalog: &'a Catalog,
    needs: Needs,
}

impl Reader<'_> {
    fn history(&mut self, m: &Mapping, table: &Table) {
        let (key, name) = ("[history] table", &table.name);
        let fields = m.fields.values().map(String::as_str);
        let own = [m.problem.as_str(), &m.work, &m.text];
        self.columns(key, name, own.into_iter().chain(fields.clone()), |n| &mut n.select);
        let filled = table.insert.keys().chain(table.marker.keys()).map(String::as_str);
        self.columns(key, name, [m.problem.as_str(), &m.text].into_iter().chain(fields).chain(filled), |n| {
            &mut n.insert
        });
        match table.numbering {
            Numbering::PerProblem => {
                self.columns(key, name, [m.work.as_str()], |n| &mut n.insert);
                if self.catalog.vendor == Vendor::Postgres {
                    // `for key share` holds rows still and asks for the right to update some column of theirs.
                    self.columns(key, name, [m.work.as_str()], |n| &mut n.update);
                }
            }
            Numbering::Generated => {}
        }
        self.sequences(name);
        for (key, condition) in conditions(m) {
            self.expression(&key, condition, Some(name));
        }
        for (section, expressions) in [("insert", &table.insert), ("marker", &table.marker)] {
            for (column, sql) in expressions {
                self.expression(&format!("[history.{section}] {column}"), sql, None);
            }
        }
    }

    /// Markers are deleted where they are: in their own table, else in the history. The columns by which they are found
    /// are read already.
    fn removal(&mut self, m: &Mapping) {
        let name = match (&m.markers, &m.source) {
            (Some(markers), _) => markers,
            (None, Source::Table(table)) => &table.name,
            (None, Source::Statements(by)) => {
                for (i, sql) in by.remove.iter().enumerate() {
                    self.statement(&format!("statement {} of [history] remove", i + 1), sql);
                }
                return;
            }
        };
        let name = find(self.catalog, name).map_or(name, |i| &self.catalog.tables[i].name).clone();
        self.needs.tables.entry(name).or_default().delete = true;
    }

    fn problems(&mut self, m: &Mapping) {
        let Some(problems) = &m.problems else { return };
        let (key, name) = ("[problem] table", &problems.name);
        let further = problems.fields.values().chain(&problems.link).map(String::as_str);
        self.columns(key, name, [problems.id.as_str()].into_iter().chain(further.clone()), |n| &mut n.select);
        if let Some(share) = &problems.share {
            self.expression("[problem] share", share, Some(name));
        }
        if let Some(insert) = &problems.create {
            self.columns(key, name, further.chain(insert.keys().map(String::as_str)), |n| &mut n.insert);
            self.sequences(name);
            for (column, sql) in insert {
                self.expression(&format!("[problem.insert] {column}"), sql, None);
            }
        }
    }

    /// The table as the catalogue has it. Where it has none, nobody can say what is in it.
    fn table(&mut self, key: &str, name: &TableName) -> Option<usize> {
        let found = find(self.catalog, name);
        if found.is_none() {
            let who = self.catalog.user.as_deref().map_or_else(String::new, |user| format!(" to {user}"));
            self.unresolved(format!("{key}: there is no table {name} that is visible{who}"));
        }
        found
    }

    fn unresolved(&mut self, sentence: String) {
        self.needs.unresolved.insert(sentence);
    }

    /// Notes that these columns of the table are needed.
    fn columns<'c>(
        &mut self,
        key: &str,
        table: &TableName,
        columns: impl IntoIterator<Item = &'c str>,
        kind: fn(&mut TableNeeds) -> &mut BTreeSet<String>,
    ) {
        let found = self.table(key, table);
        for column in columns {
            self.column(key, found, table, column, kind);
        }
    }

    fn column(
        &mut self,
        key: &str,
        found: Option<usize>,
        table: &TableName,
        column: &str,
        kind: fn(&mut TableNeeds) -> &mut BTreeSet<String>,
    ) {
        let info = found.map(|i| &self.catalog.tables[i]);
        let known = info.and_then(|t| t.column(column)).map(|c| c.name.clone());
        if info.is_some() && known.is_none() {
            self.unresolved(format!("{key}: table {table} has no column {column} that is visible"));
        }
        let name = info.map_or(table, |t| &t.name).clone();
        // A name of the mapping is what it is, whether it is seen here or not.
        kind(self.needs.tables.entry(name).or_default()).insert(known.unwrap_or_else(|| column.to_owned()));
    }

    /// Notes the sequences behind columns that an appended row gets no value in.
    fn sequences(&mut self, table: &TableName) {
        let Some(info) = find(self.catalog, table).map(|i| &self.catalog.tables[i]) else { return };
        let inserted = self.needs.tables.get(&info.name).map(|n| n.insert.clone()).unwrap_or_default();
        let wanted = info.columns.iter().filter(|c| !inserted.contains(&c.name));
        self.needs.sequences.extend(wanted.filter_map(|c| c.sequence.clone()));
    }
}

/// The place of a table in the catalogue, by whatever of its names.
fn find(catalog: &Catalog, name: &TableName) -> Option<usize> {
    let own = match catalog.vendor {
        Vendor::Sqlite => Some("main"),
        Vendor::Postgres => Some("public"),
        Vendor::Mysql => catalog.database.as_deref(),
    };
    let is_own = name.schema.as_deref().is_some_and(|s| own.is_some_and(|own| own.eq_ignore_ascii_case(s)));
    let found: Option<&TableInfo> =
        catalog.table(name).or_else(|| is_own.then(|| catalog.table(&TableName::plain(name.name.clone()))).flatten());
    found.and_then(|found| catalog.tables.iter().position(|t| std::ptr::eq(t, found)))
}

#[cfg(test)]
mod tests;
