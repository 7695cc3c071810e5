//! Appending what was judged fresh, and finding what the table does not take.
//!
//! The entries of all problems go in one statement and their markers in another. Where that fails, savepoints and halving
//! find the problem, then the entry, at fault; that entry is refused alone. A problem whose marker is not taken keeps
//! nothing. Everything is read back before it is committed: what was written is what was sent, or it is refused.

use std::collections::BTreeSet;

use landbridge_core::judge::Outcome;
use landbridge_core::message::{Code, Refusal};
use landbridge_core::value;
use landbridge_core::{SiteName, WorkId};

use crate::bridge::{Bridge, PeerPolicy};
use crate::case::Case;
use crate::error::StoreError;
use crate::ports::{Append, Body, Kind, Txn};

/// How often a transaction is tried again because the application took a number first.
const TAKEN_TRIES_MAX: usize = 100;

/// Appends entries and markers of all cases; halves the cases where the table does not take something.
pub(crate) async fn append_cases(
    bridge: &Bridge,
    policy: &PeerPolicy,
    from: &SiteName,
    txn: &mut dyn Txn,
    cases: &mut [Case<'_>],
) -> Result<(), StoreError> {
    if cases.is_empty() {
        return Ok(());
    }
    for tries in 1.. {
        txn.savepoint().await?;
        let failed = match append_at_once(bridge, policy, from, txn, cases).await {
            Ok(()) => return txn.release().await,
            Err(failed) => failed,
        };
        match failed {
            StoreError::Taken if tries < TAKEN_TRIES_MAX => txn.rollback_to().await?,
            StoreError::Taken | StoreError::Row { .. } => {
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

/// What is made of a number that somebody always takes first: the table hides the rows that have it, or a trigger
/// changes numbers. The row is refused alone, instead of holding up all others without end.
fn never_free() -> StoreError {
    StoreError::Row {
        refusal: Refusal::of(Code::Constraint),
        detail: format!(
            "the next number was taken {TAKEN_TRIES_MAX} times by rows that this user does not see: no policy may hide rows \
             of the history, and no trigger may change their numbers"
        ),
    }
}

/// What a whole transaction came to; nothing where somebody else took a number first or was in the way, and it is to be
/// tried again.
pub(crate) fn unless_taken<T>(done: Result<T, StoreError>, tries: &mut usize) -> Result<Option<T>, StoreError> {
    match done {
        Err(StoreError::Taken | StoreError::Deadlock(_)) if *tries < TAKEN_TRIES_MAX => {
            *tries += 1;
            Ok(None)
        }
        done => done.map(Some).map_err(refused_if_taken),
    }
}

fn refused_if_taken(failed: StoreError) -> StoreError {
    if matches!(failed, StoreError::Taken) { never_free() } else { failed }
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
    let works = append_exactly(&bridge.store.capabilities().fields_kept, txn, &rows).await?;
    for ((c, e), work) in places.into_iter().zip(works) {
        cases[c].outcomes[e] = Outcome::Appended(work);
    }
    let mut rows = Vec::new();
    for case in cases.iter() {
        rows.extend(case.markers(bridge, policy, from)?);
    }
    append_and_read_back(txn, &rows).await?;
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
    append_entries(&bridge.store.capabilities().fields_kept, txn, case, &fresh).await?;
    let marker = case.markers(bridge, policy, from)?;
    let failed = match append_and_read_back(txn, &marker).await.map_err(refused_if_taken) {
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

async fn append_entries(
    kept: &BTreeSet<String>,
    txn: &mut dyn Txn,
    case: &mut Case<'_>,
    fresh: &[usize],
) -> Result<(), StoreError> {
    let rows: Vec<_> = fresh.iter().filter_map(|e| case.append(*e)).collect();
    if rows.is_empty() {
        return Ok(());
    }
    txn.savepoint().await?;
    match (append_exactly(kept, txn, &rows).await.map_err(refused_if_taken), fresh) {
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
            Box::pin(append_entries(kept, txn, case, first)).await?;
            Box::pin(append_entries(kept, txn, case, second)).await
        }
        (Err(failed), _) => Err(failed),
    }
}

/// Appends rows without shared columns: markers. As [`append_exactly`].
pub(crate) async fn append_and_read_back(txn: &mut dyn Txn, rows: &[Append]) -> Result<Vec<WorkId>, StoreError> {
    append_exactly(&BTreeSet::new(), txn, rows).await
}

/// Appends rows and reads them back. A row that is then no part of the history, or not what was written, would be echoed
/// or multiplied; the mapping or a trigger is at fault, and the row is not taken. The same holds where a column keeps
/// another value than was sent, among the shared columns `kept` that the mapping does not fill otherwise.
pub(crate) async fn append_exactly(
    kept: &BTreeSet<String>,
    txn: &mut dyn Txn,
    rows: &[Append],
) -> Result<Vec<WorkId>, StoreError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let works = txn.append(rows).await?;
    let places: Vec<_> = rows.iter().zip(&works).map(|(row, work)| (row.problem.clone(), *work)).collect();
    let back = txn.bodies(&places).await?;
    let same = |(row, body): (&Append, &Option<Body>)| {
        body.as_ref().and_then(|b| b.text.as_deref()) == Some(row.text.as_str())
    };
    if works.len() == rows.len() && back.len() == rows.len() && rows.iter().zip(&back).all(same) {
        let mut fields = rows.iter().zip(&back).filter_map(|(row, body)| other_field(kept, row, body.as_ref()?));
        return match fields.next() {
            None => Ok(works),
            Some(name) => Err(StoreError::Row {
                refusal: Refusal::of(Code::Value),
                detail: format!(
                    "the column of the field {name} would keep another value than was sent: its type must be able to hold \
                     what the peer sends, and no trigger may change it; or fill it in [history.insert]"
                ),
            }),
        };
    }
    let what = if rows.iter().all(|row| row.kind == Kind::Marker) { "[history.marker]" } else { "[history.insert]" };
    Err(StoreError::Row {
        refusal: Refusal::of(Code::Value),
        detail: format!(
            "an appended row does not read back as it was written: [history] where must let it pass, and no trigger may \
             change its text; look at {what}"
        ),
    })
}

/// A shared column of an appended row that reads back as another value than was sent.
fn other_field<'n>(kept: &'n BTreeSet<String>, row: &Append, back: &Body) -> Option<&'n str> {
    let is_other = |name: &&String| match row.fields.get(*name) {
        None => false,
        Some(sent) => !value::same(sent.as_deref(), back.fields.get(*name).and_then(Option::as_deref)),
    };
    kept.iter().find(is_other).map(String::as_str)
}
