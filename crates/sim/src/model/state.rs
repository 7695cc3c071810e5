//! A state of the model: what is committed at each site, what is in volatile memory, what is on the network, and what
//! people and mischance may still do.
//!
//! States are equal where these are. Multisets are kept sorted, and what is computed from the rows is left out.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use landbridge_core::{Digest, IdSet, OriginSet, WorkId};
use landbridge_flow::send::Outgoing;

use super::table::Rows;

/// Everything there is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// The sites, in the order of the bound.
    pub sites: Vec<Arc<Site>>,
    /// What is under way, sorted; a message that was repeated is there as often.
    pub network: Vec<Arc<Message>>,
    /// What may still happen.
    pub left: Budget,
    /// A transaction of the flow did not come to its end.
    pub failed: bool,
}

/// One site.
#[derive(Debug, Clone)]
pub struct Site {
    /// What is committed.
    pub rows: Rows,
    /// A person's transaction that has its number and has not committed.
    pub open: Option<(WorkId, Arc<str>)>,
    /// How many entries were begun here.
    pub begun: u8,
    /// The entries that somebody deleted here.
    pub deleted: Vec<Arc<str>>,
    /// The bridge's volatile memory: a line to each neighbour.
    pub lines: Vec<Line>,
    /// What the rows say.
    pub view: Arc<View>,
}

impl PartialEq for Site {
    fn eq(&self, other: &Self) -> bool {
        let parts = |s: &Self| (s.rows.clone(), s.open.clone(), s.begun);
        parts(self) == parts(other) && self.deleted == other.deleted && self.lines == other.lines
    }
}

impl Eq for Site {}

impl Hash for Site {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.rows.hash(state);
        self.open.hash(state);
        self.begun.hash(state);
        self.deleted.hash(state);
        self.lines.hash(state);
    }
}

/// What a bridge remembers of one neighbour. A crash forgets it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Line {
    /// The delivery under way, and what must be remembered of it until the receipt.
    pub flight: Option<Flight>,
    /// Bodies that the neighbour wants.
    pub wanted: OriginSet,
    /// Rows that were refused and are tried again later.
    pub waiting: IdSet,
    /// Rows that are not tried again without an operator.
    pub denied: IdSet,
}

/// A delivery under way, as its sender remembers it.
#[derive(Debug, Clone)]
pub struct Flight {
    /// The message's digest: a receipt for another one is not taken.
    pub batch: Digest,
    /// Of everything that is remembered.
    pub memory: Digest,
    /// What is remembered.
    pub outgoing: Arc<Outgoing>,
}

impl PartialEq for Flight {
    fn eq(&self, other: &Self) -> bool {
        (self.batch, self.memory) == (other.batch, other.memory)
    }
}

impl Eq for Flight {}

impl Hash for Flight {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.batch, self.memory).hash(state);
    }
}

/// A message under way, as bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Message {
    /// The sender's place.
    pub from: usize,
    /// The receiver's place.
    pub to: usize,
    /// Whether it answers a delivery.
    pub is_receipt: bool,
    /// The digest of the delivery that it is, or that it answers.
    pub batch: Digest,
    /// The message.
    pub bytes: Arc<[u8]>,
    /// The digest of the bytes.
    pub digest: Digest,
    /// Whether a seal is in it.
    pub sealed: bool,
}

impl Message {
    /// A delivery, or the receipt that answers `answers`.
    pub fn new(from: usize, to: usize, bytes: Vec<u8>, answers: Option<Digest>) -> Arc<Self> {
        let digest = Digest::of_bytes(&bytes);
        let seal = SEAL.as_bytes();
        let sealed = bytes.windows(seal.len()).any(|w| w == seal);
        let is_receipt = answers.is_some();
        Arc::new(Self { from, to, is_receipt, batch: answers.unwrap_or(digest), bytes: bytes.into(), digest, sealed })
    }
}

/// What stands in every marker.
pub const SEAL: &str = "; seal ";

impl Hash for Message {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.from, self.to, self.is_receipt, self.batch, self.digest).hash(state);
    }
}

/// How often each thing may still happen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Entries that people write, by site.
    pub writes: Vec<u8>,
    /// Entries whose number is taken before others and that commit after them.
    pub late: u8,
    /// Last rows that somebody deletes, so that the number is given out again.
    pub deletions: u8,
    /// Messages lost.
    pub losses: u8,
    /// Messages repeated.
    pub repeats: u8,
    /// Senders that wait no longer for a message that is still under way, and so are overtaken by it later.
    pub delays: u8,
    /// Crashes of a bridge.
    pub crashes: u8,
}

/// What the rows of one site say.
#[derive(Debug)]
pub struct View {
    /// The entries, and whether each was written here.
    pub entries: Vec<(WorkId, Arc<str>, bool)>,
    /// What each neighbour is owed.
    pub pending: Vec<Vec<WorkId>>,
    /// By place of the site: the texts of the entries here that it holds, as the markers say.
    pub held: Vec<Vec<Arc<str>>>,
    /// Whether a row has a seal in it and is no marker of this site.
    pub strange: bool,
    /// Whether a row is a copy of an entry that this site wrote itself.
    pub took_back: bool,
}
