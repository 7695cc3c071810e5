//! One problem of a batch on its way through the receiver: what was delivered, what is here, what was decided and what
//! became of it; and the receipt that tells the sender.

use std::collections::BTreeMap;

use landbridge_core::judge::{self, Deliverer, Outcome, Verdict};
use landbridge_core::message::{Belief, Code, Delivery, Receipt, Refusal, Refused};
use landbridge_core::pairing::Link;
use landbridge_core::{Digest, Ledger, Origin, ProblemId, ProblemName, SiteName, WorkId};

use crate::bridge::{Bridge, Event, PeerPolicy};
use crate::error::StoreError;
use crate::ports::{Append, Kind, ProblemRows};
use crate::settle::markers;

/// One problem of the batch on its way through the transaction.
pub(crate) struct Case<'a> {
    pub(crate) delivery: &'a Delivery,
    pub(crate) problem: ProblemId,
    pub(crate) read: ProblemRows,
    pub(crate) ledger: Ledger,
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) refused: Vec<(usize, Refusal, String)>,
    /// How the problem and the sender's are linked.
    pub(crate) link: Link,
    /// Whether the sender may be told what the problem is called here.
    paired: bool,
}

impl<'a> Case<'a> {
    pub(crate) fn new(bridge: &Bridge, delivery: &'a Delivery, problem: ProblemId, read: ProblemRows) -> Self {
        let ledger = bridge.ledger(&problem, &read.rows);
        bridge.tell_if_suspended(&ledger);
        Self {
            delivery,
            problem,
            read,
            ledger,
            verdicts: vec![],
            outcomes: vec![],
            refused: vec![],
            link: Link::Known,
            paired: true,
        }
    }

    /// A problem that is not here: nothing is known of it, and nothing of it is fresh unless it is created.
    pub(crate) fn not_here(
        bridge: &Bridge,
        deliverer: &Deliverer<'_>,
        home: &ProblemName,
        delivery: &'a Delivery,
    ) -> Self {
        let mut case = Self::new(bridge, delivery, home.problem.clone(), ProblemRows::default());
        case.paired = false;
        case.judge(bridge, deliverer, &BTreeMap::new());
        case
    }

    /// Decides what each entry is. `texts` has the digests of the rows that [`judge::lookups`] named.
    pub(crate) fn judge(&mut self, bridge: &Bridge, deliverer: &Deliverer<'_>, texts: &BTreeMap<WorkId, Digest>) {
        let (rows, entries) = (&self.read.rows, &self.delivery.entries);
        self.verdicts = (bridge.decisions.judge)(&bridge.scribe, deliverer, &self.ledger, rows, texts, entries);
        if self.may_echo(bridge, deliverer.from) {
            judge::refuse_echoes(&self.ledger, deliverer.from, texts, entries, &mut self.verdicts);
        }
        judge::recognise(deliverer.repair, &self.ledger, rows, texts, entries, &mut self.verdicts);
        let outcome = |v: &Verdict| match v {
            Verdict::Known(row) => Outcome::Known(*row),
            Verdict::Recognised(row) => Outcome::Appended(*row),
            _ => Outcome::Absent,
        };
        self.outcomes = self.verdicts.iter().map(outcome).collect();
    }

    /// Whether the sender may not know what this site gave it.
    pub(crate) fn may_echo(&self, bridge: &Bridge, from: &SiteName) -> bool {
        !self.met(from) || self.owes_again(bridge, from)
    }

    /// Whether the sender is still owed something that it lost. A row that it may not have any more, or that is gone, is
    /// not: it never comes, and would have entries refused for ever.
    fn owes_again(&self, bridge: &Bridge, from: &SiteName) -> bool {
        if !self.ledger.has_losses(from) {
            return false;
        }
        let relay = bridge.peers.get(from).is_some_and(|policy| policy.relay);
        let owed = (bridge.decisions.pending)(&self.ledger, &self.read.rows, from, relay);
        owed.iter().any(|row| self.ledger.lost_by(from, row.work))
    }

    /// Whether the sender's belief is what this site knows.
    fn met(&self, from: &SiteName) -> bool {
        Belief::of(&self.ledger.exchanged(from)) == self.delivery.belief
    }

    /// Takes nothing of this delivery: its problem is not the one that is here.
    pub(crate) fn refuse_all(&mut self, code: Code) {
        self.verdicts = vec![Verdict::Refused(Refusal::of(code)); self.delivery.entries.len()];
        self.outcomes = vec![Outcome::Absent; self.delivery.entries.len()];
        self.paired = false;
    }

    /// The length of the text of a row that is here.
    pub(crate) fn bytes_of(&self, work: WorkId) -> u64 {
        let rows = &self.read.rows;
        rows.binary_search_by_key(&work, |row| row.work).ok().and_then(|at| rows.get(at)).map_or(0, |row| row.bytes)
    }

    /// The entries to append, by their place in the delivery.
    pub(crate) fn fresh(&self) -> Vec<usize> {
        let fresh = |v: &Verdict| matches!(v, Verdict::Fresh | Verdict::Differs(_));
        self.verdicts.iter().enumerate().filter(|(_, v)| fresh(v)).map(|(e, _)| e).collect()
    }

    pub(crate) fn append(&self, entry: usize) -> Option<Append> {
        let entry = self.delivery.entries.get(entry)?;
        Some(Append {
            problem: self.problem.clone(),
            kind: Kind::Entry,
            text: entry.text.clone()?,
            fields: entry.fields.clone(),
            site: entry.origin.site.clone(),
        })
    }

    pub(crate) fn markers(
        &self,
        bridge: &Bridge,
        policy: &PeerPolicy,
        from: &SiteName,
    ) -> Result<Vec<Append>, StoreError> {
        let heard = bridge.heard(from, &self.delivery.names);
        let marker = judge::record(&self.ledger, from, self.delivery, &self.outcomes, !policy.onward, &heard);
        if marker.says_nothing() { Ok(vec![]) } else { markers(bridge, &self.ledger, from, marker) }
    }

    pub(crate) fn receipt(&self, bridge: &Bridge, policy: &PeerPolicy, from: &SiteName) -> Receipt {
        let names = [(bridge.site().clone(), self.problem.clone())].into();
        let names = if self.paired { names } else { self.delivery.names.clone() };
        let mut receipt = Receipt { names, ..Receipt::default() };
        let mut appended = 0;
        let whole = self.delivery.entries.iter().zip(&self.outcomes).zip(&self.verdicts);
        for ((entry, outcome), verdict) in whole {
            match (outcome, verdict) {
                (Outcome::Known(_), _) => receipt.holds.insert(&entry.origin),
                (Outcome::Appended(_), verdict) => {
                    appended += u64::from(!matches!(verdict, Verdict::Recognised(_)));
                    receipt.holds.insert(&entry.origin);
                    if let Verdict::Differs(row) = verdict {
                        let (problem, origin) = (&self.problem, &entry.origin);
                        bridge.observer.event(&Event::Differs { peer: from, problem, origin, row: *row });
                    }
                }
                (Outcome::Absent, Verdict::Wanted) => receipt.wanted.insert(&entry.origin),
                (Outcome::Absent, Verdict::Refused(refusal)) => {
                    let why = match refusal.code {
                        Code::NotAllowed if entry.origin.site == *bridge.site() => {
                            "this site wrote it itself, and takes back what it lost only while `landbridge repair` runs here"
                        }
                        Code::NotAllowed => "this peer may not speak for that site; see [[peer]] relay_from",
                        Code::Suspended => "the problem is suspended; see `landbridge status`",
                        Code::MarkerText => "its text is a complete marker",
                        Code::Echo => {
                            "this site gave the sender that very text, and the sender no longer knows it: its markers are \
                             gone; its operator says `landbridge repair --peer` this site `--recognise` there"
                        }
                        Code::Unpaired => "the sender does not know yet what the problem is called here",
                        Code::LinkLost => {
                            "the sender knows nothing of what was exchanged: its number may be another's after a restore; \
                             look at both, and where they are the same say `landbridge link` at that site"
                        }
                        _ => "see [limits]",
                    };
                    refuse(bridge, from, &self.problem, &entry.origin, *refusal, why, &mut receipt);
                }
                (Outcome::Absent, _) => {}
            }
        }
        for (e, refusal, detail) in &self.refused {
            if let Some(entry) = self.delivery.entries.get(*e) {
                refuse(bridge, from, &self.problem, &entry.origin, *refusal, detail, &mut receipt);
            }
        }
        if appended > 0 {
            bridge.observer.event(&Event::Received { peer: from, problem: &self.problem, entries: appended });
        }
        if !self.paired {
            return receipt;
        }
        if !self.met(from) {
            receipt.knows = Some(judge::knows(&self.ledger, &self.read.rows, from, policy.relay));
        } else {
            // It holds what this site thinks it does: what it may have lost is there again.
            let (problem, missing) = (&self.problem, &Default::default());
            bridge.observer.event(&Event::Diverged { peer: from, problem, missing });
        }
        receipt
    }
}

/// Refuses one entry, to the sender without and to the operator with the reason in this house.
pub(crate) fn refuse(
    bridge: &Bridge,
    from: &SiteName,
    problem: &ProblemId,
    origin: &Origin,
    refusal: Refusal,
    detail: &str,
    receipt: &mut Receipt,
) {
    bridge.observer.event(&Event::RefusedHere { peer: from, problem, origin, refusal, detail });
    receipt.refused.push(Refused { origin: origin.clone(), refusal });
}
