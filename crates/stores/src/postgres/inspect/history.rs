//! A history that is one plain table: its columns, who numbers its rows, and a value for each that needs one.

use landbridge_core::Digest;
use landbridge_flow::StoreError;
use landbridge_flow::ports::Kind;

use super::super::append::expressions;
use super::super::schema::{Column, Relation};
use super::super::statements::{quoted, table as table_sql};
use super::super::values::{Class, FieldColumn};
use super::{Inspector, listed};
use crate::catalog::ColumnInfo;
use crate::mapping::{Numbering, Source};

impl Inspector<'_> {
    pub(super) async fn history(&mut self) -> Result<(), StoreError> {
        let Some(mut mapped) = self.mapping.table().cloned() else { return Ok(()) };
        let Some(table) = self.table("[history] table", &mapped.name).await? else { return Ok(()) };
        if !self.is_writable_table(&table) {
            return Ok(());
        }
        mapped.name = table.qualified();
        let class = format!("{}.{}", quoted(&table.schema), quoted(&table.info.name.name));
        self.found.lock_class = (Digest::of(&class).short() >> 32) as u32 as i32;
        let mut m = self.mapping.clone();
        if let Some((info, column)) = self.own_column("[history] problem", &table, &mut m.problem) {
            self.found.problem = table.id_column(info, column);
            if self.found.problem.class == Class::Other {
                self.note(format!(
                    "[history] problem: ids of type {} are compared as text, without an index",
                    info.sql_type
                ));
            }
            self.wants_index(&table, info);
        }
        if let Some((info, column)) = self.own_column("[history] text", &table, &mut m.text) {
            if matches!(Class::of(&column.base), Class::Text | Class::Padded) {
                // The markers' own table may be the narrower one.
                self.found.text_chars_max = [self.found.text_chars_max, column.width].into_iter().flatten().min();
                self.found.text_type = column.sql_type.clone();
            } else {
                self.fault(format!(
                    "[history] text: column {} of table {} is of type {}, which holds no texts. Name a column of type \
                     text or varchar",
                    info.name, table.info.name, info.sql_type
                ));
            }
        }
        for (name, c) in &mut m.fields {
            if let Some((_, column)) = self.own_column(&format!("[history] fields, {name}"), &table, c) {
                self.found.fields.insert(name.clone(), FieldColumn::of(&column.base, &column.sql_type));
            }
        }
        if let Some((info, column)) = self.column("[history] work", &table, &mut m.work) {
            self.may("[history] work", &table, info, "select");
            let problem = m.problem.clone();
            self.numbering(&table, info, column, &problem);
        }
        for (section, given) in [("insert", &mut mapped.insert), ("marker", &mut mapped.marker)] {
            let mut resolved = std::collections::BTreeMap::new();
            for (mut c, sql) in std::mem::take(given) {
                let key = format!("[history.{section}] {c}");
                if let Some((info, _)) = self.written_column(&key, &table, &mut c) {
                    self.may(&key, &table, info, "insert");
                }
                if [&m.problem, &m.work, &m.text].contains(&&c) {
                    self.fault(format!("{key}: the bridge itself fills this column. Leave the key out"));
                }
                self.parameters(&key, &sql, &["site", "text"], &m.fields);
                resolved.insert(c, sql);
            }
            *given = resolved;
        }
        m.source = Source::Table(mapped);
        self.mapping = m;
        let m = &self.mapping;
        if [&m.problem, &m.work, &m.text].iter().all(|c| table.info.column(c).is_some()) {
            // A misspelt column would be asked for twice, the second time with the wrong advice.
            self.columns_without_value(&table);
        }
        self.remarks(&table);
        Ok(())
    }

    pub(super) fn numbering(&mut self, table: &Relation, info: &ColumnInfo, column: &Column, problem: &str) {
        let (name, work) = (&table.info.name, &info.name);
        match Class::of(&column.base) {
            Class::Integer(..) => {}
            Class::Numeric => self.found.work_is_integer = false,
            _ => self.fault(format!(
                "[history] work: column {work} of table {name} is of type {}, and work ids are whole numbers. Name an \
                 integer column",
                info.sql_type
            )),
        }
        match self.mapping.numbering() {
            Numbering::PerProblem => {
                self.may("[history] work", table, info, "insert");
                self.found.number_indices = table.unique_on(&[problem, work]);
                if column.always_generated {
                    self.fault(format!(
                        "[history] numbering = \"per-problem\": the database gives out the numbers of column {work} of \
                         table {name} itself: write numbering = \"generated\""
                    ));
                } else if self.found.number_indices.is_empty() && table.column(problem).is_some() {
                    let instead = if info.is_generated_number {
                        "The database gives out the numbers of that column itself: write numbering = \"generated\""
                            .to_owned()
                    } else {
                        format!(
                            "create unique index on {} ({}, {})",
                            table_sql(&table.qualified()),
                            quoted(problem),
                            quoted(work)
                        )
                    };
                    self.fault(format!(
                        "[history] numbering = \"per-problem\": table {name} has no primary key or unique index on \
                         exactly ({problem}, {work}) that holds for all rows at once, so that two writers could give out \
                         the same number. {instead}"
                    ));
                }
                if !table.info.columns.iter().any(|c| c.rights.contains("update")) {
                    let grant = format!(
                        "grant update ({}) on {} to {}",
                        quoted(work),
                        table_sql(&table.qualified()),
                        quoted(&self.user)
                    );
                    self.fault(format!(
                        "user {} may lock no row of table {name}: {grant}. The right is used only to hold rows still \
                         while they are marked; the bridge updates nothing",
                        self.user
                    ));
                }
            }
            Numbering::Generated => {
                self.found.number_indices = table.unique_on(&[work]);
                if !info.has_default {
                    self.fault(format!(
                        "[history] numbering = \"generated\": column {work} of table {name} has no identity and no \
                         default, so the database gives out no numbers. Write numbering = \"per-problem\", or name the \
                         column that has them"
                    ));
                } else if !info.is_generated_number {
                    self.note(format!(
                        "column {work} of table {name} gets its numbers from an expression: they must ascend and never \
                         be given out twice"
                    ));
                }
            }
        }
    }

    /// Columns that refuse null, have no default and get no value.
    fn columns_without_value(&mut self, table: &Relation) {
        let m = self.mapping.clone();
        let own = [&m.problem, &m.work, &m.text];
        for (info, column) in table.info.columns.iter().zip(&table.columns) {
            let name = info.name.as_str();
            let by_expression = |kind| expressions(&m, kind).iter().any(|(c, _)| *c == name);
            let by_field = m.fields.values().any(|c| c == name);
            let entries = by_field || by_expression(Kind::Entry);
            let markers = by_expression(Kind::Marker);
            let is_own = own.iter().any(|c| *c == name) && (name != m.work || m.numbering() == Numbering::PerProblem);
            self.usable(table, info, column, is_own || entries && markers);
            let (section, rows) = match (entries, markers) {
                _ if is_own || !info.not_null || info.has_default || info.is_computed || m.work == name => continue,
                (true, true) => continue,
                _ if m.markers.is_some() && entries => continue,
                // A marker has no fields.
                (true, false) => ("marker", "markers"),
                (false, _) => ("insert", "appended rows"),
            };
            self.fault(format!(
                "column {name} of table {} must not be null and has no default: give {rows} a value with \
                 [history.{section}] {name} = \"...\"",
                table.info.name
            ));
        }
    }

    /// What works, and still is worth a look.
    fn remarks(&mut self, table: &Relation) {
        let name = &table.info.name;
        if table.is_unlogged {
            self.note(format!("table {name} is unlogged: a crash of the server empties it, markers and all"));
        }
        if !table.info.insert_triggers.is_empty() {
            self.note(format!(
                "table {name} has triggers on inserts, which fire for appended rows too: {}",
                listed(table.info.insert_triggers.iter())
            ));
        }
        if table.rewrites_inserts {
            self.note(format!("table {name} has a rule on inserts; where it puts rows elsewhere they are refused"));
        }
        self.hidden_rows(table);
    }
}
