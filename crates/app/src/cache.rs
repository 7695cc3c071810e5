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
mod note;
mod said;
mod wishes;
mod write;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use landbridge_core::{Digest, IdSet, Origin, ProblemId, SiteName};
use landbridge_flow::{Event, Observer, RecordError};
use landbridge_http::certificate::day;
use landbridge_http::{Certificate, Distrust, Witness};

use crate::audit::chain::Head;
use note::{Dropped, Note};
use said::{Heard, Kind, Said};

pub use bounds::Trouble;
pub use learnt::{EditsSeen, Learnt, Lost, RefusedHere, RefusedThere, Reload, Violated, Withheld};
pub use wishes::{Wish, Wishes};

/// Notes that wait to be written; what comes on top is dropped, and that is noted later.
const NOTES_MAX: usize = 1 << 16;

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
    dropped: Mutex<Dropped>,
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

struct Writer {
    notes: SyncSender<Note>,
    thread: JoinHandle<()>,
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
            dropped: Mutex::default(),
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
        // Its thread lives until the notes end, so that this waits for room and no longer.
        lock(&self.dropped).take().for_each(|note| drop(writer.notes.send(note)));
        drop(writer.notes);
        if writer.thread.join().is_err() {
            tracing::warn!("the cache {} was not written to its end", self.path.display());
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
        let mut dropped = lock(&self.dropped);
        let earlier = dropped.take();
        for note in earlier.chain([note]) {
            if let Err(TrySendError::Full(note)) = writer.notes.try_send(note) {
                dropped.add(note);
                let sentence = format!("the cache {} is written too slowly; `status` shows less", self.path.display());
                self.warn(Kind::Failed, None, &sentence);
            }
        }
    }

    fn count(&self, peer: &SiteName, add: impl FnOnce(&mut Counts)) {
        add(lock(&self.counts).entry(peer.clone()).or_default());
    }

    /// Logs a warning: the same one later, and many of one kind, only for those who look for everything.
    fn warn(&self, kind: Kind, peer: Option<&SiteName>, sentence: &str) {
        let sentence = &in_a_line(&clip(sentence));
        match lock(&self.said).hear(kind, peer, sentence, Instant::now()) {
            Heard::New => tracing::warn!("{sentence}"),
            Heard::Last => tracing::warn!("{sentence}; more of this kind are in `landbridge status`"),
            Heard::Enough => tracing::debug!("{sentence}"),
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
                    self.warn(
                        Kind::RefusedThere,
                        Some(peer),
                        &format!("{peer} refuses row {rows} of problem {problem}: {reason}"),
                    );
                }
                if !refused.is_empty() {
                    let (peer, problem) = (peer.clone(), problem.clone());
                    self.note(Note::RefusedThere { peer, problem, refused: refused.to_vec() });
                }
            }
            Event::RefusedHere { peer, problem, origin, refusal, detail } => {
                let sentence =
                    format!("entry {origin} of {peer} for problem {problem} is refused: {refusal} ({detail})");
                self.warn(Kind::RefusedHere, Some(peer), &sentence);
                self.count(peer, |c| c.refused += 1);
                let (peer, problem, origin) = (peer.clone(), problem.clone(), origin.clone());
                self.note(Note::RefusedHere { peer, problem, origin, refusal, detail: clip(detail) });
            }
            Event::Diverged { peer, problem, missing } => {
                if !missing.is_empty() {
                    self.warn(
                        Kind::Diverged,
                        Some(peer),
                        &format!("{peer} no longer holds of problem {problem}: {missing}"),
                    );
                }
                let missing = missing.first_ranges(LOST_RANGES_MAX);
                let (peer, problem) = (peer.clone(), problem.clone());
                self.note(Note::Diverged { peer, problem, missing, texts: vec![], alike: vec![], here: false });
            }
            Event::LostHere { peer, problem, missing } => {
                let all = missing.all();
                if !all.is_empty() {
                    self.warn(
                        Kind::Diverged,
                        Some(peer),
                        &format!("lost here of problem {problem}, and {peer} has it: {all}"),
                    );
                }
                let texts = missing.texts.iter().take(LOST_TEXTS_MAX).cloned().collect();
                let alike = missing.alike.iter().take(LOST_TEXTS_MAX).cloned().collect();
                let (peer, problem, missing) = (peer.clone(), problem.clone(), all.first_ranges(LOST_RANGES_MAX));
                self.note(Note::Diverged { peer, problem, missing, texts, alike, here: true });
            }
            Event::Verified { peer } => self.note(Note::Verified { peer: peer.clone() }),
            Event::Differs { peer, problem, origin, row } => {
                self.warn(Kind::Differs, Some(peer), &format!(
                    "entry {origin} of {peer} for problem {problem} is here with another text, in row {row}; both are kept"
                ));
            }
            Event::Suspended { problem, rows } => {
                let rows: Vec<_> = rows.iter().map(ToString::to_string).collect();
                let rows = rows.join(", ");
                let sentence = format!("problem {problem} is suspended: markers that do not verify, in rows {rows}");
                self.warn(Kind::Suspended, None, &sentence);
            }
            Event::Withheld { problem, row, why } => {
                self.warn(Kind::Withheld, None, &format!("row {row} of problem {problem} is not sent: {why}"));
                self.note(Note::Withheld { problem: problem.clone(), row, why });
            }
            Event::PeerAnswered { peer } => {
                tracing::debug!(%peer, "answered");
                self.note(Note::Answered { peer: peer.clone() });
            }
            Event::PeerFailed { peer, error, pause } => {
                let error = error.to_string();
                tracing::debug!(%peer, ?pause, "tried again after the pause");
                self.warn(Kind::Failed, Some(peer), &format!("{peer} {error}"));
                self.note(Note::Failed { peer: peer.clone(), error: clip(&error) });
            }
            Event::Violated { peer, violation, detail } => {
                let who = peer.map_or("a stranger", SiteName::as_str);
                self.warn(Kind::Violated, peer, &format!("violation by {who}: {violation} ({detail})"));
                self.note(Note::Violated { peer: peer.cloned(), violation, detail: clip(detail) });
            }
            Event::NotRecorded { peer, error, pause } => {
                tracing::debug!(%peer, ?pause, "tried again after the pause");
                self.warn(
                    Kind::NotRecorded,
                    Some(peer),
                    &format!("nothing leaves for {peer}: {}; next: {}", error.what, error.next),
                );
            }
            Event::StoreFailed { error, pause } => {
                tracing::debug!(?pause, "tried again after the pause");
                self.warn(Kind::Failed, None, &format!("{error}; next: {}", error.remedy().1));
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
            if lock(&self.said).hear(Kind::Noise, None, &sentence, Instant::now()) != Heard::Enough {
                tracing::info!("{sentence}");
            }
            return;
        }
        self.warn(Kind::TurnedAway, why.proven(), &sentence);
        if let Some(peer) = why.proven() {
            self.note(Note::Failed { peer: peer.clone(), error: why.to_string() });
        }
    }
}

#[cfg(test)]
mod tests {
    use landbridge_core::message::{Code, Refusal};

    use super::*;

    #[test]
    fn what_finds_no_room_is_told_when_there_is_some() {
        let folder = std::env::temp_dir().join(format!("landbridge-cache-full-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let cache = Cache::beside(&folder.join("a.toml"));
        // Nobody reads these notes yet.
        let (notes, incoming) = sync_channel(1);
        let (path, (go, gone)) = (cache.path.clone(), sync_channel::<()>(0));
        let thread = std::thread::spawn(move || {
            let _ = gone.recv();
            write::write(&path, &incoming);
        });
        *lock(&cache.writer) = Some(Writer { notes, thread });
        let n: SiteName = "N".parse().unwrap();
        let head = |seq| Head { seq, ..Head::NONE };
        cache.note(Note::Sent { peer: n.clone(), entries: 1 });
        for seq in 1..=3 {
            cache.note(Note::RefusedHere {
                peer: n.clone(),
                problem: "ABC".parse().unwrap(),
                origin: "N/1".parse().unwrap(),
                refusal: Refusal::of(Code::Trigger),
                detail: String::new(),
            });
            cache.record_ends(head(seq), false);
        }
        drop(go);
        cache.finish();
        let learnt = cache.learnt();
        assert_eq!(learnt.not_kept, [((n.clone(), Trouble::RefusedHere), 3)].into());
        assert_eq!((learnt.contact[&n].sent, cache.record_head()), (1, Some(head(3))));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
