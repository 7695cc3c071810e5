//! Whether a database is what the mapping says. Every fault is reported at once, with what to write instead; what only
//! the server can tell (conditions, expressions, rights) is found out by letting it explain the very statements that
//! will run, which runs none of them.

mod history;
mod probe;
mod problems;
mod tables;

use landbridge_flow::StoreError;

use super::options::PostgresOptions;
use super::schema::Reader;
use super::session::connect;
use super::values::{Class, IdColumn};
use super::{Found, tls};
use crate::inspection::Inspection;
use crate::mapping::{Mapping, Source, TableName};
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

    fn parameters(&mut self, key: &str, sql: &str, own: &[&str], fields: &std::collections::BTreeMap<String, String>) {
        for parameter in sqltext::parameters(sql) {
            if !own.contains(&parameter.as_str()) && !fields.contains_key(&parameter) {
                let allowed: Vec<String> =
                    own.iter().copied().chain(fields.keys().map(String::as_str)).map(|n| format!(":{n}")).collect();
                self.fault(format!("{key}: :{parameter} is nothing known. There are: {}", listed(allowed.iter())));
            }
        }
    }
}

fn listed<'n>(names: impl Iterator<Item = &'n String>) -> String {
    let names: Vec<&str> = names.map(String::as_str).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
