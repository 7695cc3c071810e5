//! The tables and columns that a mapping names: that they are there, of a type that serves, and that this user may read
//! and write them.

use super::super::fault::Trouble;
use super::super::read::text_form;
use super::super::schema::{self, ColumnInfo, Table};
use super::super::values::IdClass;
use super::super::{TextForm, statements};
use super::{Against, Inspector, listed};
use crate::mapping::TableName;

impl Inspector<'_> {
    /// A table of the mapping; nothing where it is missing.
    pub(super) async fn table(&mut self, key: &str, name: &TableName) -> Result<Option<Table>, Trouble> {
        let database = self.seen.found.database.clone();
        if let Some(table) = schema::find(&mut self.session, name, &database).await? {
            return Ok(Some(table));
        }
        let within = name.schema.clone().unwrap_or(database);
        let there = schema::table_names(&mut self.session, &within).await?;
        let asked = format!("select 1 from {}", statements::table(name));
        let denied = matches!(self.prepared(&asked).await?, Err(against) if against.lacks_right());
        self.fault(match denied {
            true => format!(
                "{key}: the database user has no right on table {name}, or there is none. `landbridge grants` prints \
                 the SQL that gives the rights; the tables that it can see in {within} are: {}",
                listed(there.iter())
            ),
            false => {
                format!("{key}: there is no table {name}. The tables in {within} are: {}", listed(there.iter()))
            }
        });
        Ok(None)
    }

    /// Rows can be appended to it in a transaction.
    pub(super) fn can_hold_rows(&mut self, key: &str, table: &Table) -> bool {
        if table.is_view {
            self.fault(format!(
                "{key}: {} is a view and rows cannot be appended to it reliably. Name the table beneath, and give the \
                 condition of the view as a condition here",
                table.name
            ));
            return false;
        }
        self.has_transactions(key, table);
        if table.is_partitioned {
            self.note(format!(
                "table {} is partitioned; its unique indices hold for all partitions only because each names the \
                 partitioning columns",
                table.name
            ));
        }
        true
    }

    pub(super) fn has_transactions(&mut self, key: &str, table: &Table) {
        if !table.is_view && !table.has_transactions {
            self.fault(format!(
                "{key}: table {name} is kept by the engine {}, which has no transactions: entries and the marker that \
                 names them must be written together or not at all. alter table {} engine = innodb",
                table.engine,
                statements::quoted(&table.name),
                name = table.name
            ));
        }
    }

    /// A column that is read; nothing where it is missing or may not be.
    pub(super) async fn column(
        &mut self,
        key: &str,
        name: &TableName,
        table: &Table,
        column: &str,
    ) -> Result<Option<ColumnInfo>, Trouble> {
        let sql = format!("select {} from {}", statements::column(&name.name, column), statements::table(name));
        let against = self.prepared(&sql).await?.err();
        let info = table.column(column).cloned();
        match (against, info) {
            (None, Some(info)) => Ok(Some(info)),
            (None, None) => Ok(Some(ColumnInfo { name: column.to_owned(), ..ColumnInfo::default() })),
            (Some(against), _) => {
                self.fault(if against.lacks_right() {
                    format!(
                        "{key}: the database user may not read column {column} of table {}, or there is none. \
                         `landbridge grants` prints the SQL that gives the right. The columns that it can see are: {}",
                        table.name,
                        listed(table.columns.iter().map(|c| &c.name))
                    )
                } else {
                    format!(
                        "{key}: table {} has no column {column}. Its columns are: {}",
                        table.name,
                        listed(table.columns.iter().map(|c| &c.name))
                    )
                });
                Ok(None)
            }
        }
    }

    /// A column that appended rows get a value in; `read`: it is read too.
    pub(super) async fn own_column(
        &mut self,
        key: &str,
        name: &TableName,
        table: &Table,
        column: &str,
        read: bool,
    ) -> Result<Option<ColumnInfo>, Trouble> {
        let info = match read {
            true => self.column(key, name, table, column).await?,
            false => {
                table.column(column).cloned().or(Some(ColumnInfo { name: column.to_owned(), ..ColumnInfo::default() }))
            }
        };
        let Some(info) = info else { return Ok(None) };
        if info.computed {
            self.fault(format!(
                "{key}: column {column} of table {} is computed from others and cannot be written. Name the column that \
                 it is computed from",
                table.name
            ));
            return Ok(Some(info));
        }
        let sql = format!("insert into {} ({}) values (?)", statements::table(name), statements::quoted(column));
        match self.prepared(&sql).await? {
            Err(against) if against.lacks_right() => self.fault(format!(
                "{key}: the database user may not write column {column} of table {}. `landbridge grants` prints the SQL \
                 that gives the right",
                table.name
            )),
            Err(Against { code: 1054, .. }) => self.fault(format!(
                "{key}: table {} has no column {column}. Its columns are: {}",
                table.name,
                listed(table.columns.iter().map(|c| &c.name))
            )),
            Err(against) => self.fault(format!("{key}: column {column} cannot be written: {}", against.said)),
            Ok(_) => {}
        }
        Ok(Some(info))
    }

    pub(super) fn id_class(&mut self, key: &str, table: &Table, column: &ColumnInfo) -> IdClass {
        column.id_class().unwrap_or_else(|| {
            self.fault(format!(
                "{key}: column {} of table {} is {}, and problem ids are texts, whole or decimal numbers or UUIDs. Name \
                 such a column",
                column.name, table.name, column.column_type
            ));
            IdClass::Text
        })
    }

    pub(super) fn wants_index(&mut self, table: &Table, column: &ColumnInfo) {
        if !table.is_view && !table.is_indexed(&column.name) {
            self.note(format!(
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

    pub(super) fn text_column(&mut self, key: &str, table: &Table, column: &ColumnInfo) -> TextForm {
        if !column.is_text() && !column.is_bytes() {
            self.fault(format!(
                "{key}: column {} of table {} is {} and keeps no texts. Name a column of a text type",
                column.name, table.name, column.column_type
            ));
        }
        match column.charset.as_deref() {
            Some("utf8mb4") => {}
            Some(charset) => self.note(format!(
                "column {} of table {} is kept in the character set {charset}: entries with characters outside of it, \
                 such as emoji, are refused. alter table {} convert to character set utf8mb4",
                column.name,
                table.name,
                statements::quoted(&table.name)
            )),
            None => {}
        }
        text_form(column.charset.as_deref())
    }

    /// Columns that refuse null, have no default and get no value. Strict mode does not make one up.
    pub(super) fn columns_without_value(&mut self, table: &Table, given: &[String], section: &str, rows: &str) {
        let is_given =
            |c: &ColumnInfo| given.iter().any(|g| g.to_lowercase() == statements::quoted(&c.name).to_lowercase());
        let missing: Vec<String> = table
            .columns
            .iter()
            .filter(|c| !c.nullable && !c.has_default && !c.computed && !c.auto_increment && !is_given(c))
            .map(|c| c.name.clone())
            .collect();
        for column in missing {
            let said = |s: &String| s.starts_with(&format!("column {column} of table {} must not", table.name));
            if !self.seen.inspection.faults.iter().any(said) {
                self.fault(format!(
                    "column {column} of table {} must not be null and has no default: give {rows} a value with {section} \
                     {column} = \"...\"",
                    table.name
                ));
            }
        }
    }
}
