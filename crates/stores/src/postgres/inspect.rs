//! Whether a database is what the mapping says. Every fault is reported at once, with what to write instead; what only
//! the server can tell (conditions, expressions, rights) is found out by letting it explain the very statements that
//! will run, which runs none of them.

mod probe;

use landbridge_core::Digest;
use landbridge_flow::StoreError;
use landbridge_flow::ports::Kind;

use super::append::expressions;
use super::options::PostgresOptions;
use super::schema::{Column, Reader, Relation};
use super::session::connect;
use super::statements::{quoted, table as table_sql};
use super::values::{Class, FieldColumn, IdColumn};
use super::{Found, tls};
use crate::catalog::ColumnInfo;
use crate::inspection::Inspection;
use crate::mapping::{Mapping, Numbering, Source, TableName};
use crate::sqltext;

/// What was found out about a database and its mapping.
pub(super) struct Seen {
    /// For a person.
    pub(super) inspection: Inspection,
    /// The mapping with the names as the catalogue has them.
    pub(super) mapping: Mapping,
    /// What the adapter works by; nothing where a fault stands in the way.
    pub(super) found: Option<Found>,
}

/// Compares the database with `mapping` and changes nothing.
///
/// # Errors
/// Where the database does not answer. What is wrong with the mapping is in [`Inspection::faults`].
pub async fn inspect(options: &PostgresOptions, mapping: &Mapping) -> Result<Inspection, StoreError> {
    look(options, mapping).await.map(|seen| seen.inspection)
}

/// The same with what the adapter works by.
pub(super) async fn look(options: &PostgresOptions, mapping: &Mapping) -> Result<Seen, StoreError> {
    let (session, shown) = (connect(options, &tls::connector(options)?).await?, options.shown());
    let reader = Reader { session: &session, shown: &shown };
    let user = reader.text("select current_user::text").await?;
    let mut inspector = Inspector {
        reader,
        mapping: mapping.clone(),
        found: Found::unknown(),
        inspection: Inspection::default(),
        user,
        sequences: Vec::new(),
    };
    if inspector.server().await? {
        inspector.problem_table().await?;
        inspector.marker_table().await?;
        match inspector.mapping.source.clone() {
            Source::Table(_) => inspector.history().await?,
            Source::Statements(statements) => inspector.statements(&statements).await?,
        }
        inspector.sequences().await?;
        if inspector.inspection.faults.is_empty() {
            inspector.explain_all().await?;
        }
    }
    let Inspector { mapping, found, inspection, .. } = inspector;
    let found = inspection.faults.is_empty().then_some(found);
    Ok(Seen { inspection, mapping, found })
}

impl Found {
    fn unknown() -> Self {
        let text = "pg_catalog.text".to_owned();
        Self {
            version: String::new(),
            problem: IdColumn {
                class: Class::Text,
                sql_type: text.clone(),
                width: None,
                ordered: false,
                indexed: false,
            },
            work_is_integer: true,
            text_type: text,
            text_chars_max: None,
            fields: Default::default(),
            read_has_share: false,
            problem_id: None,
            problem_fields: Default::default(),
            link: None,
            markers: None,
            number_indices: Vec::new(),
            lock_class: 0,
        }
    }
}

struct Inspector<'s> {
    reader: Reader<'s>,
    mapping: Mapping,
    found: Found,
    inspection: Inspection,
    user: String,
    /// The sequences that defaults of filled tables draw from: table, column, sequence.
    sequences: Vec<(TableName, String, TableName)>,
}

impl Inspector<'_> {
    fn fault(&mut self, sentence: String) {
        self.inspection.faults.push(sentence);
    }

    fn note(&mut self, sentence: String) {
        self.inspection.notes.push(sentence);
    }

    /// Whether the server is one that can be asked further.
    async fn server(&mut self) -> Result<bool, StoreError> {
        let number = self.reader.text("select current_setting('server_version_num')").await?;
        let version = self.reader.text("select current_setting('server_version')").await?;
        self.found.version = version.split(' ').next().unwrap_or_default().to_owned();
        let encoding = self.reader.text("select current_setting('server_encoding')").await?;
        if encoding != "UTF8" {
            self.fault(format!(
                "the database is encoded in {encoding}, and only UTF8 is bridged: dump it into a database made with \
                 `create database ... encoding 'UTF8' template template0`"
            ));
        }
        let old_enough = number.parse::<u32>().unwrap_or(0) >= 130_000;
        if !old_enough {
            self.fault(format!("the server is PostgreSQL {version}, and the bridge needs 13 or later: upgrade it"));
        }
        Ok(old_enough)
    }

    async fn problem_table(&mut self) -> Result<(), StoreError> {
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

    async fn marker_table(&mut self) -> Result<(), StoreError> {
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

    async fn history(&mut self) -> Result<(), StoreError> {
        let Some(mut mapped) = self.mapping.table().cloned() else { return Ok(()) };
        let Some(table) = self.table("[history] table", &mapped.name).await? else { return Ok(()) };
        if !self.is_writable_table(&table) {
            return Ok(());
        }
        mapped.name = table.qualified();
        let class = format!("{}.{}", quoted(&table.schema), quoted(&table.info.name.name));
        self.found.lock_class = (Digest::of(&class).short() >> 32) as u32 as i32;
        let mut m = self.mapping.clone();
        if let Some((info, column)) = self.own_column("[history] problem", &table, &mut m.problem) {
            self.found.problem = table.id_column(info, column);
            if self.found.problem.class == Class::Other {
                self.note(format!(
                    "[history] problem: ids of type {} are compared as text, without an index",
                    info.sql_type
                ));
            }
            self.wants_index(&table, info);
        }
        if let Some((info, column)) = self.own_column("[history] text", &table, &mut m.text) {
            if matches!(Class::of(&column.base), Class::Text | Class::Padded) {
                // The markers' own table may be the narrower one.
                self.found.text_chars_max = [self.found.text_chars_max, column.width].into_iter().flatten().min();
                self.found.text_type = column.sql_type.clone();
            } else {
                self.fault(format!(
                    "[history] text: column {} of table {} is of type {}, which holds no texts. Name a column of type \
                     text or varchar",
                    info.name, table.info.name, info.sql_type
                ));
            }
        }
        for (name, c) in &mut m.fields {
            if let Some((_, column)) = self.own_column(&format!("[history] fields, {name}"), &table, c) {
                self.found.fields.insert(name.clone(), FieldColumn::of(&column.base, &column.sql_type));
            }
        }
        if let Some((info, column)) = self.column("[history] work", &table, &mut m.work) {
            self.may("[history] work", &table, info, "select");
            let problem = m.problem.clone();
            self.numbering(&table, info, column, &problem);
        }
        for (section, given) in [("insert", &mut mapped.insert), ("marker", &mut mapped.marker)] {
            let mut resolved = std::collections::BTreeMap::new();
            for (mut c, sql) in std::mem::take(given) {
                let key = format!("[history.{section}] {c}");
                if let Some((info, _)) = self.written_column(&key, &table, &mut c) {
                    self.may(&key, &table, info, "insert");
                }
                if [&m.problem, &m.work, &m.text].contains(&&c) {
                    self.fault(format!("{key}: the bridge itself fills this column. Leave the key out"));
                }
                self.parameters(&key, &sql, &["site", "text"], &m.fields);
                resolved.insert(c, sql);
            }
            *given = resolved;
        }
        m.source = Source::Table(mapped);
        self.mapping = m;
        let m = &self.mapping;
        if [&m.problem, &m.work, &m.text].iter().all(|c| table.info.column(c).is_some()) {
            // A misspelt column would be asked for twice, the second time with the wrong advice.
            self.columns_without_value(&table);
        }
        self.remarks(&table);
        Ok(())
    }

    fn is_writable_table(&mut self, table: &Relation) -> bool {
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

    async fn table(&mut self, key: &str, name: &TableName) -> Result<Option<Relation>, StoreError> {
        let table = self.reader.find(name).await?;
        if table.is_none() {
            let there = listed(self.reader.names().await?.iter());
            self.fault(format!("{key}: there is no table {name}. The tables here are: {there}"));
        }
        Ok(table)
    }

    /// The column, its name corrected to how the catalogue writes it.
    fn column<'t>(
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
    fn written_column<'t>(
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
    fn own_column<'t>(
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

    fn may(&mut self, key: &str, table: &Relation, column: &ColumnInfo, right: &str) {
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
    fn usable(&mut self, table: &Relation, info: &ColumnInfo, column: &Column, filled: bool) {
        let Some(sequence) = info.sequence.as_ref().filter(|_| !filled && !column.always_generated) else { return };
        self.sequences.push((table.info.name.clone(), info.name.clone(), sequence.clone()));
    }

    fn wants_index(&mut self, table: &Relation, column: &ColumnInfo) {
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

    fn numbering(&mut self, table: &Relation, info: &ColumnInfo, column: &Column, problem: &str) {
        let (name, work) = (&table.info.name, &info.name);
        match Class::of(&column.base) {
            Class::Integer(..) => {}
            Class::Numeric => self.found.work_is_integer = false,
            _ => self.fault(format!(
                "[history] work: column {work} of table {name} is of type {}, and work ids are whole numbers. Name an \
                 integer column",
                info.sql_type
            )),
        }
        match self.mapping.numbering() {
            Numbering::PerProblem => {
                self.may("[history] work", table, info, "insert");
                self.found.number_indices = table.unique_on(&[problem, work]);
                if column.always_generated {
                    self.fault(format!(
                        "[history] numbering = \"per-problem\": the database gives out the numbers of column {work} of \
                         table {name} itself: write numbering = \"generated\""
                    ));
                } else if self.found.number_indices.is_empty() && table.column(problem).is_some() {
                    let instead = if info.is_generated_number {
                        "The database gives out the numbers of that column itself: write numbering = \"generated\""
                            .to_owned()
                    } else {
                        format!(
                            "create unique index on {} ({}, {})",
                            table_sql(&table.qualified()),
                            quoted(problem),
                            quoted(work)
                        )
                    };
                    self.fault(format!(
                        "[history] numbering = \"per-problem\": table {name} has no primary key or unique index on \
                         exactly ({problem}, {work}) that holds for all rows at once, so that two writers could give out \
                         the same number. {instead}"
                    ));
                }
                if !table.info.columns.iter().any(|c| c.rights.contains("update")) {
                    let grant = format!(
                        "grant update ({}) on {} to {}",
                        quoted(work),
                        table_sql(&table.qualified()),
                        quoted(&self.user)
                    );
                    self.fault(format!(
                        "user {} may lock no row of table {name}: {grant}. The right is used only to hold rows still \
                         while they are marked; the bridge updates nothing",
                        self.user
                    ));
                }
            }
            Numbering::Generated => {
                self.found.number_indices = table.unique_on(&[work]);
                if !info.has_default {
                    self.fault(format!(
                        "[history] numbering = \"generated\": column {work} of table {name} has no identity and no \
                         default, so the database gives out no numbers. Write numbering = \"per-problem\", or name the \
                         column that has them"
                    ));
                } else if !info.is_generated_number {
                    self.note(format!(
                        "column {work} of table {name} gets its numbers from an expression: they must ascend and never \
                         be given out twice"
                    ));
                }
            }
        }
    }

    fn parameters(&mut self, key: &str, sql: &str, own: &[&str], fields: &std::collections::BTreeMap<String, String>) {
        for parameter in sqltext::parameters(sql) {
            if !own.contains(&parameter.as_str()) && !fields.contains_key(&parameter) {
                let allowed: Vec<String> =
                    own.iter().copied().chain(fields.keys().map(String::as_str)).map(|n| format!(":{n}")).collect();
                self.fault(format!("{key}: :{parameter} is nothing known. There are: {}", listed(allowed.iter())));
            }
        }
    }

    /// Columns that refuse null, have no default and get no value.
    fn columns_without_value(&mut self, table: &Relation) {
        let m = self.mapping.clone();
        let own = [&m.problem, &m.work, &m.text];
        for (info, column) in table.info.columns.iter().zip(&table.columns) {
            let name = info.name.as_str();
            let by_expression = |kind| expressions(&m, kind).iter().any(|(c, _)| *c == name);
            let by_field = m.fields.values().any(|c| c == name);
            let entries = by_field || by_expression(Kind::Entry);
            let markers = by_expression(Kind::Marker);
            let is_own = own.iter().any(|c| *c == name) && (name != m.work || m.numbering() == Numbering::PerProblem);
            self.usable(table, info, column, is_own || entries && markers);
            let (section, rows) = match (entries, markers) {
                _ if is_own || !info.not_null || info.has_default || info.is_computed || m.work == name => continue,
                (true, true) => continue,
                _ if m.markers.is_some() && entries => continue,
                // A marker has no fields.
                (true, false) => ("marker", "markers"),
                (false, _) => ("insert", "appended rows"),
            };
            self.fault(format!(
                "column {name} of table {} must not be null and has no default: give {rows} a value with \
                 [history.{section}] {name} = \"...\"",
                table.info.name
            ));
        }
    }

    /// What works, and still is worth a look.
    fn remarks(&mut self, table: &Relation) {
        let name = &table.info.name;
        if table.is_unlogged {
            self.note(format!("table {name} is unlogged: a crash of the server empties it, markers and all"));
        }
        if !table.info.insert_triggers.is_empty() {
            self.note(format!(
                "table {name} has triggers on inserts, which fire for appended rows too: {}",
                listed(table.info.insert_triggers.iter())
            ));
        }
        if table.rewrites_inserts {
            self.note(format!("table {name} has a rule on inserts; where it puts rows elsewhere they are refused"));
        }
        self.hidden_rows(table);
    }

    fn hidden_rows(&mut self, table: &Relation) {
        if table.hides_rows {
            self.note(format!(
                "row level security of table {} applies to user {}: rows that its policies hide are not bridged, and \
                 where they hide markers, entries are sent again. Let a policy show this user all rows of the history",
                table.info.name, self.user
            ));
        }
    }
}

fn listed<'n>(names: impl Iterator<Item = &'n String>) -> String {
    let names: Vec<&str> = names.map(String::as_str).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
