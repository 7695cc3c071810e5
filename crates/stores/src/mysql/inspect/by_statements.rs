//! A history that is mapped by statements: only the server knows which columns its query has, and from which tables they
//! come.

use mysql_async::Column;
use mysql_async::consts::ColumnType;

use super::super::fault::Trouble;
use super::super::schema;
use super::super::values::{BINARY, IdClass};
use super::super::{TextForm, rowwise, statements};
use super::{Inspector, listed};
use crate::mapping::{Statements, TableName};

impl Inspector<'_> {
    /// A history that is mapped by statements.
    pub(super) async fn read(&mut self, mapped: &Statements) -> Result<(), Trouble> {
        let m = self.mapping;
        let columns = match self.prepared(&mapped.read).await? {
            Ok((columns, 0)) => columns,
            Ok(_) => {
                self.fault("[history] read: the query has no parameters, and this one has a ?".to_owned());
                return Ok(());
            }
            Err(against) => {
                let lacks = if against.lacks_right() {
                    ". `landbridge grants` prints the SQL that gives the right"
                } else {
                    ""
                };
                self.fault(format!("[history] read is not taken by the server: {}{lacks}", against.said));
                return Ok(());
            }
        };
        let name = |c: &Column| c.name_str().into_owned();
        let find = |wanted: &str| columns.iter().find(|c| c.name_str().eq_ignore_ascii_case(wanted));
        let there: Vec<String> = columns.iter().map(name).collect();
        let encoding = mapped.text_encoding.iter().map(String::as_str);
        for wanted in
            [&m.problem, &m.work, &m.text].into_iter().chain(m.fields.values()).map(String::as_str).chain(encoding)
        {
            if find(wanted).is_none() {
                self.fault(format!(
                    "[history] read has no column {wanted}. Write `... as {wanted}` in it; its columns are: {}",
                    listed(there.iter())
                ));
            }
        }
        if let Some(problem) = find(&m.problem) {
            self.seen.found.problem = match problem.column_type() {
                ColumnType::MYSQL_TYPE_TINY
                | ColumnType::MYSQL_TYPE_SHORT
                | ColumnType::MYSQL_TYPE_INT24
                | ColumnType::MYSQL_TYPE_LONG
                | ColumnType::MYSQL_TYPE_LONGLONG => IdClass::Integer,
                ColumnType::MYSQL_TYPE_NEWDECIMAL => IdClass::Decimal(u32::from(problem.decimals())),
                ColumnType::MYSQL_TYPE_VARCHAR
                | ColumnType::MYSQL_TYPE_VAR_STRING
                | ColumnType::MYSQL_TYPE_STRING
                | ColumnType::MYSQL_TYPE_BLOB
                    if problem.character_set() != BINARY =>
                {
                    IdClass::Text
                }
                _ => {
                    self.fault(format!(
                        "[history] read: column {} is of a type whose values are no problem ids; problem ids are texts, \
                         whole or decimal numbers or UUIDs",
                        m.problem
                    ));
                    IdClass::Text
                }
            };
        }
        let is_bytes = find(&m.text).is_some_and(|c| c.character_set() == BINARY);
        self.seen.found.text = if is_bytes { TextForm::Bytes } else { TextForm::Other };
        self.seen.found.read_has_share = find("share").is_some();
        if self.seen.inspection.faults.is_empty() {
            let from = statements::source(m);
            self.condition_on("[history] where", &from, None, m.within.as_deref()).await?;
            self.condition_on("[history] share", &from, None, m.share.as_deref()).await?;
            for (peer, share) in &m.peers {
                self.condition_on(&format!("[[peer]] {peer} share"), &from, None, share.as_deref()).await?;
            }
        }
        self.tables_of(&columns).await?;
        if mapped.append.is_empty() {
            self.fault("[history] append has no statement. Write the inserts that append one row".to_owned());
        }
        for (at, sql) in mapped.append.iter().enumerate() {
            let own: Vec<&str> = rowwise::PARAMETERS.into_iter().filter(|p| at > 0 || *p != "work").collect();
            self.statement(&format!("[history] append, statement {}", at + 1), sql, &own, true).await?;
        }
        for (at, sql) in mapped.remove.iter().enumerate().filter(|_| self.mapping.compact) {
            let own = ["problem", "work", "text"];
            self.statement(&format!("[history] remove, statement {}", at + 1), sql, &own, false).await?;
        }
        let sql = rowwise::work_from(&mapped.work_from);
        self.statement("[history] work_from", &sql, &["problem", "text", "kind", "site"], true).await?;
        self.also().await
    }

    /// The tables that the columns of `read` come from must have transactions; a first one with a width tells how long
    /// texts may be.
    async fn tables_of(&mut self, columns: &[Column]) -> Result<(), Trouble> {
        let mut names: Vec<(String, String)> = Vec::new();
        for column in columns {
            let name = (column.schema_str().into_owned(), column.org_table_str().into_owned());
            if !name.1.is_empty() && !names.contains(&name) {
                names.push(name);
            }
        }
        for (database, name) in names {
            let table = TableName { schema: Some(database), name };
            let Some(found) = schema::find(&mut self.session, &table, "").await? else { continue };
            self.has_transactions("[history] read", &found);
            let text = columns.iter().find(|c| c.name_str().eq_ignore_ascii_case(&self.mapping.text));
            let here = text.filter(|c| c.org_table_str() == table.name.as_str());
            if let Some(column) = here.and_then(|c| found.column(&c.org_name_str())) {
                self.seen.found.text_chars_max = column.chars_max();
            }
        }
        Ok(())
    }
}
