//! From the file as written to the mapping: `[history]` and `[problem]`.
//!
//! Only the form is checked: that names differ, that SQL stays where it is pasted, that every parameter is bound.
//! Whether the table is there is for the store to see.

use std::collections::BTreeMap;

use landbridge_core::scribe::DEFAULT_PHRASE;
use landbridge_stores::mapping::{Mapping, Numbering, ProblemTable, Source, Table};

use super::check::{Checker, Section, TOP, Value};
use super::env::is_name;
use super::file::{ConfigFile, HistoryFile, Map, ProblemFile, Text};
use super::sql::scan;

/// Names of parameters that are bound besides the fields; `problem` and `work` are for statements of later versions.
const RESERVED: [&str; 4] = ["site", "text", "problem", "work"];
const PHRASE_CHARS_MAX: usize = 100;
const NAME_CHARS_MAX: usize = 100;

impl Checker<'_> {
    /// The history's name and its mapping, without the conditions of peers.
    pub(super) fn history(&mut self, file: &ConfigFile) -> Option<(String, Mapping)> {
        let problems = file.problem.as_ref().map(|p| {
            let section = Section { label: "[problem]", at: p.span().start };
            self.problem_table(p.get_ref(), section)
        });
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
        let table = self.identifier(history.table.as_ref(), section, "table", "write `table = \"TABLE\"`");
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
        let fields = self.fields(&history.fields, &mapped);
        let insert = self.expressions(&history.insert, "[history.insert]", &mapped, &fields);
        let marker = self.expressions(&history.marker, "[history.marker]", &mapped, &fields);
        let phrases = self.phrases(history);

        Some((
            name?,
            Mapping {
                source: Source::Table(Table { name: table?.text.parse().ok()?, numbering: numbering?, insert, marker }),
                problem: problem?.text,
                work: work?.text,
                text: text?.text,
                within,
                share,
                fields,
                also: Vec::new(),
                markers: None,
                problems: problems.flatten(),
                peers: BTreeMap::new(),
                phrases,
            },
        ))
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

    fn fields(&mut self, written: &Map, mapped: &[(&'static str, &Value)]) -> BTreeMap<String, String> {
        let mut fields: BTreeMap<String, String> = BTreeMap::new();
        for (name, column) in written {
            let at = name.span().start;
            let name = name.get_ref();
            if !is_name(name) {
                let what = format!("{name:?} in [history] fields is no name of a field");
                self.fault(at, what, "write letters, digits and `_`, the first no digit");
            } else if RESERVED.iter().any(|r| same(r, name)) {
                let what = format!("a field may not be called `{name}`: that is the name of a parameter");
                self.fault(at, what, "choose another name, the same at all sites");
            }
            let Some(column) = self.column(column, "fields") else { continue };
            if let Some((role, _)) = mapped.iter().find(|(_, c)| same(&c.text, &column.text)) {
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

    /// The SQL expressions of `[history.insert]` or `[history.marker]`.
    fn expressions(
        &mut self,
        written: &Map,
        section: &str,
        mapped: &[(&'static str, &Value)],
        fields: &BTreeMap<String, String>,
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
            if let Some((role, _)) = mapped.iter().find(|(_, c)| same(&c.text, name)) {
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
            for (why, instead) in found.faults {
                self.fault(sql.at, format!("the expression of `{shown}` in {section}: {why}"), instead);
            }
            for parameter in
                found.parameters.iter().filter(|p| *p != "site" && *p != "text" && !fields.contains_key(*p))
            {
                let known: Vec<String> = fields.keys().map(|f| format!("`:{f}`, ")).collect();
                let what =
                    format!("the expression of `{shown}` in {section} uses `:{parameter}`, which is no shared field");
                self.fault(sql.at, what, format!("what may be used is {}`:site` and `:text`", known.concat()));
            }
            expressions.insert(name.clone(), sql.text);
        }
        expressions
    }

    fn problem_table(&mut self, problem: &ProblemFile, section: Section) -> Option<ProblemTable> {
        if let Some(pairing) = self.optional(problem.pairing.as_ref()) {
            match pairing.text.as_str() {
                "same-id" => {}
                "linked" => self.fault(
                    pairing.at,
                    "`pairing = \"linked\"` (problems that are numbered differently at each site) comes with a later \
                     version of Landbridge",
                    "write `pairing = \"same-id\"`, or take it out",
                ),
                _ => self.fault(
                    pairing.at,
                    format!("`pairing` = {} is not known", pairing.shown()),
                    "write `pairing = \"same-id\"`, or take it out",
                ),
            }
        }
        let share = self.condition(problem.share.as_ref(), "share");
        let named = [("table", &problem.table), ("id", &problem.id), ("share", &problem.share)];
        if named.iter().all(|(key, written)| written.is_none() && !self.is_spoiled(section, key)) {
            return None;
        }
        let table = self.identifier(
            problem.table.as_ref(),
            section,
            "table",
            "write `table = \"TABLE\"`, the table of the problems",
        );
        let id = self.identifier(
            problem.id.as_ref(),
            section,
            "id",
            "write `id = \"COLUMN\"`, the column that the history's problem column refers to",
        );
        Some(ProblemTable {
            name: table?.text.parse().ok()?,
            id: id?.text,
            share,
            fields: BTreeMap::new(),
            link: None,
            create: None,
        })
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

    fn identifier(&mut self, written: Option<&Text>, section: Section, key: &str, instead: &str) -> Option<Value> {
        match written {
            Some(written) => self.column(written, key),
            None => {
                self.missing(section, key, instead);
                None
            }
        }
    }

    fn column(&mut self, written: &Text, key: &str) -> Option<Value> {
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
fn same(a: &str, b: &str) -> bool {
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
