//! A table of their own for the markers: whether its columns are right, and whether the history can do without the markers
//! among its rows.

use super::{Affinity, IdColumn, Inspector, Trouble};
use crate::mapping::Numbering;

impl Inspector<'_> {
    pub(super) fn markers(&mut self) -> Result<(), Trouble> {
        let Some(name) = &self.mapping.markers else {
            return Ok(());
        };
        self.numbers_stay()?;
        let Some(table) = self.table("[markers] table", name)? else {
            return Ok(());
        };
        let wanted = format!(
            "create table {} (problem text not null, number integer primary key autoincrement, text text not null)",
            table.name
        );
        let columns = ["problem", "number", "text"].map(|c| table.column(c));
        let [Some(problem), Some(number), Some(text)] = columns else {
            self.fault(format!(
                "[markers] table: {} must have the columns problem, number and text: {wanted}",
                table.name
            ));
            return Ok(());
        };
        if table.kind != "table" || !table.gives_out(number) {
            self.fault(format!(
                "[markers] table: column {} of {} must be an integer primary key, whose numbers SQLite gives out: {wanted}",
                number.name, table.name
            ));
        }
        if text.affinity() != Affinity::Text {
            self.fault(format!("[markers] table: column {} of {} must be a text: {wanted}", text.name, table.name));
        }
        let of_history = self.seen.found.text_chars_max;
        if let Some(width) = text.width()
            && of_history.is_none_or(|of_history| width < of_history)
        {
            self.fault(format!(
                "[markers] table: column {} of {} is declared for {width} characters, fewer than the texts of the \
                 history: {wanted}",
                text.name, table.name
            ));
        }
        for column in table.columns.iter().filter(|c| c.needs_value() && !c.computed) {
            if ![problem, number, text].iter().any(|own| own.name == column.name) {
                self.fault(format!(
                    "[markers] table: column {} of {} must not be null and has no default. Only problem, number and text \
                     get values",
                    column.name, table.name
                ));
            }
        }
        self.seen.found.marker_problem = IdColumn::of(problem);
        self.wants_index(&table, problem);
        self.insert_triggers(&table)
    }

    /// In the history, a marker keeps the number of a deleted last row from being given out again.
    fn numbers_stay(&mut self) -> Result<(), Trouble> {
        const WHY: &str = "In the history, a marker also keeps the number of a deleted last row from being given out \
                           again; a table of its own does not. Leave [markers] table out";
        let Some(mapped) = self.mapping.table() else {
            self.seen.inspection.notes.push(
                "[markers] table: the number of a deleted row must not be given out again by what [history] append writes \
                 into. In SQLite, that takes an `integer primary key autoincrement`"
                    .to_owned(),
            );
            return Ok(());
        };
        if mapped.numbering == Numbering::PerProblem {
            self.fault(format!("[markers] table does not go with numbering = \"per-problem\". {WHY}"));
            return Ok(());
        }
        let history = super::Table::find(self.connection, &mapped.name.name)?;
        if history.is_some_and(|history| !history.autoincrement) {
            self.fault(format!(
                "[markers] table does not go with a history whose numbers SQLite gives out again: column {} of table {} \
                 is an integer primary key without `autoincrement`. {WHY}, or remake the history with `autoincrement`",
                self.mapping.work, mapped.name
            ));
        }
        Ok(())
    }
}
