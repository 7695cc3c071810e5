//! From the file as written to the mapping: `[history]` and `[markers]`. The statements of a history that is no table are
//! read in `statements`, the problems in `problem`.
//!
//! Only the form is checked: that names differ, that SQL stays where it is pasted, that every parameter is bound.
//! Whether the table is there is for the store to see.

use std::collections::BTreeMap;

use landbridge_core::scribe::DEFAULT_PHRASE;
use landbridge_stores::TableName;
use landbridge_stores::mapping::{Mapping, Numbering, Source, Table};

use super::check::{Checker, Section, TOP, Value};
use super::env::is_name;
use super::file::{ConfigFile, HistoryFile, Map, Text};
use super::sql::{Scan, scan};

/// Names of parameters that are bound besides the fields.
const RESERVED: [&str; 6] = ["site", "text", "problem", "work", "kind", "home"];
const PHRASE_CHARS_MAX: usize = 100;
const NAME_CHARS_MAX: usize = 100;

/// What a section says of the history's source.
pub(super) struct Mapped {
    pub source: Source,
    pub problem: String,
    pub work: String,
    pub text: String,
    pub fields: BTreeMap<String, String>,
    pub within: Option<String>,
    pub share: Option<String>,
}

/// The parameters that a text of SQL may use.
#[derive(Clone, Copy)]
pub(super) struct Bound<'a> {
    /// The shared fields.
    pub fields: &'a BTreeMap<String, String>,
    /// What is bound besides.
    pub others: &'a [&'static str],
}

impl Bound<'_> {
    fn has(&self, parameter: &str) -> bool {
        self.others.contains(&parameter) || self.fields.contains_key(parameter)
    }

    fn advice(&self) -> String {
        let fields = self.fields.keys().map(String::as_str);
        let mut names: Vec<String> = fields.chain(self.others.iter().copied()).map(|n| format!("`:{n}`")).collect();
        match names.pop() {
            None => "write the value itself".to_owned(),
            Some(last) if names.is_empty() => format!("what may be used is {last}"),
            Some(last) => format!("what may be used is {} and {last}", names.join(", ")),
        }
    }
}

impl Checker<'_> {
    /// The history's name and its mapping, without the conditions of peers, the problems and the markers.
    pub(super) fn history(&mut self, file: &ConfigFile) -> Option<(String, Mapping)> {
        let Some(history) = &file.history else {
            if !self.is_spoiled(TOP, "history") {
                self.fault(
                    0,
                    "the section [history] is missing",
                    "write `[history]` and under it `name`, `table`, `problem`, `work`, `text` and `numbering`",
                );
            }
            return None;
        };
        let section = Section { label: "[history]", at: history.span().start };
        let history = history.get_ref();

        let name = self.history_name(history, section);
        let also = self.also(history);
        let phrases = self.phrases(history);
        let Mapped { source, problem, work, text, fields, share, within } = if self.is_of_statements(history, section) {
            self.statements(history, section)
        } else {
            self.table(history, section)
        }?;
        let (problems, markers, peers, compact) = (None, None, BTreeMap::new(), false);
        Some((
            name?,
            Mapping {
                source,
                problem,
                work,
                text,
                within,
                share,
                fields,
                also,
                markers,
                compact,
                problems,
                peers,
                phrases,
            },
        ))
    }

    /// A history that is a plain table.
    fn table(&mut self, history: &HistoryFile, section: Section) -> Option<Mapped> {
        let table = self.table_name(history.table.as_ref(), section, "write `table = \"TABLE\"`");
        let problem = self.identifier(
            history.problem.as_ref(),
            section,
            "problem",
            "write `problem = \"COLUMN\"`, the column with the problem's id",
        );
        let work = self.identifier(
            history.work.as_ref(),
            section,
            "work",
            "write `work = \"COLUMN\"`, the column with the row's number",
        );
        let text = self.identifier(
            history.text.as_ref(),
            section,
            "text",
            "write `text = \"COLUMN\"`, the column with the text",
        );
        let mapped: Vec<(&'static str, &Value)> = [("problem", &problem), ("work", &work), ("text", &text)]
            .into_iter()
            .filter_map(|(k, v)| Some((k, v.as_ref()?)))
            .collect();
        for (i, (role, column)) in mapped.iter().enumerate() {
            if let Some((other, _)) = mapped[..i].iter().find(|(_, c)| same(&c.text, &column.text)) {
                let what = format!("`{role}` and `{other}` name the same column {}", column.shown());
                self.fault(column.at, what, "name three different columns");
            }
        }
        let numbering = self.numbering(history, section);
        let within = self.condition(history.within.as_ref(), "where");
        let share = self.condition(history.share.as_ref(), "share");
        let own: Vec<(&str, &str)> = mapped.iter().map(|(role, column)| (*role, column.text.as_str())).collect();
        let fields = self.fields(&history.fields, "[history]", &own);
        let bound = Bound { fields: &fields, others: &["site", "text"] };
        let insert = self.expressions(&history.insert, "[history.insert]", &own, bound);
        let marker = self.expressions(&history.marker, "[history.marker]", &own, bound);
        Some(Mapped {
            source: Source::Table(Table { name: table?, numbering: numbering?, insert, marker }),
            problem: problem?.text,
            work: work?.text,
            text: text?.text,
            within,
            share,
            fields,
        })
    }

    /// The table of the markers, where they have one. Nothing where it has a fault.
    pub(super) fn markers(&mut self, file: &ConfigFile) -> Option<Option<TableName>> {
        let Some(markers) = &file.markers else { return Some(None) };
        let section = Section { label: "[markers]", at: markers.span().start };
        let instead = "write `table = \"TABLE\"`, a table with the columns problem, number and text";
        let written = markers.get_ref();
        if written.table.is_none() && written.compact.is_some() && !self.is_spoiled(section, "table") {
            return Some(None);
        }
        self.table_name(markers.get_ref().table.as_ref(), section, instead).map(Some)
    }

    /// Notes a fault where two sections name the same table.
    pub(super) fn tables_differ(&mut self, file: &ConfigFile, mapping: &Mapping) {
        let history = mapping.table().map(|t| &t.name);
        let problems = mapping.problems.as_ref().map(|t| &t.name);
        if let (Some(markers), Some(written)) = (&mapping.markers, &file.markers) {
            let at = written.get_ref().table.as_ref().map_or(0, |t| t.span().start);
            for (section, other) in [("[history]", history), ("[problem]", problems)] {
                if other == Some(markers) {
                    let what = format!("[markers] and {section} name the same table");
                    self.fault(at, what, "name a table of the markers' own, or take [markers] out");
                }
            }
        }
    }

    fn history_name(&mut self, history: &HistoryFile, section: Section) -> Option<String> {
        const INSTEAD: &str = "write `name = \"work_history\"`, the same at all sites";
        let name = self.required(history.name.as_ref(), section, "name", INSTEAD)?;
        if let Some(why) = line_fault(&name.text, NAME_CHARS_MAX) {
            self.fault(name.at, format!("the history's name {why}"), INSTEAD);
            return None;
        }
        Some(name.text)
    }

    fn numbering(&mut self, history: &HistoryFile, section: Section) -> Option<Numbering> {
        const INSTEAD: &str = "write \"per-problem\" (the highest number of the problem and one more, as the application \
                               does it) or \"generated\" (the database gives out the number)";
        let value = self.required(history.numbering.as_ref(), section, "numbering", INSTEAD)?;
        match value.text.as_str() {
            "per-problem" => Some(Numbering::PerProblem),
            "generated" => Some(Numbering::Generated),
            _ => {
                self.fault(value.at, format!("`numbering` = {} is not known", value.shown()), INSTEAD);
                None
            }
        }
    }

    /// The phrases of markers: the one that is written first.
    fn phrases(&mut self, history: &HistoryFile) -> Vec<String> {
        let mut phrases = Vec::new();
        if history.phrase.is_none() {
            phrases.push(DEFAULT_PHRASE.to_owned());
        }
        for written in history.phrase.iter().chain(&history.former_phrases) {
            let Some(value) = self.value(written) else { continue };
            let lettered = value.text.chars().any(char::is_alphabetic);
            let why = line_fault(&value.text, PHRASE_CHARS_MAX).or((!lettered).then_some("has no letter"));
            if let Some(why) = why {
                let what = format!("the phrase {} {why}", value.shown());
                self.fault(value.at, what, format!("write a few words, such as \"{DEFAULT_PHRASE}\""));
            } else if !phrases.contains(&value.text) {
                phrases.push(value.text);
            }
        }
        phrases
    }

    /// Shared columns. `own`: what the other columns are.
    pub(super) fn fields(&mut self, written: &Map, section: &str, own: &[(&str, &str)]) -> BTreeMap<String, String> {
        let mut fields: BTreeMap<String, String> = BTreeMap::new();
        for (name, column) in written {
            let at = name.span().start;
            let name = name.get_ref();
            if !is_name(name) {
                let what = format!("{name:?} in {section} fields is no name of a field");
                self.fault(at, what, "write letters, digits and `_`, the first no digit");
            } else if RESERVED.iter().any(|r| same(r, name)) {
                let what = format!("a field may not be called `{name}`: that is the name of a parameter");
                self.fault(at, what, "choose another name, the same at all sites");
            }
            let Some(column) = self.column(column, "fields") else { continue };
            if let Some((role, _)) = own.iter().find(|(_, c)| same(c, &column.text)) {
                let what =
                    format!("the field `{}` is the column {}, which is `{role}`", name.escape_debug(), column.shown());
                self.fault(column.at, what, "name another column, or take the field out");
            }
            if let Some((other, _)) = fields.iter().find(|(_, c)| same(c, &column.text)) {
                let what = format!(
                    "the fields `{other}` and `{}` are the same column {}",
                    name.escape_debug(),
                    column.shown()
                );
                self.fault(column.at, what, "take one of them out");
            }
            fields.insert(name.clone(), column.text);
        }
        fields
    }

    /// The SQL expressions of a section. `own`: the columns that the bridge writes itself.
    pub(super) fn expressions(
        &mut self,
        written: &Map,
        section: &str,
        own: &[(&str, &str)],
        bound: Bound<'_>,
    ) -> BTreeMap<String, String> {
        let mut expressions: BTreeMap<String, String> = BTreeMap::new();
        for (name, sql) in written {
            let at = name.span().start;
            let name = name.get_ref();
            let shown = name.escape_debug();
            if name.is_empty() || name.contains('\0') {
                self.fault(
                    at,
                    format!("{name:?} in {section} is no name of a column"),
                    "write `COLUMN = \"expression\"`",
                );
            }
            if let Some((role, _)) = own.iter().find(|(_, c)| same(c, name)) {
                let what = format!("`{shown}` in {section} is the column of `{role}`, which the bridge writes itself");
                self.fault(at, what, "take it out");
            }
            if expressions.keys().any(|other| same(other, name)) {
                self.fault(at, format!("the column `{shown}` is in {section} twice"), "take one of them out");
            }
            let Some(sql) = self.value(sql) else { continue };
            let found = scan(&sql.text);
            if found.empty && found.faults.is_empty() {
                let what = format!("the expression of `{shown}` in {section} is empty");
                self.fault(sql.at, what, "write an SQL expression, as in \"'public'\", \"''\" or \"null\"");
            }
            self.sql_faults(sql.at, &format!("the expression of `{shown}` in {section}"), found, bound);
            expressions.insert(name.clone(), sql.text);
        }
        expressions
    }

    /// Notes what is wrong with a text of SQL, called `who`, and which of its parameters nobody binds.
    pub(super) fn sql_faults(&mut self, at: usize, who: &str, found: Scan, bound: Bound<'_>) {
        for (why, instead) in found.faults {
            self.fault(at, format!("{who}: {why}"), instead);
        }
        for parameter in found.parameters.iter().filter(|p| !bound.has(p)) {
            let what = format!("{who} uses `:{parameter}`, which is no shared field");
            self.fault(at, what, bound.advice());
        }
    }

    /// A condition in SQL.
    pub(super) fn condition(&mut self, written: Option<&Text>, key: &str) -> Option<String> {
        let sql = self.optional(written)?;
        let found = scan(&sql.text);
        if found.empty && found.faults.is_empty() {
            self.fault(sql.at, format!("the condition `{key}` is empty"), "take the key out where all rows are meant");
        }
        for (why, instead) in found.faults {
            self.fault(sql.at, format!("the condition `{key}`: {why}"), instead);
        }
        for parameter in found.parameters {
            let what = format!("the condition `{key}` uses `:{parameter}`, and a condition has no parameters");
            self.fault(sql.at, what, "write the value itself");
        }
        Some(sql.text)
    }

    pub(super) fn identifier(
        &mut self,
        written: Option<&Text>,
        section: Section,
        key: &str,
        instead: &str,
    ) -> Option<Value> {
        match written {
            Some(written) => self.column(written, key),
            None => {
                self.missing(section, key, instead);
                None
            }
        }
    }

    /// The name of a table, perhaps with its schema.
    pub(super) fn table_name(&mut self, written: Option<&Text>, section: Section, instead: &str) -> Option<TableName> {
        let value = self.identifier(written, section, "table", instead)?;
        match value.text.parse() {
            Ok(name) => Some(name),
            Err(_) => {
                let what = format!("`table` = {} is no name of a table", value.shown());
                let instead = "write TABLE or SCHEMA.TABLE; a part with a dot or a double quote in it stands in double \
                               quotes, as in 'desk.\"odd.name\"'";
                self.fault(value.at, what, instead);
                None
            }
        }
    }

    pub(super) fn column(&mut self, written: &Text, key: &str) -> Option<Value> {
        let value = self.value(written)?;
        if value.text.trim().is_empty() || value.text.contains('\0') {
            self.fault(
                value.at,
                format!("`{key}` = {} is no name in a database", value.shown()),
                "write the name as the database has it",
            );
            return None;
        }
        Some(value)
    }
}

/// Whether a database may take both for the same name.
pub(super) fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

/// Why `text` cannot stand in one line of a message or a marker.
fn line_fault(text: &str, chars_max: usize) -> Option<&'static str> {
    if text.is_empty() {
        Some("is empty")
    } else if text.trim() != text {
        Some("begins or ends with a space")
    } else if text.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
        Some("has a line break or another control character")
    } else if text.chars().count() > chars_max {
        Some("is longer than 100 characters")
    } else {
        None
    }
}
