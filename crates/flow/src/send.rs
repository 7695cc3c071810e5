//! Sending, from the rows to the markers (DESIGN §4).
//!
//! ```text
//! prepare   one snapshot: rows and markers of some problems, what the peer is owed, the bodies   (then it is closed)
//!           ═══════════════ the delivery travels, no transaction is open ═══════════════►
//!           ◄══════════════ the receipt: what the peer holds ════════════════════════════
//! settle    one short transaction under the locks: read again, mark what is still as it was sent
//! ```
//!
//! A receipt that is lost is an entry sent again, which the receiver recognises. So there is nothing to recover.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use landbridge_core::entry::Row;
use landbridge_core::message::{Belief, Code, Delivery, Entry, Receipt, Refusal};
use landbridge_core::pending::{Sent, diverged};
use landbridge_core::{Digest, Group, IdSet, Ledger, Origin, OriginSet, ProblemId, SiteName, WorkId};

use crate::bridge::{Bridge, Event, PeerPolicy, shards};
use crate::error::{Remedy, StoreError};
use crate::ports::{Append, Body, Kind, Mode};

/// A problem to look at for one peer, and what the peer said of it before.
#[derive(Debug, Clone, Default)]
pub struct Due {
    /// Third sites' entries whose bodies the peer wants.
    pub wanted: OriginSet,
    /// Rows that the peer refused lately: they wait, and what stands behind them does not. Rows and not origins: two
    /// rows of one origin have different texts, and only one of them may have been refused.
    pub waiting: IdSet,
}

/// A batch of deliveries for one peer, and what the sender must remember of it until the receipts.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// One for each problem.
    pub deliveries: Vec<Delivery>,
    /// Problems that have more than fitted, and those not looked at.
    pub left: BTreeMap<ProblemId, Due>,
    memos: Vec<Memo>,
}

#[derive(Debug)]
struct Memo {
    problem: ProblemId,
    believed: OriginSet,
    sent: Vec<Sent>,
}

impl Outgoing {
    /// How many entries are on their way.
    pub fn entries(&self) -> usize {
        self.deliveries.iter().map(|d| d.entries.len()).sum()
    }

    /// The problems on their way, and the row of each of their entries.
    pub fn rows(&self) -> impl Iterator<Item = (&ProblemId, Vec<(WorkId, &Entry)>)> {
        let rows = |(memo, delivery): (&Memo, _)| memo.sent.iter().map(|s| s.work).zip(entries(delivery)).collect();
        self.memos.iter().zip(&self.deliveries).map(move |pair| (&pair.0.problem, rows(pair)))
    }
}

fn entries(delivery: &Delivery) -> &[Entry] {
    &delivery.entries
}

/// What became of one problem of a batch.
#[derive(Debug)]
pub struct Settled {
    /// The problem here.
    pub problem: ProblemId,
    /// Bodies that the peer wants.
    pub wanted: OriginSet,
    /// Entries that the peer refused.
    pub refused: Vec<(WorkId, Origin, Refusal)>,
    /// How many rows were marked as held.
    pub marked: u64,
    /// Whether there is more to send at once: bodies are wanted, or something changed under way.
    pub again: bool,
}

/// What `peer` is owed of the problems `due`, read from one snapshot, as one batch within the limits.
pub async fn prepare(
    bridge: &Bridge,
    peer: &SiteName,
    entries_max: usize,
    mut due: BTreeMap<ProblemId, Due>,
) -> Result<Outgoing, StoreError> {
    let policy = bridge.peers.get(peer).cloned().unwrap_or_default();
    let problems: Vec<_> = due.keys().cloned().collect();
    let mut txn = bridge.store.begin(Mode::Read).await?;
    let read = txn.rows(&problems, Some(peer)).await?;

    let mut chosen = Vec::new();
    let (mut room, mut bytes) = (entries_max, bridge.limits.batch_bytes_max);
    let mut outgoing = Outgoing::default();
    for (problem, read) in problems.into_iter().zip(read) {
        let asked = due.remove(&problem).unwrap_or_default();
        let ledger = bridge.ledger(&problem, &read.rows);
        bridge.tell_if_suspended(&ledger);
        let (rows, cut) = choose(bridge, &policy, peer, &ledger, &read.rows, &asked, &mut room, &mut bytes);
        if cut {
            outgoing.left.insert(problem, asked.clone());
        }
        if !rows.is_empty() {
            chosen.push((ledger, rows, asked));
        }
    }
    let wanted_bodies = chosen.iter().flat_map(|(ledger, rows, _)| rows.iter().map(|w| (ledger.problem().clone(), *w)));
    let wanted_bodies: Vec<_> = wanted_bodies.collect();
    let mut bodies = if wanted_bodies.is_empty() { vec![] } else { txn.bodies(&wanted_bodies).await? }.into_iter();
    drop(txn);

    for (ledger, rows, asked) in chosen {
        let bodies: Vec<_> = rows.iter().map(|row| (*row, bodies.next().flatten())).collect();
        write_delivery(bridge, &policy, peer, &ledger, bodies, &asked, &mut outgoing);
    }
    Ok(outgoing)
}

/// The rows of one problem that go into this batch, and whether some had to stay behind.
#[allow(clippy::too_many_arguments, reason = "one step of prepare, taken out to be read alone")]
fn choose(
    bridge: &Bridge,
    policy: &PeerPolicy,
    peer: &SiteName,
    ledger: &Ledger,
    rows: &[Row],
    asked: &Due,
    room: &mut usize,
    bytes: &mut u64,
) -> (Vec<WorkId>, bool) {
    let (mut taken, mut origins) = (Vec::new(), BTreeSet::new());
    for row in (bridge.decisions.pending)(ledger, rows, peer, policy.relay) {
        if asked.waiting.contains(row.work) {
            continue;
        }
        if row.bytes > bridge.limits.entry_bytes_max {
            let why = "its text is longer than [limits] entry_bytes_max";
            bridge.observer.event(&Event::Withheld { problem: ledger.problem(), row: row.work, why });
            continue;
        }
        let full = *room == 0 || (row.bytes > *bytes && *bytes < bridge.limits.batch_bytes_max);
        // Two rows of one origin differ in their texts; a receipt names origins, so they travel one after the other.
        if full || !origins.insert(ledger.origin(row.work)) {
            return (taken, true);
        }
        *room -= 1;
        *bytes = bytes.saturating_sub(row.bytes);
        taken.push(row.work);
    }
    (taken, false)
}

fn write_delivery(
    bridge: &Bridge,
    policy: &PeerPolicy,
    peer: &SiteName,
    ledger: &Ledger,
    bodies: Vec<(WorkId, Option<Body>)>,
    asked: &Due,
    outgoing: &mut Outgoing,
) {
    let (mut entries, mut sent) = (Vec::new(), Vec::new());
    let mut behind_bare = false;
    for (work, body) in bodies {
        // A row of the snapshot that has no body there is no longer part of the history.
        let Some(Body { text, fields }) = body else { continue };
        let Some(text) = text else {
            let why = "its stored bytes are no UTF-8 text";
            bridge.observer.event(&Event::Withheld { problem: ledger.problem(), row: work, why });
            continue;
        };
        let origin = ledger.origin(work);
        let digest = Digest::of(&text);
        let bare = (bridge.decisions.bare)(ledger.is_own(work), asked.wanted.contains(&origin), behind_bare);
        behind_bare |= bare;
        sent.push(Sent { work, origin: origin.clone(), digest });
        entries.push(Entry {
            origin,
            text: (!bare).then_some(text),
            digest: bare.then_some(digest),
            fields: if bare { Default::default() } else { fields },
            onward: policy.onward,
        });
    }
    if entries.is_empty() {
        return;
    }
    let believed = ledger.exchanged(peer);
    let belief = Belief::of(&believed);
    outgoing.deliveries.push(Delivery { names: ledger.names(), fields: Default::default(), belief, entries });
    outgoing.memos.push(Memo { problem: ledger.problem().clone(), believed, sent });
}

/// Records what the receipts say, in one short transaction. Receipts are in the order of the deliveries; where some are
/// missing, nothing is concluded of those problems.
pub async fn settle(
    bridge: &Bridge,
    peer: &SiteName,
    outgoing: Outgoing,
    receipts: &[Receipt],
) -> Result<Vec<Settled>, StoreError> {
    let pairs: Vec<_> = outgoing.memos.into_iter().zip(receipts).collect();
    let marked = loop {
        match mark(bridge, peer, &pairs).await {
            Err(e) if e.remedy().0 == Remedy::Now => continue,
            marked => break marked?,
        }
    };
    let mut settled = Vec::with_capacity(pairs.len());
    for (memo, receipt) in pairs {
        let rows: HashMap<_, _> = memo.sent.iter().map(|s| (&s.origin, s.work)).collect();
        let refused: Vec<_> = receipt
            .refused
            .iter()
            .filter_map(|r| rows.get(&r.origin).map(|work| (*work, r.origin.clone(), r.refusal)))
            .collect();
        let missing = diverged(&memo.believed, receipt);
        let entries = marked.get(&memo.problem).copied().unwrap_or(0);
        let observer = &bridge.observer;
        if entries > 0 {
            observer.event(&Event::Sent { peer, problem: &memo.problem, entries });
        }
        observer.event(&Event::RefusedByPeer { peer, problem: &memo.problem, refused: &refused });
        observer.event(&Event::Diverged { peer, problem: &memo.problem, missing: &missing });
        let mut wanted = OriginSet::new();
        memo.sent.iter().filter(|s| receipt.wanted.contains(&s.origin)).for_each(|s| wanted.insert(&s.origin));
        // Held but not marked: the row changed while the receipt travelled, and is owed as it is now.
        let held = memo.sent.iter().filter(|s| receipt.holds.contains(&s.origin)).count() as u64;
        let again = !wanted.is_empty() || held > entries;
        settled.push(Settled { problem: memo.problem, wanted, refused, marked: entries, again });
    }
    Ok(settled)
}

/// Appends `copy in system X: …` for what X holds and what is still as it was sent. How many rows of each problem.
async fn mark(
    bridge: &Bridge,
    peer: &SiteName,
    pairs: &[(Memo, &Receipt)],
) -> Result<HashMap<ProblemId, u64>, StoreError> {
    let held = |memo: &Memo, receipt: &Receipt| memo.sent.iter().any(|s| receipt.holds.contains(&s.origin));
    let pairs: Vec<_> = pairs.iter().filter(|(memo, receipt)| held(memo, receipt)).collect();
    if pairs.is_empty() {
        return Ok(HashMap::new());
    }
    let problems: Vec<_> = pairs.iter().map(|(memo, _)| memo.problem.clone()).collect();
    let mut txn = bridge.store.begin(Mode::Write).await?;
    txn.lock(&shards(&problems)).await?;
    let read = txn.rows(&problems, Some(peer)).await?;
    let sent_rows: Vec<_> =
        pairs.iter().flat_map(|(memo, _)| memo.sent.iter().map(|s| (memo.problem.clone(), s.work))).collect();
    let mut bodies = txn.bodies(&sent_rows).await?.into_iter();

    let (mut appends, mut marked) = (Vec::new(), HashMap::new());
    for ((memo, receipt), read) in pairs.into_iter().zip(read) {
        let ledger = bridge.ledger(&memo.problem, &read.rows);
        let mut now = BTreeMap::new();
        for sent in &memo.sent {
            if let Some(Body { text: Some(text), .. }) = bodies.next().flatten() {
                now.insert(sent.work, Digest::of(&text));
            }
        }
        let rows = (bridge.decisions.confirm)(&ledger, peer, &memo.sent, &now, receipt);
        let mut marker = ledger.marker_for(peer, &bridge.heard(&receipt.names));
        marked.insert(memo.problem.clone(), rows.len());
        marker.say(Group::Held, rows);
        if !marker.says_nothing() {
            appends.extend(markers(bridge, &ledger, peer, marker)?);
        }
    }
    if !appends.is_empty() {
        txn.append(&appends).await?;
        txn.commit().await?;
    }
    Ok(marked)
}

/// The rows that put `marker` into the history.
pub(crate) fn markers(
    bridge: &Bridge,
    ledger: &Ledger,
    peer: &SiteName,
    marker: landbridge_core::Marker,
) -> Result<Vec<Append>, StoreError> {
    let problem = ledger.problem();
    let texts = bridge
        .scribe
        .write(problem, marker, ledger.marker_texts())
        .map_err(|narrow| StoreError::Mapping(narrow.to_string()))?;
    let append = |text| Append {
        problem: problem.clone(),
        kind: Kind::Marker,
        text,
        fields: Default::default(),
        site: peer.clone(),
    };
    Ok(texts.into_iter().map(append).collect())
}

/// Whether an entry refused with this code is tried again by itself (DESIGN §5).
pub fn tries_again(code: Code) -> bool {
    code != Code::NotAllowed
}
