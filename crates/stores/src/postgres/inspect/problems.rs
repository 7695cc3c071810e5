//! The table of the problems and the markers' own, as the mapping has them.

use landbridge_flow::StoreError;

use super::super::values::{Class, FieldColumn};
use super::Inspector;
use crate::mapping::Numbering;

impl Inspector<'_> {
    pub(super) async fn problem_table(&mut self) -> Result<(), StoreError> {
        let Some(mut mapped) = self.mapping.problems.clone() else { return Ok(()) };
        let Some(table) = self.table("[problem] table", &mapped.name).await? else { return Ok(()) };
        mapped.name = table.qualified();
        if let Some((info, column)) = self.column("[problem] id", &table, &mut mapped.id) {
            self.found.problem_id = Some(table.id_column(info, column));
            self.may("[problem] id", &table, info, "select");
            self.wants_index(&table, info);
        }
        let create = mapped.create.is_some();
        for (name, c) in &mut mapped.fields {
            let key = format!("[problem] fields, {name}");
            if let Some((info, column)) = self.column(&key, &table, c) {
                self.found.problem_fields.insert(name.clone(), FieldColumn::of(&column.base, &column.sql_type));
                self.may(&key, &table, info, "select");
                if create {
                    self.may(&key, &table, info, "insert");
                }
            }
        }
        if let Some(link) = &mut mapped.link
            && let Some((info, column)) = self.column("[problem] link", &table, link)
        {
            let id = table.id_column(info, column);
            if !matches!(id.class, Class::Text | Class::Padded) {
                self.fault(format!(
                    "[problem] link: column {} of table {} is of type {}, and home names are texts. Name a text column",
                    info.name, table.info.name, info.sql_type
                ));
            }
            self.may("[problem] link", &table, info, "select");
            if create {
                self.may("[problem] link", &table, info, "insert");
            }
            self.wants_index(&table, info);
            self.found.link = Some(id);
        }
        if let Some(given) = mapped.create.take() {
            if table.kind != 'r' && table.kind != 'p' {
                self.fault(format!(
                    "[problem] create: {} is no table, so no problem can be created in it",
                    table.info.name
                ));
            }
            let mut expressions = std::collections::BTreeMap::new();
            for (mut c, sql) in given {
                let key = format!("[problem.insert] {c}");
                if let Some((info, _)) = self.column(&key, &table, &mut c) {
                    self.may(&key, &table, info, "insert");
                }
                self.parameters(&key, &sql, &["site", "home"], &mapped.fields);
                expressions.insert(c, sql);
            }
            if mapped.link.is_none() {
                self.fault(
                    "[problem] create needs [problem] link: the text column that keeps the home name".to_owned(),
                );
            }
            for (info, column) in table.info.columns.iter().zip(&table.columns) {
                let filled = expressions.contains_key(&info.name)
                    || mapped.link.as_ref() == Some(&info.name)
                    || mapped.fields.values().any(|c| *c == info.name);
                self.usable(&table, info, column, filled);
                if !filled && info.not_null && !info.has_default && !info.is_computed {
                    self.fault(format!(
                        "column {} of table {} must not be null and has no default: give created problems a value \
                         with [problem.insert] {} = \"...\"",
                        info.name, table.info.name, info.name
                    ));
                }
            }
            mapped.create = Some(expressions);
        }
        self.hidden_rows(&table);
        self.mapping.problems = Some(mapped);
        Ok(())
    }

    pub(super) async fn marker_table(&mut self) -> Result<(), StoreError> {
        let Some(name) = self.mapping.markers.clone() else { return Ok(()) };
        if self.mapping.numbering() == Numbering::PerProblem {
            self.fault(
                "[markers] table: with numbering = \"per-problem\" markers stand in the history, where they keep the \
                 number of a deleted last row from being given out again. Leave [markers] out"
                    .to_owned(),
            );
        }
        let Some(table) = self.table("[markers] table", &name).await? else { return Ok(()) };
        self.mapping.markers = Some(table.qualified());
        for (wanted, rights) in
            [("problem", &["select", "insert"][..]), ("number", &["select"]), ("text", &["select", "insert"])]
        {
            let mut own = wanted.to_owned();
            let Some((info, column)) = self.column("[markers] table", &table, &mut own) else { continue };
            for right in rights {
                self.may("[markers] table", &table, info, right);
            }
            match wanted {
                "problem" => {
                    self.found.markers = Some(table.id_column(info, column));
                    self.wants_index(&table, info);
                }
                "number" if !info.has_default => self.fault(format!(
                    "[markers] table: column number of table {} has no default; make it `bigint generated always as \
                     identity`",
                    table.info.name
                )),
                "number" => self.usable(&table, info, column, false),
                _ => {
                    self.found.text_chars_max = column.width;
                }
            }
        }
        self.hidden_rows(&table);
        Ok(())
    }
}
