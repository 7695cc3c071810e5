//! A history that is mapped by statements: whether they compile, which columns the query has, what they name.

use super::{IdColumn, Inspector, Trouble, listed, said, statements};
use crate::mapping::Statements;

impl Inspector<'_> {
    pub(super) fn statements(&mut self, by: &Statements) -> Result<(), Trouble> {
        // What the query yields decides: 17 and '17' may both be there.
        self.seen.found.problem = IdColumn { untyped: true, text: false };
        if self.query(by)? {
            let m = self.mapping;
            let from = statements::whole(m);
            self.condition_on("[history] where", &from, m.within.as_deref())?;
            self.condition_on("[history] share", &from, m.share.as_deref())?;
            for (peer, share) in &m.peers {
                self.condition_on(&format!("[[peer]] {peer} share"), &from, share.as_deref())?;
            }
        }
        let fields = self.mapping.fields.keys().map(String::as_str);
        let mut known: Vec<&str> = ["problem", "text", "kind", "site"].into_iter().chain(fields).collect();
        if by.append.is_empty() {
            self.fault("[history] append has no statement, so that nothing could be received".to_owned());
        }
        self.expression("[history] work_from", &by.work_from, &known)?;
        for (at, sql) in by.append.iter().enumerate() {
            self.compiles(&format!("[history] append, statement {}", at + 1), sql, &known)?;
            if at == 0 {
                known.push("work");
            }
        }
        for (at, sql) in by.remove.iter().enumerate().filter(|_| self.mapping.compact) {
            self.compiles(&format!("[history] remove, statement {}", at + 1), sql, &["problem", "work", "text"])?;
        }
        if self.seen.inspection.faults.is_empty() {
            self.looks_up()?;
        }
        Ok(())
    }

    /// The columns of `read`. Says whether there is anything to ask.
    fn query(&mut self, by: &Statements) -> Result<bool, Trouble> {
        let m = self.mapping;
        let whole = statements::whole(m);
        match self.strictly(&whole)? {
            Err(said) => {
                self.fault(format!("[history] read does not compile: {said}. Strings stand in single quotes"));
                return Ok(false);
            }
            Ok(parameters) if !parameters.is_empty() => {
                self.fault(format!(
                    "[history] read: it has no parameters, and this one has {}",
                    listed(parameters.iter())
                ));
                return Ok(false);
            }
            Ok(_) => {}
        }
        let columns: Vec<String> = self.connection.prepare(&whole)?.column_names().map(str::to_owned).collect();
        let has = |name: &str| columns.iter().any(|c| c.eq_ignore_ascii_case(name));
        self.seen.found.read_share = has("share");
        let own = [("problem", &m.problem), ("work", &m.work), ("text", &m.text)];
        let wanted = own.map(|(key, name)| (format!("[history] {key}"), name)).into_iter();
        let wanted = wanted.chain(m.fields.iter().map(|(name, column)| (format!("[history] fields, {name}"), column)));
        let wanted = wanted.chain(by.text_encoding.iter().map(|c| ("[history] text_encoding".to_owned(), c)));
        let missing: Vec<_> = wanted.filter(|(_, name)| !has(name)).collect();
        for (key, name) in &missing {
            self.fault(format!(
                "{key}: read yields no column {name}: write `... as {name}` in it. Its columns are: {}",
                listed(columns.iter())
            ));
        }
        Ok(missing.is_empty())
    }

    /// Which tables each look at a problem would read whole.
    fn looks_up(&mut self) -> Result<(), Trouble> {
        let sql = statements::rows(self.mapping, &[]);
        let mut statement = self.connection.prepare(&format!("explain query plan {sql}"))?;
        let plan: Vec<String> = statement.raw_query().mapped(|r| r.get(3)).collect::<Result<_, _>>()?;
        let scanned = plan.iter().filter_map(|line| line.strip_prefix("SCAN ")).filter(|line| *line != "history");
        let scanned: Vec<String> = scanned.map(str::to_owned).collect();
        if !scanned.is_empty() {
            self.seen.inspection.notes.push(format!(
                "[history] read: each look at a problem reads whole tables ({}). An index on the columns that `{}` comes \
                 from, and on those that the tables are joined by, spares that",
                listed(scanned.iter()),
                self.mapping.problem
            ));
        }
        Ok(())
    }

    /// The statements that follow the rows of a problem.
    pub(super) fn also(&mut self) -> Result<(), Trouble> {
        for (at, sql) in self.mapping.also.iter().enumerate() {
            self.compiles(&format!("[history] also, statement {}", at + 1), sql, &["problem"])?;
        }
        Ok(())
    }

    /// Compiles the very statements that read, so that nothing but the data is new to a running bridge.
    pub(super) fn reads(&mut self) {
        for sql in [statements::rows(self.mapping, &[]), statements::bodies(self.mapping)] {
            if let Err(e) = self.connection.prepare(&sql) {
                self.fault(format!("the statement that reads the history does not compile: {}", said(&e)));
            }
        }
    }
}
