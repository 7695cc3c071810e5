//! The table of the problems and the markers' own, as the mapping has them.

use super::super::append::marker_slots;
use super::super::fault::Trouble;
use super::super::values::IdClass;
use super::super::{problems, statements};
use super::Inspector;
use crate::mapping::Numbering;

impl Inspector<'_> {
    pub(super) async fn problem_table(&mut self) -> Result<(), Trouble> {
        let Some(mapped) = &self.mapping.problems else { return Ok(()) };
        let Some(table) = self.table("[problem] table", &mapped.name).await? else { return Ok(()) };
        self.has_transactions("[problem] table", &table);
        if let Some(id) = self.column("[problem] id", &mapped.name, &table, &mapped.id).await? {
            self.seen.found.problem_id = self.id_class("[problem] id", &table, &id);
            self.wants_index(&table, &id);
            let expression =
                |e: &std::collections::BTreeMap<String, String>| e.keys().any(|c| c.eq_ignore_ascii_case(&mapped.id));
            if let Some(create) = &mapped.create
                && !id.auto_increment
                && !expression(create)
            {
                self.fault(format!(
                    "[problem] create: column {} of table {} has no auto_increment, so say what a new problem's id is: \
                     [problem.insert] {} = \"...\"",
                    id.name, table.name, id.name
                ));
            }
        }
        for (name, column) in &mapped.fields {
            self.column(&format!("[problem] fields, {name}"), &mapped.name, &table, column).await?;
        }
        if let Some(link) = &mapped.link
            && let Some(info) = self.column("[problem] link", &mapped.name, &table, link).await?
        {
            if !info.is_text() {
                self.fault(format!(
                    "[problem] link: column {link} of table {} is {}, and a home name such as N/4711 is a text. Name a \
                     column of a text type",
                    table.name, info.column_type
                ));
            }
            self.wants_index(&table, &info);
        }
        self.condition("[problem] share", &mapped.name, Some(&table), mapped.share.as_deref()).await?;
        if let (Some(create), Some(link)) = (&mapped.create, &mapped.link) {
            self.can_hold_rows("[problem] create", &table);
            let keys = |name: &str| name == "site" || name == "home" || mapped.fields.contains_key(name);
            for (column, sql) in create {
                let key = format!("[problem.insert] {column}");
                self.own_column(&key, &mapped.name, &table, column, false).await?;
                self.expression(&key, sql, keys, &["site", "home"]).await?;
            }
            for column in mapped.fields.values().chain([link]) {
                self.own_column("[problem] create", &mapped.name, &table, column, true).await?;
            }
            let (_, all) = problems::slots(mapped, link, create, |_| true);
            let mut given: Vec<String> = all.iter().map(|s| s.column.clone()).collect();
            given.push(statements::quoted(&mapped.id));
            self.columns_without_value(&table, &given, "[problem.insert]", "created problems");
        }
        self.seen.found.problems = Some(table);
        Ok(())
    }

    pub(super) async fn markers(&mut self) -> Result<(), Trouble> {
        let Some(name) = &self.mapping.markers else { return Ok(()) };
        let Some(table) = self.table("[markers] table", name).await? else { return Ok(()) };
        if !self.can_hold_rows("[markers] table", &table) {
            return Ok(());
        }
        if let Some(problem) = self.own_column("[markers] problem", name, &table, "problem", true).await? {
            self.seen.found.marker_problem = self.id_class("[markers] problem", &table, &problem);
            self.wants_index(&table, &problem);
        }
        if let Some(number) = self.column("[markers] number", name, &table, "number").await?
            && !number.auto_increment
        {
            self.fault(format!(
                "[markers] number: column number of table {} must be given out by the database: number bigint not null \
                 auto_increment primary key",
                table.name
            ));
        }
        if let Some(text) = self.own_column("[markers] text", name, &table, "text", true).await? {
            self.seen.found.marker_text = self.text_column("[markers] text", &table, &text);
        }
        if self.mapping.numbering() == Numbering::PerProblem {
            self.fault(
                "[markers] table: with numbering = \"per-problem\" a marker in the history keeps the number of a deleted \
                 last row from being given out again. Leave [markers] table out"
                    .to_owned(),
            );
        }
        let given: Vec<String> = marker_slots(&IdClass::Text).into_iter().map(|s| s.column).collect();
        self.columns_without_value(&table, &given, "[markers]", "markers");
        self.seen.found.markers = Some(table);
        Ok(())
    }
}
