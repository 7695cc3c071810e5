//! What the demonstration proves at its end, from what crossed the wire and from the bytes on the disk: nothing
//! confidential left its house, no marker crossed, and every entry crossed once.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use landbridge_core::message::{Push, from_bytes};
use landbridge_core::{Origin, ProblemId};
use landbridge_http::{Direction, Tap};
use serde::Serialize;

use super::desk::Desk;
use crate::exit::Failure;
use crate::render::count;

/// Keeps every message body that crossed the wire.
#[derive(Default)]
pub(super) struct Wire(Mutex<Vec<(Direction, Vec<u8>)>>);

impl Wire {
    fn bodies(&self) -> MutexGuard<'_, Vec<(Direction, Vec<u8>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tap for Wire {
    fn message(&self, direction: Direction, json: &[u8]) {
        self.bodies().push((direction, json.to_vec()));
    }
}

/// Everything that was looked at, and what was found.
#[derive(Debug, Serialize)]
pub(super) struct Proof {
    /// Message bodies, both ways.
    pub(super) messages: usize,
    /// Their bytes.
    pub(super) bytes: usize,
    /// What must stay in its house.
    pub(super) confidential: Vec<Confidential>,
    /// The findings, a sentence each.
    pub(super) findings: Vec<Finding>,
}

/// One confidential value, and how often it was found where.
#[derive(Debug, Serialize)]
pub(super) struct Confidential {
    /// Whose it is.
    pub(super) site: &'static str,
    /// What it is.
    pub(super) what: String,
    /// The value itself.
    pub(super) value: String,
    /// In its own database: a search that finds it nowhere proves nothing.
    pub(super) here: usize,
    /// In messages.
    pub(super) messages: usize,
    /// In the other database.
    pub(super) there: usize,
}

/// Something that must hold.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    /// What was found.
    pub(super) found: String,
    /// Whether it is as it should be.
    pub(super) holds: bool,
}

impl Proof {
    /// Whether everything is as it should be.
    pub(super) fn holds(&self) -> bool {
        self.findings.iter().all(|finding| finding.holds)
    }

    /// Looks at the messages and at the files of both sites. `entries`: how many were written in `problem`.
    pub(super) fn of(wire: &Wire, desks: [&Desk; 2], problem: &ProblemId, entries: usize) -> Result<Self, Failure> {
        let bodies = wire.bodies().clone();
        let files = [desks[0].bytes()?, desks[1].bytes()?];
        let mut confidential = Vec::new();
        let (mut markers, mut markers_found) = (0, 0);
        for (me, other) in [(0, 1), (1, 0)] {
            for (what, value) in desks[me].confidential()? {
                let messages = bodies.iter().map(|(_, body)| occurs(body, &value)).sum();
                let (here, there) = (occurs(&files[me], &value), occurs(&files[other], &value));
                confidential.push(Confidential { site: desks[me].plan.site, what, value, here, messages, there });
            }
            for (_, text) in desks[me].rows(problem)? {
                // No two markers have the same seal, so it stands for the whole of one.
                let Some((_, seal)) = text.rsplit_once("; seal ") else { continue };
                markers += 1;
                markers_found += bodies.iter().map(|(_, body)| occurs(body, seal)).sum::<usize>();
                markers_found += occurs(&files[other], seal);
            }
        }
        let bytes = bodies.iter().map(|(_, body)| body.len()).sum();
        let leaked = confidential.iter().filter(|c| c.messages + c.there > 0).count();
        let unseen = confidential.iter().filter(|c| c.here == 0).count();
        let found = format!(
            "{leaked} of {} confidential values in {} ({}) or in the other database file",
            confidential.len(),
            count(bodies.len() as u64, "message"),
            count(bytes as u64, "byte"),
        );
        let search = match unseen {
            0 => "every one of them is found in its own database file, so the search works".to_owned(),
            unseen => format!("{unseen} of them not found in their own database file: the search does not work"),
        };
        let crossed = crossings(&bodies);
        let once = crossed.values().filter(|times| **times == 1).count();
        let findings = vec![
            Finding { found, holds: leaked == 0 && !confidential.is_empty() },
            Finding { found: search, holds: unseen == 0 },
            Finding {
                found: format!("{markers_found} of {markers} markers in a message or in the other database file"),
                holds: markers_found == 0 && markers > 0,
            },
            Finding {
                found: format!("{once} of {entries} entries crossed exactly once, and {} in all", crossed.len()),
                holds: once == entries && crossed.len() == entries,
            },
        ];
        Ok(Self { messages: bodies.len(), bytes, confidential, findings })
    }
}

/// How often each entry was delivered.
fn crossings(bodies: &[(Direction, Vec<u8>)]) -> BTreeMap<Origin, usize> {
    let mut crossed = BTreeMap::new();
    let sent = bodies.iter().filter(|(direction, _)| *direction == Direction::Request);
    for push in sent.filter_map(|(_, body)| from_bytes::<Push>(body).ok()) {
        for entry in push.deliveries.into_iter().flat_map(|delivery| delivery.entries) {
            *crossed.entry(entry.origin).or_default() += 1;
        }
    }
    crossed
}

/// How often `needle` stands in `hay`. The demonstration's values are plain ASCII: JSON has them as they are.
fn occurs(hay: &[u8], needle: &str) -> usize {
    if needle.is_empty() {
        return 0;
    }
    hay.windows(needle.len()).filter(|window| *window == needle.as_bytes()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_counted_wherever_it_stands() {
        assert_eq!(occurs(b"xabcabc", "abc"), 2);
        assert_eq!(occurs(b"ab", "abc"), 0);
        assert_eq!(occurs(b"ab", ""), 0);
    }
}
