//! Sending, from the rows to the markers (DESIGN §4).
//!
//! ```text
//! prepare   one snapshot: rows and markers of some problems, what the peer is owed, the bodies   (then it is closed)
//!           ═══════════════ the delivery travels, no transaction is open ═══════════════►
//!           ◄══════════════ the receipt: what the peer holds ════════════════════════════
//! settle    one short transaction under the locks: read again, mark what is still as it was sent     (settle.rs)
//! ```
//!
//! A receipt that is lost is an entry sent again, which the receiver recognises. So there is nothing to recover.

use std::collections::{BTreeMap, BTreeSet};

use landbridge_core::entry::Row;
use landbridge_core::message::{Belief, Delivery, Entry};
use landbridge_core::pending::Sent;
use landbridge_core::{Digest, IdSet, Ledger, OriginSet, ProblemId, SiteName, WorkId};

use crate::bridge::{Bridge, Event, PeerPolicy};
use crate::error::StoreError;
use crate::ports::{Body, Mode};

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
#[derive(Debug, Clone, Default)]
pub struct Outgoing {
    /// One for each problem.
    pub deliveries: Vec<Delivery>,
    /// Problems that have more than fitted, and those not looked at.
    pub left: BTreeMap<ProblemId, Due>,
    /// Rows that cannot be sent and must not stand in the way of others.
    pub withheld: Vec<(ProblemId, WorkId)>,
    pub(crate) memos: Vec<Memo>,
}

/// What the sender remembers of one delivery until the receipt.
#[derive(Debug, Clone)]
pub(crate) struct Memo {
    pub(crate) problem: ProblemId,
    pub(crate) believed: OriginSet,
    pub(crate) sent: Vec<Sent>,
    /// The entries that went without their bodies.
    pub(crate) bare: OriginSet,
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
    let mut room = Room { entries: entries_max, bytes: bridge.limits.batch_bytes_max };
    let mut outgoing = Outgoing::default();
    for (problem, mut read) in problems.into_iter().zip(read) {
        let asked = due.remove(&problem).unwrap_or_default();
        let ledger = bridge.ledger(&problem, &read.rows);
        bridge.tell_if_suspended(&ledger);
        let owed = (bridge.decisions.pending)(&ledger, &read.rows, peer, policy.relay);
        let (rows, cut) = choose(bridge, &ledger, owed, &asked.waiting, &mut room);
        if cut {
            outgoing.left.insert(problem, asked.clone());
        }
        if !rows.is_empty() {
            let introduced = bridge.introduce(peer, &ledger, &mut read);
            chosen.push((ledger, rows, asked, introduced));
        }
    }
    let wanted_bodies =
        chosen.iter().flat_map(|(ledger, rows, ..)| rows.iter().map(|w| (ledger.problem().clone(), *w)));
    let wanted_bodies: Vec<_> = wanted_bodies.collect();
    let mut bodies = if wanted_bodies.is_empty() { vec![] } else { txn.bodies(&wanted_bodies).await? }.into_iter();
    drop(txn);

    for (ledger, rows, asked, introduced) in chosen {
        let bodies: Vec<_> = rows.iter().map(|row| (*row, bodies.next().flatten())).collect();
        let Some((mut delivery, memo)) = write_delivery(bridge, &policy, peer, &ledger, bodies, &asked, &mut outgoing)
        else {
            continue;
        };
        delivery.home = introduced.home;
        if delivery.entries.iter().any(|entry| entry.text.is_some()) {
            delivery.fields = introduced.fields;
        }
        outgoing.deliveries.push(delivery);
        outgoing.memos.push(memo);
    }
    Ok(outgoing)
}

/// What still fits into a batch.
struct Room {
    entries: usize,
    bytes: u64,
}

/// The rows of one problem that go into this batch, and whether some had to stay behind.
fn choose(bridge: &Bridge, ledger: &Ledger, owed: Vec<&Row>, waiting: &IdSet, room: &mut Room) -> (Vec<WorkId>, bool) {
    let (mut taken, mut origins) = (Vec::new(), BTreeSet::new());
    for row in owed.into_iter().filter(|row| !waiting.contains(row.work)) {
        if row.bytes > bridge.limits.entry_bytes_max {
            let why = "its text is longer than [limits] entry_bytes_max";
            bridge.observer.event(&Event::Withheld { problem: ledger.problem(), row: row.work, why });
            continue;
        }
        // An entry larger than a whole batch goes alone.
        let full = room.entries == 0 || (row.bytes > room.bytes && room.bytes < bridge.limits.batch_bytes_max);
        // Two rows of one origin differ in their texts; a receipt names origins, so they travel one after the other.
        if full || !origins.insert(ledger.origin(row.work)) {
            return (taken, true);
        }
        room.entries -= 1;
        room.bytes = room.bytes.saturating_sub(row.bytes);
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
) -> Option<(Delivery, Memo)> {
    let (mut entries, mut sent) = (Vec::new(), Vec::new());
    // Of a problem that the peer may not even have, no text leaves before the peer wants it: our own go as others' do.
    let unlinked = bridge.is_linked() && ledger.name_of(peer).is_none();
    let (mut behind_bare, mut bare_ones) = (false, OriginSet::new());
    for (work, body) in bodies {
        // A row of the snapshot that has no body there is no longer part of the history.
        let Some(Body { text, fields }) = body else { continue };
        let Some(text) = text else {
            let why = "its stored bytes are no UTF-8 text";
            bridge.observer.event(&Event::Withheld { problem: ledger.problem(), row: work, why });
            outgoing.withheld.push((ledger.problem().clone(), work));
            continue;
        };
        let origin = ledger.origin(work);
        let digest = Digest::of(&text);
        let wanted = asked.wanted.contains(&origin);
        let bare = (bridge.decisions.bare)(ledger.is_own(work) && !unlinked, wanted, behind_bare);
        behind_bare |= bare;
        if bare {
            bare_ones.insert(&origin);
        }
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
        return None;
    }
    let believed = ledger.exchanged(peer);
    let belief = Belief::of(&believed);
    let names = bridge.links.names(ledger, peer);
    let delivery = Delivery { names, home: None, fields: Default::default(), belief, entries };
    Some((delivery, Memo { problem: ledger.problem().clone(), believed, sent, bare: bare_ones }))
}
