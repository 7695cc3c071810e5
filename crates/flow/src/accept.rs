//! Receiving: one transaction for a batch (DESIGN §5).
//!
//! ```text
//! lock      all shards of the batch, in ascending order, before the first read
//! judge     each entry against the ledger of its problem: known, fresh, differs, wanted, refused
//! append    the fresh entries of all problems, then a marker for the sender in each problem        (append.rs)
//! commit    durably; only then is a receipt given
//! ```
//!
//! What is known of one problem on this way is a `Case` (case.rs).

use std::collections::{BTreeMap, HashSet};

use landbridge_core::judge::{self, Deliverer, Outcome, Verdict};
use landbridge_core::message::{Code, Delivery, Receipt, Refusal, Refused};
use landbridge_core::{Digest, ProblemId, SiteName, WorkId};

use crate::append::append_cases;
use crate::bridge::{Bridge, PeerPolicy, shards};
use crate::case::{Case, refuse};
use crate::error::StoreError;
use crate::ports::{Mode, Txn};

/// Takes the deliveries of `from` and says, for each, what this site holds now. Nothing is kept where it fails.
pub async fn accept(bridge: &Bridge, from: &SiteName, deliveries: &[Delivery]) -> Result<Vec<Receipt>, StoreError> {
    // A problem is in one delivery; where it is in two, nothing is said of the second.
    let mut seen = HashSet::new();
    let first: Vec<_> = deliveries.iter().map(|d| seen.insert(local(bridge, from, d))).collect();
    if first.iter().all(|first| *first) {
        return accept_apart(bridge, from, deliveries).await;
    }
    let once: Vec<_> = deliveries.iter().zip(&first).filter(|(_, first)| **first).map(|(d, _)| d.clone()).collect();
    let mut receipts = accept_apart(bridge, from, &once).await?.into_iter();
    Ok(first.iter().map(|first| if *first { receipts.next() } else { None }.unwrap_or_default()).collect())
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
            let mut receipt = Receipt { names: one.names.clone(), ..Receipt::default() };
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
            let mut receipt = accepted.into_iter().next().unwrap_or_default();
            if !receipt.wanted.is_empty() {
                // Nothing is appended past a missing body, so the second half waits for it whole.
                second.iter().for_each(|entry| receipt.wanted.insert(&entry.origin));
                return Ok(vec![receipt]);
            }
            let accepted = Box::pin(accept_apart(bridge, from, &[half(second)])).await?;
            let rest = accepted.into_iter().next().unwrap_or_default();
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

/// This site's id of the problem. Sites number alike (`same-id`), so it is the sender's; a sender that thinks that we
/// call it otherwise means a problem that is not here.
fn local(bridge: &Bridge, from: &SiteName, delivery: &Delivery) -> Option<ProblemId> {
    let theirs = delivery.names.get(from)?;
    let ours = delivery.names.get(bridge.site()).unwrap_or(theirs);
    (ours == theirs).then(|| theirs.clone())
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
    let deliverer = Deliverer { from, relay_from: &policy.relay_from, entry_bytes_max: bridge.limits.entry_bytes_max };
    let lookups = |case: &Case<'_>| judge::lookups(&case.ledger, &case.read.rows, &deliverer, &case.delivery.entries);
    let wanted: Vec<_> = cases.iter().map(lookups).collect();
    let asked: Vec<_> =
        cases.iter().zip(&wanted).flat_map(|(case, rows)| rows.iter().map(|w| (case.problem.clone(), *w))).collect();
    let mut bodies = if asked.is_empty() { vec![] } else { txn.bodies(&asked).await? }.into_iter();
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

/// The receipt for a problem that is not here or not visible: both answer alike.
fn unknown(bridge: &Bridge, from: &SiteName, delivery: &Delivery) -> Receipt {
    let mut receipt = Receipt { names: delivery.names.clone(), ..Receipt::default() };
    let problem = local(bridge, from, delivery);
    for entry in &delivery.entries {
        let refusal = Refusal::of(Code::UnknownProblem);
        match &problem {
            Some(problem) => refuse(
                bridge,
                from,
                problem,
                &entry.origin,
                refusal,
                "no such problem here, or [problem] share hides it",
                &mut receipt,
            ),
            None => receipt.refused.push(Refused { origin: entry.origin.clone(), refusal }),
        }
    }
    receipt
}
