//! What only the server can tell of a mapping: each condition and expression by itself, so that the fault names its key,
//! then the whole statements; and the mapping by statements, whose columns only the server knows.

use landbridge_core::Digest;
use landbridge_flow::StoreError;
use landbridge_flow::ports::Kind;
use tokio_postgres::types::{Kind as TypeKind, Type};

use super::super::append::{expressions, filled};
use super::super::fault::{said, translate};
use super::super::statements::{self, part, quoted, table as table_sql};
use super::super::values::{Class, FieldColumn, IdColumn, Params};
use super::{Inspector, listed};
use crate::mapping::{Numbering, Statements};
use crate::sqltext;

impl Inspector<'_> {
    /// What the server says against a statement; nothing where it would run it. It is planned, and not run.
    async fn against(&self, sql: &str, params: Params) -> Result<Option<String>, StoreError> {
        match self.reader.session.query(&format!("explain {sql}"), params).await {
            Ok(_) => Ok(None),
            Err(e) => match e.as_db_error() {
                Some(db) if !matches!(db.code().code().get(..2), Some("08" | "57" | "53" | "40" | "55")) => {
                    let hint = db.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
                    Ok(Some(format!("{}{hint}", said(db))))
                }
                _ => Err(translate(&e, self.reader.shown)),
            },
        }
    }

    /// The sequences behind defaults: drawing from them is a right of its own.
    pub(super) async fn sequences(&mut self) -> Result<(), StoreError> {
        for (table, column, sequence) in std::mem::take(&mut self.sequences) {
            let name = table_sql(&sequence);
            let sql = "select has_sequence_privilege($1, 'usage')::text";
            let rows = self.reader.query(sql, Params::default().text(Some(name.clone()))).await?;
            if rows.first().is_some_and(|row| row.try_get::<_, &str>(0).is_ok_and(|may| may == "false")) {
                self.fault(format!(
                    "user {user} may not draw from sequence {sequence}, from which column {column} of table {table} gets its \
                     values: grant usage on sequence {name} to {quoted}",
                    user = self.user,
                    quoted = quoted(&self.user),
                ));
            }
        }
        Ok(())
    }

    /// Every condition, expression and statement.
    pub(super) async fn explain_all(&mut self) -> Result<(), StoreError> {
        let m = self.mapping.clone();
        let history = statements::source(&m);
        self.condition("[history] where", &history, m.within.as_deref()).await?;
        self.condition("[history] share", &history, m.share.as_deref()).await?;
        for (peer, share) in &m.peers {
            self.condition(&format!("[[peer]] {peer} share"), &history, share.as_deref()).await?;
        }
        if let Some(t) = &m.problems {
            self.condition("[problem] share", &table_sql(&t.name), t.share.as_deref()).await?;
            for (column, sql) in t.create.iter().flatten() {
                self.expression(&format!("[problem.insert] {column}"), sql, &t.fields).await?;
            }
        }
        if let Some(table) = m.table() {
            for (section, given) in [("insert", &table.insert), ("marker", &table.marker)] {
                for (column, sql) in given {
                    self.expression(&format!("[history.{section}] {column}"), sql, &m.fields).await?;
                }
            }
        }
        if self.inspection.faults.is_empty() {
            self.whole_statements().await?;
        }
        Ok(())
    }

    async fn condition(&mut self, key: &str, from: &str, sql: Option<&str>) -> Result<(), StoreError> {
        let Some(sql) = sql else { return Ok(()) };
        let parameters = sqltext::parameters(sql);
        if !parameters.is_empty() {
            self.fault(format!("{key}: a condition has no parameters, and this one has {}", listed(parameters.iter())));
            return Ok(());
        }
        let probe = format!("select 1 from {from} where {} is true", part(Some(sql)));
        if let Some(said) = self.against(&probe, Params::default()).await? {
            self.fault(format!(
                "{key} does not compile: {said}. Strings stand in single quotes, names with capitals in double quotes"
            ));
        }
        Ok(())
    }

    async fn expression(
        &mut self,
        key: &str,
        sql: &str,
        fields: &std::collections::BTreeMap<String, String>,
    ) -> Result<(), StoreError> {
        if let Some(said) = self.against(&statements::probe_expression(sql, fields), Params::default()).await? {
            self.fault(format!(
                "{key} does not compile: {said}. Strings stand in single quotes, and a received field is written :NAME"
            ));
        }
        Ok(())
    }

    /// The very statements that will run.
    async fn whole_statements(&mut self) -> Result<(), StoreError> {
        let (m, found) = (self.mapping.clone(), self.found.clone());
        let texts = |n: usize| (0..n).fold(Params::default(), |params, _| params.texts(Vec::new()));
        let with_phrases = || m.phrases.iter().fold(texts(1), |params, _| params.text(Some(String::new())));
        let open = [statements::open_to(&m, &found, None)];
        let mut all = vec![
            ("reads rows", statements::rows(&m, &found, &open), with_phrases()),
            ("reads a page of problems", statements::page(&m, &found), Params::default().text(None).number(1)),
        ];
        let pinned = m.numbering() == Numbering::PerProblem;
        all.push(("reads texts", statements::bodies(&m, &found, pinned), texts(1).numbers(vec![])));
        if m.table().is_some() {
            for (kind, what) in [(Kind::Entry, "appends entries"), (Kind::Marker, "appends markers")] {
                if kind == Kind::Marker && m.markers.is_some() {
                    continue;
                }
                let fields = filled(&m, kind, |_| true);
                let params = m.fields.iter().fold(texts(3).numbers(vec![]), |params, _| params.texts(vec![]));
                all.push((what, statements::append(&m, &found, &fields, &expressions(&m, kind)), params));
            }
        }
        if let (Some(name), Some(column)) = (&m.markers, &found.markers) {
            all.push(("reads markers", statements::markers(name, column, m.phrases.len()), with_phrases()));
            all.push(("appends markers", statements::append_markers(name, column), texts(2)));
        }
        if let (Some(t), Some(id)) = (&m.problems, &found.problem_id) {
            all.push(("reads problems", statements::problems(t, id, &found.problem_fields), texts(1)));
            if let (Some(link), Some(create)) = (&t.link, &t.create) {
                let fields: Vec<&str> =
                    t.fields.iter().filter(|(_, c)| !create.contains_key(*c)).map(|(name, _)| name.as_str()).collect();
                all.push(("creates problems", statements::create(t, &found, &fields, link), texts(2 + t.fields.len())));
            }
        }
        for (what, sql, params) in all {
            if let Some(said) = self.against(&sql, params).await? {
                self.fault(format!(
                    "the statement that {what} does not run: {said}. It reads: {}",
                    sql.replace('\n', " ")
                ));
            }
        }
        for (at, sql) in m.also.iter().enumerate() {
            self.given(&format!("[history] also, statement {}", at + 1), sql, &["problem"]).await?;
        }
        if let Some(by) = m.statements() {
            let fields: Vec<&str> = m.fields.keys().map(String::as_str).collect();
            for (at, sql) in by.append.iter().enumerate() {
                let mut allowed = vec!["problem", "text", "kind", "site"];
                if at > 0 {
                    allowed.push("work");
                }
                allowed.extend(&fields);
                self.given(&format!("[history] append, statement {}", at + 1), sql, &allowed).await?;
            }
            for (at, sql) in by.remove.iter().enumerate().filter(|_| m.compact) {
                self.given(&format!("[history] remove, statement {}", at + 1), sql, &["problem", "work", "text"])
                    .await?;
            }
            self.given("[history] work_from", &statements::work_from(by), &["problem", "text", "kind", "site"]).await?;
        }
        Ok(())
    }

    /// A statement of the administrator's.
    async fn given(&mut self, key: &str, sql: &str, allowed: &[&str]) -> Result<(), StoreError> {
        let (numbered, names) = statements::numbered(sql);
        for name in &names {
            if !allowed.contains(&name.as_str()) {
                let there: Vec<String> = allowed.iter().map(|n| format!(":{n}")).collect();
                self.fault(format!("{key}: :{name} is nothing known. There are: {}", listed(there.iter())));
                return Ok(());
            }
        }
        let first = sql.trim_start().split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
        let explainable =
            ["insert", "update", "delete", "select", "with"].iter().any(|w| first.eq_ignore_ascii_case(w));
        let against = if explainable {
            let params = names.iter().fold(Params::default(), |params, _| params.inferred(None));
            self.against(&numbered, params).await?
        } else {
            match self.reader.session.client.prepare(&numbered).await {
                Ok(_) => None,
                Err(e) => Some(e.as_db_error().map_or_else(|| e.to_string(), said)),
            }
        };
        if let Some(said) = against {
            self.fault(format!("{key} does not run: {said}"));
        }
        Ok(())
    }

    /// The mapping by statements: what columns `read` has.
    pub(super) async fn statements(&mut self, by: &Statements) -> Result<(), StoreError> {
        // Whoever bridges by statements in this database agrees on one class of locks: two configurations may spell
        // the same query differently.
        self.found.lock_class = (Digest::of("[history] read").short() >> 32) as u32 as i32;
        let parameters = sqltext::parameters(&by.read);
        if !parameters.is_empty() {
            self.fault(format!("[history] read has no parameters, and this one has {}", listed(parameters.iter())));
            return Ok(());
        }
        if by.append.is_empty() {
            self.fault("[history] append: give the statements that append one row".to_owned());
        }
        let probe = format!("select * from {} limit 0", statements::source(&self.mapping));
        let prepared = match self.reader.session.client.prepare(&probe).await {
            Ok(prepared) => prepared,
            Err(e) => {
                let Some(db) = e.as_db_error() else { return Err(translate(&e, self.reader.shown)) };
                let said = said(db);
                self.fault(format!("[history] read does not compile: {said}"));
                return Ok(());
            }
        };
        let there: Vec<String> = prepared.columns().iter().map(|c| c.name().to_owned()).collect();
        let types: Vec<(String, String)> = prepared.columns().iter().map(|c| base(c.type_())).collect();
        let find = |name: &str| there.iter().position(|c| c == name).and_then(|at| types.get(at));
        let missing = |key: &str, name: &str| {
            format!("{key}: [history] read has no column {name}. Its columns are: {}", listed(there.iter()))
        };
        let m = self.mapping.clone();
        match find(&m.problem) {
            None => self.fault(missing("[history] read", &m.problem)),
            Some((name, sql_type)) => {
                let class = Class::of(name);
                let ordered = class != Class::Other && name != "citext";
                let sql_type = sql_type.clone();
                self.found.problem = IdColumn { class, sql_type, width: None, ordered, indexed: false };
            }
        }
        match find(&m.work) {
            None => self.fault(missing("[history] read", &m.work)),
            Some((name, _)) => match Class::of(name) {
                Class::Integer(..) => {}
                Class::Numeric => self.found.work_is_integer = false,
                _ => self.fault(format!(
                    "[history] read: column {} is of type {name}, and work ids are whole numbers: cast it to bigint",
                    m.work
                )),
            },
        }
        match find(&m.text) {
            None => self.fault(missing("[history] read", &m.text)),
            Some((name, _)) if !matches!(Class::of(name), Class::Text | Class::Padded) => self.fault(format!(
                "[history] read: column {} is of type {name}, which holds no texts: cast it to text",
                m.text
            )),
            Some(_) => {}
        }
        for (name, column) in &m.fields {
            match find(column) {
                None => self.fault(missing(&format!("[history] fields, {name}"), column)),
                Some((base, sql_type)) => {
                    self.found.fields.insert(name.clone(), FieldColumn::of(base, sql_type));
                }
            }
        }
        if let Some((name, _)) = find("share") {
            if name != "bool" {
                self.fault(format!("[history] read: column share is of type {name}, and must be a boolean condition"));
            }
            self.found.read_has_share = true;
        }
        if let Some(column) = &by.text_encoding
            && find(column).is_none()
        {
            self.fault(missing("[history] text_encoding", column));
        }
        Ok(())
    }
}

/// The base type of a column: its name, and as it stands in SQL.
fn base(ty: &Type) -> (String, String) {
    match ty.kind() {
        TypeKind::Domain(of) => base(of),
        _ => (ty.name().to_owned(), format!("{}.{}", quoted(ty.schema()), quoted(ty.name()))),
    }
}
