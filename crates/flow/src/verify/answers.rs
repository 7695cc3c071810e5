//! The answering side of a comparison: what this site believes, and its account of the problems that a peer names.

use std::collections::BTreeMap;

use landbridge_core::message::{Account, Answered, Beliefs};
use landbridge_core::{ProblemId, SiteName};

use super::{PART_PROBLEMS, Side, digests, here, is_linked_as, sides, summed_up};
use crate::bridge::{Bridge, Event};
use crate::error::StoreError;
use crate::ports::Mode;
use crate::survey::PAGE_PROBLEMS;

/// Bytes of texts that are read for one page of beliefs, about: the page ends behind the problems that reach it.
const PAGE_TEXT_BYTES: u64 = 32 << 20;

/// The answer to [`Compares::verify`]: a page of what this site believes that it exchanged with `from`. Nothing
/// where `after` is no word of this site's.
pub(crate) async fn beliefs(
    bridge: &Bridge,
    from: &SiteName,
    after: Option<&str>,
    with_texts: bool,
) -> Result<Option<Beliefs>, StoreError> {
    let after = match after.map(|cursor| bridge.scribe.problem_of(cursor)) {
        Some(None) => return Ok(None),
        after => after.flatten(),
    };
    let page: Vec<_> =
        bridge.store.sweep(after.as_ref(), PAGE_PROBLEMS).await?.into_iter().map(|s| s.problem).collect();
    let (mut problems, mut after, mut bytes) = (Vec::new(), None, 0_u64);
    for part in page.chunks(PART_PROBLEMS) {
        let mut txn = bridge.store.begin(Mode::Read).await?;
        let read = txn.rows(part, Some(from)).await?;
        let mut sides = sides(bridge, part, read);
        sides.retain(|side| side.read.visible);
        let beliefs = summed_up(bridge, txn.as_mut(), from, &sides, &vec![with_texts; sides.len()]).await?;
        problems.extend(beliefs.into_iter().flatten());
        after = part.last().map(|last| bridge.scribe.cursor(last));
        let texts =
            |side: &Side| side.view(bridge, from).exchanged_texts().into_iter().map(|row| side.bytes_of(row)).sum();
        bytes = sides.iter().map(texts).fold(bytes, u64::saturating_add);
        if with_texts && bytes >= PAGE_TEXT_BYTES {
            break;
        }
    }
    Ok(Some(Beliefs { problems, after }))
}

/// The answer to [`Compares::compare`]. What this site finds that it lacks is also told to its own operator.
pub(crate) async fn accounts(
    bridge: &Bridge,
    from: &SiteName,
    theirs: &[Account],
) -> Result<Vec<Option<Answered>>, StoreError> {
    // Of one problem, more accounts than a muddle of links explains are not answered; those that are, one after the other:
    // each costs its rows.
    let mut named: BTreeMap<ProblemId, usize> = BTreeMap::new();
    let mut rounds = vec![Vec::new(); NAMED_MAX];
    for (place, account) in theirs.iter().enumerate() {
        let Some(problem) = here(bridge, from, &account.names) else { continue };
        let times = named.entry(problem.clone()).or_default();
        if let Some(round) = rounds.get_mut(*times) {
            round.push((place, problem, account));
        }
        *times += 1;
    }
    let mut answers = vec![None; theirs.len()];
    for part in rounds.iter().flat_map(|round| round.chunks(PART_PROBLEMS)) {
        let (problems, accounts) = part.iter().map(|(_, problem, account)| (problem.clone(), *account)).unzip();
        for ((place, ..), answer) in part.iter().zip(answer(bridge, from, problems, accounts).await?) {
            if let Some(at) = answers.get_mut(*place) {
                *at = answer;
            }
        }
    }
    Ok(answers)
}

/// How many accounts of one problem are answered in a message.
const NAMED_MAX: usize = 4;

async fn answer(
    bridge: &Bridge,
    from: &SiteName,
    problems: Vec<ProblemId>,
    theirs: Vec<&Account>,
) -> Result<Vec<Option<Answered>>, StoreError> {
    let mut txn = bridge.store.begin(Mode::Read).await?;
    let read = txn.rows(&problems, Some(from)).await?;
    let asked: Vec<_> = theirs.into_iter().map(Some).collect();
    let sides = sides(bridge, &problems, read);
    let digests = digests(bridge, txn.as_mut(), from, &sides, &asked).await?;
    drop(txn);
    let answers = sides.iter().zip(digests).zip(asked).map(|((side, digests), theirs)| {
        let theirs = theirs?;
        let is_meant = is_linked_as(bridge, &side.ledger, from).agrees(theirs.names.get(from));
        if !side.read.visible || !is_meant || !side.ledger.unverified().is_empty() {
            return None;
        }
        let view = side.view(bridge, from);
        let (account, lacks) = (view.account(&digests), view.lacks(theirs, &digests));
        let (problem, missing) = (side.ledger.problem(), &lacks);
        bridge.observer.event(&Event::LostHere { peer: from, problem, missing });
        let mut unknown_there = account.exchanged.clone();
        unknown_there.subtract(&theirs.exchanged);
        if unknown_there.is_empty() {
            // What it may have lost it has again.
            bridge.observer.event(&Event::Diverged { peer: from, problem, missing: &unknown_there });
        }
        Some(Answered { account, lacks })
    });
    Ok(answers.collect())
}
