//! A marker: the entry that a bridge appends to record what a peer holds (DESIGN §3), as a value, and its grammar.
//!
//! This file knows how a marker reads and how it is cut to a text width. Whether a marker is *true* is the seal's
//! business (`scribe`), and what it means for the problem is the ledger's. The grammar for readers of the tables is
//! in `docs/marker.md`.

use std::fmt;
use std::ops::RangeInclusive;

use winnow::ascii::digit1;
use winnow::combinator::{alt, eof, opt, preceded, separated, terminated};
use winnow::prelude::*;
use winnow::token::take_while;

use crate::id::{Origin, ProblemId, SiteName, WorkId};
use crate::id_set::IdSet;

/// A site, and its id of the problem where that differs from the id here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The site.
    pub site: SiteName,
    /// Its id of this problem; absent where it is the same as here.
    pub problem: Option<ProblemId>,
}

/// One statement of a marker about some rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Group {
    /// The peer holds these entries of ours. In a marker for this very site: these rows are entries, although their
    /// text is a marker's (`disown`).
    Held(IdSet),
    /// These rows of ours are copies of those entries.
    Copies(Copies),
    /// The peer no longer holds these. In a marker for this very site: these rows are markers that later ones
    /// replaced (`rekey`).
    Lost(IdSet),
    /// The peer holds these by an operator's word, never by its own receipt (`adopt`).
    Adopted(IdSet),
    /// These rows may not be passed on to anybody.
    Stay(IdSet),
}

/// Rows here and the entries elsewhere that they are copies of, pairwise in ascending order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copies {
    rows: IdSet,
    /// The third site whose entries these are; absent where they are the peer's own.
    pub source: Option<SiteName>,
    works: IdSet,
}

impl Copies {
    /// Nothing where the two sets differ in length.
    pub fn new(rows: IdSet, source: Option<SiteName>, works: IdSet) -> Option<Self> {
        (rows.len() == works.len()).then_some(Self { rows, source, works })
    }

    /// The rows, as a set.
    pub fn rows(&self) -> &IdSet {
        &self.rows
    }

    /// Each row with the work id of the entry that it is a copy of.
    pub fn pairs(&self) -> impl Iterator<Item = (WorkId, WorkId)> + '_ {
        self.rows.iter().zip(self.works.iter())
    }

    /// The pairs as aligned runs: `5-7` with `1-3`.
    fn runs(&self) -> Vec<(RangeInclusive<i64>, RangeInclusive<i64>)> {
        let (mut rows, mut works) = (self.rows.ranges(), self.works.ranges());
        let (mut row, mut work) = (rows.next(), works.next());
        let mut runs = Vec::new();
        while let (Some(r), Some(w)) = (row.take(), work.take()) {
            let last = (r.end() - r.start()).min(w.end() - w.start());
            runs.push((*r.start()..=r.start() + last, *w.start()..=w.start() + last));
            row = if r.start() + last < *r.end() { Some(r.start() + last + 1..=*r.end()) } else { rows.next() };
            work = if w.start() + last < *w.end() { Some(w.start() + last + 1..=*w.end()) } else { works.next() };
        }
        runs
    }
}

/// What a bridge records about one problem and one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// The peer whom the statements are about.
    pub peer: Name,
    /// What third sites call the problem.
    pub others: Vec<Name>,
    /// The statements.
    pub groups: Vec<Group>,
    /// How often the markers of its problem had been folded (`compact`) when it was written: 0, and then no word of it.
    pub era: u64,
    /// 1, or counting up where the very same marker is said again.
    pub number: u32,
}

impl Marker {
    /// A marker for `peer` that says nothing yet.
    pub fn for_peer(site: SiteName) -> Self {
        Self { peer: Name { site, problem: None }, others: Vec::new(), groups: Vec::new(), era: 0, number: 1 }
    }

    /// Whether writing it would record nothing.
    pub fn says_nothing(&self) -> bool {
        self.groups.is_empty()
    }

    /// Whether every row that it names stands before `row`, as with each marker that a bridge has appended there.
    pub fn rows_before(&self, row: WorkId) -> bool {
        let rows = |group: &Group| match group {
            Group::Held(rows) | Group::Lost(rows) | Group::Adopted(rows) | Group::Stay(rows) => rows.last(),
            Group::Copies(copies) => copies.rows.last(),
        };
        self.groups.iter().all(|group| rows(group) < Some(row))
    }

    /// Adds a statement about a set of rows, unless the set is empty.
    pub fn say(&mut self, group: fn(IdSet) -> Group, rows: IdSet) {
        if !rows.is_empty() {
            self.groups.push(group(rows));
        }
    }

    /// Adds that `copies`, each a row here and an origin, are copies. As many groups as it takes for both sides of
    /// each to ascend.
    pub fn say_copies(&mut self, copies: &[(WorkId, Origin)]) {
        let mut rest = copies.iter().peekable();
        while let Some((row, origin)) = rest.next() {
            let (mut rows, mut works) = (IdSet::from_iter([*row]), IdSet::from_iter([origin.work]));
            let (mut last_row, mut last_work) = (*row, origin.work);
            while let Some((row, next)) = rest.peek() {
                if next.site != origin.site || *row <= last_row || next.work <= last_work {
                    break;
                }
                (last_row, last_work) = (*row, next.work);
                rows.insert(last_row);
                works.insert(last_work);
                rest.next();
            }
            let source = (origin.site != self.peer.site).then(|| origin.site.clone());
            self.groups.push(Group::Copies(Copies { rows, source, works }));
        }
    }

    /// The marker's text after `phrase`, without the seal.
    pub fn body(&self, phrase: &str) -> String {
        format!("{phrase} {self}")
    }

    /// Reads a body back. Nothing where it is not exactly one.
    pub fn parse(body: &str, phrase: &str) -> Option<Marker> {
        let rest = body.strip_prefix(phrase)?.strip_prefix(' ')?;
        terminated(marker, eof).parse(rest).ok()
    }

    /// Cuts the marker into parts of at most `chars_max` characters of body under `phrase`, each of which repeats the
    /// names. Where those of third sites leave no room they stand in parts of their own, and one that fits nowhere is
    /// left out. Nothing where the width does not hold even one range with the peer's name.
    pub fn split(self, phrase: &str, chars_max: usize) -> Option<Vec<Marker>> {
        if let Some(parts) = self.clone().split_whole(phrase, chars_max) {
            return Some(parts);
        }
        let alone = Marker { others: Vec::new(), ..self.clone() };
        let mut parts = Vec::new();
        let mut names = Marker { groups: Vec::new(), ..alone.clone() };
        for other in self.others {
            let fits = |m: &Marker| m.body(phrase).chars().count() + NUMBER_ROOM <= chars_max;
            let with = Marker { others: [&names.others[..], std::slice::from_ref(&other)].concat(), ..names.clone() };
            if fits(&with) {
                names = with;
                continue;
            }
            let next = Marker { others: vec![other], ..names.clone() };
            if fits(&next) {
                parts.push(std::mem::replace(&mut names, next));
            }
        }
        parts.push(names);
        parts.retain(|part| !part.others.is_empty());
        let statements = alone.split_whole(phrase, chars_max)?;
        parts.extend(statements.into_iter().filter(|part| !part.says_nothing()));
        Some(parts)
    }

    fn split_whole(self, phrase: &str, chars_max: usize) -> Option<Vec<Marker>> {
        if self.body(phrase).chars().count() + NUMBER_ROOM <= chars_max {
            return Some(vec![self]);
        }
        let names = Marker { groups: Vec::new(), number: 1, ..self.clone() };
        let room = chars_max.checked_sub(names.body(phrase).chars().count() + NUMBER_ROOM)?;
        let (mut parts, mut part, mut used) = (Vec::new(), names.clone(), 0);
        for atom in self.groups.iter().flat_map(atoms) {
            let cost = Marker { groups: vec![atom.clone()], ..names.clone() }.to_string().chars().count()
                - names.to_string().chars().count();
            if cost > room {
                return None;
            }
            if used + cost > room {
                parts.push(std::mem::replace(&mut part, names.clone()));
                used = 0;
            }
            used += cost;
            join(&mut part.groups, atom);
        }
        if !part.says_nothing() || parts.is_empty() {
            parts.push(part);
        }
        Some(parts)
    }
}

/// The highest era that a marker may name.
pub(crate) const ERA_MAX: u64 = i64::MAX as u64;

/// What is left free for ` no 2` and the like.
const NUMBER_ROOM: usize = " no 99999".len();

/// A group taken apart into the smallest groups that can stand alone: one range each.
fn atoms(group: &Group) -> Vec<Group> {
    fn ranges(set: &IdSet, kind: fn(IdSet) -> Group) -> Vec<Group> {
        set.ranges().map(|r| kind(one_range(r))).collect()
    }
    match group {
        Group::Held(ids) => ranges(ids, Group::Held),
        Group::Lost(ids) => ranges(ids, Group::Lost),
        Group::Adopted(ids) => ranges(ids, Group::Adopted),
        Group::Stay(ids) => ranges(ids, Group::Stay),
        Group::Copies(copies) => copies
            .runs()
            .into_iter()
            .map(|(rows, works)| {
                Group::Copies(Copies { rows: one_range(rows), source: copies.source.clone(), works: one_range(works) })
            })
            .collect(),
    }
}

fn one_range(range: RangeInclusive<i64>) -> IdSet {
    let mut set = IdSet::new();
    set.insert_range(range);
    set
}

/// Puts `atom` behind the groups, into the last one where that says the same of ascending rows.
fn join(groups: &mut Vec<Group>, atom: Group) {
    match (groups.last_mut(), atom) {
        (Some(Group::Held(ids)), Group::Held(more))
        | (Some(Group::Lost(ids)), Group::Lost(more))
        | (Some(Group::Adopted(ids)), Group::Adopted(more))
        | (Some(Group::Stay(ids)), Group::Stay(more)) => ids.extend(&more),
        (Some(Group::Copies(c)), Group::Copies(more))
            if c.source == more.source && c.rows.last() < first(&more.rows) && c.works.last() < first(&more.works) =>
        {
            c.rows.extend(&more.rows);
            c.works.extend(&more.works);
        }
        (_, atom) => groups.push(atom),
    }
}

fn first(set: &IdSet) -> Option<WorkId> {
    set.ranges().next().and_then(|r| WorkId::new(*r.start()))
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.peer)?;
        for name in &self.others {
            write!(f, ", {name}")?;
        }
        for (i, group) in self.groups.iter().enumerate() {
            write!(f, "{}{group}", if i == 0 { ": " } else { "; " })?;
        }
        if self.era > 0 {
            write!(f, " era {}", self.era)?;
        }
        if self.number > 1 {
            write!(f, " no {}", self.number)?;
        }
        Ok(())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.site)?;
        let Some(problem) = &self.problem else { return Ok(()) };
        if problem.as_str().chars().all(SiteName::is_name_char) {
            write!(f, " as {problem}")
        } else {
            write!(f, " as {}", serde_json::Value::from(problem.as_str()))
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Group::Held(ids) => write!(f, "{ids}"),
            Group::Lost(ids) => write!(f, "lost {ids}"),
            Group::Adopted(ids) => write!(f, "adopted {ids}"),
            Group::Stay(ids) => write!(f, "stay {ids}"),
            Group::Copies(Copies { rows, source: None, works }) => write!(f, "{rows} from {works}"),
            Group::Copies(Copies { rows, source: Some(site), works }) => write!(f, "{rows} from {site}/{works}"),
        }
    }
}

fn marker(input: &mut &str) -> ModalResult<Marker> {
    let names: Vec<Name> = separated(1.., name, ", ").parse_next(input)?;
    let groups = opt(preceded(": ", separated(1.., group, "; "))).parse_next(input)?.unwrap_or_default();
    let era = digit1.try_map(str::parse::<u64>).verify(|n| (1..=ERA_MAX).contains(n));
    let era = opt(preceded(" era ", era)).parse_next(input)?;
    let number = opt(preceded(" no ", digit1.try_map(str::parse::<u32>).verify(|n| *n > 1))).parse_next(input)?;
    let mut names = names.into_iter();
    let peer = names.next().ok_or_else(|| winnow::error::ErrMode::Backtrack(winnow::error::ContextError::new()))?;
    Ok(Marker { peer, others: names.collect(), groups, era: era.unwrap_or(0), number: number.unwrap_or(1) })
}

fn name(input: &mut &str) -> ModalResult<Name> {
    let site = site(input)?;
    let problem = opt(preceded(" as ", alt((quoted_problem, plain_problem)))).parse_next(input)?;
    Ok(Name { site, problem })
}

fn site(input: &mut &str) -> ModalResult<SiteName> {
    take_while(1..=64, SiteName::is_name_char).try_map(str::parse).parse_next(input)
}

fn plain_problem(input: &mut &str) -> ModalResult<ProblemId> {
    take_while(1.., SiteName::is_name_char).try_map(str::parse).parse_next(input)
}

fn quoted_problem(input: &mut &str) -> ModalResult<ProblemId> {
    let backtrack = || winnow::error::ErrMode::Backtrack(winnow::error::ContextError::new());
    if !input.starts_with('"') {
        return Err(backtrack());
    }
    let mut json = serde_json::Deserializer::from_str(input).into_iter::<ProblemId>();
    let problem = json.next().and_then(Result::ok).ok_or_else(backtrack)?;
    let rest = json.byte_offset();
    *input = input.get(rest..).ok_or_else(backtrack)?;
    Ok(problem)
}

fn group(input: &mut &str) -> ModalResult<Group> {
    alt((
        preceded("lost ", ids).map(Group::Lost),
        preceded("adopted ", ids).map(Group::Adopted),
        preceded("stay ", ids).map(Group::Stay),
        (ids, " from ", opt(terminated(site, '/')), ids)
            .verify_map(|(rows, _, source, works)| Copies::new(rows, source, works).map(Group::Copies)),
        ids.map(Group::Held),
    ))
    .parse_next(input)
}

fn ids(input: &mut &str) -> ModalResult<IdSet> {
    take_while(1.., |c: char| c.is_ascii_digit() || matches!(c, ',' | '-')).try_map(str::parse).parse_next(input)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    pub(crate) const PHRASE: &str = "copy in system";

    fn ids_strategy() -> impl Strategy<Value = IdSet> {
        proptest::collection::btree_set(1_i64..60, 1..20)
            .prop_map(|ids| ids.into_iter().filter_map(WorkId::new).collect())
    }

    fn name_strategy() -> impl Strategy<Value = Name> {
        ("[A-Za-z0-9][A-Za-z0-9._-]{0,6}", proptest::option::of("\\PC{1,6}")).prop_map(|(site, problem)| Name {
            site: site.parse().unwrap(),
            problem: problem.map(|p| p.parse().unwrap()),
        })
    }

    pub(crate) fn group_strategy() -> impl Strategy<Value = Group> {
        let copies = (ids_strategy(), proptest::option::of("[A-Z]"), 0_i64..50).prop_map(|(rows, source, shift)| {
            let works = rows.iter().filter_map(|r| WorkId::new(r.get() * 2 + shift)).collect();
            Group::Copies(Copies::new(rows, source.map(|s| s.parse().unwrap()), works).unwrap())
        });
        prop_oneof![
            ids_strategy().prop_map(Group::Held),
            ids_strategy().prop_map(Group::Lost),
            ids_strategy().prop_map(Group::Adopted),
            ids_strategy().prop_map(Group::Stay),
            copies,
        ]
    }

    pub(crate) fn marker_strategy() -> impl Strategy<Value = Marker> {
        (
            name_strategy(),
            proptest::collection::vec(name_strategy(), 0..3),
            proptest::collection::vec(group_strategy(), 0..5),
            prop_oneof![Just(0), 1_u64..3, Just(ERA_MAX)],
            1_u32..4,
        )
            .prop_map(|(peer, others, groups, era, number)| Marker { peer, others, groups, era, number })
    }

    /// What a group says of each row.
    fn one_by_one(group: &Group) -> Vec<String> {
        let word = |ids: &IdSet, word: &str| ids.iter().map(|id| format!("{word} {id}")).collect();
        match group {
            Group::Held(ids) => word(ids, "held"),
            Group::Lost(ids) => word(ids, "lost"),
            Group::Adopted(ids) => word(ids, "adopted"),
            Group::Stay(ids) => word(ids, "stay"),
            Group::Copies(c) => c.pairs().map(|(row, work)| format!("{row} from {:?}/{work}", c.source)).collect(),
        }
    }

    proptest! {
        #[test]
        fn a_marker_reads_back_as_it_is_written(m in marker_strategy()) {
            let body = m.body(PHRASE);
            prop_assert_eq!(Marker::parse(&body, PHRASE), Some(m), "{}", body);
        }

        #[test]
        fn no_text_makes_the_parser_panic(s in "copy in system [A-Z0-9,:; a-z/\"\\\\-]{0,60}") {
            let _ = Marker::parse(&s, PHRASE);
        }

        #[test]
        fn parts_fit_the_width_and_say_together_what_the_whole_said(m in marker_strategy(), extra in 60_usize..200) {
            let m = Marker { number: 1, ..m };
            let width = Marker { groups: vec![], ..m.clone() }.body(PHRASE).chars().count() + extra;
            let parts = m.clone().split(PHRASE, width).unwrap();
            for part in &parts {
                prop_assert!(part.body(PHRASE).chars().count() <= width);
                prop_assert_eq!((&part.peer, &part.others), (&m.peer, &m.others));
            }
            let said = |ms: &[Marker]| ms.iter().flat_map(|m| &m.groups).flat_map(one_by_one).collect::<BTreeSet<_>>();
            prop_assert_eq!(said(&parts), said(&[m]));
        }
    }

    #[test]
    fn the_markers_of_the_design_are_read() {
        for body in [
            "copy in system N: 1-2,4",
            "copy in system 1: 6 from 6",
            "copy in system B as 4711, C as 900: 7-8 from 4,9; 9 from C/3",
            "copy in system N",
            "copy in system N: lost 3 no 2",
            "copy in system N: 1-2 era 3",
            "copy in system 1: lost 3-9 era 12 no 2",
            "copy in system N as 4711 era 1",
            "copy in system N as \"a \\\"b\\\": x\": 1",
        ] {
            let m = Marker::parse(body, PHRASE).unwrap_or_else(|| panic!("{body}"));
            assert_eq!(m.body(PHRASE), body);
        }
    }

    #[test]
    fn what_is_not_exactly_a_marker_is_none() {
        for body in [
            "copy in system N: 2-1",
            "copy in system N: 1 from 1-2",
            "copy in system N: 1 ",
            "copy in system N: ",
            "copy in system  N: 1",
            "copy in system N: 1 no 1",
            "copy in system N: 1 era 0",
            "copy in system N: 1 no 2 era 1",
            "copy in system N: 1 era 9223372036854775808",
            "copy in system N: everything",
            "Copy in system N: 1",
        ] {
            assert_eq!(Marker::parse(body, PHRASE), None, "{body}");
        }
    }

    #[test]
    fn a_width_for_less_than_one_range_is_refused() {
        let m = Marker::parse("copy in system N: 1000000-2000000", PHRASE).unwrap();
        assert_eq!(m.split(PHRASE, 30), None);
    }

    #[test]
    fn copies_that_do_not_ascend_take_several_groups() {
        let id = |n| WorkId::new(n).unwrap();
        let from = |s: &str| s.parse::<Origin>().unwrap();
        let mut m = Marker::for_peer("B".parse().unwrap());
        m.say_copies(&[(id(7), from("B/4")), (id(8), from("B/9")), (id(9), from("C/3")), (id(10), from("C/2"))]);
        assert_eq!(m.to_string(), "B: 7-8 from 4,9; 9 from C/3; 10 from C/2");
    }

    #[test]
    fn names_of_third_sites_that_leave_no_room_stand_in_parts_of_their_own() {
        let m = Marker::parse("copy in system N as 4711, A as 17, B as 18, C as 19: 3-4 from 7-8", PHRASE).unwrap();
        let parts: Vec<_> = m.clone().split(PHRASE, 55).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(parts, ["N as 4711, A as 17, B as 18", "N as 4711, C as 19", "N as 4711: 3-4 from 7-8"]);
        let long = Name { site: "D".parse().unwrap(), problem: Some("x".repeat(50).parse().unwrap()) };
        let mut with_long = m.clone();
        with_long.others.insert(1, long);
        let again: Vec<_> = with_long.split(PHRASE, 55).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(again, parts, "a name that fits nowhere is left out");
    }
}
