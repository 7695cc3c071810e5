//! Which problem here a delivery is for (DESIGN §5). Where sites number alike it is the sender's own id. Where they do
//! not, it is looked for by this site's name among the delivery's, by what the markers here say, by the link column,
//! and created where the configuration says so.
//!
//! What is found here is a guess that is read outside of the transaction; `accept` has it confirmed by the ledger, under
//! the locks.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use landbridge_core::message::{Code, Delivery, Refusal};
use landbridge_core::pairing::own_name;
use landbridge_core::{Digest, Ledger, ProblemId, ProblemName, SiteName};

use crate::bridge::{Bridge, PeerPolicy};
use crate::error::StoreError;
use crate::ports::{Mode, NewProblem, Shard, Txn};
use crate::survey;

/// How problems of two sites are matched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pairing {
    /// A problem has the same id at every site.
    #[default]
    SameId,
    /// Each site numbers by itself; markers and the link column say which problems belong together.
    Linked {
        /// Whether a problem that is linked with none here is created.
        create: bool,
    },
}

/// Where a delivery goes, as far as it can be seen before the locks are taken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Target {
    /// To this problem.
    Here(ProblemId),
    /// To a problem that is to be created under this home name.
    New(ProblemName),
    /// Nowhere.
    Nowhere(Code),
    /// To where another delivery of the same transaction goes: both would be judged by what is there before either.
    Later,
}

impl Target {
    /// What has to be locked before it is looked at again.
    pub(crate) fn shard(&self) -> Option<Shard> {
        match self {
            Target::Here(problem) => Some(Shard::of(problem)),
            Target::New(home) => Some(Shard::of_name(home)),
            Target::Nowhere(_) | Target::Later => None,
        }
    }
}

/// Which problem here other sites' names belong to, as the markers say that this bridge has read since it started. Only
/// a hint: where it is missing something the entry waits until the problem was read once, and nothing is created before
/// all were. Takes some hundred bytes for each link.
#[derive(Debug, Default)]
pub struct Links {
    known: Mutex<Known>,
    all_read: AtomicBool,
}

#[derive(Debug, Default)]
struct Known {
    problems: HashMap<Digest, ProblemId>,
    /// The names of each problem, so that one which it no longer has is forgotten.
    names: HashMap<ProblemId, Vec<Digest>>,
    /// Linked problems of which a delivery came that did not know what they are called here.
    doubted: HashSet<Digest>,
    /// What peers call problems of which nothing was exchanged yet, so that no marker says it.
    heard: HashMap<(ProblemId, SiteName), ProblemId>,
}

impl Links {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns what the markers of one problem say.
    pub(crate) fn learn(&self, ledger: &Ledger) {
        let names = ledger.names().into_iter().filter(|(site, _)| site != ledger.site());
        let keys: Vec<_> = names.map(|(site, problem)| key(&ProblemName::new(site, problem))).collect();
        let mut known = self.known();
        let before = known.names.remove(ledger.problem()).unwrap_or_default();
        for former in before.iter().filter(|former| !keys.contains(former)) {
            if known.problems.get(former) == Some(ledger.problem()) {
                known.problems.remove(former);
            }
        }
        for key in &keys {
            known.problems.insert(*key, ledger.problem().clone());
        }
        if !keys.is_empty() {
            known.names.insert(ledger.problem().clone(), keys);
        }
    }

    /// The problem here that belongs to `name`.
    pub(crate) fn of(&self, name: &ProblemName) -> Option<ProblemId> {
        self.known().problems.get(&key(name)).cloned()
    }

    /// A delivery for the linked problem of `name` did not know what that is called here. True where the one before did
    /// not either: then it was prepared after our name had reached the sender, and the sender's problem is another one. The
    /// first may have been under way while our own delivery said it.
    pub(crate) fn is_doubted_again(&self, name: &ProblemName) -> bool {
        !self.known().doubted.insert(key(name))
    }

    /// A delivery for the linked problem of `name` knew it.
    pub(crate) fn trust(&self, name: &ProblemName) {
        self.known().doubted.remove(&key(name));
    }

    /// A receipt says what `peer` calls `problem`, of which nothing was exchanged yet; or that it is none of its own.
    pub(crate) fn hear(&self, problem: &ProblemId, peer: &SiteName, name: Option<&ProblemId>) {
        let at = (problem.clone(), peer.clone());
        match name {
            Some(name) => drop(self.known().heard.insert(at, name.clone())),
            None => drop(self.known().heard.remove(&at)),
        }
    }

    /// What a delivery of the problem of `ledger` tells of names: what the markers say, and what `peer` calls it by its own
    /// receipt. Once a marker says that too, it need not be remembered.
    pub(crate) fn names(&self, ledger: &Ledger, peer: &SiteName) -> BTreeMap<SiteName, ProblemId> {
        let mut names = ledger.names();
        let at = (ledger.problem().clone(), peer.clone());
        let mut known = self.known();
        match ledger.name_of(peer) {
            Some(_) => drop(known.heard.remove(&at)),
            None => names.extend(known.heard.get(&at).map(|name| (peer.clone(), name.clone()))),
        }
        names
    }

    /// Every problem was read once.
    pub(crate) fn are_all_read(&self) {
        self.all_read.store(true, Ordering::SeqCst);
    }

    /// Whether every problem was read once.
    pub(crate) fn is_whole(&self) -> bool {
        self.all_read.load(Ordering::SeqCst)
    }
}

fn key(name: &ProblemName) -> Digest {
    Digest::of(&name.to_string())
}

/// Reads what these problems are linked with.
pub async fn learn_links(bridge: &Bridge, problems: &[ProblemId]) -> Result<(), StoreError> {
    let mut txn = bridge.store.begin(Mode::Read).await?;
    for (problem, read) in problems.iter().zip(txn.rows(problems, None).await?) {
        bridge.ledger(problem, &read.rows);
    }
    Ok(())
}

/// Reads what all problems are linked with, and tells how many were read with each page. A problem that somebody linked by
/// hand is found by nothing else, so no other is created in its place before this was done once.
pub async fn learn_all_links(bridge: &Bridge, read: &(dyn Fn(usize) + Sync)) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let page = survey::page(bridge, after.as_ref()).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.clone());
        learn_links(bridge, &page).await?;
        read(page.len());
    }
    bridge.links.are_all_read();
    Ok(())
}

/// Where each of `deliveries` goes.
pub(crate) async fn targets(
    bridge: &Bridge,
    from: &SiteName,
    deliveries: &[Delivery],
) -> Result<Vec<Target>, StoreError> {
    let Pairing::Linked { create } = bridge.pairing else {
        return Ok(deliveries.iter().map(|d| same_id(bridge, from, d)).collect());
    };
    let mut found: Vec<_> = deliveries.iter().map(|d| by_hint(bridge, from, d)).collect();
    let more = by_link_column(bridge, from, &unfound(deliveries, &found)).await?;
    fill(&mut found, more);
    let more = by_third_name(bridge, from, &unfound(deliveries, &found)).await?;
    fill(&mut found, more);
    let policy = bridge.peers.get(from).cloned().unwrap_or_default();
    let nowhere = |delivery| {
        let home = home(bridge, from, &policy, delivery).filter(|_| create);
        home.map_or(Target::Nowhere(Code::Unpaired), Target::New)
    };
    Ok(deliveries.iter().zip(found).map(|(delivery, found)| found.unwrap_or_else(|| nowhere(delivery))).collect())
}

/// The deliveries that nothing was found for yet.
fn unfound<'a>(deliveries: &'a [Delivery], found: &[Option<Target>]) -> Vec<&'a Delivery> {
    deliveries.iter().zip(found).filter(|(_, found)| found.is_none()).map(|(delivery, _)| delivery).collect()
}

/// Puts what was found for those into their places.
fn fill(found: &mut [Option<Target>], more: Vec<Option<Target>>) {
    found.iter_mut().filter(|found| found.is_none()).zip(more).for_each(|(found, more)| *found = more);
}

/// Sites number alike, so it is the sender's id; a sender that thinks that we call it otherwise, or that numbers by itself
/// (it says a home name), means a problem that is not here.
fn same_id(bridge: &Bridge, from: &SiteName, delivery: &Delivery) -> Target {
    let theirs = delivery.names.get(from);
    let ours = delivery.names.get(bridge.site()).or(theirs);
    match theirs.filter(|theirs| ours == Some(theirs) && delivery.home.is_none()) {
        Some(problem) => Target::Here(problem.clone()),
        None => Target::Nowhere(Code::UnknownProblem),
    }
}

/// By this site's own name, else by what markers say that belongs to the sender's.
fn by_hint(bridge: &Bridge, from: &SiteName, delivery: &Delivery) -> Option<Target> {
    let Some(theirs) = delivery.names.get(from) else { return Some(Target::Nowhere(Code::Unpaired)) };
    let own = own_name(bridge.site(), delivery).cloned();
    own.or_else(|| bridge.links.of(&ProblemName::new(from.clone(), theirs.clone()))).map(Target::Here)
}

/// The names under which the link column may have a problem: where it was first seen, then the sender's.
fn homes(from: &SiteName, delivery: &Delivery) -> Vec<ProblemName> {
    let theirs = delivery.names.get(from).map(|problem| ProblemName::new(from.clone(), problem.clone()));
    let mut homes: Vec<_> = delivery.home.iter().cloned().chain(theirs).collect();
    homes.dedup();
    homes
}

async fn by_link_column(
    bridge: &Bridge,
    from: &SiteName,
    deliveries: &[&Delivery],
) -> Result<Vec<Option<Target>>, StoreError> {
    let names: BTreeSet<_> = deliveries.iter().flat_map(|d| homes(from, d)).collect();
    if names.is_empty() {
        return Ok(vec![None; deliveries.len()]);
    }
    let names: Vec<_> = names.into_iter().collect();
    let mut txn = bridge.store.begin(Mode::Read).await?;
    let found: BTreeMap<_, _> = names.iter().zip(txn.find(&names).await?).collect();
    let target = |delivery: &&Delivery| {
        homes(from, delivery).iter().find_map(|home| match found.get(home).map(Vec::as_slice) {
            Some([one]) => Some(Target::Here(one.clone())),
            Some([_, ..]) => Some(Target::Nowhere(Code::Conflict)),
            _ => None,
        })
    };
    Ok(deliveries.iter().map(target).collect())
}

/// By what markers here say of a third site's name: two sites that are both linked with it meet. Whoever may not speak
/// for that site leads nothing but its own entries there, and only into a problem that it may see; of one that is hidden it
/// finds out nothing.
async fn by_third_name(
    bridge: &Bridge,
    from: &SiteName,
    deliveries: &[&Delivery],
) -> Result<Vec<Option<Target>>, StoreError> {
    let hint = |delivery: &&Delivery| {
        let named = delivery.names.iter().filter(|(site, _)| *site != from && *site != bridge.site());
        let named = named.map(|(site, problem)| ProblemName::new(site.clone(), problem.clone()));
        delivery.home.iter().cloned().chain(named).find_map(|name| bridge.links.of(&name))
    };
    let hints: Vec<_> = deliveries.iter().map(hint).collect();
    let problems: Vec<_> = hints.iter().flatten().cloned().collect();
    if problems.is_empty() {
        return Ok(vec![None; deliveries.len()]);
    }
    let mut txn = bridge.store.begin(Mode::Read).await?;
    let mut visible = txn.rows(&problems, None).await?.into_iter().map(|read| read.visible);
    Ok(hints.into_iter().map(|hint| hint.filter(|_| visible.next() == Some(true)).map(Target::Here)).collect())
}

/// The home name of a problem that may be created on the sender's word: the sender's own, or one of a site that it may
/// speak for. A problem of another peer waits for that peer, which would else find a second one in its place; one of a
/// site that we do not speak with is at home where we hear of it.
fn home(bridge: &Bridge, from: &SiteName, policy: &PeerPolicy, delivery: &Delivery) -> Option<ProblemName> {
    let theirs = ProblemName::new(from.clone(), delivery.names.get(from)?.clone());
    match &delivery.home {
        Some(home) if home.site == *from || policy.relay_from.contains(&home.site) => Some(home.clone()),
        Some(home) if bridge.peers.contains_key(&home.site) => None,
        _ => Some(theirs),
    }
}

/// What became of a problem to create: its id, or why there is none.
pub(crate) type Created = Result<ProblemId, (Refusal, String)>;

/// Creates problems, each visible to everybody who may see it; halves them where the table does not take one.
pub(crate) async fn create(txn: &mut dyn Txn, wanted: &[NewProblem]) -> Result<Vec<Created>, StoreError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    txn.savepoint().await?;
    let (refusal, detail) = match create_at_once(txn, wanted).await {
        Ok(created) => {
            txn.release().await?;
            return Ok(created.into_iter().map(Ok).collect());
        }
        Err(StoreError::Row { refusal, detail }) => (refusal, detail),
        Err(failed) => return Err(failed),
    };
    txn.rollback_to().await?;
    if wanted.len() == 1 {
        return Ok(vec![Err((refusal, detail))]);
    }
    let (first, second) = wanted.split_at(wanted.len() / 2);
    let mut created = Box::pin(create(txn, first)).await?;
    created.extend(Box::pin(create(txn, second)).await?);
    Ok(created)
}

async fn create_at_once(txn: &mut dyn Txn, wanted: &[NewProblem]) -> Result<Vec<ProblemId>, StoreError> {
    let created = txn.create(wanted).await?;
    let read = txn.rows(&created, None).await?;
    let is_whole = |(new, read): (&NewProblem, &crate::ports::ProblemRows)| {
        read.visible && read.rows.is_empty() && read.home.as_ref() == Some(&new.home)
    };
    if created.len() == wanted.len() && read.len() == wanted.len() && wanted.iter().zip(&read).all(is_whole) {
        return Ok(created);
    }
    Err(StoreError::Row {
        refusal: Refusal::of(Code::Value),
        detail: "a created problem does not read back as it should: [problem] share must let it pass, its link column \
                 must keep the home name, and its id must be new; look at [problem.insert]"
            .to_owned(),
    })
}
