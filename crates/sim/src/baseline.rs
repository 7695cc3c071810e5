//! The two published methods, literally, on the same sites, links and writers, to show what they lose: the prior art by
//! time stamps, and the plain marker ("everything after the last marker", DESIGN §2).
//!
//! Both get a kinder world than Landbridge does: no conditions, no refusals, no edits; only people who write while
//! messages travel, messages and answers that are lost, and crashes between sending and remembering.

use std::collections::{BTreeMap, BTreeSet};

use crate::executor::Dice;
use crate::plan::Plan;

/// How many rounds without anybody writing a method gets to come to rest.
const ROUNDS_MAX: usize = 12;
/// Where an entry stands more often than this in one table, nobody needs to see more.
const COPIES_MAX: usize = 40;

/// What a method made of a world.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Entries times sites that are to have them.
    pub due: u64,
    /// Of these, missing.
    pub lost: u64,
    /// Of these, there more than once.
    pub doubled: u64,
    /// Entries that were still being sent when everybody else was at rest.
    pub looping: u64,
}

impl Tally {
    /// Counts `texts`, which every site is to have, in the tables.
    pub fn of(texts: &[String], tables: &[Vec<String>], looping: u64) -> Tally {
        let mut tally = Tally { looping, ..Tally::default() };
        for table in tables {
            let mut count: BTreeMap<&String, u64> = BTreeMap::new();
            table.iter().for_each(|text| *count.entry(text).or_default() += 1);
            for text in texts {
                tally.due += 1;
                match count.get(text).copied().unwrap_or(0) {
                    0 => tally.lost += 1,
                    1 => {}
                    _ => tally.doubled += 1,
                }
            }
        }
        tally
    }

    /// Both together.
    pub fn and(self, other: Tally) -> Tally {
        Tally {
            due: self.due + other.due,
            lost: self.lost + other.lost,
            doubled: self.doubled + other.doubled,
            looping: self.looping + other.looping,
        }
    }
}

/// A published method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Rows newer than the last synchronisation: the receiver names it by its clock, the sender compares it with the
    /// stamps that its rows got by another. A copy keeps its stamp.
    TimeStamps,
    /// Rows after the last marker for the peer.
    PlainMarker,
}

/// What a row has in it: an entry's text, or the site that a marker is for.
pub type Content = Result<String, usize>;

/// The plain marker's rule: of these rows, in ascending numbers, the entries after the last marker for `peer`.
pub fn after_the_last_marker<'a>(
    rows: impl DoubleEndedIterator<Item = (u64, &'a Content)> + Clone,
    peer: usize,
) -> Vec<u64> {
    let last = rows.clone().rev().find(|(_, content)| **content == Err(peer)).map(|(n, _)| n);
    let later = rows.filter(|(n, content)| content.is_ok() && last.is_none_or(|last| *n > last));
    later.map(|(n, _)| n).collect()
}

#[derive(Debug, Clone)]
struct Row {
    content: Content,
    /// The site's clock when the row was written.
    stamp: i64,
}

#[derive(Debug, Default)]
struct Site {
    rows: BTreeMap<u64, Row>,
    /// Numbers given out, committed or not.
    last: u64,
    /// Rows whose transaction is open.
    open: Vec<(u64, Row)>,
    /// How far the clock is off.
    skew: i64,
    /// The last synchronisation with each peer, by this clock.
    synchronised: BTreeMap<usize, i64>,
}

/// A message on its way: what was read, and what the sender will remember once it is answered.
#[derive(Debug)]
struct Flight {
    rows: Vec<Row>,
    arrived: bool,
    lost: bool,
}

struct Run<'a> {
    plan: &'a Plan,
    method: Method,
    dice: Dice,
    sites: Vec<Site>,
    flights: Vec<Option<Flight>>,
    now: i64,
    calm: bool,
    texts: Vec<String>,
}

/// Plays the seed's world by a published method.
pub fn play(plan: &Plan, method: Method) -> Tally {
    let dice = Dice::new(plan.seed);
    let site = |_| Site { skew: dice.below(600) as i64 - 300, ..Site::default() };
    let mut run = Run {
        plan,
        method,
        sites: (0..plan.sites.len()).map(site).collect(),
        flights: plan.links.iter().map(|_| None).collect(),
        dice,
        now: 1000,
        calm: false,
        texts: Vec::new(),
    };
    while run.texts.len() < plan.actions || run.sites.iter().any(|s| !s.open.is_empty()) {
        run.now += run.dice.below(20) as i64;
        match run.dice.below(8) {
            0 | 1 => run.write(),
            2 if run.dice.one_in(20) => run.step_a_clock(),
            _ => {
                let link = run.dice.below(plan.links.len());
                run.advance(link);
            }
        }
    }
    run.calm = true;
    let mut looping = BTreeSet::new();
    for _ in 0..ROUNDS_MAX {
        looping.clear();
        for link in 0..plan.links.len() {
            // Through reading, arriving and remembering.
            for _ in 0..3 {
                run.now += 1;
                run.advance(link).into_iter().for_each(|text| {
                    looping.insert(text);
                });
            }
        }
        if looping.is_empty() {
            break;
        }
    }
    let table = |site: &Site| site.rows.values().filter_map(|row| row.content.clone().ok()).collect();
    Tally::of(&run.texts, &run.sites.iter().map(table).collect::<Vec<_>>(), looping.len() as u64)
}

impl Run<'_> {
    fn row(&self, site: usize, content: Content) -> Row {
        Row { content, stamp: self.now + self.sites[site].skew }
    }

    fn append(&mut self, site: usize, content: Content) {
        let row = self.row(site, content);
        let site = &mut self.sites[site];
        site.last += 1;
        site.rows.insert(site.last, row);
    }

    /// A person writes, in a transaction that commits at once or later.
    fn write(&mut self) {
        let at = self.dice.below(self.sites.len());
        if self.texts.len() >= self.plan.actions || self.dice.one_in(6) {
            for site in &mut self.sites {
                site.rows.extend(std::mem::take(&mut site.open));
            }
            return;
        }
        let text = format!("entry {}", self.texts.len());
        self.texts.push(text.clone());
        if self.dice.one_in(10) {
            let row = self.row(at, Ok(text));
            let site = &mut self.sites[at];
            site.last += 1;
            site.open.push((site.last, row));
        } else {
            self.append(at, Ok(text));
        }
    }

    fn step_a_clock(&mut self) {
        let at = self.dice.below(self.sites.len());
        self.sites[at].skew += self.dice.below(400) as i64 - 200;
    }

    /// The next thing that happens on a link: rows are read and sent, arrive, or the sender remembers that they did.
    /// What was sent.
    fn advance(&mut self, at: usize) -> Vec<String> {
        let (from, to) = (self.plan.links[at].from, self.plan.links[at].to);
        match self.flights[at].take() {
            None => {
                let rows = self.unsent(from, to);
                if rows.is_empty() {
                    return Vec::new();
                }
                let texts = rows.iter().filter_map(|row| row.content.clone().ok()).collect();
                self.flights[at] = Some(Flight { rows, arrived: false, lost: !self.calm && self.dice.one_in(15) });
                return texts;
            }
            // Nothing came back: it is sent again.
            Some(flight) if flight.lost => {}
            Some(flight) if !flight.arrived => {
                self.arrive(from, to, &flight.rows);
                // The answer is lost, or the sender crashes before it remembers: it is sent again.
                let lost = !self.calm && self.dice.one_in(10);
                self.flights[at] = Some(Flight { arrived: true, lost, ..flight });
            }
            Some(_) if self.method == Method::PlainMarker => self.remember(from, to),
            Some(_) => {}
        }
        Vec::new()
    }

    fn unsent(&self, from: usize, to: usize) -> Vec<Row> {
        let site = &self.sites[from];
        let rows: Vec<&Row> = match self.method {
            Method::PlainMarker => {
                let unsent = after_the_last_marker(site.rows.iter().map(|(n, row)| (*n, &row.content)), to);
                unsent.iter().filter_map(|n| site.rows.get(n)).collect()
            }
            Method::TimeStamps => {
                let since = self.sites[to].synchronised.get(&from).copied().unwrap_or(i64::MIN);
                site.rows.values().filter(|row| row.stamp > since).collect()
            }
        };
        rows.into_iter().filter(|row| row.content.is_ok()).cloned().collect()
    }

    fn arrive(&mut self, from: usize, to: usize, rows: &[Row]) {
        for row in rows {
            let there = self.sites[to].rows.values().filter(|r| r.content == row.content).count();
            if there < COPIES_MAX {
                let site = &mut self.sites[to];
                site.last += 1;
                site.rows.insert(site.last, row.clone());
            }
        }
        self.remember(to, from);
    }

    /// A marker, or the time, says that `site` and `peer` are in step.
    fn remember(&mut self, site: usize, peer: usize) {
        match self.method {
            Method::PlainMarker => self.append(site, Err(peer)),
            Method::TimeStamps => {
                let stamp = self.now + self.sites[site].skew;
                self.sites[site].synchronised.insert(peer, stamp);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_methods_lose_and_multiply() {
        for method in [Method::TimeStamps, Method::PlainMarker] {
            let sum = (0..200).map(|seed| play(&Plan::kind(seed), method)).fold(Tally::default(), Tally::and);
            assert!(sum.lost > 0 && sum.doubled > 0, "{method:?}: {sum:?}");
        }
    }

    #[test]
    fn a_tally_counts_what_is_missing_and_what_is_there_twice() {
        let text = |t: &str| t.to_owned();
        let tables = [vec![text("a"), text("b")], vec![text("a"), text("a")]];
        let tally = Tally::of(&[text("a"), text("b")], &tables, 0);
        assert_eq!(tally, Tally { due: 4, lost: 1, doubled: 1, looping: 0 });
    }
}
