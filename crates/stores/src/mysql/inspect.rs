//! Whether a database is what the mapping says. Every fault is reported at once, with what to write instead.
//!
//! The server itself is the judge of names, rights and SQL: it is asked to prepare, never to run, the statements that
//! the bridge will use.

use landbridge_flow::StoreError;
use landbridge_flow::ports::Kind;
use mysql_async::consts::ColumnType;
use mysql_async::{Column, Error};

use super::append::{Slot, marker_slots, slots};
use super::fault::Trouble;
use super::options::MysqlOptions;
use super::pool::Session;
use super::read::text_form;
use super::schema::{self, ColumnInfo, Table, is_word};
use super::values::{BINARY, IdClass};
use super::{Found, TextForm, problems, rowwise, statements};
use crate::inspection::Inspection;
use crate::mapping::{Mapping, Numbering, Statements, TableName};
use crate::sqltext;

/// What was found out about a database and its mapping.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// For a person.
    pub(super) inspection: Inspection,
    /// What the adapter works by.
    pub(super) found: Found,
}

/// Compares a database with `mapping` and changes nothing.
///
/// # Errors
/// Where the server does not answer or does not let this user in. What is wrong with the mapping is in
/// [`Inspection::faults`].
pub async fn inspect(options: &MysqlOptions, mapping: &Mapping) -> Result<Inspection, StoreError> {
    look(options, mapping).await.map(|seen| seen.inspection)
}

/// Whether the database takes writes now: it is not read-only, and a transaction can be begun.
///
/// # Errors
/// [`StoreError::ReadOnly`] with the setting that says no; others where the server does not answer.
pub async fn writable(options: &MysqlOptions, mapping: &Mapping) -> Result<(), StoreError> {
    let ask = async {
        let mut session = Session::open(options).await?;
        session.run(statements::BEGIN_WRITE).await?;
        let read_only = session.ask("select @@global.read_only", Vec::new()).await?;
        session.run("rollback").await?;
        let read_only = read_only.rows.first().and_then(|r| r.first()).is_some_and(super::values::truth);
        Ok::<_, Trouble>(read_only)
    };
    match ask.await.map_err(|e| e.translate(&options.shown(), None))? {
        false => Ok(()),
        true => Err(StoreError::ReadOnly(format!(
            "{}: the server has read_only = on, so {} takes no rows; name the server that is written to, or set it off",
            options.shown(),
            mapping.called()
        ))),
    }
}

/// Everything at once.
pub(super) async fn look(options: &MysqlOptions, mapping: &Mapping) -> Result<Seen, StoreError> {
    let look = async {
        let session = Session::open(options).await?;
        let mut inspector = Inspector { session, mapping, seen: Seen::default() };
        inspector.server().await?;
        inspector.problem_table().await?;
        inspector.markers().await?;
        inspector.history().await?;
        Ok::<_, Trouble>(inspector.seen)
    };
    look.await.map_err(|e| e.translate(&options.shown(), None))
}

struct Inspector<'a> {
    session: Session,
    mapping: &'a Mapping,
    seen: Seen,
}

/// What the server said against a statement.
struct Against {
    code: u16,
    said: String,
}

impl Against {
    fn lacks_right(&self) -> bool {
        matches!(self.code, 1142 | 1143 | 1370 | 1044)
    }
}

impl Inspector<'_> {
    fn fault(&mut self, sentence: String) {
        if !self.seen.inspection.faults.contains(&sentence) {
            self.seen.inspection.faults.push(sentence);
        }
    }

    fn note(&mut self, sentence: String) {
        if !self.seen.inspection.notes.contains(&sentence) {
            self.seen.inspection.notes.push(sentence);
        }
    }

    /// The columns and the number of values of a statement, or what the server says against it.
    async fn prepared(&mut self, sql: &str) -> Result<Result<(Vec<Column>, usize), Against>, Trouble> {
        match self.session.prepare(sql).await {
            Ok(prepared) => Ok(Ok(prepared)),
            Err(Trouble::Sql(Error::Server(e))) => Ok(Err(Against { code: e.code, said: e.message })),
            Err(e) => Err(e),
        }
    }

    async fn server(&mut self) -> Result<(), Trouble> {
        let asked = "select database(), version(), @@version_comment";
        let answer = self.session.ask(asked, Vec::new()).await?;
        let said = |at: usize| answer.rows.first().map_or_else(String::new, |r| schema::said(r, at));
        let (version, maria) = (said(1), format!("{} {}", said(1), said(2)).to_lowercase().contains("mariadb"));
        let number = version.split('-').next().unwrap_or_default().to_owned();
        self.seen.found.database = said(0);
        self.seen.found.engine = format!("{} {number}", if maria { "MariaDB" } else { "MySQL" });
        let parts: Vec<u32> = number.split('.').filter_map(|p| p.parse().ok()).collect();
        let of = |at: usize| parts.get(at).copied().unwrap_or(0);
        if (of(0), of(1)) < if maria { (10, 5) } else { (8, 0) } {
            self.fault(format!(
                "the server is {}, and the bridge needs MariaDB 10.5 or MySQL 8.0 at least: older ones give out deleted \
                 numbers once more after a restart",
                self.seen.found.engine
            ));
        }
        let wanted = "show global variables where variable_name in ('innodb_flush_log_at_trx_commit', 'sync_binlog', \
                      'log_bin', 'wsrep_on', 'wsrep_cluster_address', 'read_only')";
        let answer = self.session.ask(wanted, Vec::new()).await?;
        let variable = |name: &str| {
            let row = answer.rows.iter().find(|r| schema::said(r, 0).eq_ignore_ascii_case(name));
            row.map_or_else(String::new, |r| schema::said(r, 1))
        };
        let on = |name: &str| matches!(variable(name).to_ascii_uppercase().as_str(), "ON" | "1");
        let flush = variable("innodb_flush_log_at_trx_commit");
        if !matches!(flush.as_str(), "1" | "3" | "") {
            self.note(format!(
                "the server has innodb_flush_log_at_trx_commit = {flush}: after a power failure the last second may be \
                 gone, although peers were told that it is here. Set it to 1"
            ));
        }
        if on("log_bin") && variable("sync_binlog") != "1" {
            self.note(format!(
                "the server has sync_binlog = {}: after a power failure a restored server or a replica may lack what \
                 peers were told is here. Set it to 1",
                variable("sync_binlog")
            ));
        }
        if on("wsrep_on") {
            self.note(
                "the server is a node of a Galera cluster. Named locks are of one node: let all bridges of this database \
                 connect to the same node"
                    .to_owned(),
            );
        }
        if on("read_only") {
            self.note("the server has read_only = on: nothing can be appended until that is off".to_owned());
        }
        Ok(())
    }

    /// A table of the mapping; nothing where it is missing.
    async fn table(&mut self, key: &str, name: &TableName) -> Result<Option<Table>, Trouble> {
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
    fn can_hold_rows(&mut self, key: &str, table: &Table) -> bool {
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

    fn has_transactions(&mut self, key: &str, table: &Table) {
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
    async fn column(
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
    async fn own_column(
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

    fn id_class(&mut self, key: &str, table: &Table, column: &ColumnInfo) -> IdClass {
        column.id_class().unwrap_or_else(|| {
            self.fault(format!(
                "{key}: column {} of table {} is {}, and problem ids are texts, whole or decimal numbers or UUIDs. Name \
                 such a column",
                column.name, table.name, column.column_type
            ));
            IdClass::Text
        })
    }

    fn wants_index(&mut self, table: &Table, column: &ColumnInfo) {
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

    fn text_column(&mut self, key: &str, table: &Table, column: &ColumnInfo) -> TextForm {
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

    async fn problem_table(&mut self) -> Result<(), Trouble> {
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

    async fn markers(&mut self) -> Result<(), Trouble> {
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

    async fn history(&mut self) -> Result<(), Trouble> {
        let m = self.mapping;
        let Some(mapped) = m.table() else {
            return match m.statements() {
                Some(statements) => self.read(statements).await,
                None => Ok(()),
            };
        };
        let name = &mapped.name;
        let Some(table) = self.table("[history] table", name).await? else { return Ok(()) };
        if !self.can_hold_rows("[history] table", &table) {
            return Ok(());
        }
        let problem = self.own_column("[history] problem", name, &table, &m.problem, true).await?;
        if let Some(problem) = &problem {
            self.seen.found.problem = self.id_class("[history] problem", &table, problem);
            self.wants_index(&table, problem);
            self.seen.found.collation = match (&problem.charset, &problem.collation) {
                (Some(charset), Some(collation)) if is_word(charset) && is_word(collation) => {
                    Some((charset.clone(), collation.clone()))
                }
                _ => None,
            };
        }
        let text = self.own_column("[history] text", name, &table, &m.text, true).await?;
        if let Some(text) = &text {
            self.seen.found.text = self.text_column("[history] text", &table, text);
            self.seen.found.text_chars_max = text.chars_max();
        }
        let is_counted = mapped.numbering == Numbering::PerProblem;
        let work = match is_counted {
            true => self.own_column("[history] work", name, &table, &m.work, true).await?,
            false => self.column("[history] work", name, &table, &m.work).await?,
        };
        if let Some(work) = &work {
            self.numbering(&table, work);
        }
        for (field, column) in &m.fields {
            let key = format!("[history] fields, {field}");
            self.own_column(&key, name, &table, column, true).await?;
        }
        self.condition("[history] where", name, Some(&table), m.within.as_deref()).await?;
        self.condition("[history] share", name, Some(&table), m.share.as_deref()).await?;
        for (peer, share) in &m.peers {
            self.condition(&format!("[[peer]] {peer} share"), name, Some(&table), share.as_deref()).await?;
        }
        self.expressions(name, &table).await?;
        if problem.is_some() && text.is_some() && work.is_some() {
            // A misspelt column would be asked for twice, the second time with the wrong advice.
            for (kind, section, rows) in
                [(Kind::Entry, "[history.insert]", "appended rows"), (Kind::Marker, "[history.marker]", "markers")]
            {
                if kind == Kind::Entry || m.markers.is_none() {
                    let given: Vec<String> =
                        slots(m, &self.seen.found.problem, kind, |_| true).into_iter().map(|s| s.column).collect();
                    self.columns_without_value(&table, &given, section, rows);
                }
            }
        }
        if !table.insert_triggers.is_empty() {
            self.note(format!(
                "table {} has triggers on inserts, which run for every received entry and every marker: {}",
                table.name,
                listed(table.insert_triggers.iter())
            ));
        }
        let sound = self.seen.inspection.faults.is_empty();
        self.seen.found.history = Some(table);
        if sound {
            self.whole_statements(name).await?;
        }
        Ok(())
    }

    fn numbering(&mut self, table: &Table, work: &ColumnInfo) {
        let (m, name) = (self.mapping, &table.name);
        if !work.is_integer() {
            self.fault(format!(
                "[history] work: column {} of table {name} is {}, and work ids are whole numbers. Name an integer column",
                work.name, work.column_type
            ));
        }
        let keys = table.unique_on([&m.problem, &m.work]);
        match m.numbering() {
            Numbering::PerProblem if keys.is_empty() => {
                let instead = if work.auto_increment {
                    "The server gives out the numbers of that column itself: write numbering = \"generated\"".to_owned()
                } else {
                    format!(
                        "create unique index {} on {} ({}, {})",
                        statements::quoted(&format!("{name}_{}", work.name)),
                        statements::quoted(name),
                        statements::quoted(&m.problem),
                        statements::quoted(&work.name)
                    )
                };
                self.fault(format!(
                    "[history] numbering = \"per-problem\": table {name} has no primary key or unique index on exactly \
                     ({}, {}), so that two writers could give out the same number. {instead}",
                    m.problem, m.work
                ));
            }
            Numbering::Generated if !work.auto_increment => self.fault(format!(
                "[history] numbering = \"generated\": column {} of table {name} has no auto_increment, and the server \
                 gives out the numbers of no other column. Write numbering = \"per-problem\", or name that column",
                work.name
            )),
            _ => {}
        }
        self.seen.found.keys = keys;
    }

    /// Has the server look at a condition.
    async fn condition(
        &mut self,
        key: &str,
        name: &TableName,
        table: Option<&Table>,
        sql: Option<&str>,
    ) -> Result<(), Trouble> {
        let from = format!("{} ", statements::table(name));
        self.condition_on(key, &from, table, sql).await
    }

    async fn condition_on(
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

    async fn expression(
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

    async fn expressions(&mut self, name: &TableName, table: &Table) -> Result<(), Trouble> {
        let m = self.mapping;
        let Some(mapped) = m.table() else { return Ok(()) };
        let given = mapped.insert.iter().map(|e| ("insert", e)).chain(mapped.marker.iter().map(|e| ("marker", e)));
        for (section, (column, sql)) in given {
            let key = format!("[history.{section}] {column}");
            self.own_column(&key, name, table, column, false).await?;
            if [&m.problem, &m.work, &m.text].iter().any(|own| own.eq_ignore_ascii_case(column)) {
                self.fault(format!("{key}: the bridge itself fills this column. Leave the key out"));
            }
            let known = |name: &str| name == "site" || name == "text" || m.fields.contains_key(name);
            self.expression(&key, sql, known, &["site", "text"]).await?;
        }
        Ok(())
    }

    /// Columns that refuse null, have no default and get no value. Strict mode does not make one up.
    fn columns_without_value(&mut self, table: &Table, given: &[String], section: &str, rows: &str) {
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

    /// Has the server look at the very statements that will run, rights and all.
    async fn whole_statements(&mut self, name: &TableName) -> Result<(), Trouble> {
        let (m, found) = (self.mapping, self.seen.found.clone());
        let pinned = m.numbering() == Numbering::PerProblem;
        let all = |slots: Vec<Slot>| slots.into_iter().map(|s| (s.column, s.holder)).collect::<Vec<_>>();
        let of = |kind| statements::insert(name, &all(slots(m, &found.problem, kind, |_| true)), 1);
        let open = [statements::open_to(m, &found, None)];
        for (what, sql) in [
            ("reads rows", statements::rows(m, &found, &open, 1)),
            ("reads texts", statements::bodies(m, &found, 1, pinned)),
            ("appends entries", of(Kind::Entry)),
            ("appends markers", of(Kind::Marker)),
        ] {
            if let Err(against) = self.prepared(&sql).await? {
                let next = if against.lacks_right() {
                    ". `landbridge grants` prints the SQL that gives the right".to_owned()
                } else {
                    format!(". It reads: {}", sql.replace('\n', " "))
                };
                self.fault(format!("the statement that {what} is not taken by the server: {}{next}", against.said));
            }
        }
        self.also().await
    }

    async fn also(&mut self) -> Result<(), Trouble> {
        for sql in &self.mapping.also {
            self.statement("[history] also", sql, &["problem"], false).await?;
        }
        Ok(())
    }

    /// A statement of the mapping; `fields`: it may name shared columns.
    async fn statement(&mut self, key: &str, sql: &str, own: &[&str], fields: bool) -> Result<(), Trouble> {
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

    /// A history that is mapped by statements.
    async fn read(&mut self, mapped: &Statements) -> Result<(), Trouble> {
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

fn listed<'n>(names: impl Iterator<Item = &'n String>) -> String {
    let names: Vec<&str> = names.map(String::as_str).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
