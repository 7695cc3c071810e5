//! A history that is one plain table: its columns, who numbers its rows, and the statements that will run on it.

use landbridge_flow::ports::Kind;

use super::super::append::{Slot, slots};
use super::super::fault::Trouble;
use super::super::schema::{ColumnInfo, Table, is_word};
use super::super::statements;
use super::{Inspector, listed};
use crate::mapping::{Numbering, TableName};

impl Inspector<'_> {
    pub(super) async fn history(&mut self) -> Result<(), Trouble> {
        let m = self.mapping;
        let Some(mapped) = m.table() else {
            return match m.statements() {
                Some(statements) => self.read(statements).await,
                None => Ok(()),
            };
        };
        let name = &mapped.name;
        let Some(table) = self.table("[history] table", name).await? else { return Ok(()) };
        if !self.can_hold_rows("[history] table", &table) {
            return Ok(());
        }
        let problem = self.own_column("[history] problem", name, &table, &m.problem, true).await?;
        if let Some(problem) = &problem {
            self.seen.found.problem = self.id_class("[history] problem", &table, problem);
            self.wants_index(&table, problem);
            self.seen.found.collation = match (&problem.charset, &problem.collation) {
                (Some(charset), Some(collation)) if is_word(charset) && is_word(collation) => {
                    Some((charset.clone(), collation.clone()))
                }
                _ => None,
            };
        }
        let text = self.own_column("[history] text", name, &table, &m.text, true).await?;
        if let Some(text) = &text {
            self.seen.found.text = self.text_column("[history] text", &table, text);
            self.seen.found.text_chars_max = text.chars_max();
        }
        let is_counted = mapped.numbering == Numbering::PerProblem;
        let work = match is_counted {
            true => self.own_column("[history] work", name, &table, &m.work, true).await?,
            false => self.column("[history] work", name, &table, &m.work).await?,
        };
        if let Some(work) = &work {
            self.numbering(&table, work);
        }
        for (field, column) in &m.fields {
            let key = format!("[history] fields, {field}");
            self.own_column(&key, name, &table, column, true).await?;
        }
        self.condition("[history] where", name, Some(&table), m.within.as_deref()).await?;
        self.condition("[history] share", name, Some(&table), m.share.as_deref()).await?;
        for (peer, share) in &m.peers {
            self.condition(&format!("[[peer]] {peer} share"), name, Some(&table), share.as_deref()).await?;
        }
        self.expressions(name, &table).await?;
        if problem.is_some() && text.is_some() && work.is_some() {
            // A misspelt column would be asked for twice, the second time with the wrong advice.
            for (kind, section, rows) in
                [(Kind::Entry, "[history.insert]", "appended rows"), (Kind::Marker, "[history.marker]", "markers")]
            {
                if kind == Kind::Entry || m.markers.is_none() {
                    let given: Vec<String> =
                        slots(m, &self.seen.found.problem, kind, |_| true).into_iter().map(|s| s.column).collect();
                    self.columns_without_value(&table, &given, section, rows);
                }
            }
        }
        if !table.insert_triggers.is_empty() {
            self.note(format!(
                "table {} has triggers on inserts, which run for every received entry and every marker: {}",
                table.name,
                listed(table.insert_triggers.iter())
            ));
        }
        let sound = self.seen.inspection.faults.is_empty();
        self.seen.found.history = Some(table);
        if sound {
            self.whole_statements(name).await?;
        }
        Ok(())
    }

    pub(super) fn numbering(&mut self, table: &Table, work: &ColumnInfo) {
        let (m, name) = (self.mapping, &table.name);
        if !work.is_integer() {
            self.fault(format!(
                "[history] work: column {} of table {name} is {}, and work ids are whole numbers. Name an integer column",
                work.name, work.column_type
            ));
        }
        let keys = table.unique_on([&m.problem, &m.work]);
        match m.numbering() {
            Numbering::PerProblem if keys.is_empty() => {
                let instead = if work.auto_increment {
                    "The server gives out the numbers of that column itself: write numbering = \"generated\"".to_owned()
                } else {
                    format!(
                        "create unique index {} on {} ({}, {})",
                        statements::quoted(&format!("{name}_{}", work.name)),
                        statements::quoted(name),
                        statements::quoted(&m.problem),
                        statements::quoted(&work.name)
                    )
                };
                self.fault(format!(
                    "[history] numbering = \"per-problem\": table {name} has no primary key or unique index on exactly \
                     ({}, {}), so that two writers could give out the same number. {instead}",
                    m.problem, m.work
                ));
            }
            Numbering::Generated if !work.auto_increment => self.fault(format!(
                "[history] numbering = \"generated\": column {} of table {name} has no auto_increment, and the server \
                 gives out the numbers of no other column. Write numbering = \"per-problem\", or name that column",
                work.name
            )),
            _ => {}
        }
        self.seen.found.keys = keys;
    }

    async fn expressions(&mut self, name: &TableName, table: &Table) -> Result<(), Trouble> {
        let m = self.mapping;
        let Some(mapped) = m.table() else { return Ok(()) };
        let given = mapped.insert.iter().map(|e| ("insert", e)).chain(mapped.marker.iter().map(|e| ("marker", e)));
        for (section, (column, sql)) in given {
            let key = format!("[history.{section}] {column}");
            self.own_column(&key, name, table, column, false).await?;
            if [&m.problem, &m.work, &m.text].iter().any(|own| own.eq_ignore_ascii_case(column)) {
                self.fault(format!("{key}: the bridge itself fills this column. Leave the key out"));
            }
            let known = |name: &str| name == "site" || name == "text" || m.fields.contains_key(name);
            self.expression(&key, sql, known, &["site", "text"]).await?;
        }
        Ok(())
    }

    /// Has the server look at the very statements that will run, rights and all.
    async fn whole_statements(&mut self, name: &TableName) -> Result<(), Trouble> {
        let (m, found) = (self.mapping, self.seen.found.clone());
        let pinned = m.numbering() == Numbering::PerProblem;
        let all = |slots: Vec<Slot>| slots.into_iter().map(|s| (s.column, s.holder)).collect::<Vec<_>>();
        let of = |kind| statements::insert(name, &all(slots(m, &found.problem, kind, |_| true)), 1);
        let open = [statements::open_to(m, &found, None)];
        for (what, sql) in [
            ("reads rows", statements::rows(m, &found, &open, 1)),
            ("reads texts", statements::bodies(m, &found, 1, pinned)),
            ("appends entries", of(Kind::Entry)),
            ("appends markers", of(Kind::Marker)),
        ] {
            if let Err(against) = self.prepared(&sql).await? {
                let next = if against.lacks_right() {
                    ". `landbridge grants` prints the SQL that gives the right".to_owned()
                } else {
                    format!(". It reads: {}", sql.replace('\n', " "))
                };
                self.fault(format!("the statement that {what} is not taken by the server: {}{next}", against.said));
            }
        }
        self.also().await
    }
}
