//! The state of a site, as one value: the table, the JSON and later the pages all render it, so they cannot disagree.
//! Made of the database, which is true, and of the cache, which is the latest that was heard.

mod still_true;

use std::collections::{BTreeMap, VecDeque};

use landbridge_core::{Origin, ProblemId, SiteName};
use landbridge_flow::survey::{Survey, page, survey};
use landbridge_flow::{Bridge, StoreError, Violation};
use landbridge_http::certificate;
use serde::Serialize;

use crate::audit::AuditError;
use crate::cache::{LOST_RANGES_MAX, Lost, RefusedHere, RefusedThere, Reload, Trouble, Violated, Withheld};
use crate::certificates::{self, Dated};
use crate::exit::Exit;
use crate::lock;
use crate::site::Site;

pub use still_true::still_true;

/// How many of a kind are listed; all are counted.
pub const LISTED_MAX: usize = 20;

/// The state of a site.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// The site.
    pub site: SiteName,
    /// The history's name.
    pub history: String,
    /// The database.
    pub database: String,
    /// What kind of database it is.
    pub engine: String,
    /// Whether a bridge runs with this configuration now.
    pub running: bool,
    /// Problems with rows.
    pub problems: u64,
    /// Entries written here.
    pub own: u64,
    /// Entries that are copies.
    pub copies: u64,
    /// Markers.
    pub markers: u64,
    /// Each peer.
    pub peers: Vec<PeerStatus>,
    /// Problems left alone because they have markers that do not verify.
    pub suspended: Listed<Suspended>,
    /// Entries that are here more than once, with different texts; first those that nobody has acknowledged.
    pub differs: Listed<Differs>,
    /// Those of them that nobody has acknowledged; in JSON how many they are.
    #[serde(serialize_with = "number")]
    pub differs_unseen: Vec<Differs>,
    /// Rows that cannot be sent to anybody.
    pub withheld: Listed<Withheld>,
    /// Entries of peers that were refused here and have not come since; of each peer in turn, the latest first.
    pub refused_here: Listed<RefusedHere>,
    /// What was tried by somebody who is no peer.
    pub strangers: Vec<Violated>,
    /// The certificates that the exchange depends on; none without `[tls]`.
    pub certificates: Vec<Dated>,
    /// A new configuration that the running bridge does not use, because it is faulty.
    pub reload: Option<Reload>,
    /// The record of what leaves; nothing where none is kept.
    pub record: Option<RecordStatus>,
}

/// The record of what leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecordStatus {
    /// Where it is.
    pub file: String,
    /// The number of its last line; nothing before the first.
    pub seq: Option<u64>,
    /// Why it cannot be written, so that nothing leaves.
    pub error: Option<String>,
}

/// The exchange with one peer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PeerStatus {
    /// Its name.
    pub name: SiteName,
    /// Where it is reached; nothing where it dials us.
    pub url: Option<String>,
    /// Whether deliveries are fetched from it.
    pub pull: bool,
    /// Whether nothing is exchanged with it on purpose.
    pub paused: bool,
    /// Entries that it may have and does not hold.
    pub pending: u64,
    /// Problems of these.
    pub pending_problems: u64,
    /// Entries that it holds.
    pub held: u64,
    /// Pending entries that it refused.
    pub refused: Listed<RefusedThere>,
    /// What it held once and does not hold any more.
    pub diverged: Listed<Diverged>,
    /// What was here once, is here no more, and the peer still has.
    pub lost_here: Listed<Diverged>,
    /// Of which of these, and of its entries that are refused here, there were more than the cache keeps; and how many were
    /// not kept, some perhaps counted several times.
    pub not_kept: BTreeMap<Trouble, u64>,
    /// What it did against the protocol or the limits of this site.
    pub violations: Vec<Violated>,
    /// When it last answered or asked, in seconds since 1970.
    pub last_contact: Option<u64>,
    /// Why it last did not answer, unless it has since.
    pub last_error: Option<String>,
    /// Since when the following are counted, in seconds since 1970: the start of the last daemon.
    pub since: Option<u64>,
    /// Entries that it took since then.
    pub sent: u64,
    /// Entries that it delivered since then.
    pub received: u64,
}

/// Some of many.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Listed<T> {
    /// How many there are.
    pub count: u64,
    /// The first of them.
    pub first: Vec<T>,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self { count: 0, first: Vec::new() }
    }
}

impl<T> FromIterator<T> for Listed<T> {
    fn from_iter<I: IntoIterator<Item = T>>(all: I) -> Self {
        let mut listed = Self::default();
        for item in all {
            listed.count += 1;
            if listed.first.len() < LISTED_MAX {
                listed.first.push(item);
            }
        }
        listed
    }
}

/// A problem that is left alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Suspended {
    /// Which.
    pub problem: ProblemId,
    /// The rows of the markers that do not verify.
    pub rows: Vec<i64>,
}

/// An entry with more than one text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Differs {
    /// The problem.
    pub problem: ProblemId,
    /// The entry.
    pub origin: Origin,
    /// The rows that it has here.
    pub rows: Vec<i64>,
    /// Whether a person has said that these rows were seen.
    pub seen: bool,
}

/// What a peer lost of one problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diverged {
    /// The problem.
    pub problem: ProblemId,
    /// The entries, as ranges of each origin.
    pub entries: String,
}

impl Diverged {
    fn of(lost: &Lost) -> Self {
        let more = if lost.entries.ranges_len() < LOST_RANGES_MAX { "" } else { " and perhaps more" };
        Self { problem: lost.problem.clone(), entries: format!("{}{more}", lost.entries) }
    }
}

fn number<T, S: serde::Serializer>(all: &[T], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(all.len() as u64)
}

impl Status {
    /// The state of `site` now. `progress` is told after each page how many problems were looked at.
    pub async fn of(site: &Site, progress: &(dyn Fn(usize) + Sync)) -> Result<Self, StoreError> {
        let bridge = &site.bridge;
        let seen = survey_all(bridge, progress).await?;
        let learnt = still_true(bridge, site.cache.learnt()).await?;
        let record = record(site, learnt.unrecorded.clone()).await;
        let peers = site.config.peers.iter().map(|peer| {
            let owed = seen.owed.get(&peer.name).copied().unwrap_or_default();
            let contact = learnt.contact.get(&peer.name).cloned().unwrap_or_default();
            let of_peer = |lost: &[Lost]| lost.iter().filter(|lost| lost.peer == peer.name).map(Diverged::of).collect();
            let violated = learnt.violated.iter().filter(|v| v.peer.as_ref() == Some(&peer.name));
            let refused: Listed<_> = learnt.refused_there.iter().filter(|r| r.peer == peer.name).cloned().collect();
            let not_kept = learnt.not_kept.iter().filter(|((of, _), _)| *of == peer.name);
            let mut not_kept: BTreeMap<_, _> = not_kept.map(|((_, trouble), count)| (*trouble, *count)).collect();
            if owed.entries <= refused.count {
                // Whatever else was refused has been taken since.
                not_kept.remove(&Trouble::Refused);
            }
            PeerStatus {
                name: peer.name.clone(),
                url: peer.url.clone(),
                pull: peer.pull,
                paused: peer.paused,
                pending: owed.entries,
                pending_problems: owed.problems,
                held: owed.held,
                refused,
                diverged: of_peer(&learnt.diverged),
                lost_here: of_peer(&learnt.lost_here),
                not_kept,
                violations: violated.cloned().collect(),
                last_contact: contact.answered,
                last_error: contact.failed,
                since: (contact.since > 0).then_some(contact.since),
                sent: contact.sent,
                received: contact.received,
            }
        });
        let running = lock::is_running(&site.config.path);
        let certificates = certificates::all(&site.config, &learnt, certificate::now());
        let numbers = |rows: Vec<landbridge_core::WorkId>| rows.into_iter().map(|row| row.get()).collect::<Vec<_>>();
        let suspended = |(problem, rows)| Suspended { problem, rows: numbers(rows) };
        let differs = seen.differs.into_iter().map(|(problem, origin, rows)| {
            let mut differs = Differs { problem, origin, rows: numbers(rows), seen: false };
            let key = (differs.problem.clone(), differs.origin.clone());
            differs.seen = learnt.differs_seen.get(&key) == Some(&differs.rows);
            differs
        });
        let (known, unseen): (Vec<_>, Vec<_>) = differs.partition(|differs| differs.seen);
        Ok(Self {
            site: site.name().clone(),
            history: site.config.history.clone(),
            database: site.database(),
            engine: bridge.store.capabilities().engine.clone(),
            running,
            problems: seen.problems,
            own: seen.own,
            copies: seen.copies,
            markers: seen.markers,
            peers: peers.collect(),
            suspended: seen.suspended.into_iter().map(suspended).collect(),
            differs: unseen.iter().cloned().chain(known).collect(),
            differs_unseen: unseen,
            withheld: learnt.withheld.into_iter().collect(),
            refused_here: in_turn(learnt.refused_here).into_iter().collect(),
            record,
            certificates,
            reload: learnt.reload.filter(|reload| running && !reload.faults.is_empty()),
            strangers: learnt.violated.into_iter().filter(|v| v.peer.is_none()).collect(),
        })
    }

    /// A person has seen what peers did against the rules, what differs, and that there was more than is kept.
    pub fn acknowledged(&mut self) {
        self.peers.iter_mut().for_each(|peer| peer.not_kept.clear());
        self.peers
            .iter_mut()
            .flat_map(|peer| &mut peer.violations)
            .chain(&mut self.strangers)
            .for_each(|v| v.unseen = 0);
        self.differs_unseen.clear();
    }

    /// What peers and strangers did.
    pub fn violations(&self) -> impl Iterator<Item = &Violated> {
        self.peers.iter().flat_map(|peer| &peer.violations).chain(&self.strangers)
    }

    /// 0: all in step. 1: something is pending and will go by itself. 6: something wants a person's eye.
    pub fn exit(&self) -> Exit {
        let peers = &self.peers;
        if peers.iter().any(PeerStatus::wants_a_person)
            || self.suspended.count + self.withheld.count > 0
            || !self.differs_unseen.is_empty()
            || self.record.as_ref().is_some_and(|record| record.error.is_some())
            || self.certificates.iter().any(Dated::wants_a_person)
            || self.reload.is_some()
        {
            Exit::Person
        } else if peers.iter().any(|peer| peer.pending > 0) {
            Exit::Left
        } else {
            Exit::Done
        }
    }
}

impl PeerStatus {
    /// Whether somebody should look at the exchange with it.
    pub fn wants_a_person(&self) -> bool {
        let diverged = self.diverged.count + self.lost_here.count;
        let not_kept = self.not_kept.keys().any(|trouble| *trouble != Trouble::RefusedHere);
        self.paused || self.refused.count > 0 || diverged > 0 || not_kept || self.violated()
    }

    /// Whether it did something against the protocol or the limits that the operator has not seen. A slow line is shown and
    /// no more.
    pub fn violated(&self) -> bool {
        self.violations.iter().any(|v| v.unseen > 0 && v.kind != Violation::Time.word())
    }

    /// Whether nothing was ever heard of it, as far as the cache knows: that nothing is pending then says nothing of it.
    pub fn is_unheard(&self) -> bool {
        self.last_contact.is_none()
    }

    /// Entries sent in a second, since the counting began; nothing before there is something to count.
    pub fn sent_per_second(&self) -> Option<f64> {
        let seconds = self.last_contact?.checked_sub(self.since?).filter(|s| *s > 0)?;
        Some(self.sent as f64 / seconds as f64)
    }
}

/// Of each peer in turn, the latest first: few are shown, and one peer's shall not hide another's.
fn in_turn(refused: Vec<RefusedHere>) -> Vec<RefusedHere> {
    let mut of_peers: BTreeMap<SiteName, VecDeque<RefusedHere>> = BTreeMap::new();
    for refused in refused.into_iter().rev() {
        of_peers.entry(refused.peer.clone()).or_default().push_back(refused);
    }
    let (mut all, mut waiting) = (Vec::new(), of_peers.into_values().collect::<VecDeque<_>>());
    while let Some(mut of_peer) = waiting.pop_front() {
        if let Some(next) = of_peer.pop_front() {
            all.push(next);
            waiting.push_back(of_peer);
        }
    }
    all
}

/// The record as it is now, and what was wrong when it was last written.
async fn record(site: &Site, unrecorded: Option<String>) -> Option<RecordStatus> {
    let record = site.record.clone()?;
    let file = record.path().display().to_string();
    // It may have to wait for a writer.
    let end = tokio::task::spawn_blocking(move || record.end()).await.ok()?;
    let told = |error: &AuditError| format!("{error}; next: {}", error.next());
    let (seq, error) = match end {
        Ok(end) => (Some(end.head.seq), unrecorded),
        Err(AuditError::Missing { .. }) => (None, unrecorded),
        Err(error) => (None, Some(told(&error))),
    };
    Some(RecordStatus { file, seq, error })
}

/// Goes through all problems. `progress` is told after each page how many were looked at.
pub async fn survey_all(bridge: &Bridge, progress: &(dyn Fn(usize) + Sync)) -> Result<Survey, StoreError> {
    let (mut seen, mut after, mut looked_at) = (Survey::default(), None, 0);
    loop {
        let problems = page(bridge, after.as_ref()).await?;
        seen.add(survey(bridge, &problems, None).await?);
        looked_at += problems.len();
        progress(looked_at);
        match problems.into_iter().next_back() {
            Some(last) => after = Some(last),
            None => return Ok(seen),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        let peer = PeerStatus {
            name: "N".parse().unwrap(),
            url: None,
            pull: false,
            paused: false,
            pending: 0,
            pending_problems: 0,
            held: 0,
            refused: Listed::default(),
            diverged: Listed::default(),
            lost_here: Listed::default(),
            not_kept: BTreeMap::new(),
            violations: vec![],
            last_contact: None,
            last_error: None,
            since: None,
            sent: 0,
            received: 0,
        };
        Status {
            site: "1".parse().unwrap(),
            history: "work".into(),
            database: "a.db".into(),
            engine: "SQLite".into(),
            running: false,
            problems: 0,
            own: 0,
            copies: 0,
            markers: 0,
            peers: vec![peer],
            suspended: Listed::default(),
            differs: Listed::default(),
            differs_unseen: vec![],
            withheld: Listed::default(),
            refused_here: Listed::default(),
            record: None,
            certificates: Vec::new(),
            reload: None,
            strangers: vec![],
        }
    }

    #[test]
    fn what_wants_a_person_weighs_more_than_what_is_pending() {
        assert_eq!(status().exit(), Exit::Done);
        let mut pending = status();
        pending.peers[0].pending = 3;
        assert_eq!(pending.exit(), Exit::Left);
        let mut paused = pending.clone();
        paused.peers[0].paused = true;
        assert_eq!(paused.exit(), Exit::Person);
        let mut violated = status();
        let once = |violation: Violation| Violated {
            peer: None,
            kind: violation.word(),
            what: violation.to_string(),
            count: 3,
            unseen: 1,
            first: 0,
            last: 0,
            detail: String::new(),
        };
        violated.strangers = vec![once(Violation::Stranger)];
        violated.peers[0].violations = vec![once(Violation::Time)];
        assert_eq!(violated.exit(), Exit::Done, "strangers knock everywhere, and lines are slow");
        violated.peers[0].violations = vec![once(Violation::Receipt)];
        assert_eq!(violated.exit(), Exit::Person);
        violated.peers[0].violations[0].unseen = 0;
        assert_eq!(violated.exit(), Exit::Done);
        let mut suspended = status();
        suspended.suspended.count = 1;
        assert_eq!(suspended.exit(), Exit::Person);
        let mut differs = status();
        let twice = |seen| {
            let (problem, origin) = ("ABC".parse().unwrap(), "1/1".parse().unwrap());
            Differs { problem, origin, rows: vec![1, 3], seen }
        };
        (differs.differs, differs.differs_unseen) =
            ([twice(false), twice(true)].into_iter().collect(), vec![twice(false)]);
        assert_eq!(differs.exit(), Exit::Person);
        assert_eq!(serde_json::to_value(&differs).unwrap()["differs_unseen"], 1);
        differs.acknowledged();
        assert_eq!((differs.exit(), differs.differs.count), (Exit::Done, 2));
    }

    #[test]
    fn all_are_counted_and_the_first_are_listed() {
        let listed: Listed<usize> = (0..50).collect();
        assert_eq!((listed.count, listed.first.len()), (50, LISTED_MAX));
    }

    #[test]
    fn of_what_is_refused_here_each_peer_is_shown_in_turn() {
        let refused = |(peer, row): (&str, u32)| RefusedHere {
            peer: peer.parse().unwrap(),
            problem: "ABC".parse().unwrap(),
            origin: format!("{peer}/{row}").parse().unwrap(),
            reason: "constraint".into(),
            detail: String::new(),
        };
        let noted = [("B", 1), ("A", 1), ("A", 2), ("A", 3), ("B", 2), ("A", 4)].map(refused);
        let shown: Vec<_> = in_turn(noted.into()).iter().map(|r| r.origin.to_string()).collect();
        assert_eq!(shown, ["A/4", "B/2", "A/3", "B/1", "A/2", "A/1"]);
    }

    #[test]
    fn that_more_was_refused_than_is_kept_wants_a_person_until_one_has_seen_it() {
        let mut status = status();
        status.peers[0].not_kept.insert(Trouble::RefusedHere, 5);
        assert_eq!(status.exit(), Exit::Done, "what is refused here wants nobody at this site");
        status.peers[0].not_kept.insert(Trouble::Diverged, 2);
        assert_eq!(status.exit(), Exit::Person);
        assert_eq!(serde_json::to_value(&status).unwrap()["peers"][0]["not_kept"]["diverged"], 2);
        status.acknowledged();
        assert_eq!(status.exit(), Exit::Done);
    }

    #[test]
    fn a_rate_needs_some_time() {
        let mut peer = status().peers.remove(0);
        (peer.since, peer.last_contact, peer.sent) = (Some(100), Some(100), 50);
        assert_eq!(peer.sent_per_second(), None);
        peer.last_contact = Some(110);
        assert_eq!(peer.sent_per_second(), Some(5.0));
    }
}
