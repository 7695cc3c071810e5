//! The tables and columns that a mapping names: that they are there, of a kind that serves, and that this user may read
//! and write them.

use landbridge_flow::StoreError;

use super::super::schema::{Column, Relation};
use super::super::statements::{quoted, table as table_sql};
use super::{Inspector, listed};
use crate::catalog::ColumnInfo;
use crate::mapping::TableName;

impl Inspector<'_> {
    pub(super) fn is_writable_table(&mut self, table: &Relation) -> bool {
        let (name, kind) = (
            table.info.name.clone(),
            match table.kind {
                'r' | 'p' if table.is_temporary => "temporary table",
                'r' | 'p' => return true,
                'm' => "materialized view",
                'f' => "foreign table",
                _ => "view",
            },
        );
        self.fault(format!(
            "[history] table: {name} is a {kind} and rows cannot be appended to it reliably. Name the table beneath, \
             and give its condition as [history] where"
        ));
        false
    }

    pub(super) async fn table(&mut self, key: &str, name: &TableName) -> Result<Option<Relation>, StoreError> {
        let table = self.reader.find(name).await?;
        if table.is_none() {
            let there = listed(self.reader.names().await?.iter());
            self.fault(format!("{key}: there is no table {name}. The tables here are: {there}"));
        }
        Ok(table)
    }

    /// The column, its name corrected to how the catalogue writes it.
    pub(super) fn column<'t>(
        &mut self,
        key: &str,
        table: &'t Relation,
        name: &mut String,
    ) -> Option<(&'t ColumnInfo, &'t Column)> {
        let column = table.column(name);
        match column {
            Some((info, _)) => info.name.clone_into(name),
            None => self.fault(format!(
                "{key}: table {} has no column {name}. Its columns are: {}",
                table.info.name,
                listed(table.info.columns.iter().map(|c| &c.name))
            )),
        }
        column
    }

    /// A column that appended rows get a value in.
    pub(super) fn written_column<'t>(
        &mut self,
        key: &str,
        table: &'t Relation,
        name: &mut String,
    ) -> Option<(&'t ColumnInfo, &'t Column)> {
        let (info, column) = self.column(key, table, name)?;
        if info.is_computed {
            self.fault(format!(
                "{key}: column {name} of table {} is computed from others and cannot be written. Name the column that \
                 it is computed from",
                table.info.name
            ));
        }
        Some((info, column))
    }

    /// A column that is read and written.
    pub(super) fn own_column<'t>(
        &mut self,
        key: &str,
        table: &'t Relation,
        name: &mut String,
    ) -> Option<(&'t ColumnInfo, &'t Column)> {
        let (info, column) = self.written_column(key, table, name)?;
        self.may(key, table, info, "select");
        self.may(key, table, info, "insert");
        Some((info, column))
    }

    pub(super) fn may(&mut self, key: &str, table: &Relation, column: &ColumnInfo, right: &str) {
        if !column.rights.contains(right) {
            let grant = format!(
                "grant {right} ({}) on {} to {}",
                quoted(&column.name),
                table_sql(&table.qualified()),
                quoted(&self.user)
            );
            let fault = format!(
                "{key}: user {} has no {right} right on column {} of table {}: {grant}. `landbridge grants` prints \
                 all that is needed",
                self.user, column.name, table.info.name
            );
            if !self.inspection.faults.contains(&fault) {
                self.fault(fault);
            }
        }
    }

    /// The sequence behind a column that the bridge leaves to its default.
    pub(super) fn usable(&mut self, table: &Relation, info: &ColumnInfo, column: &Column, filled: bool) {
        let Some(sequence) = info.sequence.as_ref().filter(|_| !filled && !column.always_generated) else { return };
        self.sequences.push((table.info.name.clone(), info.name.clone(), sequence.clone()));
    }

    pub(super) fn wants_index(&mut self, table: &Relation, column: &ColumnInfo) {
        if table.info.is_table && !table.indexed.contains(&column.name) {
            self.note(format!(
                "no index of table {} begins with column {}, so that each look at a problem reads the whole table: \
                 create index on {} ({})",
                table.info.name,
                column.name,
                table_sql(&table.qualified()),
                quoted(&column.name),
            ));
        }
    }

    pub(super) fn hidden_rows(&mut self, table: &Relation) {
        if table.hides_rows {
            self.note(format!(
                "row level security of table {} applies to user {}: rows that its policies hide are not bridged, and \
                 where they hide markers, entries are sent again. Let a policy show this user all rows of the history",
                table.info.name, self.user
            ));
        }
    }
}
