//! What crossed the wire, as a table for people: a line for each world and each of its times.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use crate::kit::wire::{Entry, Traffic, Way};

use super::plan::Plan;

/// The lines so far.
pub struct Table(String);

/// What crossed in one time of a world.
pub struct Line<'a> {
    pub plan: &'a Plan,
    /// Shareable entries that were written.
    pub entries: usize,
    /// Copies of them that sites were to get.
    pub due: usize,
    /// How many bridges, servers and connections were struck.
    pub strikes: String,
    /// From the first to the last.
    pub took: Duration,
    pub traffic: &'a BTreeMap<Way, Traffic>,
}

const HEADING: [&str; 15] = [
    "topology", "links", "entries", "due", "texts", "relayed", "digests", "never", "once", "own+", "relay+",
    "messages", "KiB", "B/e/l", "struck",
];

/// A line of right-aligned cells, the first and the last left-aligned.
fn line(cells: [String; 15], took: &str) -> String {
    let widths = [10, 5, 7, 6, 6, 7, 7, 6, 6, 5, 6, 8, 7, 5, 32];
    let cell = |(at, (cell, width)): (usize, (String, usize))| {
        if at == 0 || at == 14 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
    };
    let cells: Vec<_> = cells.into_iter().zip(widths).enumerate().map(cell).collect();
    format!("{}  {took:>8}\n", cells.join("  "))
}

impl Table {
    /// A table of one topology, with its heading.
    pub fn new() -> Self {
        Self(line(HEADING.map(str::to_owned), "took"))
    }

    /// Adds a line.
    pub fn add(&mut self, line: &Line<'_>) {
        let (mut texts, mut relayed, mut digests, mut messages, mut bytes) = (0, 0, 0, 0, 0);
        // Of every entry, how often its text crossed each link, in either direction; and of those, how often from a site
        // that had it from others.
        let mut links: HashMap<(&Entry, BTreeSet<&str>), [u32; 2]> = HashMap::new();
        for ((from, to), traffic) in line.traffic {
            (messages, bytes) = (messages + traffic.messages, bytes + traffic.bytes);
            for (entry, crossed) in &traffic.entries {
                let from_others = if entry.1.starts_with(&format!("{from}/")) { 0 } else { crossed.bodies };
                texts += crossed.bodies;
                relayed += from_others;
                digests += crossed.digests;
                let link = links.entry((entry, BTreeSet::from([from.as_str(), to.as_str()]))).or_default();
                *link = [link[0] + crossed.bodies, link[1] + from_others];
            }
        }
        let once = links.values().filter(|[texts, _]| *texts == 1).count();
        let again = links.values().filter(|[texts, _]| *texts > 1).count();
        let relayed_again = links.values().filter(|[_, relayed]| *relayed > 1).count();
        let never = line.entries * line.plan.links.len() - once - again;
        let per = bytes / (line.entries * line.plan.links.len()).max(1) as u64;
        let cells = [
            line.plan.name.clone(),
            line.plan.links.len().to_string(),
            line.entries.to_string(),
            line.due.to_string(),
            texts.to_string(),
            relayed.to_string(),
            digests.to_string(),
            never.to_string(),
            once.to_string(),
            (again - relayed_again).to_string(),
            relayed_again.to_string(),
            messages.to_string(),
            (bytes / 1024).to_string(),
            per.to_string(),
            line.strikes.clone(),
        ];
        self.0 += &self::line(cells, &format!("{:.1} s", line.took.as_secs_f64()));
    }

    /// Prints it in one piece, since tests run side by side.
    pub fn print(&self) {
        println!(
            "\n{}due: copies that sites were to get. texts: bodies that crossed; relayed: those of them that the sender had from others.\n\
             digests: crossings without a body. Of all entries and links, never, once: how often the body crossed that link, both\n\
             directions together; own+, relay+: more than once, sent by the site that wrote it, or by one that had it from others.\n\
             B/e/l: bytes for each entry and link, as they travelled, everything included.\n",
            self.0
        );
    }
}

/// What crossed since `before`: entries that were not delivered then, and messages and bytes since.
pub fn since(before: &BTreeMap<Way, Traffic>, now: &BTreeMap<Way, Traffic>) -> BTreeMap<Way, Traffic> {
    let mut since = now.clone();
    for (way, traffic) in &mut since {
        let Some(before) = before.get(way) else { continue };
        traffic.messages -= before.messages;
        traffic.bytes -= before.bytes;
        traffic.entries.retain(|entry, _| !before.entries.contains_key(entry));
    }
    since
}
