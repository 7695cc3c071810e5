//! What was learnt and is in no table of the site: what peers refuse, what they lost, when they last answered. Kept in
//! `FILE.cache` beside the configuration, for `status` and for `retry`.
//!
//! It is best effort: nothing waits for it, an unwritable or damaged file is a warning, and no decision rests on it but one:
//! it knows where the record of what leaves ended, so that one that was cut is not gone on with. Deleting it loses that check,
//! and nothing that is not learnt again. It is also where events become log lines. Texts of entries are in
//! neither.

mod bounds;
mod file;
mod learnt;
mod wishes;
mod write;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use landbridge_core::message::{Refusal, Text};
use landbridge_core::{Digest, IdSet, Origin, OriginSet, ProblemId, SiteName, WorkId};
use landbridge_flow::{Event, Observer, RecordError, Violation};
use landbridge_http::certificate::day;
use landbridge_http::{Certificate, Distrust, Witness};

use crate::audit::chain::Head;

pub use bounds::Trouble;
pub use learnt::{Learnt, Lost, RefusedHere, RefusedThere, Reload, Violated, Withheld};
pub use wishes::{Wish, Wishes};

/// Notes that wait to be written; what comes on top is dropped and counted.
const NOTES_MAX: usize = 1 << 16;
/// Warnings that are remembered, so that each is logged once and not with every look.
const SAID_MAX: usize = 10_000;
/// Warnings of one kind that are logged in a minute; `status` has them all.
const WARNINGS_MAX: u32 = 20;
const MINUTE: Duration = Duration::from_secs(60);
/// What is kept and logged of one sentence, in characters: a peer has a part in its length.
const SENTENCE_CHARS_MAX: usize = 2000;
/// How many ranges are kept of what was lost of a problem. Once these are repaired, the rest is told.
pub const LOST_RANGES_MAX: usize = 2000;

/// The same of single texts.
const LOST_TEXTS_MAX: usize = 2000;

/// The cache of one site.
pub struct Cache {
    path: PathBuf,
    writer: Mutex<Option<Writer>>,
    counts: Mutex<BTreeMap<SiteName, Counts>>,
    said: Mutex<Said>,
    /// The certificate that each peer last showed to this process: noted once, not with every connection.
    shown: Mutex<HashMap<SiteName, String>>,
    dropped: AtomicU64,
    /// Whether the record was written when it last was to be; nothing before that.
    recorded: Mutex<Option<bool>>,
}

/// What this process exchanged with one peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entries that the peer holds and did not hold before.
    pub sent: u64,
    /// Entries that it delivered and that were appended here.
    pub received: u64,
    /// Entries that it delivered and that were refused here.
    pub refused: u64,
}

/// What was logged, so that a log stays readable whatever happens.
#[derive(Default)]
struct Said {
    sentences: HashSet<u64>,
    /// Of each kind: since when, and how often.
    kinds: HashMap<Kind, (Option<Instant>, u32)>,
}

/// What a warning is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Kind {
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
    /// Of each peer for itself, so that strangers do not keep a peer's out of the log.
    Violated(Option<SiteName>),
}

struct Writer {
    notes: SyncSender<Note>,
    thread: JoinHandle<()>,
}

/// Something to remember.
#[derive(Debug)]
enum Note {
    /// A pass through everything begins: what is withheld will be found again. `count`: with new counters.
    Begun {
        count: bool,
    },
    Sent {
        peer: SiteName,
        entries: u64,
    },
    Received {
        peer: SiteName,
        entries: u64,
    },
    RefusedThere {
        peer: SiteName,
        problem: ProblemId,
        refused: Vec<(WorkId, Origin, Refusal)>,
    },
    RefusedHere {
        peer: SiteName,
        problem: ProblemId,
        origin: Origin,
        refusal: Refusal,
        detail: String,
    },
    Diverged {
        peer: SiteName,
        problem: ProblemId,
        missing: OriginSet,
        texts: Vec<Text>,
        here: bool,
    },
    Verified {
        peer: SiteName,
    },
    Withheld {
        problem: ProblemId,
        row: WorkId,
        why: &'static str,
    },
    Certificate {
        peer: SiteName,
        begins: u64,
        ends: u64,
        fingerprint: String,
    },
    /// The configuration was read again, and that is wrong with it.
    Reloaded {
        wish: Option<i64>,
        faults: Vec<String>,
    },
    Answered {
        peer: SiteName,
    },
    Failed {
        peer: SiteName,
        error: String,
    },
    /// Whether the record of what leaves could be written, and why not.
    Recorded {
        failed: Option<String>,
    },
    /// The last line of the record of what leaves. `anew`: an operator began it again, perhaps with a lower number.
    RecordHead {
        head: Head,
        anew: bool,
    },
    Violated {
        /// Nothing where it was no peer.
        peer: Option<SiteName>,
        violation: Violation,
        detail: String,
    },
}

impl Cache {
    /// The cache beside the configuration file at `config`. Neither read nor made yet.
    pub fn beside(config: &Path) -> Self {
        let mut path = config.as_os_str().to_owned();
        path.push(".cache");
        Self {
            path: path.into(),
            writer: Mutex::default(),
            counts: Mutex::default(),
            said: Mutex::default(),
            shown: Mutex::default(),
            dropped: AtomicU64::new(0),
            recorded: Mutex::default(),
        }
    }

    /// A pass through everything begins. `count`: the counters in the file begin again, as with a new daemon.
    pub fn begin(&self, count: bool) {
        self.note(Note::Begun { count });
    }

    /// What this process exchanged with each peer.
    pub fn counts(&self) -> BTreeMap<SiteName, Counts> {
        lock(&self.counts).clone()
    }

    /// Whether what was about to leave could be recorded.
    pub fn recorded(&self, failed: Option<&RecordError>) {
        // A success is worth a note behind a failure, which may be an earlier process's, and not with every batch.
        let before = lock(&self.recorded).replace(failed.is_none());
        if failed.is_some() || before != Some(true) {
            self.note(Note::Recorded {
                failed: failed.map(|failed| format!("{}; next: {}", failed.what, failed.next)),
            });
        }
    }

    /// The record of what leaves ends with `head` now. `anew`: an operator began it again, perhaps with a lower number.
    pub fn record_ends(&self, head: Head, anew: bool) {
        self.note(Note::RecordHead { head, anew });
    }

    /// Where the record ended last; nothing where that is not known.
    pub fn record_head(&self) -> Option<Head> {
        learnt::record_head(&self.path).unwrap_or_else(|e| {
            let path = self.path.display();
            tracing::warn!("the cache {path} cannot be read ({e}); whether the record was cut is not seen without it");
            None
        })
    }

    /// What is in the file; nothing where there is none, or where it cannot be read.
    pub fn learnt(&self) -> Learnt {
        learnt::read(&self.path).unwrap_or_else(|e| {
            tracing::warn!("the cache {} cannot be read ({e}); less is shown without it", self.path.display());
            Learnt::default()
        })
    }

    /// Wishes something of a running bridge; of refused entries perhaps for one problem. The number of the wish.
    pub fn wish(&self, wish: &Wish, problem: Option<&ProblemId>) -> rusqlite::Result<i64> {
        wishes::wish(&self.path, wish, problem)
    }

    /// An operator has seen these violations, and not what came since they were read, these entries in these rows, and that
    /// there was more than is kept.
    pub fn acknowledge<'a>(
        &self,
        seen: impl IntoIterator<Item = &'a Violated>,
        differs: impl IntoIterator<Item = (&'a ProblemId, &'a Origin, &'a [i64])>,
        not_kept: impl IntoIterator<Item = (&'a SiteName, Trouble, u64)>,
    ) -> rusqlite::Result<()> {
        wishes::acknowledge(&self.path, seen, differs, not_kept)
    }

    /// An operator has said that these entries, which have another text at `peer`, were edited. `only`: the problems that were
    /// compared, or all where it is empty.
    pub fn acknowledge_edits<'a>(
        &self,
        peer: &SiteName,
        only: &[ProblemId],
        edits: impl IntoIterator<Item = (&'a ProblemId, &'a Origin, &'a BTreeSet<Digest>)>,
    ) -> rusqlite::Result<()> {
        wishes::acknowledge_edits(&self.path, peer, only, edits)
    }

    /// The configuration was read again, for a wish or without one; `faults` kept it from being used.
    pub fn reloaded(&self, wish: Option<i64>, faults: Vec<String>) {
        self.note(Note::Reloaded { wish, faults });
    }

    /// What is wished from now on.
    pub fn wishes(&self) -> Wishes {
        Wishes::from_now(&self.path)
    }

    /// Waits until everything is written. What comes later begins anew.
    pub fn finish(&self) {
        let Some(writer) = lock(&self.writer).take() else { return };
        drop(writer.notes);
        if writer.thread.join().is_err() {
            tracing::warn!("the cache {} was not written to its end", self.path.display());
        }
        match self.dropped.swap(0, Ordering::Relaxed) {
            0 => {}
            dropped => tracing::warn!("{dropped} notes were not kept in the cache: it was written too slowly"),
        }
    }

    /// Never waits: the exchange goes on whether or not this is remembered.
    fn note(&self, note: Note) {
        let mut writer = lock(&self.writer);
        let writer = writer.get_or_insert_with(|| {
            let (notes, incoming) = sync_channel(NOTES_MAX);
            let path = self.path.clone();
            Writer { notes, thread: std::thread::spawn(move || write::write(&path, &incoming)) }
        });
        if let Err(TrySendError::Full(_)) = writer.notes.try_send(note) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn count(&self, peer: &SiteName, add: impl FnOnce(&mut Counts)) {
        add(lock(&self.counts).entry(peer.clone()).or_default());
    }

    /// Logs a warning: the same one later, and many of one kind, only for those who look for everything.
    fn warn(&self, kind: Kind, sentence: &str) {
        let sentence = &in_a_line(&clip(sentence));
        match lock(&self.said).hear(kind, sentence, Instant::now()) {
            Heard::New => tracing::warn!("{sentence}"),
            Heard::Last => tracing::warn!("{sentence}; more of this kind are in `landbridge status`"),
            Heard::Enough => tracing::debug!("{sentence}"),
        }
    }
}

/// What is to become of a warning.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    New,
    Last,
    Enough,
}

impl Said {
    fn hear(&mut self, kind: Kind, sentence: &str, now: Instant) -> Heard {
        let mut hasher = DefaultHasher::new();
        sentence.hash(&mut hasher);
        if self.sentences.len() >= SAID_MAX {
            self.sentences.clear();
        }
        if !self.sentences.insert(hasher.finish()) {
            return Heard::Enough;
        }
        let (since, times) = self.kinds.entry(kind).or_default();
        if since.is_none_or(|since| now.saturating_duration_since(since) > MINUTE) {
            (*since, *times) = (Some(now), 0);
        }
        *times += 1;
        match (*times).cmp(&WARNINGS_MAX) {
            std::cmp::Ordering::Less => Heard::New,
            std::cmp::Ordering::Equal => Heard::Last,
            std::cmp::Ordering::Greater => Heard::Enough,
        }
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The beginning of a sentence that may be longer than anybody reads.
fn clip(sentence: &str) -> String {
    match sentence.char_indices().nth(SENTENCE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &sentence[..end]),
        None => sentence.to_owned(),
    }
}

/// A peer chooses problem ids, and a database what it says of its rows: neither may end a line of the log or act upon a
/// terminal.
fn in_a_line(text: &str) -> String {
    text.lines().map(crate::render::visible).collect::<Vec<_>>().join(" ↵ ")
}

impl Observer for Cache {
    fn event(&self, event: &Event<'_>) {
        match *event {
            Event::Sent { peer, problem, entries } => {
                tracing::info!(%peer, problem = %in_a_line(problem.as_str()), entries, "sent");
                self.count(peer, |c| c.sent += entries);
                self.note(Note::Sent { peer: peer.clone(), entries });
            }
            Event::Received { peer, problem, entries } => {
                tracing::info!(%peer, problem = %in_a_line(problem.as_str()), entries, "received");
                self.count(peer, |c| c.received += entries);
                self.note(Note::Received { peer: peer.clone(), entries });
            }
            Event::RefusedByPeer { peer, problem, refused } => {
                let mut reasons: BTreeMap<String, IdSet> = BTreeMap::new();
                for (row, _, refusal) in refused {
                    reasons.entry(refusal.to_string()).or_default().insert(*row);
                }
                for (reason, rows) in reasons {
                    self.warn(Kind::RefusedThere, &format!("{peer} refuses row {rows} of problem {problem}: {reason}"));
                }
                if !refused.is_empty() {
                    let (peer, problem) = (peer.clone(), problem.clone());
                    self.note(Note::RefusedThere { peer, problem, refused: refused.to_vec() });
                }
            }
            Event::RefusedHere { peer, problem, origin, refusal, detail } => {
                let sentence =
                    format!("entry {origin} of {peer} for problem {problem} is refused: {refusal} ({detail})");
                self.warn(Kind::RefusedHere, &sentence);
                self.count(peer, |c| c.refused += 1);
                let (peer, problem, origin) = (peer.clone(), problem.clone(), origin.clone());
                self.note(Note::RefusedHere { peer, problem, origin, refusal, detail: clip(detail) });
            }
            Event::Diverged { peer, problem, missing } => {
                if !missing.is_empty() {
                    self.warn(Kind::Diverged, &format!("{peer} no longer holds of problem {problem}: {missing}"));
                }
                let missing = missing.first_ranges(LOST_RANGES_MAX);
                let (peer, problem) = (peer.clone(), problem.clone());
                self.note(Note::Diverged { peer, problem, missing, texts: vec![], here: false });
            }
            Event::LostHere { peer, problem, missing } => {
                let all = missing.all();
                if !all.is_empty() {
                    self.warn(Kind::Diverged, &format!("lost here of problem {problem}, and {peer} has it: {all}"));
                }
                let texts = missing.texts.iter().take(LOST_TEXTS_MAX).cloned().collect();
                let (peer, problem, missing) = (peer.clone(), problem.clone(), all.first_ranges(LOST_RANGES_MAX));
                self.note(Note::Diverged { peer, problem, missing, texts, here: true });
            }
            Event::Verified { peer } => self.note(Note::Verified { peer: peer.clone() }),
            Event::Differs { peer, problem, origin, row } => {
                self.warn(Kind::Differs, &format!(
                    "entry {origin} of {peer} for problem {problem} is here with another text, in row {row}; both are kept"
                ));
            }
            Event::Suspended { problem, rows } => {
                let rows: Vec<_> = rows.iter().map(ToString::to_string).collect();
                let rows = rows.join(", ");
                let sentence = format!("problem {problem} is suspended: markers that do not verify, in rows {rows}");
                self.warn(Kind::Suspended, &sentence);
            }
            Event::Withheld { problem, row, why } => {
                self.warn(Kind::Withheld, &format!("row {row} of problem {problem} is not sent: {why}"));
                self.note(Note::Withheld { problem: problem.clone(), row, why });
            }
            Event::PeerAnswered { peer } => {
                tracing::debug!(%peer, "answered");
                self.note(Note::Answered { peer: peer.clone() });
            }
            Event::PeerFailed { peer, error, pause } => {
                let error = error.to_string();
                tracing::debug!(%peer, ?pause, "tried again after the pause");
                self.warn(Kind::Failed, &format!("{peer} {error}"));
                self.note(Note::Failed { peer: peer.clone(), error: clip(&error) });
            }
            Event::Violated { peer, violation, detail } => {
                let who = peer.map_or("a stranger", SiteName::as_str);
                self.warn(Kind::Violated(peer.cloned()), &format!("violation by {who}: {violation} ({detail})"));
                self.note(Note::Violated { peer: peer.cloned(), violation, detail: clip(detail) });
            }
            Event::NotRecorded { peer, error, pause } => {
                tracing::debug!(%peer, ?pause, "tried again after the pause");
                self.warn(
                    Kind::NotRecorded,
                    &format!("nothing leaves for {peer}: {}; next: {}", error.what, error.next),
                );
            }
            Event::StoreFailed { error, pause } => {
                tracing::debug!(?pause, "tried again after the pause");
                self.warn(Kind::Failed, &format!("{error}; next: {}", error.remedy().1));
            }
        }
    }
}

impl Witness for Cache {
    fn believed(&self, peer: &SiteName, certificate: &Certificate) {
        let former = lock(&self.shown).insert(peer.clone(), certificate.fingerprint.clone());
        if former.as_ref() != Some(&certificate.fingerprint) {
            let (begins, ends, fingerprint) = (certificate.begins, certificate.ends, certificate.fingerprint.clone());
            tracing::info!(%peer, fingerprint, "a certificate is believed, until {}", day(ends));
            self.note(Note::Certificate { peer: peer.clone(), begins, ends, fingerprint });
        }
    }

    fn turned_away(&self, from: SocketAddr, why: &Distrust) {
        let sentence = format!("{} {why}", from.ip().to_canonical());
        if why.shown().is_none() {
            // The noise of a port that anybody can reach: said to those who ask what happens, and not for ever.
            let sentence = in_a_line(&sentence);
            if lock(&self.said).hear(Kind::Noise, &sentence, Instant::now()) != Heard::Enough {
                tracing::info!("{sentence}");
            }
            return;
        }
        self.warn(Kind::TurnedAway, &sentence);
        if let Some(peer) = why.proven() {
            self.note(Note::Failed { peer: peer.clone(), error: why.to_string() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_not_flooded() {
        let (mut said, now) = (Said::default(), Instant::now());
        let mut hear = |kind, n: u32, at| said.hear(kind, &format!("sentence {n}"), at);
        assert_eq!(hear(Kind::Failed, 1, now), Heard::New);
        assert_eq!(hear(Kind::Failed, 1, now), Heard::Enough);
        (2..WARNINGS_MAX).for_each(|n| assert_eq!(hear(Kind::Failed, n, now), Heard::New));
        assert_eq!(hear(Kind::Failed, 100, now), Heard::Last);
        assert_eq!(hear(Kind::Failed, 101, now), Heard::Enough);
        assert_eq!(hear(Kind::Differs, 102, now), Heard::New);
        assert_eq!(hear(Kind::Failed, 103, now + 2 * MINUTE), Heard::New);
    }
}
