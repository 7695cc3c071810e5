//! From the file as written to the problems: `[problem]`, their table, and how those of two sites are matched.

use std::collections::BTreeMap;

use landbridge_flow::Pairing;
use landbridge_stores::mapping::ProblemTable;
use toml::Spanned;

use super::check::{Checker, Section};
use super::file::{ConfigFile, ProblemFile};
use super::history::{Bound, same};

const TABLE: &str = "write `table = \"TABLE\"`, the table of the problems";
const ID: &str = "write `id = \"COLUMN\"`, the column that the history's problem column refers to";
const LINK: &str = "write `link = \"COLUMN\"`, a text column in which the bridge keeps where a problem comes from";

impl Checker<'_> {
    /// The table of the problems, where there is one, and the pairing. Nothing where they have a fault.
    pub(super) fn problem(&mut self, file: &ConfigFile) -> Option<(Option<ProblemTable>, Pairing)> {
        let Some(problem) = &file.problem else { return Some((None, Pairing::SameId)) };
        let section = Section { label: "[problem]", at: problem.span().start };
        let problem = problem.get_ref();
        let linked = self.is_linked(problem);
        let create = problem.create.as_ref().is_some_and(|c| *c.get_ref());
        self.belongs_to_linked(problem, section, linked == Some(false), create);
        let share = self.condition(problem.share.as_ref(), "share");

        let wants_table = problem.table.is_some()
            || problem.id.is_some()
            || problem.share.is_some()
            || problem.link.is_some()
            || problem.fields.is_some()
            || create
            || ["table", "id", "share", "link", "fields", "create"].iter().any(|key| self.is_spoiled(section, key));
        let pairing = match linked? {
            false => Pairing::SameId,
            true => Pairing::Linked { create },
        };
        if !wants_table {
            return Some((None, pairing));
        }
        let table = self.table_name(problem.table.as_ref(), section, TABLE);
        let id = self.identifier(problem.id.as_ref(), section, "id", ID);
        let link = match &problem.link {
            Some(written) => self.column(written, "link"),
            None => {
                if create {
                    self.missing(section, "link", LINK);
                }
                None
            }
        };
        if let (Some(id), Some(link)) = (&id, &link)
            && same(&id.text, &link.text)
        {
            self.fault(link.at, format!("`link` and `id` name the same column {}", link.shown()), LINK);
        }
        let own: Vec<(&str, &str)> = [("id", &id), ("link", &link)]
            .into_iter()
            .filter_map(|(k, v)| Some((k, v.as_ref()?.text.as_str())))
            .collect();
        let no_map = BTreeMap::new();
        let fields = self.fields(problem.fields.as_ref().map_or(&no_map, Spanned::get_ref), "[problem]", &own);
        let link_alone: Vec<(&str, &str)> = own.iter().filter(|(role, _)| *role == "link").copied().collect();
        let insert = self.expressions(
            problem.insert.as_ref().map_or(&no_map, Spanned::get_ref),
            "[problem.insert]",
            &link_alone,
            Bound { fields: &fields, others: &["site", "home"] },
        );
        let (name, id) = (table?, id?.text);
        if create && link.is_none() {
            return None;
        }
        let link = link.map(|value| value.text);
        Some((Some(ProblemTable { name, id, share, fields, link, create: create.then_some(insert) }), pairing))
    }

    fn is_linked(&mut self, problem: &ProblemFile) -> Option<bool> {
        let Some(written) = &problem.pairing else { return Some(false) };
        let pairing = self.value(written)?;
        match pairing.text.as_str() {
            "same-id" => Some(false),
            "linked" => Some(true),
            _ => {
                self.fault(
                    pairing.at,
                    format!("`pairing` = {} is not known", pairing.shown()),
                    "write \"same-id\" (a problem has the same id at every site) or \"linked\" (each site has ids of its \
                     own), or take it out",
                );
                None
            }
        }
    }

    /// Notes what has a meaning only where each site numbers its own problems, and only where they are created.
    fn belongs_to_linked(&mut self, problem: &ProblemFile, section: Section, same_id: bool, create: bool) {
        const INSTEAD: &str = "write `pairing = \"linked\"`, or take it out";
        if same_id {
            if let Some(link) = &problem.link {
                self.fault(
                    link.span().start,
                    "`link` is written, and problems have the same id at every site",
                    INSTEAD,
                );
            }
            if let Some(written) = problem.create.as_ref().filter(|_| create) {
                let what = "`create = true` is written, and problems have the same id at every site";
                self.fault(written.span().start, what, INSTEAD);
            }
        }
        if let Some(insert) = &problem.insert
            && !create
            && !self.is_spoiled(section, "create")
        {
            let instead = "write `create = true` in [problem], or take the section out";
            self.fault(insert.span().start, "[problem.insert] is written, and no problem is created", instead);
        }
    }
}
