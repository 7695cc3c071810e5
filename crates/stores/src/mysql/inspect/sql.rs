//! The administrator's SQL: conditions, expressions and statements, each by itself, so that a fault names its key. The
//! server prepares them and runs none.

use super::super::fault::Trouble;
use super::super::schema::Table;
use super::super::statements;
use super::{Inspector, listed};
use crate::mapping::TableName;
use crate::sqltext;

impl Inspector<'_> {
    /// Has the server look at a condition.
    pub(super) async fn condition(
        &mut self,
        key: &str,
        name: &TableName,
        table: Option<&Table>,
        sql: Option<&str>,
    ) -> Result<(), Trouble> {
        let from = format!("{} ", statements::table(name));
        self.condition_on(key, &from, table, sql).await
    }

    pub(super) async fn condition_on(
        &mut self,
        key: &str,
        from: &str,
        table: Option<&Table>,
        sql: Option<&str>,
    ) -> Result<(), Trouble> {
        let Some(sql) = sql else { return Ok(()) };
        let there = table.map_or_else(String::new, |t| {
            format!("; the columns of {} are: {}", t.name, listed(t.columns.iter().map(|c| &c.name)))
        });
        let parameters = sqltext::parameters(sql);
        if !parameters.is_empty() {
            self.fault(format!("{key}: a condition has no parameters, and this one has :{}", parameters.join(", :")));
            return Ok(());
        }
        match self.prepared(&format!("select 1 from {from} where {}", statements::part(Some(sql)))).await? {
            Err(against) if against.lacks_right() => {
                self.fault(format!("{key}: {}. `landbridge grants` prints the SQL that gives the right", against.said))
            }
            Err(against) => {
                self.fault(format!(
                    "{key} is not understood by the server: {}. Strings stand in single quotes{there}",
                    against.said
                ));
            }
            Ok((_, 0)) => {}
            Ok(_) => self.fault(format!("{key}: a condition has no parameters, and this one has a ?")),
        }
        Ok(())
    }

    pub(super) async fn expression(
        &mut self,
        key: &str,
        sql: &str,
        known: impl Fn(&str) -> bool,
        own: &[&str],
    ) -> Result<(), Trouble> {
        let mut count = 0;
        for parameter in sqltext::parameters(sql) {
            if !known(&parameter) {
                self.fault(format!(
                    "{key}: :{parameter} is nothing known. There are :{} and the fields of the mapping",
                    own.join(", :")
                ));
            }
        }
        let bound = sqltext::bind(sql, |_| {
            count += 1;
            "?".to_owned()
        });
        match self.prepared(&format!("select {}", statements::part(Some(&bound)))).await? {
            Err(against) => self.fault(format!(
                "{key} is not understood by the server: {}. Strings stand in single quotes, and a received field is \
                 written :NAME",
                against.said
            )),
            Ok((_, wanted)) if wanted != count => {
                self.fault(format!("{key}: a ? stands for nothing here. A received field is written :NAME"));
            }
            Ok(_) => {}
        }
        Ok(())
    }

    pub(super) async fn also(&mut self) -> Result<(), Trouble> {
        for sql in &self.mapping.also {
            self.statement("[history] also", sql, &["problem"], false).await?;
        }
        Ok(())
    }

    /// A statement of the mapping; `fields`: it may name shared columns.
    pub(super) async fn statement(&mut self, key: &str, sql: &str, own: &[&str], fields: bool) -> Result<(), Trouble> {
        for parameter in sqltext::parameters(sql) {
            let is_field = fields && self.mapping.fields.contains_key(&parameter);
            if !is_field && !own.contains(&parameter.as_str()) {
                self.fault(format!("{key}: :{parameter} is nothing known here. There are: :{}", own.join(", :")));
            }
        }
        let bound = sqltext::bind(sql, |_| "?".to_owned());
        if let Err(against) = self.prepared(&bound).await? {
            let next =
                if against.lacks_right() { ". `landbridge grants` prints the SQL that gives the right" } else { "" };
            self.fault(format!("{key} is not taken by the server: {}{next}. It reads: {sql}", against.said));
        }
        Ok(())
    }
}
