//! Receiving: one transaction for a batch (DESIGN §5).
//!
//! ```text
//! lock      all shards of the batch, in ascending order, before the first read
//! judge     each entry against the ledger of its problem: known, fresh, differs, wanted, refused
//! append    the fresh entries of all problems, then a marker for the sender in each problem
//! commit    durably; only then is a receipt given
//! ```
//!
//! Where the table does not take something, savepoints and halving find the problem, then the entry, at fault. That
//! entry is refused alone.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::Ordering;

use landbridge_core::judge::{self, Deliverer, Outcome, Verdict};
use landbridge_core::message::{Belief, Code, Delivery, Receipt, Refusal, Refused};
use landbridge_core::{Digest, Ledger, OriginSet, ProblemId, SiteName, WorkId};

use crate::bridge::{Bridge, Event, PeerPolicy, shards};
use crate::error::StoreError;
use crate::ports::{Append, Kind, Mode, ProblemRows, Txn};
use crate::send::markers;

/// How often a transaction is tried again because the application took a number first.
const TAKEN_TRIES_MAX: usize = 100;

/// Takes the deliveries of `from` and says, for each, what this site holds now. Nothing is kept where it fails.
pub async fn accept(bridge: &Bridge, from: &SiteName, deliveries: &[Delivery]) -> Result<Vec<Receipt>, StoreError> {
    // A problem named twice is looked at twice, one after the other: the second sees what the first appended.
    let mut receipts = Vec::with_capacity(deliveries.len());
    let mut rest = deliveries;
    while !rest.is_empty() {
        let mut seen = HashSet::new();
        let first = rest.iter().take_while(|d| seen.insert(local(bridge, from, d))).count();
        let (batch, later) = rest.split_at(first.max(1));
        receipts.extend(accept_apart(bridge, from, batch).await?);
        rest = later;
    }
    Ok(receipts)
}

/// One transaction, or, where the database looks at a constraint only when it commits, as few as find the entry at
/// fault.
async fn accept_apart(bridge: &Bridge, from: &SiteName, deliveries: &[Delivery]) -> Result<Vec<Receipt>, StoreError> {
    let refusal = match accept_once(bridge, from, deliveries).await {
        Err(StoreError::Row { refusal, detail }) => (refusal, detail),
        done => return done,
    };
    match deliveries {
        [] => Ok(Vec::new()),
        [one] if one.entries.len() <= 1 => {
            let problem = local(bridge, from, one);
            let mut receipt = Receipt { names: one.names.clone(), ..nothing() };
            for entry in &one.entries {
                if let Some(problem) = &problem {
                    refuse(bridge, from, problem, &entry.origin, refusal.0, &refusal.1, &mut receipt);
                }
            }
            Ok(vec![receipt])
        }
        [one] => {
            let (first, second) = one.entries.split_at(one.entries.len() / 2);
            let half = |entries: &[_]| Delivery { entries: entries.to_vec(), ..one.clone() };
            let accepted = Box::pin(accept_apart(bridge, from, &[half(first)])).await?;
            let mut receipt = accepted.into_iter().next().unwrap_or_else(nothing);
            if !receipt.wanted.is_empty() {
                // Nothing is appended past a missing body, so the second half waits for it whole.
                second.iter().for_each(|entry| receipt.wanted.insert(&entry.origin));
                return Ok(vec![receipt]);
            }
            let accepted = Box::pin(accept_apart(bridge, from, &[half(second)])).await?;
            let rest = accepted.into_iter().next().unwrap_or_else(nothing);
            receipt.holds.extend(&rest.holds);
            receipt.wanted.extend(&rest.wanted);
            receipt.refused.extend(rest.refused);
            Ok(vec![receipt])
        }
        many => {
            let (first, second) = many.split_at(many.len() / 2);
            let mut receipts = Box::pin(accept_apart(bridge, from, first)).await?;
            receipts.extend(Box::pin(accept_apart(bridge, from, second)).await?);
            Ok(receipts)
        }
    }
}

fn nothing() -> Receipt {
    Receipt {
        names: BTreeMap::new(),
        holds: OriginSet::new(),
        wanted: OriginSet::new(),
        refused: Vec::new(),
        knows: None,
    }
}

/// This site's id of the problem. Sites number alike (`same-id`), so it is the sender's; a sender that thinks that we
/// call it otherwise means a problem that is not here.
fn local(bridge: &Bridge, from: &SiteName, delivery: &Delivery) -> Option<ProblemId> {
    let theirs = delivery.names.get(from)?;
    let ours = delivery.names.get(bridge.site()).unwrap_or(theirs);
    (ours == theirs).then(|| theirs.clone())
}

/// One problem of the batch on its way through the transaction.
struct Case<'a> {
    delivery: &'a Delivery,
    problem: ProblemId,
    read: ProblemRows,
    ledger: Ledger,
    verdicts: Vec<Verdict>,
    outcomes: Vec<Outcome>,
    refused: Vec<(usize, Refusal, String)>,
}

async fn accept_once(bridge: &Bridge, from: &SiteName, deliveries: &[Delivery]) -> Result<Vec<Receipt>, StoreError> {
    let policy = bridge.peers.get(from).cloned().unwrap_or_default();
    let problems: Vec<_> = deliveries.iter().filter_map(|d| local(bridge, from, d)).collect();
    let mut txn = bridge.store.begin(Mode::Write).await?;
    txn.lock(&shards(&problems)).await?;

    let mut read = txn.rows(&problems, Some(from)).await?.into_iter();
    let mut cases = Vec::with_capacity(deliveries.len());
    let mut receipts = Vec::with_capacity(deliveries.len());
    for delivery in deliveries {
        let visible =
            local(bridge, from, delivery).and_then(|p| read.next().map(|r| (p, r))).filter(|(_, r)| r.visible);
        match visible {
            Some((problem, read)) => {
                receipts.push(None);
                cases.push(Case::new(bridge, delivery, problem, read));
            }
            None => receipts.push(Some(unknown(bridge, from, delivery))),
        }
    }
    judge_all(bridge, &policy, from, txn.as_mut(), &mut cases).await?;
    append_cases(bridge, &policy, from, txn.as_mut(), &mut cases).await?;
    prove(bridge, txn.as_mut(), &cases).await?;
    txn.commit().await?;

    let mut done = cases.iter().map(|case| case.receipt(bridge, &policy, from));
    Ok(receipts.into_iter().filter_map(|refused| refused.or_else(|| done.next())).collect())
}

async fn judge_all(
    bridge: &Bridge,
    policy: &PeerPolicy,
    from: &SiteName,
    txn: &mut dyn Txn,
    cases: &mut [Case<'_>],
) -> Result<(), StoreError> {
    let wanted: Vec<_> =
        cases.iter().map(|case| judge::lookups(&case.ledger, &case.read.rows, &case.delivery.entries)).collect();
    let asked: Vec<_> =
        cases.iter().zip(&wanted).flat_map(|(case, rows)| rows.iter().map(|w| (case.problem.clone(), *w))).collect();
    let mut bodies = if asked.is_empty() { vec![] } else { txn.bodies(&asked).await? }.into_iter();
    let deliverer = Deliverer { from, relay_from: &policy.relay_from, entry_bytes_max: bridge.limits.entry_bytes_max };
    for (case, rows) in cases.iter_mut().zip(wanted) {
        let digest = |row: WorkId| bodies.next().flatten().and_then(|b| b.text).map(|t| (row, Digest::of(&t)));
        let texts: BTreeMap<_, _> = rows.into_iter().filter_map(digest).collect();
        let entries = &case.delivery.entries;
        case.verdicts =
            (bridge.decisions.judge)(&bridge.scribe, &deliverer, &case.ledger, &case.read.rows, &texts, entries);
        case.outcomes = case
            .verdicts
            .iter()
            .map(|v| match v {
                Verdict::Known(row) => Outcome::Known(*row),
                _ => Outcome::Absent,
            })
            .collect();
    }
    Ok(())
}

/// Appends entries and markers of all cases; halves the cases where the table does not take something.
async fn append_cases(
    bridge: &Bridge,
    policy: &PeerPolicy,
    from: &SiteName,
    txn: &mut dyn Txn,
    cases: &mut [Case<'_>],
) -> Result<(), StoreError> {
    if cases.is_empty() {
        return Ok(());
    }
    for _ in 0..TAKEN_TRIES_MAX {
        txn.savepoint().await?;
        let failed = match append_at_once(bridge, policy, from, txn, cases).await {
            Ok(()) => return txn.release().await,
            Err(failed) => failed,
        };
        match failed {
            StoreError::Taken => txn.rollback_to().await?,
            StoreError::Row { .. } => {
                txn.rollback_to().await?;
                return match cases {
                    [one] => append_one(bridge, policy, from, txn, one).await,
                    many => {
                        let (first, second) = many.split_at_mut(many.len() / 2);
                        Box::pin(append_cases(bridge, policy, from, txn, first)).await?;
                        Box::pin(append_cases(bridge, policy, from, txn, second)).await
                    }
                };
            }
            failed => return Err(failed),
        }
    }
    Err(StoreError::Taken)
}

/// All entries in one statement, then all markers in one.
async fn append_at_once(
    bridge: &Bridge,
    policy: &PeerPolicy,
    from: &SiteName,
    txn: &mut dyn Txn,
    cases: &mut [Case<'_>],
) -> Result<(), StoreError> {
    let places: Vec<_> =
        cases.iter().enumerate().flat_map(|(c, case)| case.fresh().into_iter().map(move |e| (c, e))).collect();
    let rows: Vec<_> = places.iter().filter_map(|(c, e)| cases.get(*c).and_then(|case| case.append(*e))).collect();
    let works = if rows.is_empty() { vec![] } else { txn.append(&rows).await? };
    for ((c, e), work) in places.into_iter().zip(works) {
        cases[c].outcomes[e] = Outcome::Appended(work);
    }
    let mut rows = Vec::new();
    for case in cases.iter() {
        rows.extend(case.markers(bridge, policy, from)?);
    }
    if !rows.is_empty() {
        txn.append(&rows).await?;
    }
    Ok(())
}

/// One problem whose rows were not taken together: entry by entry where it must be, then its marker. Where the marker
/// is not taken nothing of the problem is.
async fn append_one(
    bridge: &Bridge,
    policy: &PeerPolicy,
    from: &SiteName,
    txn: &mut dyn Txn,
    case: &mut Case<'_>,
) -> Result<(), StoreError> {
    txn.savepoint().await?;
    let fresh = case.fresh();
    append_entries(txn, case, &fresh).await?;
    let marker = case.markers(bridge, policy, from)?;
    let failed = match if marker.is_empty() { Ok(vec![]) } else { txn.append(&marker).await } {
        Ok(_) => return txn.release().await,
        Err(StoreError::Row { refusal, detail }) => (refusal, format!("its marker was not taken: {detail}")),
        Err(failed) => return Err(failed),
    };
    txn.rollback_to().await?;
    for e in fresh {
        case.outcomes[e] = Outcome::Absent;
        case.refused.push((e, failed.0, failed.1.clone()));
    }
    Ok(())
}

async fn append_entries(txn: &mut dyn Txn, case: &mut Case<'_>, fresh: &[usize]) -> Result<(), StoreError> {
    let rows: Vec<_> = fresh.iter().filter_map(|e| case.append(*e)).collect();
    if rows.is_empty() {
        return Ok(());
    }
    txn.savepoint().await?;
    match (txn.append(&rows).await, fresh) {
        (Ok(works), _) => {
            fresh.iter().zip(works).for_each(|(e, work)| case.outcomes[*e] = Outcome::Appended(work));
            txn.release().await
        }
        (Err(StoreError::Row { refusal, detail }), [one]) => {
            txn.rollback_to().await?;
            case.outcomes[*one] = Outcome::Absent;
            case.refused.push((*one, refusal, detail));
            Ok(())
        }
        (Err(StoreError::Row { .. }), many) => {
            txn.rollback_to().await?;
            let (first, second) = many.split_at(many.len() / 2);
            Box::pin(append_entries(txn, case, first)).await?;
            Box::pin(append_entries(txn, case, second)).await
        }
        (Err(failed), _) => Err(failed),
    }
}

/// The first rows after a start are read back and compared: a mapping under which an accepted row is not part of the
/// history, or not what was written, would echo or multiply it.
async fn prove(bridge: &Bridge, txn: &mut dyn Txn, cases: &[Case<'_>]) -> Result<(), StoreError> {
    if bridge.proven().load(Ordering::Acquire) {
        return Ok(());
    }
    let mut rows = Vec::new();
    let mut texts = Vec::new();
    for case in cases {
        for (entry, outcome) in case.delivery.entries.iter().zip(&case.outcomes) {
            if let Outcome::Appended(work) = outcome {
                rows.push((case.problem.clone(), *work));
                texts.push(entry.text.as_deref());
            }
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    let back = txn.bodies(&rows).await?;
    let same =
        |(body, text): (Option<_>, Option<&str>)| body.and_then(|b: crate::ports::Body| b.text).as_deref() == text;
    if !back.into_iter().zip(texts).all(same) {
        return Err(StoreError::Mapping(
            "an appended row does not read back as it was written: [history] where must let it pass, and no trigger \
             may change its text; look at [history.insert]"
                .into(),
        ));
    }
    bridge.proven().store(true, Ordering::Release);
    Ok(())
}

impl<'a> Case<'a> {
    fn new(bridge: &Bridge, delivery: &'a Delivery, problem: ProblemId, read: ProblemRows) -> Self {
        let ledger = bridge.ledger(&problem, &read.rows);
        bridge.tell_if_suspended(&ledger);
        Self { delivery, problem, read, ledger, verdicts: vec![], outcomes: vec![], refused: vec![] }
    }

    /// The entries to append, by their place in the delivery.
    fn fresh(&self) -> Vec<usize> {
        let fresh = |v: &Verdict| matches!(v, Verdict::Fresh | Verdict::Differs(_));
        self.verdicts.iter().enumerate().filter(|(_, v)| fresh(v)).map(|(e, _)| e).collect()
    }

    fn append(&self, entry: usize) -> Option<Append> {
        let entry = self.delivery.entries.get(entry)?;
        Some(Append {
            problem: self.problem.clone(),
            kind: Kind::Entry,
            text: entry.text.clone()?,
            fields: entry.fields.clone(),
            site: entry.origin.site.clone(),
        })
    }

    fn markers(&self, bridge: &Bridge, policy: &PeerPolicy, from: &SiteName) -> Result<Vec<Append>, StoreError> {
        let heard = bridge.heard(&self.delivery.names);
        let marker = judge::record(&self.ledger, from, self.delivery, &self.outcomes, !policy.onward, &heard);
        if marker.says_nothing() { Ok(vec![]) } else { markers(bridge, &self.ledger, from, marker) }
    }

    fn receipt(&self, bridge: &Bridge, policy: &PeerPolicy, from: &SiteName) -> Receipt {
        let names = [(bridge.site().clone(), self.problem.clone())].into();
        let mut receipt = Receipt { names, ..nothing() };
        let mut appended = 0;
        let whole = self.delivery.entries.iter().zip(&self.outcomes).zip(&self.verdicts);
        for ((entry, outcome), verdict) in whole {
            match (outcome, verdict) {
                (Outcome::Known(_), _) => receipt.holds.insert(&entry.origin),
                (Outcome::Appended(_), verdict) => {
                    appended += 1;
                    receipt.holds.insert(&entry.origin);
                    if let Verdict::Differs(row) = verdict {
                        let (problem, origin) = (&self.problem, &entry.origin);
                        bridge.observer.event(&Event::Differs { peer: from, problem, origin, row: *row });
                    }
                }
                (Outcome::Absent, Verdict::Wanted) => receipt.wanted.insert(&entry.origin),
                (Outcome::Absent, Verdict::Refused(refusal)) => {
                    let why = match refusal.code {
                        Code::NotAllowed => "this peer may not speak for that site; see [[peer]] relay_from",
                        Code::Suspended => "the problem is suspended; see `landbridge status`",
                        Code::MarkerText => "its text is a complete marker",
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
        if Belief::of(&self.ledger.exchanged(from)) != self.delivery.belief {
            receipt.knows = Some(judge::knows(&self.ledger, &self.read.rows, from, policy.relay));
        }
        receipt
    }
}

fn refuse(
    bridge: &Bridge,
    from: &SiteName,
    problem: &ProblemId,
    origin: &landbridge_core::Origin,
    refusal: Refusal,
    detail: &str,
    receipt: &mut Receipt,
) {
    bridge.observer.event(&Event::RefusedHere { peer: from, problem, origin, refusal, detail });
    receipt.refused.push(Refused { origin: origin.clone(), refusal });
}

/// The receipt for a problem that is not here or not visible: both answer alike.
fn unknown(bridge: &Bridge, from: &SiteName, delivery: &Delivery) -> Receipt {
    let mut receipt = Receipt { names: delivery.names.clone(), ..nothing() };
    let problem = local(bridge, from, delivery);
    for entry in &delivery.entries {
        let refusal = Refusal::of(Code::UnknownProblem);
        match &problem {
            Some(problem) => {
                refuse(bridge, from, problem, &entry.origin, refusal, "no such problem here", &mut receipt)
            }
            None => receipt.refused.push(Refused { origin: entry.origin.clone(), refusal }),
        }
    }
    receipt
}
