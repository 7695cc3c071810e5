//! The table of the problems: its columns, the link, and whether a problem can be created in it.

use std::collections::BTreeMap;

use super::{Affinity, IdColumn, Inspector, Table, Trouble, listed};
use crate::mapping::ProblemTable;

impl Inspector<'_> {
    pub(super) fn problem_table(&mut self) -> Result<(), Trouble> {
        let Some(mapped) = &self.mapping.problems else {
            return Ok(());
        };
        let Some(table) = self.table("[problem] table", &mapped.name)? else {
            return Ok(());
        };
        if let Some(id) = self.column("[problem] id", &table, &mapped.id) {
            self.seen.found.problem_id = IdColumn::of(id);
            self.wants_index(&table, id);
        }
        for (name, column) in &mapped.fields {
            if let Some(column) = self.column(&format!("[problem] fields, {name}"), &table, column) {
                self.seen.found.problem_fields.insert(name.clone(), column.keeps());
            }
        }
        if let Some(link) = &mapped.link {
            self.link(&table, link);
        }
        self.condition("[problem] share", &table, mapped.share.as_deref())?;
        match &mapped.create {
            Some(expressions) => self.creates(mapped, &table, expressions),
            None => Ok(()),
        }
    }

    fn link(&mut self, table: &Table, link: &str) {
        let Some(column) = self.own_column("[problem] link", table, link) else {
            return;
        };
        if column.affinity() != Affinity::Text {
            self.fault(format!(
                "[problem] link: column {} of table {} is declared as {}, and home names are texts. Name a column \
                 declared as TEXT",
                column.name,
                table.name,
                if column.declared.is_empty() { "nothing" } else { &column.declared }
            ));
        }
        self.seen.found.link_chars_max = column.width();
        self.wants_index(table, column);
    }

    fn creates(
        &mut self,
        mapped: &ProblemTable,
        table: &Table,
        expressions: &BTreeMap<String, String>,
    ) -> Result<(), Trouble> {
        let Some(link) = &mapped.link else {
            self.fault(
                "[problem] create needs [problem] link: without it, nothing says which problems were created already"
                    .to_owned(),
            );
            return Ok(());
        };
        if table.kind != "table" {
            self.fault(format!(
                "[problem] create: {} is a {} and rows cannot be added to it reliably. Name the table beneath",
                table.name, table.kind
            ));
            return Ok(());
        }
        let known: Vec<&str> = ["site", "home"].into_iter().chain(mapped.fields.keys().map(String::as_str)).collect();
        for (column, sql) in expressions {
            let key = format!("[problem.insert] {column}");
            self.own_column(&key, table, column);
            if column.eq_ignore_ascii_case(link) {
                self.fault(format!("{key}: the bridge itself fills this column. Leave the key out"));
            }
            self.expression(&key, sql, &known)?;
        }
        self.insert_triggers(table)?;
        let filled = |name: &str| expressions.keys().any(|c| c.eq_ignore_ascii_case(name));
        let by_field = |name: &str| mapped.fields.values().any(|c| c.eq_ignore_ascii_case(name));
        for column in table.columns.iter().filter(|c| !c.computed && !table.gives_out(c)) {
            let name = column.name.as_str();
            let is_id = name.eq_ignore_ascii_case(&mapped.id);
            // A primary key that is no rowid may be null in SQLite; an id must not.
            let lacks = column.needs_value() || (is_id && !column.has_default);
            if lacks && !filled(name) && !by_field(name) && !name.eq_ignore_ascii_case(link) {
                let why = if is_id { "is the problem's id and" } else { "must not be null and" };
                self.fault(format!(
                    "column {name} of table {} {why} has no default: give created problems a value with \
                     [problem.insert] {name} = \"...\"",
                    table.name
                ));
            }
        }
        Ok(())
    }

    /// Compiles an expression and looks at what it names.
    pub(super) fn expression(&mut self, key: &str, sql: &str, known: &[&str]) -> Result<(), Trouble> {
        self.compiles(key, &super::statements::value_of(sql), known)
    }

    /// Compiles a statement in which the names of `known` are bound, or says what is wrong with it.
    pub(super) fn compiles(&mut self, key: &str, sql: &str, known: &[&str]) -> Result<(), Trouble> {
        match self.strictly(sql)? {
            Err(said) => self.fault(format!(
                "{key} does not compile: {said}. Strings stand in single quotes, and a received field is written \
                 :NAME"
            )),
            Ok(parameters) => {
                for parameter in parameters {
                    if !parameter.strip_prefix(':').is_some_and(|name| known.contains(&name)) {
                        let allowed: Vec<String> = known.iter().map(|n| format!(":{n}")).collect();
                        self.fault(format!(
                            "{key}: {parameter} is nothing known. There are: {}",
                            listed(allowed.iter())
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}
