//! Receiving: one transaction for a batch (DESIGN §5).
//!
//! ```text
//! targets   which problem here each delivery is for                                                (pairing.rs)
//! lock      all shards of the batch, in ascending order, before the first read
//! judge     each entry against the ledger of its problem: known, fresh, differs, wanted, refused
//! append    the fresh entries of all problems, then a marker for the sender in each problem        (append.rs)
//! commit    durably; only then is a receipt given
//! ```
//!
//! What is known of one problem on this way is a `Case` (case.rs).

use std::collections::{BTreeMap, BTreeSet, HashSet};

use landbridge_core::judge::{self, Deliverer, Outcome};
use landbridge_core::message::{Code, Delivery, Receipt, Refusal, Refused};
use landbridge_core::pairing::{Link, confirm, is_remembered, own_name};
use landbridge_core::{ProblemId, ProblemName, SiteName, WorkId};

use crate::append::append_cases;
use crate::bridge::{Bridge, Event, PeerPolicy};
use crate::case::{Case, refuse};
use crate::error::StoreError;
use crate::pairing::{Target, create, learn_all_links, targets};
use crate::ports::{Mode, NewProblem, ProblemRows, Txn};
use crate::texts::digests;
use crate::violation::Violation;

/// How often a transaction is begun again, because somebody linked or created a problem meanwhile, or because the
/// application's transaction and this one waited for each other.
const TRIES_MAX: usize = 16;
/// How many deliveries of one batch to one problem are taken, one after the other.
const ROUNDS_MAX: usize = 8;

/// Takes the deliveries of `from` and says, for each, what this site holds now. Nothing is kept where it fails.
///
/// A problem is in one delivery. Where sites number alike and it is in two, nothing is said of the second; where they do
/// not, two problems there may be linked with one here, which is told to the second when the first is through.
pub async fn accept(bridge: &Bridge, from: &SiteName, deliveries: &[Delivery]) -> Result<Vec<Receipt>, StoreError> {
    accept_and_count(bridge, from, deliveries, &mut 0).await
}

/// The same, and adds to `appended` how many entries are here now that were not before.
pub(crate) async fn accept_and_count(
    bridge: &Bridge,
    from: &SiteName,
    deliveries: &[Delivery],
    appended: &mut usize,
) -> Result<Vec<Receipt>, StoreError> {
    tell_of_foreign_origins(bridge, from, deliveries);
    let mut receipts = accept_apart(bridge, from, deliveries, appended).await?;
    for _ in 1..ROUNDS_MAX {
        let left: Vec<_> = (0..receipts.len()).filter(|at| receipts[*at].is_none()).collect();
        if left.is_empty() || !bridge.is_linked() {
            break;
        }
        let batch: Vec<_> = left.iter().filter_map(|at| deliveries.get(*at)).cloned().collect();
        for (at, receipt) in left.into_iter().zip(accept_apart(bridge, from, &batch, appended).await?) {
            receipts[at] = receipt;
        }
    }
    // So many for one problem are no receipts that got lost.
    let why = (Refusal::of(Code::Conflict), reason(Code::Conflict).to_owned());
    let unsaid =
        |delivery| if bridge.is_linked() { not_paired(bridge, from, delivery, &why) } else { Receipt::default() };
    Ok(receipts
        .into_iter()
        .zip(deliveries)
        .map(|(receipt, delivery)| receipt.unwrap_or_else(|| unsaid(delivery)))
        .collect())
}

/// One transaction, or, where the database looks at a constraint only when it commits, as few as find the entry at
/// fault. Nothing is said of a delivery to where another of the transaction goes.
async fn accept_apart(
    bridge: &Bridge,
    from: &SiteName,
    deliveries: &[Delivery],
    appended: &mut usize,
) -> Result<Answers, StoreError> {
    let refusal = match accept_once(bridge, from, deliveries, appended).await {
        Err(StoreError::Row { refusal, detail }) => (refusal, detail),
        done => return done,
    };
    match deliveries {
        [] => Ok(Vec::new()),
        [one] if one.entries.len() <= 1 => {
            let problem = called(bridge, from, one);
            let mut receipt = Receipt { names: one.names.clone(), ..Receipt::default() };
            for entry in &one.entries {
                if let Some(problem) = problem {
                    refuse(bridge, from, problem, &entry.origin, refusal.0, &refusal.1, &mut receipt);
                }
            }
            Ok(vec![Some(receipt)])
        }
        [one] => {
            let (first, second) = one.entries.split_at(one.entries.len() / 2);
            let mut half = Delivery { entries: first.to_vec(), ..one.clone() };
            let accepted = Box::pin(accept_apart(bridge, from, std::slice::from_ref(&half), appended)).await?;
            let mut receipt = accepted.into_iter().flatten().next().unwrap_or_default();
            if !receipt.wanted.is_empty() {
                // Nothing is appended past a missing body, so the second half waits for it whole.
                second.iter().for_each(|entry| receipt.wanted.insert(&entry.origin));
                return Ok(vec![Some(receipt)]);
            }
            // Had the first half come alone, its receipt would have told the sender what the problem is called here.
            if let Some(here) = receipt.names.get(bridge.site()) {
                half.names.insert(bridge.site().clone(), here.clone());
            }
            half.entries = second.to_vec();
            let accepted = Box::pin(accept_apart(bridge, from, &[half], appended)).await?;
            let rest = accepted.into_iter().flatten().next().unwrap_or_default();
            receipt.holds.extend(&rest.holds);
            receipt.wanted.extend(&rest.wanted);
            receipt.refused.extend(rest.refused);
            Ok(vec![Some(receipt)])
        }
        many => {
            let (first, second) = many.split_at(many.len() / 2);
            let mut receipts = Box::pin(accept_apart(bridge, from, first, appended)).await?;
            receipts.extend(Box::pin(accept_apart(bridge, from, second, appended)).await?);
            Ok(receipts)
        }
    }
}

/// A receipt for each delivery of a transaction, or nothing yet.
type Answers = Vec<Option<Receipt>>;

/// How a delivery's problem is called in what an operator reads, where it was not found here.
fn called<'a>(bridge: &Bridge, from: &SiteName, delivery: &'a Delivery) -> Option<&'a ProblemId> {
    delivery.names.get(bridge.site()).or_else(|| delivery.names.get(from))
}

async fn accept_once(
    bridge: &Bridge,
    from: &SiteName,
    deliveries: &[Delivery],
    appended: &mut usize,
) -> Result<Answers, StoreError> {
    let policy = bridge.peers.get(from).cloned().unwrap_or_default();
    let mut last = StoreError::Taken;
    for _ in 0..TRIES_MAX {
        match accept_under_locks(bridge, from, &policy, deliveries).await {
            Ok(Some((receipts, fresh))) => {
                *appended += fresh;
                return Ok(receipts);
            }
            Ok(None) => {}
            Err(deadlock @ StoreError::Deadlock(_)) => last = deadlock,
            Err(failed) => return Err(failed),
        }
    }
    Err(last)
}

/// Where each delivery goes, and which of them wait for another that goes to the same place.
async fn find_targets(bridge: &Bridge, from: &SiteName, deliveries: &[Delivery]) -> Result<Vec<Target>, StoreError> {
    let mut found = targets(bridge, from, deliveries).await?;
    if !bridge.links.is_whole() && found.iter().any(|target| matches!(target, Target::New(_))) {
        learn_all_links(bridge, &|_| ()).await?;
        found = targets(bridge, from, deliveries).await?;
    }
    let mut seen = HashSet::new();
    for target in &mut found {
        if !matches!(target, Target::Nowhere(_)) && !seen.insert(target.clone()) {
            *target = Target::Later;
        }
    }
    Ok(found)
}

/// The answers, and how many entries were appended. Nothing where a problem that was to be created is there meanwhile, so
/// that its shard is not locked.
async fn accept_under_locks(
    bridge: &Bridge,
    from: &SiteName,
    policy: &PeerPolicy,
    deliveries: &[Delivery],
) -> Result<Option<(Answers, usize)>, StoreError> {
    let repair = (bridge.repairs)(from);
    let (relay_from, entry_bytes_max) = (&policy.relay_from, bridge.limits.entry_bytes_max);
    let deliverer = Deliverer { from, relay_from, entry_bytes_max, repair: &repair };
    let mut targets = find_targets(bridge, from, deliveries).await?;
    let mut txn = bridge.store.begin(Mode::Write).await?;
    txn.lock(&targets.iter().filter_map(Target::shard).collect()).await?;
    let Some(mut refused) = create_targets(bridge, &deliverer, txn.as_mut(), deliveries, &mut targets).await? else {
        return Ok(None);
    };

    let here = |target: &Target| if let Target::Here(problem) = target { Some(problem.clone()) } else { None };
    let problems: Vec<_> = targets.iter().filter_map(here).collect();
    let mut read = txn.rows(&problems, Some(from)).await?.into_iter();
    let mut cases = Vec::with_capacity(deliveries.len());
    let mut answers = Vec::with_capacity(deliveries.len());
    for (at, (delivery, target)) in deliveries.iter().zip(&targets).enumerate() {
        let found = match target {
            Target::Later => {
                answers.push(Answer::Later);
                continue;
            }
            Target::Here(problem) => read.next().map(|read| pair(bridge, from, delivery, problem, read)),
            Target::New(home) => Some(Ok(Case::not_here(bridge, &deliverer, home, delivery))),
            Target::Nowhere(code) => Some(Err(*code)),
        };
        match found.unwrap_or(Err(Code::UnknownProblem)) {
            Ok(case) => {
                answers.push(Answer::Case);
                cases.push(case);
            }
            Err(code) => {
                let why = refused.remove(&at).unwrap_or((Refusal::of(code), reason(code).to_owned()));
                answers.push(Answer::Given(not_paired(bridge, from, delivery, &why)));
            }
        }
    }
    judge_all(bridge, &deliverer, txn.as_mut(), &mut cases).await?;
    append_cases(bridge, policy, from, txn.as_mut(), &mut cases).await?;
    txn.commit().await?;

    let is_appended = |outcome: &&Outcome| matches!(outcome, Outcome::Appended(_));
    let appended = cases.iter().flat_map(|case| &case.outcomes).filter(is_appended).count();
    let mut done = cases.iter().map(|case| case.receipt(bridge, policy, from));
    let answer = |answer| match answer {
        Answer::Case => done.next(),
        Answer::Given(receipt) => Some(receipt),
        Answer::Later => None,
    };
    Ok(Some((answers.into_iter().map(answer).collect(), appended)))
}

/// What comes of one delivery of a transaction.
enum Answer {
    /// The receipt of the next case.
    Case,
    /// This receipt: there is no problem for it.
    Given(Receipt),
    /// Nothing in this transaction.
    Later,
}

/// Creates the problems to which something can be appended, under the locks of their home names. Whose problem the table
/// does not take has the reason in what comes back.
async fn create_targets(
    bridge: &Bridge,
    deliverer: &Deliverer<'_>,
    txn: &mut dyn Txn,
    deliveries: &[Delivery],
    targets: &mut [Target],
) -> Result<Option<BTreeMap<usize, (Refusal, String)>>, StoreError> {
    let (mut places, mut wanted) = (Vec::new(), Vec::new());
    for (at, (delivery, target)) in deliveries.iter().zip(targets.iter()).enumerate() {
        let Target::New(home) = target else { continue };
        if Case::not_here(bridge, deliverer, home, delivery).fresh().is_empty() {
            continue;
        }
        places.push(at);
        wanted.push(NewProblem { home: home.clone(), fields: delivery.fields.clone() });
    }
    let homes: Vec<_> = wanted.iter().map(|new| new.home.clone()).collect();
    if !homes.is_empty() && txn.find(&homes).await?.iter().any(|found| !found.is_empty()) {
        return Ok(None);
    }
    let mut refused = BTreeMap::new();
    for (at, created) in places.into_iter().zip(create(txn, &wanted).await?) {
        match created {
            Ok(problem) => targets[at] = Target::Here(problem),
            Err(why) => {
                targets[at] = Target::Nowhere(why.0.code);
                refused.insert(at, why);
            }
        }
    }
    Ok(Some(refused))
}

/// The problem that was found, once its own markers confirm that it is the one that the delivery is for.
fn pair<'a>(
    bridge: &Bridge,
    from: &SiteName,
    delivery: &'a Delivery,
    problem: &ProblemId,
    read: ProblemRows,
) -> Result<Case<'a>, Code> {
    let named = own_name(bridge.site(), delivery) == Some(problem) || !bridge.is_linked();
    if !read.visible {
        return Err(if named { Code::UnknownProblem } else { Code::Unpaired });
    }
    let mut case = Case::new(bridge, delivery, problem.clone(), read);
    if bridge.is_linked() {
        case.link = confirm(&case.ledger, case.read.home.as_ref(), from, delivery)?;
        let theirs = delivery.names.get(from).map(|theirs| ProblemName::new(from.clone(), theirs.clone()));
        let linked_with = theirs.and_then(|theirs| bridge.links.of(&theirs));
        if case.link == Link::New && linked_with.is_some_and(|other| other != *problem) {
            return Err(Code::Conflict);
        }
    }
    Ok(case)
}

/// Why there is no problem for a delivery, as the operator reads it.
fn reason(code: Code) -> &'static str {
    match code {
        Code::Unpaired => "it is linked with no problem here; say `landbridge link`, or set [problem] create",
        Code::LinkLost => {
            "the problem of that number here knows nothing of it: after a restore the number may be another's; look at \
             both, then say `landbridge link --replace`"
        }
        Code::Conflict => {
            "a problem here is linked with another of that site's; look at both, then say `landbridge link --replace`"
        }
        _ => "no such problem here, or [problem] share hides it",
    }
}

async fn judge_all(
    bridge: &Bridge,
    deliverer: &Deliverer<'_>,
    txn: &mut dyn Txn,
    cases: &mut [Case<'_>],
) -> Result<(), StoreError> {
    let lookups = |case: &Case<'_>| {
        let (ledger, rows) = (&case.ledger, &case.read.rows);
        let mut wanted = judge::lookups(ledger, rows, deliverer, &case.delivery.entries);
        wanted.extend(judge::more_lookups(ledger, rows, deliverer, case.may_echo(bridge, deliverer.from)));
        wanted
    };
    let wanted: Vec<_> = cases.iter().map(lookups).collect();
    let asked: Vec<_> = cases
        .iter()
        .zip(&wanted)
        .flat_map(|(case, rows)| rows.iter().map(|w| ((case.problem.clone(), *w), case.bytes_of(*w))))
        .collect();
    let mut digests = digests(txn, &asked, bridge.limits.batch_bytes_max).await?.into_iter();
    for (case, rows) in cases.iter_mut().zip(wanted) {
        let digest = |row: WorkId| digests.next().flatten().map(|digest| (row, digest));
        let texts: BTreeMap<_, _> = rows.into_iter().filter_map(digest).collect();
        case.judge(bridge, deliverer, &texts);
        let Some(theirs) = case.delivery.names.get(deliverer.from).filter(|_| bridge.is_linked()) else { continue };
        let name = ProblemName::new(deliverer.from.clone(), theirs.clone());
        if case.link != Link::Forgotten || is_remembered(&case.ledger, deliverer.from, &case.verdicts) {
            bridge.links.trust(&name);
        } else {
            let again = bridge.links.is_doubted_again(&name);
            case.refuse_all(if again { Code::LinkLost } else { Code::Unpaired });
        }
    }
    Ok(())
}

/// Tells once of the entries that the sender may not speak for. Those of this site itself are not among them: they may have
/// been here.
fn tell_of_foreign_origins(bridge: &Bridge, from: &SiteName, deliveries: &[Delivery]) {
    let policy = bridge.peers.get(from).cloned().unwrap_or_default();
    let may_speak = |site: &SiteName| site == from || site == bridge.site() || policy.relay_from.contains(site);
    let sites = deliveries.iter().flat_map(|delivery| &delivery.entries).map(|entry| &entry.origin.site);
    let foreign: BTreeSet<_> = sites.filter(|site| !may_speak(site)).collect();
    if let Some(first) = foreign.first() {
        let more = if foreign.len() > 1 { " and of others" } else { "" };
        let detail = format!("entries of site {first}{more}, for which [[peer]] relay_from does not let it speak");
        bridge.observer.event(&Event::Violated { peer: Some(from), violation: Violation::Origin, detail: &detail });
    }
}

/// The receipt for a problem that is not here, not visible (both answer alike), or not linked.
fn not_paired(bridge: &Bridge, from: &SiteName, delivery: &Delivery, why: &(Refusal, String)) -> Receipt {
    let mut receipt = Receipt { names: delivery.names.clone(), ..Receipt::default() };
    for entry in &delivery.entries {
        match called(bridge, from, delivery) {
            Some(problem) => refuse(bridge, from, problem, &entry.origin, why.0, &why.1, &mut receipt),
            None => receipt.refused.push(Refused { origin: entry.origin.clone(), refusal: why.0 }),
        }
    }
    receipt
}
