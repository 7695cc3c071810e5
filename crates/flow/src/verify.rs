//! Comparing what two sites hold (DESIGN §5, `verify`): first count and sum of each problem, then only the problems that
//! differ, entry by entry. Nothing is changed and no text travels.
//!
//! ```text
//! verify    pages of what the peer believes     ◄── beliefs     core/account   belief, text_sum
//!           and of our own problems that it does not name
//! compare   of those that differ, our account   ──► accounts    core/account   account, lacks
//!           ◄── its account, and what it lacks of ours
//!           what we lack of its account, read again after the answer
//! ```
//!
//! Each site says itself what it lacks, of what it has when it is asked: what is still on its way is therefore no loss.

mod answers;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use landbridge_core::account::View;
use landbridge_core::message::{Account, Answered, Beliefs, Believed, Compare, Missing, Verify, WIRE, Word};
use landbridge_core::{Digest, Ledger, OriginSet, ProblemId, ProblemName, SiteName, WorkId};

use crate::bridge::{Bridge, Event};
use crate::error::{PeerError, StoreError};
use crate::exchange::Failure;
use crate::ports::{Compares, Mode, ProblemRows, Txn};
use crate::survey::page;
use crate::texts;

pub(crate) use answers::{accounts, beliefs};

/// Problems of one comparison.
const COMPARED_PROBLEMS_MAX: usize = 200;
/// Rows of one comparison; a problem with more goes alone.
const COMPARED_ROWS_MAX: usize = 20_000;
/// Findings of one verification: a peer that lists problems without end is not believed beyond.
pub const FINDINGS_MAX: usize = 100_000;

/// Pages in a row that may name nothing of this site: problems that are linked with none here, or not exchanged.
const IDLE_PAGES_MAX: usize = 20_000;

/// A problem in which two sites do not hold the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The problem here.
    pub problem: ProblemId,
    /// What differs.
    pub found: Found,
}

impl Finding {
    /// Whether entries are lacking at either site, whatever else differs.
    pub fn is_lacking(&self) -> bool {
        matches!(&self.found, Found::Lacking { there, here } if !there.is_complete() || !here.is_complete())
    }

    /// Whether anything is to be sent again or fetched back, by the operator's word.
    pub fn is_to_repair(&self, word: Word) -> bool {
        let wants = |missing: &Missing| !missing.to_repair(word).is_empty();
        matches!(&self.found, Found::Lacking { there, here } if wants(there) || wants(here))
    }
}

/// How a problem differs between two sites.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// Both sites have the problem; one or both lack entries.
    Lacking {
        /// What the peer lacks of what this site has or gave.
        there: Missing,
        /// What this site lacks of what the peer has or gave.
        here: Missing,
    },
    /// The peer shows no such problem any more: it is gone there, or hidden from this site.
    Unseen {
        /// What was exchanged of it.
        exchanged: OriginSet,
    },
    /// The two sites do not agree on which problem belongs to this one.
    LinkLost {
        /// What the peer calls its problem, as far as it says so.
        theirs: Option<ProblemId>,
    },
}

/// Compares everything that this site and `name` exchanged, its texts too where `with_texts`: only they tell where one number
/// has another text at each site. `progress` is told how many problems were looked at.
///
/// # Errors
/// [`Failure`] of either end; nothing is told to the observer then.
pub async fn verify(
    bridge: &Bridge,
    name: &SiteName,
    peer: &dyn Compares,
    with_texts: bool,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    let (mut named, mut looked_at, mut after) = (HashSet::new(), 0, None);
    let mut idle_pages = 0;
    loop {
        let (from, to, history) = (bridge.site().clone(), name.clone(), bridge.history.clone());
        let ask = Verify { wire: WIRE, from, to, history, after: after.clone(), texts: with_texts };
        let beliefs = peer.verify(ask).await?;
        let (differing, exchanged) = differing(bridge, name, &beliefs, &mut named, &mut findings).await?;
        findings.extend(compare_quietly(bridge, name, peer, &differing).await?);
        looked_at += beliefs.problems.len();
        progress(looked_at);
        idle_pages = if exchanged > 0 { 0 } else { idle_pages + 1 };
        if idle_pages > IDLE_PAGES_MAX {
            let what = format!("{IDLE_PAGES_MAX} pages in a row name no problem of this site; verify some by name");
            return Err(PeerError::Protocol(what).into());
        }
        if findings.len() > FINDINGS_MAX {
            let what = format!("it names more than {FINDINGS_MAX} problems that differ; verify some by name");
            return Err(PeerError::Protocol(what).into());
        }
        match beliefs.after {
            Some(next) if after.as_ref() != Some(&next) => after = Some(next),
            _ => break,
        }
    }
    let mut after = None;
    loop {
        let problems = page(bridge, after.as_ref()).await?;
        let unnamed: Vec<_> = problems.iter().filter(|problem| !named.contains(&key(problem))).cloned().collect();
        let ours = look_at(bridge, name, &unnamed, |side| side.view(bridge, name).belief().is_some()).await?;
        let unnamed: Vec<_> =
            unnamed.into_iter().zip(ours).filter(|(_, any)| *any).map(|(problem, _)| problem).collect();
        findings.extend(compare_quietly(bridge, name, peer, &unnamed).await?);
        looked_at += unnamed.len();
        progress(looked_at);
        match problems.into_iter().next_back() {
            Some(last) => after = Some(last),
            None => break,
        }
    }
    bridge.observer.event(&Event::Verified { peer: name });
    findings.iter().for_each(|finding| tell(bridge, name, finding));
    Ok(findings)
}

/// Compares these problems alone, however the beliefs stand.
///
/// # Errors
/// [`Failure`] of either end; nothing is told to the observer then.
pub async fn compare(
    bridge: &Bridge,
    name: &SiteName,
    peer: &dyn Compares,
    problems: &[ProblemId],
) -> Result<Vec<Finding>, Failure> {
    let findings = compare_quietly(bridge, name, peer, problems).await?;
    let differing: HashSet<_> = findings.iter().map(|finding| &finding.problem).collect();
    for problem in problems.iter().filter(|problem| !differing.contains(problem)) {
        let nothing = Found::Lacking { there: Missing::default(), here: Missing::default() };
        tell(bridge, name, &Finding { problem: problem.clone(), found: nothing });
    }
    findings.iter().for_each(|finding| tell(bridge, name, finding));
    Ok(findings)
}

async fn compare_quietly(
    bridge: &Bridge,
    name: &SiteName,
    peer: &dyn Compares,
    problems: &[ProblemId],
) -> Result<Vec<Finding>, Failure> {
    let (mut findings, mut rest) = (Vec::new(), problems);
    while !rest.is_empty() {
        let some = rest.get(..COMPARED_PROBLEMS_MAX).unwrap_or(rest);
        let (asked, accounts) = read_accounts(bridge, name, some).await?;
        rest = rest.get(asked.len()..).unwrap_or_default();
        findings.extend(compare_accounts(bridge, name, peer, asked, accounts).await?);
    }
    Ok(findings)
}

/// What a finding means for `status`.
fn tell(bridge: &Bridge, peer: &SiteName, finding: &Finding) {
    let problem = &finding.problem;
    match &finding.found {
        Found::Lacking { there, here } => {
            bridge.observer.event(&Event::Diverged { peer, problem, missing: &there.all() });
            bridge.observer.event(&Event::LostHere { peer, problem, missing: here });
        }
        Found::Unseen { exchanged } => {
            bridge.observer.event(&Event::Diverged { peer, problem, missing: exchanged });
        }
        Found::LinkLost { .. } => {}
    }
}

fn key(problem: &ProblemId) -> u64 {
    Digest::of(problem.as_str()).short()
}

/// Of a page of what the peer believes, the problems here that have to be compared, and in how many something was exchanged by
/// what this site knows. `named` takes all of them that it named.
async fn differing(
    bridge: &Bridge,
    name: &SiteName,
    beliefs: &Beliefs,
    named: &mut HashSet<u64>,
    findings: &mut Vec<Finding>,
) -> Result<(Vec<ProblemId>, usize), StoreError> {
    let here = beliefs.problems.iter().map(|believed| (here(bridge, name, &believed.names), believed));
    let (mut problems, mut theirs, mut of_page) = (Vec::new(), Vec::new(), HashSet::new());
    for (problem, believed) in here {
        // Of a problem that is linked with none here, nothing here is missing. One that is named again is not read again.
        let Some(problem) = problem else { continue };
        if !named.contains(&key(&problem)) && of_page.insert(key(&problem)) {
            problems.push(problem);
            theirs.push(believed);
        }
    }
    let with_texts = theirs.iter().map(|believed| believed.texts.is_some());
    let ours = believed(bridge, name, &problems, &with_texts.collect::<Vec<_>>()).await?;
    let (mut differing, mut exchanged) = (Vec::new(), 0);
    for ((problem, theirs), (ours, linked)) in problems.into_iter().zip(theirs).zip(ours) {
        if ours.is_some() {
            exchanged += usize::from(named.insert(key(&problem)));
        }
        if !linked.agrees(theirs.names.get(name)) {
            findings.push(Finding { problem, found: Found::LinkLost { theirs: theirs.names.get(name).cloned() } });
        } else if ours.is_none_or(|ours| ours.compare || theirs.compare || !ours.agrees(theirs)) {
            differing.push(problem);
        }
    }
    Ok((differing, exchanged))
}

/// What a problem here calls a peer's.
enum LinkedAs {
    /// By the same id: sites number alike.
    SameId,
    /// As the markers say.
    Linked(Option<ProblemId>),
}

impl LinkedAs {
    fn agrees(&self, theirs: Option<&ProblemId>) -> bool {
        match self {
            LinkedAs::SameId => true,
            LinkedAs::Linked(known) => known.is_some() && known.as_ref() == theirs,
        }
    }
}

fn is_linked_as(bridge: &Bridge, ledger: &Ledger, peer: &SiteName) -> LinkedAs {
    if bridge.is_linked() { LinkedAs::Linked(ledger.name_of(peer).cloned()) } else { LinkedAs::SameId }
}

/// The problem here that a message of `peer` calls by these names. Its markers have still to confirm it.
pub(crate) fn here(bridge: &Bridge, peer: &SiteName, names: &BTreeMap<SiteName, ProblemId>) -> Option<ProblemId> {
    let (theirs, ours) = (names.get(peer), names.get(bridge.site()));
    if !bridge.is_linked() {
        return ours.or(theirs).filter(|problem| theirs.is_none_or(|theirs| theirs == *problem)).cloned();
    }
    let by_marker = || bridge.links.of(&ProblemName::new(peer.clone(), theirs?.clone()));
    ours.cloned().or_else(by_marker)
}

/// The problems here that `peer` means by these names; nothing for one that is not here, that it may not see, or that is
/// linked with another of its problems.
pub(crate) async fn meant<'a>(
    bridge: &Bridge,
    peer: &SiteName,
    names: impl Iterator<Item = &'a BTreeMap<SiteName, ProblemId>>,
) -> Result<Vec<Option<ProblemId>>, StoreError> {
    let names: Vec<_> = names.collect();
    let found: Vec<_> = names.iter().map(|names| here(bridge, peer, names)).collect();
    // Each once, however often it is named.
    let problems: Vec<_> = found.iter().flatten().collect::<BTreeSet<_>>().into_iter().cloned().collect();
    let linked =
        look_at(bridge, peer, &problems, |side| side.read.visible.then(|| is_linked_as(bridge, &side.ledger, peer)));
    let linked: BTreeMap<_, _> = problems.iter().zip(linked.await?).collect();
    let is_meant = |(problem, names): (Option<ProblemId>, &BTreeMap<SiteName, ProblemId>)| {
        let linked = linked.get(problem.as_ref()?)?.as_ref()?;
        linked.agrees(names.get(peer)).then_some(problem?)
    };
    Ok(found.into_iter().zip(names).map(is_meant).collect())
}

/// How many problems are read at once where a peer chooses them: their rows are in memory together.
const PART_PROBLEMS: usize = 50;

/// What this site believes of each of these problems, and what it calls the peer's; with the sum of its texts where that is
/// wanted.
async fn believed(
    bridge: &Bridge,
    peer: &SiteName,
    problems: &[ProblemId],
    with_texts: &[bool],
) -> Result<Vec<(Option<Believed>, LinkedAs)>, StoreError> {
    let mut all = Vec::with_capacity(problems.len());
    for (part, with_texts) in problems.chunks(PART_PROBLEMS).zip(with_texts.chunks(PART_PROBLEMS)) {
        let mut txn = bridge.store.begin(Mode::Read).await?;
        let read = txn.rows(part, Some(peer)).await?;
        let sides = sides(bridge, part, read);
        let beliefs = summed_up(bridge, txn.as_mut(), peer, &sides, with_texts).await?;
        let linked = sides.iter().map(|side| is_linked_as(bridge, &side.ledger, peer));
        all.extend(beliefs.into_iter().zip(linked));
    }
    Ok(all)
}

/// The beliefs of these problems, with the sum of their texts where that is wanted.
pub(crate) async fn summed_up(
    bridge: &Bridge,
    txn: &mut dyn Txn,
    peer: &SiteName,
    sides: &[Side],
    with_texts: &[bool],
) -> Result<Vec<Option<Believed>>, StoreError> {
    let wanted = |(side, with_texts): (&Side, &bool)| match with_texts {
        true => side.view(bridge, peer).exchanged_texts(),
        false => BTreeSet::new(),
    };
    let digests = read_digests(bridge, txn, sides, sides.iter().zip(with_texts).map(wanted).collect()).await?;
    let belief = |((side, digests), with_texts): ((&Side, &BTreeMap<_, _>), &bool)| {
        let view = side.view(bridge, peer);
        Some(Believed { texts: with_texts.then(|| view.text_sum(digests)), ..view.belief()? })
    };
    Ok(sides.iter().zip(&digests).zip(with_texts).map(belief).collect())
}

/// What `look` makes of each of these problems.
async fn look_at<T>(
    bridge: &Bridge,
    peer: &SiteName,
    problems: &[ProblemId],
    look: impl Fn(&Side) -> T,
) -> Result<Vec<T>, StoreError> {
    let mut looked_at = Vec::with_capacity(problems.len());
    for part in problems.chunks(PART_PROBLEMS) {
        let mut txn = bridge.store.begin(Mode::Read).await?;
        let read = txn.rows(part, Some(peer)).await?;
        looked_at.extend(sides(bridge, part, read).iter().map(&look));
    }
    Ok(looked_at)
}

/// The accounts of the first of these problems, as many as fit into one comparison, and those problems.
async fn read_accounts(
    bridge: &Bridge,
    peer: &SiteName,
    problems: &[ProblemId],
) -> Result<(Vec<ProblemId>, Vec<Account>), StoreError> {
    let mut txn = bridge.store.begin(Mode::Read).await?;
    let mut read = txn.rows(problems, Some(peer)).await?;
    let (mut rows, mut fitting) = (0, 0);
    for problem in &read {
        rows += problem.rows.len();
        if fitting > 0 && rows > COMPARED_ROWS_MAX {
            break;
        }
        fitting += 1;
    }
    read.truncate(fitting);
    let asked: Vec<_> = problems.iter().take(fitting).cloned().collect();
    let sides = sides(bridge, &asked, read);
    let digests = digests(bridge, txn.as_mut(), peer, &sides, &vec![None; sides.len()]).await?;
    let accounts = sides.iter().zip(&digests).map(|(side, digests)| side.view(bridge, peer).account(digests));
    Ok((asked, accounts.collect()))
}

async fn compare_accounts(
    bridge: &Bridge,
    name: &SiteName,
    peer: &dyn Compares,
    asked: Vec<ProblemId>,
    accounts: Vec<Account>,
) -> Result<Vec<Finding>, Failure> {
    let exchanged: Vec<_> = accounts.iter().map(|account| account.exchanged.clone()).collect();
    let (from, to, history) = (bridge.site().clone(), name.clone(), bridge.history.clone());
    let answer = peer.compare(Compare { wire: WIRE, from, to, history, problems: accounts }).await?;
    if answer.problems.len() != asked.len() {
        let what = "it answered another number of problems than it was asked for";
        return Err(PeerError::Protocol(what.to_owned()).into());
    }
    // What this site lacks is seen only now: what the peer says that we have, we had before it said so.
    let theirs: Vec<_> = answer.problems.iter().map(|answered| answered.as_ref().map(|a| &a.account)).collect();
    let lacking = lacking(bridge, name, &asked, &theirs).await?;
    let mut findings = Vec::new();
    for (((problem, answered), here), exchanged) in asked.into_iter().zip(answer.problems).zip(lacking).zip(exchanged) {
        let found = match (answered, here) {
            (Some(Answered { account, .. }), None) => Found::LinkLost { theirs: account.names.get(name).cloned() },
            (Some(Answered { lacks: there, .. }), Some(here)) if !there.is_empty() || !here.is_empty() => {
                Found::Lacking { there, here }
            }
            (None, _) if !exchanged.is_empty() => Found::Unseen { exchanged },
            _ => continue,
        };
        findings.push(Finding { problem, found });
    }
    Ok(findings)
}

/// What this site lacks of the peer's accounts; nothing where the two do not mean the same problem.
async fn lacking(
    bridge: &Bridge,
    peer: &SiteName,
    problems: &[ProblemId],
    theirs: &[Option<&Account>],
) -> Result<Vec<Option<Missing>>, StoreError> {
    let mut txn = bridge.store.begin(Mode::Read).await?;
    let read = txn.rows(problems, Some(peer)).await?;
    let sides = sides(bridge, problems, read);
    let digests = digests(bridge, txn.as_mut(), peer, &sides, theirs).await?;
    let lacking = sides.iter().zip(&digests).zip(theirs).map(|((side, digests), theirs)| match theirs {
        Some(theirs) if is_linked_as(bridge, &side.ledger, peer).agrees(theirs.names.get(peer)) => {
            Some(side.view(bridge, peer).lacks(theirs, digests))
        }
        Some(_) => None,
        None => Some(Missing::default()),
    });
    Ok(lacking.collect())
}

/// One problem at this site.
pub(crate) struct Side {
    pub(crate) ledger: Ledger,
    pub(crate) read: ProblemRows,
}

impl Side {
    pub(crate) fn view<'a>(&'a self, bridge: &Bridge, peer: &'a SiteName) -> View<'a> {
        let relay = bridge.peers.get(peer).is_some_and(|policy| policy.relay);
        View { ledger: &self.ledger, rows: &self.read.rows, peer, relay }
    }

    fn bytes_of(&self, work: WorkId) -> u64 {
        let rows = &self.read.rows;
        rows.binary_search_by_key(&work, |row| row.work).ok().and_then(|at| rows.get(at)).map_or(0, |row| row.bytes)
    }
}

pub(crate) fn sides(bridge: &Bridge, problems: &[ProblemId], read: Vec<ProblemRows>) -> Vec<Side> {
    let side = |(problem, read): (&ProblemId, ProblemRows)| Side { ledger: bridge.ledger(problem, &read.rows), read };
    problems.iter().zip(read).map(side).collect()
}

/// The digests that accounts of these problems need, and what is lacked of `theirs`.
async fn digests(
    bridge: &Bridge,
    txn: &mut dyn Txn,
    peer: &SiteName,
    sides: &[Side],
    theirs: &[Option<&Account>],
) -> Result<Vec<BTreeMap<WorkId, Digest>>, StoreError> {
    let wanted = sides.iter().zip(theirs).map(|(side, theirs)| side.view(bridge, peer).lookups(*theirs));
    read_digests(bridge, txn, sides, wanted.collect()).await
}

/// The digests of these rows' texts.
pub(crate) async fn read_digests(
    bridge: &Bridge,
    txn: &mut dyn Txn,
    sides: &[Side],
    wanted: Vec<BTreeSet<WorkId>>,
) -> Result<Vec<BTreeMap<WorkId, Digest>>, StoreError> {
    let row = |side: &Side, row: WorkId| ((side.ledger.problem().clone(), row), side.bytes_of(row));
    let rows: Vec<_> =
        sides.iter().zip(&wanted).flat_map(|(side, rows)| rows.iter().map(move |work| row(side, *work))).collect();
    let mut read = texts::digests(txn, &rows, bridge.limits.batch_bytes_max).await?.into_iter();
    let mut digest = |row| read.next().flatten().map(|digest| (row, digest));
    Ok(wanted.into_iter().map(|rows| rows.into_iter().filter_map(&mut digest).collect()).collect())
}
