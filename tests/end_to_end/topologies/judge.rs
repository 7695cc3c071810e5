//! What must be so once writing has stopped and all links are whole: judged by the tables of all sites, and by what was
//! heard on the wire.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::kit::desk::{Desk, Row, is_marker};
use crate::kit::wire::{Crossings, Traffic, Way};
use crate::kit::writer::kind;

use super::plan::{NAMES, Plan};
use super::world::World;

/// The words of a row that a writer wrote: what it is called, its kind, and what it answers.
struct Words<'a> {
    name: &'a str,
    kind: &'a str,
    answers: &'a str,
}

fn words(row: &Row) -> Words<'_> {
    let mut words = row.text.split(' ');
    let [name, kind, answers] = [(); 3].map(|()| words.next().unwrap_or_default());
    Words { name, kind, answers }
}

fn place(name: &str) -> Option<usize> {
    NAMES.iter().position(|site| name.split('/').next() == Some(site))
}

/// The sites that are to have this row of the site's own; nothing where it may not leave.
fn entitled(plan: &Plan, site: usize, row: &Row) -> BTreeSet<usize> {
    if row.public { plan.entitled(site, words(row).kind == kind::HOUSE) } else { BTreeSet::new() }
}

fn is_own(site: usize, row: &Row) -> bool {
    !is_marker(&row.text) && place(words(row).name) == Some(site)
}

/// How many entries of others each site is to have.
pub fn due(plan: &Plan, tables: &[Vec<Row>]) -> Vec<usize> {
    let mut due = vec![0; plan.sites];
    for (site, rows) in tables.iter().enumerate() {
        for row in rows.iter().filter(|row| is_own(site, row)) {
            entitled(plan, site, row).into_iter().filter(|to| *to != site).for_each(|to| due[to] += 1);
        }
    }
    due
}

/// Every entry is exactly once at every site that is entitled to it, and at no other.
pub fn every_entry_is_where_it_may_be_once(plan: &Plan, tables: &[Vec<Row>]) {
    let mut should: Vec<Vec<(&str, &str, &str)>> = vec![Vec::new(); plan.sites];
    // A null author becomes what the mapping of some receiver on the way says.
    let author = |row: &'_ Row| row.author.clone().filter(|author| author != "bridge" && author != "null");
    let mut authors = HashMap::new();
    for (site, rows) in tables.iter().enumerate() {
        for row in rows.iter().filter(|row| is_own(site, row)) {
            authors.insert(words(row).name, author(row));
            for to in entitled(plan, site, row).into_iter().filter(|to| *to != site) {
                should[to].push((words(row).name, &row.problem, &row.text));
            }
        }
    }
    for (site, (mut should, rows)) in should.into_iter().zip(tables).enumerate() {
        let others = rows.iter().filter(|row| !is_marker(&row.text) && !is_own(site, row));
        let mut is: Vec<_> = others.clone().map(|row| (words(row).name, &*row.problem, &*row.text)).collect();
        should.sort_unstable();
        is.sort_unstable();
        let missing: Vec<_> = should.iter().filter(|row| is.binary_search(row).is_err()).take(5).collect();
        let foreign: Vec<_> = is.iter().filter(|row| should.binary_search(row).is_err()).take(5).collect();
        let name = NAMES[site];
        assert!(missing.is_empty(), "{}: site {name} misses {missing:?}", plan.name);
        assert!(foreign.is_empty(), "{}: site {name} has what it may not have: {foreign:?}", plan.name);
        assert_eq!(is, should, "{}: something is doubled at site {name}", plan.name);
        for row in others {
            assert_eq!(Some(&author(row)), authors.get(words(row).name), "{}: site {name}: {row:?}", plan.name);
        }
    }
}

/// At every site, whatever a writer had seen stands before what it wrote then: the entry that it answered, and its own
/// earlier ones. Except what became public, or reached the site along another way, later.
pub fn causes_stand_before_effects(plan: &Plan, tables: &[Vec<Row>]) -> usize {
    if !plan.keeps_order() {
        return 0;
    }
    let mut looked_at = 0;
    let is_late = |row: &Row| {
        let kind = words(row).kind;
        kind == kind::LATE || (kind == kind::HOUSE && !plan.is_tree())
    };
    for (rows, site) in tables.iter().zip(NAMES) {
        let stand: HashMap<_, _> = rows.iter().enumerate().map(|(at, row)| (words(row).name, (at, row))).collect();
        let mut last: HashMap<(&str, &str), (usize, i64)> = HashMap::new();
        for (at, row) in rows.iter().enumerate().filter(|(_, row)| !is_marker(&row.text) && !is_late(row)) {
            let Words { name, kind, answers } = words(row);
            if kind == kind::ANSWER
                && let Some((cause, _)) = stand.get(answers).filter(|(_, cause)| !is_late(cause))
            {
                looked_at += 1;
                assert!(*cause < at, "{}: at site {site} {name} stands before {answers}, which it answers", plan.name);
            }
            let (writer, number) = name.rsplit_once('/').unwrap();
            let number: i64 = number.parse().unwrap();
            if let Some((_, before)) = last.insert((writer, &row.problem), (at, number)) {
                assert!(before < number, "{}: at site {site} {name} stands behind number {before}", plan.name);
            }
        }
    }
    looked_at
}

/// How often texts crossed, by what was heard so far. In words, for each entry and each way from one site to another:
///
/// - a text that the sender has from others crosses once, and once more for each time that no receipt came back for it
///   although it had arrived in vain: after a lost receipt it goes as a digest again;
/// - a text of the sender's own crosses once, and once more for each time that no receipt came back for it, or that the
///   sender, its database or the connection was struck before it had recorded the receipt; or the receiver, where that
///   brought the receipt with a pull, since nobody waits for the answer any more;
/// - no text crosses a link in both directions, and nothing at all goes back to where it was written.
///
/// Where nothing is struck every delivery has a receipt and every text crosses once, unless the machine is so busy that
/// somebody gives up waiting. How many deliveries of a text had no receipt.
pub fn texts_crossed_once(world: &World<'_>, ways: &BTreeMap<Way, Traffic>) -> u32 {
    let (nothing, mut unanswered) = (Crossings::default(), 0);
    let gave_up: Vec<_> = world.desks.iter().map(database_failed).collect();
    for (way, traffic) in ways {
        let (sender, receiver) = (place(&way.0).unwrap(), place(&way.1).unwrap());
        let back = ways.get(&(way.1.clone(), way.0.clone()));
        for (entry, crossed) in &traffic.entries {
            let (problem, origin) = entry;
            let writer = place(origin).unwrap();
            let what = || format!("{}: {origin} of {problem} from {} to {}", world.plan.name, way.0, way.1);
            assert_ne!(receiver, writer, "{} went back to where it was written", what());
            let brought = if world.plan.is_pulled(sender, receiver) { world.strikes[receiver] } else { 0 };
            let struck = if writer == sender { world.strikes[sender] + brought } else { 0 };
            let once = crossed.bodies <= 1 + crossed.unanswered + struck || (writer == sender && gave_up[sender]);
            assert!(once, "{}: {crossed:?}, {struck} strikes", what());
            unanswered += crossed.unanswered;
            let back = back.and_then(|back| back.entries.get(entry)).unwrap_or(&nothing);
            let both = (crossed.bodies - crossed.unanswered.min(crossed.bodies), back.bodies - back.unanswered);
            assert!(both.0 == 0 || both.1 == 0, "{}: {crossed:?} and back {back:?}", what());
        }
    }
    unanswered
}

/// Whether the bridge of a site has said that its database failed, be it that it waited too long for a lock.
fn database_failed(desk: &Desk) -> bool {
    let said = std::fs::read_to_string(desk.config.with_file_name("stderr")).unwrap();
    said.contains(" WARN the database")
}

/// How many entries the writers of all sites made shareable.
pub fn shareable(tables: &[Vec<Row>]) -> usize {
    tables.iter().enumerate().map(|(site, rows)| shareable_of(site, rows)).sum()
}

/// How many of them are this site's.
pub fn shareable_of(site: usize, rows: &[Row]) -> usize {
    rows.iter().filter(|row| row.public && is_own(site, row)).count()
}
