//! A bridge: one site's store, keys, peers and limits, and what it tells whoever watches it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use landbridge_core::compaction::{self, Folded};
use landbridge_core::entry::Row;
use landbridge_core::judge::{self, Deliverer, Repair, Verdict};
use landbridge_core::message::{Entry, Missing, Receipt, Refusal};
use landbridge_core::pairing;
use landbridge_core::pending::{self, Sent};
use landbridge_core::{
    Digest, Fields, IdSet, Ledger, Origin, OriginSet, ProblemId, ProblemName, Scribe, SiteName, WorkId,
};

use crate::egress::{Egress, Unrecorded};
use crate::pairing::{Links, Pairing};
use crate::ports::{ProblemRows, Shard, Store};
use crate::violation::Violation;

/// What one peer may see and do (DESIGN §5, §8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerPolicy {
    /// Whether it is also sent what other sites wrote.
    pub relay: bool,
    /// The origins for which it may speak, besides itself.
    pub relay_from: BTreeSet<SiteName>,
    /// Whether entries exchanged with it may go further: `false` marks what is sent, and keeps what arrives.
    pub onward: bool,
    /// Nothing is sent to it or taken from it.
    pub paused: bool,
}

impl Default for PeerPolicy {
    fn default() -> Self {
        Self { relay: false, relay_from: BTreeSet::new(), onward: true, paused: false }
    }
}

/// How much at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Entries of one batch.
    pub batch_entries_max: usize,
    /// Bytes of text of one batch.
    pub batch_bytes_max: u64,
    /// Problems that one transaction looks at.
    pub batch_problems_max: usize,
    /// Bytes of one entry's text.
    pub entry_bytes_max: u64,
    /// Problems that wait in memory for one peer; what goes beyond is found again by a sweep.
    pub outbox_problems_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_entries_max: 5000,
            batch_bytes_max: 8 << 20,
            batch_problems_max: 500,
            entry_bytes_max: 1 << 20,
            outbox_problems_max: 20_000,
        }
    }
}

/// How long to wait between attempts. No outcome depends on these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pauses {
    /// For more entries, before a marker is spent on one.
    pub gather: Duration,
    /// First pause after a failure.
    pub retry_first: Duration,
    /// Longest pause after failures.
    pub retry_longest: Duration,
    /// Between two looks at the database's signal.
    pub poll: Duration,
    /// Between two complete sweeps without a signal.
    pub sweep: Duration,
    /// How long a pull waits for something.
    pub pull_wait: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self {
            gather: Duration::from_millis(200),
            retry_first: Duration::from_secs(1),
            retry_longest: Duration::from_secs(300),
            poll: Duration::from_millis(200),
            sweep: Duration::from_secs(3600),
            pull_wait: Duration::from_secs(30),
        }
    }
}

/// Says what a peer is owed: [`pending::pending`].
pub type Owe = for<'a> fn(&Ledger, &'a [Row], &SiteName, bool) -> Vec<&'a Row>;
/// Says what may be recorded after a receipt: [`pending::confirm`].
pub type Confirm = fn(&Ledger, &SiteName, &[Sent], &Digests, &Receipt) -> IdSet;
/// Says what an arriving entry is: [`judge::judge`].
pub type Judge = fn(&Scribe, &Deliverer<'_>, &Ledger, &[Row], &Digests, &[Entry]) -> Vec<Verdict>;

/// The digests of some rows' texts.
pub type Digests = BTreeMap<WorkId, Digest>;

/// The decisions of `core`, as a value: the simulator runs the same flow with one of them made wrongly, to prove that
/// its invariants would notice.
#[derive(Clone, Copy)]
pub struct Decisions {
    /// What a peer is owed.
    pub pending: Owe,
    /// Whether an entry goes without its body: [`pending::goes_bare`].
    pub bare: fn(bool, bool, bool) -> bool,
    /// What may be recorded after a receipt.
    pub confirm: Confirm,
    /// What an arriving entry is.
    pub judge: Judge,
    /// What the markers of a problem fold into: [`compaction::fold`].
    pub fold: fn(&Ledger, bool) -> Folded,
    /// Whether folded markers say what all said before: [`Ledger::says_the_same`].
    pub says_the_same: fn(&Ledger, &Ledger) -> bool,
}

impl Decisions {
    /// The decisions of the design.
    pub const DESIGN: Decisions = Decisions {
        pending: pending::pending,
        bare: pending::goes_bare,
        confirm: pending::confirm,
        judge: judge::judge,
        fold: compaction::fold,
        says_the_same: Ledger::says_the_same,
    };
}

/// Says what an operator repairs of the exchange with a peer right now (DESIGN §5).
pub type Repairs = Arc<dyn Fn(&SiteName) -> Arc<Repair> + Send + Sync>;

/// One site: its store, who it is, and with whom it speaks.
pub struct Bridge {
    /// The history's name, equal at all its sites.
    pub history: String,
    /// Reads and writes this site's markers; knows the site's name.
    pub scribe: Scribe,
    /// The database.
    pub store: Arc<dyn Store>,
    /// The peers.
    pub peers: BTreeMap<SiteName, PeerPolicy>,
    /// How much at once.
    pub limits: Limits,
    /// How long to wait.
    pub pauses: Pauses,
    /// Who is told what happens.
    pub observer: Arc<dyn Observer>,
    /// Who records what leaves, before it does.
    pub egress: Arc<dyn Egress>,
    /// How to decide.
    pub decisions: Decisions,
    /// How problems of two sites are matched.
    pub pairing: Pairing,
    /// What markers say of other sites' names.
    pub links: Links,
    /// From whom this site takes back what it lost.
    pub repairs: Repairs,
}

impl Bridge {
    /// A bridge of the history named `history` over `store`, with default limits and pauses, that keeps no record of what
    /// leaves.
    pub fn new(
        history: impl Into<String>,
        scribe: Scribe,
        store: Arc<dyn Store>,
        peers: BTreeMap<SiteName, PeerPolicy>,
        observer: Arc<dyn Observer>,
    ) -> Self {
        Self {
            history: history.into(),
            scribe,
            store,
            peers,
            limits: Limits::default(),
            pauses: Pauses::default(),
            observer,
            egress: Arc::new(Unrecorded),
            decisions: Decisions::DESIGN,
            pairing: Pairing::SameId,
            links: Links::default(),
            repairs: Arc::new(|_| Arc::default()),
        }
    }

    /// This site.
    pub fn site(&self) -> &SiteName {
        self.scribe.site()
    }

    /// The ledger of `problem` as its rows say.
    pub fn ledger(&self, problem: &ProblemId, rows: &[Row]) -> Ledger {
        let ledger = Ledger::fold(&self.scribe, problem, rows);
        if self.is_linked() {
            self.links.learn(&ledger);
        }
        ledger
    }

    /// Whether sites number their problems differently.
    pub fn is_linked(&self) -> bool {
        self.pairing != Pairing::SameId
    }

    /// The names of a problem in a message of `peer` that this site believes: none where sites number alike, since then
    /// each calls it as this one does.
    pub(crate) fn heard(&self, peer: &SiteName, said: &BTreeMap<SiteName, ProblemId>) -> BTreeMap<SiteName, ProblemId> {
        match (self.pairing, self.peers.get(peer)) {
            (Pairing::Linked { .. }, Some(policy)) => pairing::believed(said, peer, &policy.relay_from),
            (Pairing::Linked { .. }, None) => pairing::believed(said, peer, &BTreeSet::new()),
            (Pairing::SameId, _) => BTreeMap::new(),
        }
    }

    /// What a delivery to `peer` says of the problem itself where sites number differently: its home name, by which a site
    /// that numbers alike knows that its own ticket of that number is not meant, and its shared columns while the peer may
    /// have to create it.
    pub(crate) fn introduce(&self, peer: &SiteName, ledger: &Ledger, read: &mut ProblemRows) -> Introduced {
        if !self.is_linked() {
            return Introduced::default();
        }
        let own = || ProblemName::new(self.site().clone(), ledger.problem().clone());
        let home = Some(read.home.take().unwrap_or_else(own));
        let is_known = ledger.name_of(peer).is_some();
        Introduced { home, fields: if is_known { Fields::new() } else { std::mem::take(&mut read.fields) } }
    }

    pub(crate) fn tell_if_suspended(&self, ledger: &Ledger) {
        let rows: Vec<_> = ledger.unverified().iter().map(|(row, _)| *row).collect();
        if !rows.is_empty() {
            self.observer.event(&Event::Suspended { problem: ledger.problem(), rows: &rows });
        }
    }
}

/// What a delivery says of the problem itself.
#[derive(Debug, Default)]
pub(crate) struct Introduced {
    /// What the problem is called where it was first seen.
    pub(crate) home: Option<ProblemName>,
    /// Its shared columns.
    pub(crate) fields: Fields,
}

/// The shards of these problems.
pub fn shards<'a>(problems: impl IntoIterator<Item = &'a ProblemId>) -> BTreeSet<Shard> {
    problems.into_iter().map(Shard::of).collect()
}

/// Something that happened and that a person or a counter may want to know. Carries no text of an entry.
#[derive(Debug)]
pub enum Event<'a> {
    /// A peer holds entries that it did not hold before.
    Sent {
        /// The receiver.
        peer: &'a SiteName,
        /// The problem here.
        problem: &'a ProblemId,
        /// How many rows were marked.
        entries: u64,
    },
    /// Entries of a peer were appended.
    Received {
        /// The sender.
        peer: &'a SiteName,
        /// The problem here.
        problem: &'a ProblemId,
        /// How many rows were appended.
        entries: u64,
    },
    /// After a receipt: what the peer refused of a delivery; nothing where it took all of it. What it refused before and
    /// what therefore waits is not in the delivery.
    RefusedByPeer {
        /// The receiver.
        peer: &'a SiteName,
        /// The problem here.
        problem: &'a ProblemId,
        /// The row here, the entry and the reason of each.
        refused: &'a [(WorkId, Origin, Refusal)],
    },
    /// An entry of a peer was not taken here.
    RefusedHere {
        /// The sender.
        peer: &'a SiteName,
        /// The problem here.
        problem: &'a ProblemId,
        /// The entry.
        origin: &'a Origin,
        /// What the peer is told.
        refusal: Refusal,
        /// What the database said. Stays in this house.
        detail: &'a str,
    },
    /// After a receipt: everything that the peer no longer holds although it once did; nothing where all is there.
    Diverged {
        /// The peer.
        peer: &'a SiteName,
        /// The problem here.
        problem: &'a ProblemId,
        /// What it lost.
        missing: &'a OriginSet,
    },
    /// After a comparison: everything that this site once had and no longer has, as the peer knows; nothing where all is
    /// there.
    LostHere {
        /// The peer that may still have it.
        peer: &'a SiteName,
        /// The problem here.
        problem: &'a ProblemId,
        /// What is lost.
        missing: &'a Missing,
    },
    /// Everything exchanged with the peer was compared. What was told before of entries that either lost no longer counts;
    /// what is still so follows.
    Verified {
        /// The peer.
        peer: &'a SiteName,
    },
    /// An entry arrived whose origin is here with another text; it was appended once more.
    Differs {
        /// The sender.
        peer: &'a SiteName,
        /// The problem here.
        problem: &'a ProblemId,
        /// The entry.
        origin: &'a Origin,
        /// The row that was there.
        row: WorkId,
    },
    /// A problem has markers that do not verify and is left alone.
    Suspended {
        /// The problem here.
        problem: &'a ProblemId,
        /// The rows of those markers.
        rows: &'a [WorkId],
    },
    /// A row cannot be sent, since its bytes are no text or it is larger than this site sends; or it was sent, and the
    /// table does not take the marker that says so.
    Withheld {
        /// The problem here.
        problem: &'a ProblemId,
        /// The row.
        row: WorkId,
        /// Why.
        why: &'static str,
    },
    /// The peer answered.
    PeerAnswered {
        /// Which.
        peer: &'a SiteName,
    },
    /// The peer did not answer as it should; it is asked again after the pause.
    PeerFailed {
        /// Which.
        peer: &'a SiteName,
        /// Why.
        error: &'a crate::PeerError,
        /// Until the next attempt.
        pause: Duration,
    },
    /// What was about to leave for a peer could not be recorded, so nothing left; it is tried again after the pause.
    NotRecorded {
        /// Which.
        peer: &'a SiteName,
        /// Why.
        error: &'a crate::RecordError,
        /// Until the next attempt.
        pause: Duration,
    },
    /// Somebody did what no bridge in order does, or more than is allowed. It was refused.
    Violated {
        /// Who; nothing where it was no peer.
        peer: Option<&'a SiteName>,
        /// What.
        violation: Violation,
        /// In one sentence, which may repeat what was said by whoever did it. Nothing of this house is in it.
        detail: &'a str,
    },
    /// The own database failed; it is asked again after the pause.
    StoreFailed {
        /// Why.
        error: &'a crate::StoreError,
        /// Until the next attempt.
        pause: Duration,
    },
}

/// Whoever is told what happens.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn event(&self, event: &Event<'_>);
}

/// Tells nobody.
pub struct Unobserved;

impl Observer for Unobserved {
    fn event(&self, _event: &Event<'_>) {}
}
