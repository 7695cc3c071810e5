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
            "{leaked} of {} confidential values in {} ({}) and in the other database file",
            confidential.len(),
            count(bodies.len() as u64, "message"),
            count(bytes as u64, "byte"),
        );
        let search = match unseen {
            0 => "every one of them is in its own database file, so the search works".to_owned(),
            unseen => format!("{unseen} of them not found in their own database file: the search does not work"),
        };
        let crossed = crossings(&bodies);
        let once = crossed.values().filter(|times| **times == 1).count();
        let findings = vec![
            Finding { found, holds: leaked == 0 && !confidential.is_empty() },
            Finding { found: search, holds: unseen == 0 },
            Finding {
                found: format!("{markers_found} of {markers} markers in the messages and in the other database file"),
                holds: markers_found == 0 && markers > 0,
            },
            Finding {
                found: crossed_words(entries, crossed.len(), once),
                holds: once == entries && crossed.len() == entries,
            },
        ];
        Ok(Self { messages: bodies.len(), bytes, confidential, findings })
    }
}

fn crossed_words(entries: usize, crossed: usize, once: usize) -> String {
    if once == entries && crossed == entries {
        return format!("{} crossed, each exactly once", count(entries as u64, "entry"));
    }
    format!("of {} written, {crossed} crossed, and {once} of these exactly once", count(entries as u64, "entry"))
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

    use crate::config::secret::Secret;

    use super::super::desk::{SITE_1, SITE_N};

    /// Two help desks without bridges, in a folder that is removed with them.
    struct Desks(std::path::PathBuf, [Desk; 2]);

    impl Desks {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("landbridge-proof-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            let (at_1, at_n) = ("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap());
            let token = Secret::new("0123456789abcdef");
            let one = Desk::make(&SITE_1, &folder, at_1, (&SITE_N, at_n), &token).unwrap();
            let other = Desk::make(&SITE_N, &folder, at_n, (&SITE_1, at_1), &token).unwrap();
            Self(folder, [one, other])
        }

        /// What the proof says after these bodies crossed, about one entry and one marker.
        fn proof(&self, bodies: &[&str]) -> Proof {
            let marker = "copy in system N: 1; seal 0123456789";
            self.1[0].append("anna", &["open ticket", marker]).unwrap();
            let wire = Wire::default();
            bodies.iter().for_each(|body| wire.message(Direction::Request, body.as_bytes()));
            Proof::of(&wire, [&self.1[0], &self.1[1]], &"ABC".parse().unwrap(), 1).unwrap()
        }
    }

    impl Drop for Desks {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn push(text: &str) -> String {
        format!(
            r#"{{"wire":1,"from":"1","to":"N","history":"h","deliveries":[{{"names":{{"1":"ABC"}},
               "belief":{{"count":0,"sum":"00"}},"entries":[{{"origin":"1/1","text":"{text}"}}]}}]}}"#
        )
    }

    #[test]
    fn what_is_as_it_should_be_is_proved() {
        let proof = Desks::new("good").proof(&[&push("open ticket")]);
        assert!(proof.holds(), "{proof:?}");
        assert!(proof.confidential.len() >= 10, "{proof:?}");
    }

    #[test]
    fn every_violation_is_found() {
        let good = push("open ticket");
        let cases: [(&str, &[&str]); 5] = [
            ("value", &[&push("call +49-30-5550-142")]),
            ("note", &[&good, "their password is Tangerine-42"]),
            ("marker", &[&push("copy in system N: 1; seal 0123456789")]),
            ("twice", &[&good, &good]),
            ("never", &[]),
        ];
        for (name, bodies) in cases {
            let proof = Desks::new(name).proof(bodies);
            assert!(!proof.holds(), "{name}: {proof:?}");
        }
    }

    #[test]
    fn a_value_in_the_other_database_is_found() {
        let desks = Desks::new("file");
        desks.1[1].append("nils", &["Walter leaves in March"]).unwrap();
        assert!(!desks.proof(&[&push("open ticket")]).holds());
    }

    #[test]
    fn a_value_is_counted_wherever_it_stands() {
        assert_eq!(occurs(b"xabcabc", "abc"), 2);
        assert_eq!(occurs(b"ab", "abc"), 0);
        assert_eq!(occurs(b"ab", ""), 0);
    }
}
