//! Which warnings become lines of the log, so that it stays readable whatever a peer does.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use landbridge_core::SiteName;

/// Warnings that are remembered, so that each is logged once and not with every look.
const SAID_MAX: usize = 10_000;
/// Warnings of one kind about one peer that are logged in a minute; `status` has them all.
const WARNINGS_MAX: u32 = 20;
const MINUTE: Duration = Duration::from_secs(60);

/// What was logged, so that a log stays readable whatever happens.
#[derive(Default)]
pub(super) struct Said {
    sentences: HashSet<u64>,
    /// Of each kind and peer, so that no peer keeps another's out of the log: since when, and how often.
    kinds: HashMap<(Kind, Option<SiteName>), (Option<Instant>, u32)>,
}

/// What a warning is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    RefusedThere,
    RefusedHere,
    Diverged,
    Differs,
    Suspended,
    Withheld,
    Failed,
    NotRecorded,
    TurnedAway,
    Noise,
    Violated,
}

/// What is to become of a warning.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    New,
    Last,
    Enough,
}

impl Said {
    /// Whether this is worth a line, of `kind` and about `peer`.
    pub(super) fn hear(&mut self, kind: Kind, peer: Option<&SiteName>, sentence: &str, now: Instant) -> Heard {
        let mut hasher = DefaultHasher::new();
        sentence.hash(&mut hasher);
        if self.sentences.len() >= SAID_MAX {
            self.sentences.clear();
        }
        if !self.sentences.insert(hasher.finish()) {
            return Heard::Enough;
        }
        let (since, times) = self.kinds.entry((kind, peer.cloned())).or_default();
        if since.is_none_or(|since| now.saturating_duration_since(since) > MINUTE) {
            (*since, *times) = (Some(now), 0);
        }
        *times += 1;
        match (*times).cmp(&WARNINGS_MAX) {
            Ordering::Less => Heard::New,
            Ordering::Equal => Heard::Last,
            Ordering::Greater => Heard::Enough,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_not_flooded() {
        let (mut said, now) = (Said::default(), Instant::now());
        let [n, c]: [SiteName; 2] = ["N", "C"].map(|name| name.parse().unwrap());
        let mut hear = |kind, sentence: u32, at| said.hear(kind, Some(&n), &format!("sentence {sentence}"), at);
        assert_eq!(hear(Kind::Failed, 1, now), Heard::New);
        assert_eq!(hear(Kind::Failed, 1, now), Heard::Enough);
        (2..WARNINGS_MAX).for_each(|n| assert_eq!(hear(Kind::Failed, n, now), Heard::New));
        assert_eq!(hear(Kind::Failed, 100, now), Heard::Last);
        assert_eq!(hear(Kind::Failed, 101, now), Heard::Enough);
        assert_eq!(hear(Kind::Differs, 102, now), Heard::New);
        assert_eq!(hear(Kind::Failed, 103, now + 2 * MINUTE), Heard::New);
        let last: Vec<_> = (104..200).map(|sentence| hear(Kind::Failed, sentence, now + 2 * MINUTE)).collect();
        assert_eq!(last.last(), Some(&Heard::Enough));
        assert_eq!(said.hear(Kind::Failed, Some(&c), "of another peer", now + 2 * MINUTE), Heard::New);
    }
}
