//! From the file as written to a history that is mapped by statements: `read`, `append` and what belongs to them, and the
//! statements in `also`.
//!
//! Their form is checked: one statement in each text, parameters that somebody binds, no key of a plain table beside
//! them. What they mean is for the database to say.

use std::collections::BTreeMap;

use landbridge_stores::mapping::{AppendKind, Source, Statements};
use toml::Spanned;

use super::check::{Checker, Section};
use super::file::{HistoryFile, Map};
use super::history::{Bound, Mapped};
use super::sql::{scan, scan_statement};

/// The columns of `read` that every such history has.
const OWN: [(&str, &str); 3] = [("problem", "problem"), ("work", "work"), ("text", "text")];
/// The column of `read` that says whether a row may leave.
const SHARE: &str = "share";

impl Checker<'_> {
    /// Whether the history is mapped by statements: one of their keys is there.
    pub(super) fn is_of_statements(&self, history: &HistoryFile, section: Section) -> bool {
        let written = history.read.is_some()
            || history.append.is_some()
            || history.work_from.is_some()
            || history.append_kind.is_some()
            || history.text_encoding.is_some()
            || history.remove.is_some();
        let keys = ["read", "append", "work_from", "append_kind", "text_encoding", "remove"];
        written || keys.iter().any(|key| self.is_spoiled(section, key))
    }

    /// A history mapped by statements.
    pub(super) fn statements(&mut self, history: &HistoryFile, section: Section) -> Option<Mapped> {
        self.no_table_beside(history);
        let none = BTreeMap::new();
        let read = self.required(
            history.read.as_ref(),
            section,
            "read",
            "write `read = \"select ...\"`, a query with the columns problem, work and text",
        );
        let read = read.map(|value| {
            let (sql, found) = scan_statement(&value.text);
            if found.empty && found.faults.is_empty() {
                self.fault(value.at, "`read` is empty", "write a query with the columns problem, work and text");
            }
            let words = found.words.clone();
            self.sql_faults(value.at, "`read`", found, Bound { fields: &none, others: &[] });
            (sql.to_owned(), words)
        });
        let fields = self.fields(&history.fields, "[history]", &OWN);
        let (append, uses_kind) = self.append(history, section, &fields);
        let work_from = self.required(
            history.work_from.as_ref(),
            section,
            "work_from",
            "write the SQL expression for the number of the row that the first statement of `append` added, as in \
             \"currval('SEQUENCE')\", \"last_insert_id()\" or \"last_insert_rowid()\"",
        );
        let work_from = work_from.map(|value| {
            let found = scan(&value.text);
            if found.empty && found.faults.is_empty() {
                self.fault(value.at, "`work_from` is empty", "write an SQL expression");
            }
            let bound = Bound { fields: &fields, others: &["problem", "text", "kind", "site"] };
            self.sql_faults(value.at, "`work_from`", found, bound);
            value.text
        });
        let append_kind = self.append_kind(history, section, uses_kind);
        let remove = self.remove(history);
        let text_encoding = history.text_encoding.as_ref().and_then(|written| self.column(written, "text_encoding"));
        let within = self.condition(history.within.as_ref(), "where");
        let share = self.condition(history.share.as_ref(), "share");
        let (read, words) = read?;
        // A column of this name is a condition. That it is not written in a second place must let nothing out.
        let share = match share {
            None => words.contains(SHARE).then(|| SHARE.to_owned()),
            Some(sql) if words.contains(SHARE) && !scan(&sql).words.contains(SHARE) => {
                Some(format!("{SHARE} and ({sql})"))
            }
            share => share,
        };
        Some(Mapped {
            source: Source::Statements(Statements {
                read,
                append: append?,
                work_from: work_from?,
                append_kind: append_kind?,
                text_encoding: text_encoding.map(|value| value.text),
                remove,
            }),
            problem: "problem".to_owned(),
            work: "work".to_owned(),
            text: "text".to_owned(),
            fields,
            within,
            share,
        })
    }

    /// Notes every key of a plain table.
    fn no_table_beside(&mut self, history: &HistoryFile) {
        let keys = [
            ("table", &history.table),
            ("problem", &history.problem),
            ("work", &history.work),
            ("text", &history.text),
            ("numbering", &history.numbering),
        ];
        let texts = keys.into_iter().filter_map(|(key, written)| Some((key, written.as_ref()?.span().start)));
        let maps = [("[history.insert]", &history.insert), ("[history.marker]", &history.marker)];
        let maps = maps.into_iter().filter_map(|(key, map)| Some((key, map.keys().next()?.span().start)));
        for (key, at) in texts.chain(maps) {
            let instead = match key {
                "problem" | "work" | "text" => {
                    format!("take it out: the column of `read` that is named {key} is taken")
                }
                "numbering" => "take it out: `work_from` says which number a row got".to_owned(),
                "table" => "take it out, or the statements".to_owned(),
                _ => "take it out: the statements of `append` give every column its value".to_owned(),
            };
            let key = if key.starts_with('[') { key.to_owned() } else { format!("`{key}`") };
            self.fault(
                at,
                format!("{key} belongs to a plain table, and this history is mapped by statements"),
                instead,
            );
        }
    }

    /// The statements that append, and whether one of them uses `:kind`.
    fn append(
        &mut self,
        history: &HistoryFile,
        section: Section,
        fields: &BTreeMap<String, String>,
    ) -> (Option<Vec<String>>, bool) {
        const INSTEAD: &str = "write `append = [\"insert into ...\"]`, the statements that append one row";
        let Some(written) = &history.append else {
            self.missing(section, "append", INSTEAD);
            return (None, false);
        };
        if written.get_ref().is_empty() {
            self.fault(written.span().start, "`append` has no statement", INSTEAD);
        }
        let (mut statements, mut uses_kind) = (Vec::new(), false);
        for (i, text) in written.get_ref().iter().enumerate() {
            let Some(value) = self.value(text) else { continue };
            let (sql, found) = scan_statement(&value.text);
            let who = format!("statement {} of `append`", i + 1);
            if found.empty && found.faults.is_empty() {
                self.fault(value.at, format!("{who} is empty"), "write a statement, or take it out");
            }
            uses_kind |= found.parameters.iter().any(|p| p == "kind");
            let all: &[&'static str] = &["problem", "text", "kind", "site", "work"];
            // There is no number before the first has run.
            let others = if i == 0 { &all[..4] } else { all };
            self.sql_faults(value.at, &who, found, Bound { fields, others });
            statements.push(sql.to_owned());
        }
        let whole = !statements.is_empty() && statements.len() == written.get_ref().len();
        (whole.then_some(statements), uses_kind)
    }

    /// The statements that delete a marker. Each must say which row is meant, and the first what stands in it: it would else
    /// delete a row that is another meanwhile.
    fn remove(&mut self, history: &HistoryFile) -> Vec<String> {
        const INSTEAD: &str = "write which row is meant, as in \"delete from NOTE where TICKET = :problem and NO = :work \
                               and BODY = :text\"";
        let none = BTreeMap::new();
        let mut statements = Vec::new();
        for (i, text) in history.remove.iter().flat_map(|written| written.get_ref()).enumerate() {
            let Some(value) = self.value(text) else { continue };
            let (sql, found) = scan_statement(&value.text);
            let who = format!("statement {} of `remove`", i + 1);
            let wanted: &[&str] = if i == 0 { &["problem", "work", "text"] } else { &["work"] };
            let missing = wanted.iter().find(|name| !found.parameters.iter().any(|p| p == **name));
            if found.empty && found.faults.is_empty() {
                self.fault(value.at, format!("{who} is empty"), "write a statement, or take it out");
            } else if let Some(missing) = missing.filter(|_| found.faults.is_empty()) {
                self.fault(value.at, format!("{who} does not use `:{missing}`: it would delete other rows"), INSTEAD);
            }
            self.sql_faults(value.at, &who, found, Bound { fields: &none, others: &["problem", "work", "text"] });
            statements.push(sql.to_owned());
        }
        statements
    }

    fn append_kind(&mut self, history: &HistoryFile, section: Section, uses_kind: bool) -> Option<AppendKind> {
        const INSTEAD: &str = "write `append_kind = { entry = \"...\", marker = \"...\" }`, what `:kind` is for an entry and \
                               for a marker";
        let Some(written) = &history.append_kind else {
            if uses_kind {
                self.missing(section, "append_kind", INSTEAD);
            }
            return Some(AppendKind::default());
        };
        let at = written.span().start;
        if !uses_kind && history.append.is_some() {
            self.fault(at, "`append_kind` is written, and no statement of `append` uses `:kind`", "take it out");
        }
        self.kinds(written, at, INSTEAD)
    }

    fn kinds(&mut self, written: &Spanned<Map>, at: usize, instead: &str) -> Option<AppendKind> {
        let mut kinds: [Option<String>; 2] = [None, None];
        for (name, value) in written.get_ref() {
            let Some(i) = ["entry", "marker"].iter().position(|known| known == name.get_ref()) else {
                let what = format!("unknown key `{}` in append_kind", name.get_ref().escape_debug());
                self.fault(name.span().start, what, instead);
                continue;
            };
            kinds[i] = self.value(value).map(|value| value.text);
        }
        for (kind, name) in kinds.iter().zip(["entry", "marker"]) {
            if kind.is_none() && !written.get_ref().keys().any(|k| k.get_ref() == name) {
                self.fault(at, format!("`{name}` is missing in append_kind"), instead);
            }
        }
        let [entry, marker] = kinds;
        Some(AppendKind { entry: entry?, marker: marker? })
    }

    /// The statements that run once for each problem appended to.
    pub(super) fn also(&mut self, history: &HistoryFile) -> Vec<String> {
        let none = BTreeMap::new();
        let mut statements = Vec::new();
        for (i, text) in history.also.iter().enumerate() {
            let Some(value) = self.value(text) else { continue };
            let (sql, found) = scan_statement(&value.text);
            let who = format!("statement {} of `also`", i + 1);
            if found.empty && found.faults.is_empty() {
                self.fault(value.at, format!("{who} is empty"), "write a statement, or take it out");
            } else if found.faults.is_empty() && !found.parameters.iter().any(|p| p == "problem") {
                let what = format!("{who} does not use `:problem`: it would change every problem");
                self.fault(value.at, what, "write which problem is meant, as in \"... where ID = :problem\"");
            }
            self.sql_faults(value.at, &who, found, Bound { fields: &none, others: &["problem"] });
            statements.push(sql.to_owned());
        }
        statements
    }
}
