//! What the markers of a table say, read by a reader of its own: whoever looks into the table must be able to see who
//! holds what, without the bridge.

use std::collections::{BTreeMap, BTreeSet};

use super::desk::{Row, bare, is_marker};

/// A row, by problem and number.
pub type Place = (String, i64);

/// The sum of some markers, of a history with one peer.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Rows that the peer holds by its receipt.
    pub held: BTreeSet<Place>,
    /// Rows that are copies, and the number of the peer's entry.
    pub copies: BTreeMap<Place, i64>,
}

impl Ledger {
    /// What the markers among `rows` say of `peer`.
    pub fn of(rows: &[Row], peer: &str) -> Self {
        let mut ledger = Self::default();
        for row in rows.iter().filter(|row| is_marker(&row.text)) {
            let body = bare(&row.text).strip_prefix(&format!("copy in system {peer}: "));
            let body = body.unwrap_or_else(|| panic!("a marker for somebody else: {row:?}"));
            let body = body.split(" no ").next().unwrap().split(" era ").next().unwrap();
            for group in body.split("; ") {
                ledger.add(&row.problem, group);
            }
        }
        ledger
    }

    fn add(&mut self, problem: &str, group: &str) {
        match group.split_once(" from ") {
            None => self.held.extend(ids(group).map(|work| (problem.to_owned(), work))),
            Some((rows, origins)) => {
                let rows = ids(rows).map(|work| (problem.to_owned(), work));
                for (place, origin) in rows.zip(ids(origins)) {
                    assert_eq!(self.copies.insert(place.clone(), origin), None, "{place:?} is said to be a copy twice");
                }
            }
        }
    }
}

/// The numbers of `1-2,4`.
fn ids(ranges: &str) -> impl Iterator<Item = i64> {
    let number = |n: &str| n.parse::<i64>().unwrap_or_else(|_| panic!("{n:?} is no number"));
    ranges.split(',').flat_map(move |range| match range.split_once('-') {
        Some((first, last)) => number(first)..=number(last),
        None => number(range)..=number(range),
    })
}
