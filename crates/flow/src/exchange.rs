//! The traffic with one peer, in both directions and by either side's dialling: deliver (we push), fetch (we pull), and
//! what this site answers when it is dialled.
//!
//! Each peer has its own line: its own outbox, pauses and batch size, so that a slow peer delays nobody else.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{Either, select};
use landbridge_core::message::{
    Beliefs, Code, Compare, Compared, Deliveries, Delivery, Entry, LossRecorded, Lost, Pull, Push, Receipt, Receipts,
    Refusal, Refused, Verify, WIRE, to_bytes,
};
use landbridge_core::{Bounds, Digest, SiteName};
use thiserror::Error;

use crate::accept::{accept, accept_and_count};
use crate::bridge::{Bridge, Event};
use crate::egress::{RecordError, Way, let_go};
use crate::error::{PeerError, ServeError, StoreError};
use crate::line::{Flight, Line};
use crate::pace::Backoff;
use crate::ports::{Clock, Peer, Service};
use crate::repair::take_lost;
use crate::send::{Outgoing, prepare};
use crate::settle::{Settled, settle};
use crate::verify::{accounts, beliefs};
use crate::violation::Violation;

/// What one attempt met.
#[derive(Debug, Error)]
pub enum Failure {
    /// The own database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The peer did not answer as it should.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// What was to leave could not be recorded, so it did not leave.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Waits for receipts of what the peer answers to already, or a new ticket's link would be taken for a lost one where the
/// answer overtakes the receipt. Not for ever: the receipt may be lost.
async fn wait_for_receipts(bridge: &Bridge, line: &Line, deliveries: &[Delivery], clock: &dyn Clock) {
    if !bridge.is_linked() {
        return;
    }
    let mut enough = clock.sleep(bridge.pauses.retry_first);
    loop {
        let mut landed = pin!(line.landed.notified());
        landed.as_mut().enable();
        if !deliveries.iter().any(|delivery| line.is_about_to_link(bridge, delivery)) {
            return;
        }
        match select(landed, enough).await {
            Either::Left((_, still)) => enough = still,
            Either::Right(_) => return,
        }
    }
}

/// The next batch for the line's peer; nothing where nothing is owed.
async fn next_batch(
    bridge: &Bridge,
    line: &Line,
    problems_max: usize,
    clock: &dyn Clock,
) -> Result<Option<Outgoing>, StoreError> {
    loop {
        let due = line.outbox().take(clock.now(), problems_max);
        if due.is_empty() {
            let Some(after) = line.outbox().next_page() else { return Ok(None) };
            let swept = bridge.store.sweep(after.as_ref(), bridge.limits.batch_problems_max).await?;
            line.outbox().page(swept.into_iter().map(|s| s.problem).collect());
            continue;
        }
        let mut flight = Flight { line, problems: due.keys().cloned().collect(), handed_out: None };
        let entries_max = line.entries_max.load(Ordering::Relaxed);
        let mut outgoing = prepare(bridge, &line.peer, entries_max, due).await?;
        let sent: BTreeSet<_> = outgoing.rows().map(|(problem, _)| problem.clone()).collect();
        let looked_at = std::mem::take(&mut flight.problems);
        let mut outbox = line.outbox();
        outgoing.withheld.drain(..).for_each(|(problem, row)| outbox.withhold(problem, row, clock.now()));
        outbox.left(std::mem::take(&mut outgoing.left));
        outbox.landed(looked_at.into_iter().filter(|p| !sent.contains(p)));
        drop(outbox);
        if !outgoing.deliveries.is_empty() {
            return Ok(Some(outgoing));
        }
    }
}

fn conclude(line: &Line, settled: &[Settled], clock: &dyn Clock) {
    let now = clock.now();
    let mut outbox = line.outbox();
    settled.iter().for_each(|s| outbox.settled(s, now));
    line.landed.notify_waiters();
}

/// Delivers one batch. False where nothing was owed.
pub async fn deliver_once(bridge: &Bridge, line: &Line, peer: &dyn Peer, clock: &dyn Clock) -> Result<bool, Failure> {
    let Some(outgoing) = next_batch(bridge, line, bridge.limits.batch_problems_max, clock).await? else {
        return Ok(false);
    };
    let mut flight = Flight::of(line, &outgoing);
    let push = Push {
        wire: WIRE,
        from: bridge.site().clone(),
        to: line.peer.clone(),
        history: bridge.history.clone(),
        deliveries: let_go(bridge, &line.peer, Way::Push, &outgoing).await?,
    };
    let receipts = match peer.push(push).await {
        Ok(receipts) => receipts.receipts,
        Err(PeerError::TooLarge) if outgoing.entries() > 1 => {
            line.entries_max.store(outgoing.entries() / 2, Ordering::Relaxed);
            return Ok(true);
        }
        Err(PeerError::TooLarge) => too_large(&outgoing),
        Err(failed) => return Err(told(bridge, &line.peer, failed).into()),
    };
    if receipts.len() != outgoing.deliveries.len() {
        let why = "it gave another number of receipts than there were deliveries".to_owned();
        return Err(told(bridge, &line.peer, PeerError::Violation(why)).into());
    }
    let settled = settle(bridge, &line.peer, outgoing, &receipts).await?;
    flight.problems.clear();
    conclude(line, &settled, clock);
    let grown = line.entries_max.load(Ordering::Relaxed).saturating_mul(2).min(bridge.limits.batch_entries_max);
    line.entries_max.store(grown, Ordering::Relaxed);
    bridge.observer.event(&Event::PeerAnswered { peer: &line.peer });
    Ok(true)
}

/// Tells of an answer that no bridge in order gives.
fn told(bridge: &Bridge, peer: &SiteName, failed: PeerError) -> PeerError {
    if let PeerError::Violation(detail) = &failed {
        bridge.observer.event(&Event::Violated { peer: Some(peer), violation: Violation::Answer, detail });
    }
    failed
}

/// The receipt that a peer would have given for the one entry that is too large for it.
fn too_large(outgoing: &Outgoing) -> Vec<Receipt> {
    let refuse = |entry: &Entry| Refused { origin: entry.origin.clone(), refusal: Refusal::of(Code::TextTooLong) };
    let receipt =
        |delivery: &Delivery| Receipt { refused: delivery.entries.iter().map(refuse).collect(), ..Receipt::default() };
    outgoing.deliveries.iter().map(receipt).collect()
}

/// Delivers whatever becomes owed. Ends only by being dropped.
pub async fn deliver(bridge: &Bridge, line: &Line, peer: &dyn Peer, clock: &dyn Clock) {
    let mut backoff = Backoff::new(bridge.pauses.retry_first, bridge.pauses.retry_longest);
    loop {
        match deliver_once(bridge, line, peer, clock).await {
            Ok(true) => backoff.succeeded(),
            Ok(false) => {
                wait_for_work(bridge, line, clock).await;
                clock.sleep(bridge.pauses.gather).await;
            }
            Err(failure) => pause_after(bridge, &line.peer, &failure, &mut backoff, clock).await,
        }
    }
}

async fn wait_for_work(bridge: &Bridge, line: &Line, clock: &dyn Clock) {
    let rung = line.bell.notified();
    let retry = line.outbox().next_retry();
    match retry {
        Some(at) => {
            let pause = at.saturating_sub(clock.now()).min(bridge.pauses.retry_longest);
            select(pin!(rung), pin!(clock.sleep(pause))).await;
        }
        None => rung.await,
    }
}

async fn pause_after(bridge: &Bridge, peer: &SiteName, failure: &Failure, backoff: &mut Backoff, clock: &dyn Clock) {
    let mut pause = backoff.failed();
    if let Failure::Peer(PeerError::Later { pause: asked, .. }) = failure {
        pause = pause.max((*asked).min(bridge.pauses.retry_longest));
    }
    match failure {
        Failure::Store(error) => bridge.observer.event(&Event::StoreFailed { error, pause }),
        Failure::Peer(error) => bridge.observer.event(&Event::PeerFailed { peer, error, pause }),
        Failure::Record(error) => bridge.observer.event(&Event::NotRecorded { peer, error, pause }),
    }
    clock.sleep(pause).await;
}

/// What a fetching site brings to its next pull.
#[derive(Debug, Default)]
pub struct Fetched {
    batch: Option<Digest>,
    receipts: Vec<Receipt>,
    /// What the last answer had, where nothing of it was appended.
    brought_nothing: Option<Digest>,
    /// How many answers in a row had the same, of which nothing was appended. Others may well be known already: where sites
    /// relay, most of what a peer hands out came by another way.
    fruitless: u32,
}

impl Fetched {
    /// Whether the peer hands out again and again what brings nothing: it should be left alone for a while. One answer may
    /// be of entries without their bodies, and the next of some that are known.
    pub fn is_fruitless(&self) -> bool {
        self.fruitless > FRUITLESS_MAX
    }
}

/// Answers in a row that may bring nothing before the next one is asked for after a pause.
const FRUITLESS_MAX: u32 = 2;

/// Pulls once from the line's peer and takes what comes. How many deliveries came.
pub async fn fetch_once(
    bridge: &Bridge,
    line: &Line,
    peer: &dyn Peer,
    clock: &dyn Clock,
    wait: Duration,
    last: &mut Fetched,
) -> Result<usize, Failure> {
    let name = &line.peer;
    let pull = Pull {
        wire: WIRE,
        from: bridge.site().clone(),
        to: name.clone(),
        history: bridge.history.clone(),
        batch: last.batch,
        receipts: last.receipts.clone(),
        wait_seconds: u32::try_from(wait.as_secs()).unwrap_or(u32::MAX),
    };
    let answer = match peer.pull(pull).await {
        Err(PeerError::TooLarge) => {
            // The receipts are too large to bring. Without them the entries come again, and are recognised.
            *last = Fetched::default();
            return Err(PeerError::TooLarge.into());
        }
        answer => answer.map_err(|failed| told(bridge, name, failed))?,
    };
    bridge.observer.event(&Event::PeerAnswered { peer: name });
    let before = std::mem::take(last);
    let mut appended = 0;
    wait_for_receipts(bridge, line, &answer.deliveries, clock).await;
    let receipts = accept_and_count(bridge, name, &answer.deliveries, &mut appended).await?;
    let has = || Digest::of_bytes(&to_bytes(&answer.deliveries));
    let brought_nothing = (appended == 0 && !answer.deliveries.is_empty()).then(has);
    let is_again = brought_nothing.is_some() && brought_nothing == before.brought_nothing;
    let fruitless = if is_again { before.fruitless.saturating_add(1) } else { 0 };
    *last = Fetched { batch: Some(answer.batch), receipts, brought_nothing, fruitless };
    Ok(answer.deliveries.len())
}

/// Fetches whatever the line's peer owes this site. Ends only by being dropped.
pub async fn fetch(bridge: &Bridge, line: &Line, peer: &dyn Peer, clock: &dyn Clock) {
    let mut backoff = Backoff::new(bridge.pauses.retry_first, bridge.pauses.retry_longest);
    let mut last = Fetched::default();
    loop {
        match fetch_once(bridge, line, peer, clock, bridge.pauses.pull_wait, &mut last).await {
            Ok(0) => {
                backoff.succeeded();
                // Two bridges of one site supersede each other's pulls, and would otherwise do so without a pause.
                clock.sleep(bridge.pauses.gather).await;
            }
            // A peer that answers with the same for ever is asked less and less.
            Ok(_) if last.is_fruitless() => clock.sleep(backoff.failed()).await,
            Ok(_) => backoff.succeeded(),
            Err(failure) => pause_after(bridge, &line.peer, &failure, &mut backoff, clock).await,
        }
    }
}

/// What this site answers when a peer dials it.
pub struct Answering {
    bridge: Arc<Bridge>,
    lines: BTreeMap<SiteName, Arc<Line>>,
    clock: Arc<dyn Clock>,
}

impl Answering {
    /// Answers for `bridge` with these lines, one for each peer.
    pub fn new(bridge: Arc<Bridge>, lines: &[Arc<Line>], clock: Arc<dyn Clock>) -> Self {
        Self { bridge, lines: lines.iter().map(|line| (line.peer.clone(), line.clone())).collect(), clock }
    }

    fn line(
        &self,
        from: &SiteName,
        said_from: &SiteName,
        to: &SiteName,
        history: &str,
    ) -> Result<&Arc<Line>, ServeError> {
        let bridge = &self.bridge;
        if said_from != from || to != bridge.site() || history != bridge.history {
            let named: String = history.chars().take(80).collect();
            let detail = format!("a message from {said_from} to {to} of history {named:?}");
            self.violated(Some(from), Violation::Name, &detail);
        }
        if said_from != from {
            return Err(ServeError::Denied(format!("the message says it is from {said_from}, the connection {from}")));
        }
        if to != bridge.site() {
            return Err(ServeError::Denied(format!("the message is for site {to}; this is site {}", bridge.site())));
        }
        if history != bridge.history {
            return Err(ServeError::Denied(format!("this site bridges no history of the name {history:?}")));
        }
        match (self.lines.get(from), bridge.peers.get(from)) {
            (Some(line), Some(policy)) if !policy.paused => Ok(line),
            (Some(_), Some(_)) => Err(ServeError::Denied(format!("the exchange with {from} is paused here"))),
            _ => Err(ServeError::Denied(format!("{from} is no peer of this site"))),
        }
    }

    fn away(&self, error: &StoreError) -> ServeError {
        self.bridge.observer.event(&Event::StoreFailed { error, pause: Duration::ZERO });
        ServeError::NotNow
    }

    /// Hands out a batch, unless a later pull came meanwhile: then it is free again, as it is where this one is broken off.
    async fn hand_out(
        &self,
        line: &Line,
        outgoing: Outgoing,
        superseded: impl Fn() -> bool,
    ) -> Result<Deliveries, ServeError> {
        let mut flight = Flight::of(line, &outgoing);
        if superseded() {
            return Ok(Deliveries::new(vec![]));
        }
        flight.handed_out = Some(self.clock.now());
        let recorded = let_go(&self.bridge, &line.peer, Way::Pull, &outgoing).await;
        let deliveries = recorded.map_err(|error| {
            // Nothing left, and it goes at once when it can be recorded.
            flight.handed_out = None;
            self.bridge.observer.event(&Event::NotRecorded { peer: &line.peer, error: &error, pause: Duration::ZERO });
            ServeError::NothingLeaves
        })?;
        if superseded() {
            return Ok(Deliveries::new(vec![]));
        }
        let answer = Deliveries::new(deliveries);
        flight.problems.clear();
        *line.handed_out() = Some((answer.batch, outgoing));
        Ok(answer)
    }

    /// Marks what the receipts for the last answer say; an answer without receipts is free again.
    async fn settle_last(&self, line: &Line, pull: &Pull) -> Result<(), ServeError> {
        let Some((batch, outgoing)) = line.handed_out().take() else { return Ok(()) };
        let mut flight = Flight::of(line, &outgoing);
        if pull.batch != Some(batch) {
            flight.handed_out = Some(self.clock.now());
            return Ok(());
        }
        if pull.receipts.len() != outgoing.deliveries.len() {
            let (given, there) = (pull.receipts.len(), outgoing.deliveries.len());
            let detail = format!("{given} receipts for the {there} deliveries of an answer");
            self.violated(Some(&line.peer), Violation::Receipt, &detail);
        } else {
            let settled = settle(&self.bridge, &line.peer, outgoing, &pull.receipts).await;
            let settled = settled.map_err(|e| self.away(&e))?;
            flight.problems.clear();
            conclude(line, &settled, self.clock.as_ref());
        }
        Ok(())
    }
}

#[async_trait]
impl Service for Answering {
    fn violated(&self, from: Option<&SiteName>, violation: Violation, detail: &str) {
        self.bridge.observer.event(&Event::Violated { peer: from, violation, detail });
    }

    async fn push(&self, from: &SiteName, push: Push) -> Result<Receipts, ServeError> {
        let line = self.line(from, &push.from, &push.to, &push.history)?;
        wait_for_receipts(&self.bridge, line, &push.deliveries, self.clock.as_ref()).await;
        let receipts = accept(&self.bridge, from, &push.deliveries).await.map_err(|e| self.away(&e))?;
        self.bridge.observer.event(&Event::PeerAnswered { peer: from });
        Ok(Receipts { receipts })
    }

    async fn pull(&self, from: &SiteName, pull: Pull) -> Result<Deliveries, ServeError> {
        let line = self.line(from, &pull.from, &pull.to, &pull.history)?;
        // An answer cannot come back as too large, so it is no larger than every peer takes.
        line.entries_max.fetch_min(Bounds::ANSWER.entries_max, Ordering::Relaxed);
        let mine = line.pulls.fetch_add(1, Ordering::SeqCst) + 1;
        line.bell.notify_waiters();
        self.settle_last(line, &pull).await?;
        self.bridge.observer.event(&Event::PeerAnswered { peer: from });
        let until = self.clock.now().saturating_add(Duration::from_secs(pull.wait_seconds.into()));
        loop {
            let superseded = || line.pulls.load(Ordering::SeqCst) != mine;
            let problems_max = self.bridge.limits.batch_problems_max.min(Bounds::ANSWER.deliveries_max);
            let batch = next_batch(&self.bridge, line, problems_max, self.clock.as_ref()).await;
            if let Some(outgoing) = batch.map_err(|e| self.away(&e))? {
                return self.hand_out(line, outgoing, superseded).await;
            }
            let left = until.saturating_sub(self.clock.now());
            if left.is_zero() || superseded() {
                return Ok(Deliveries::new(vec![]));
            }
            let (work, end) = (wait_for_work(&self.bridge, line, self.clock.as_ref()), self.clock.sleep(left));
            let has_work = matches!(select(pin!(work), end).await, Either::Left(_));
            if has_work && !superseded() {
                self.clock.sleep(self.bridge.pauses.gather.min(left)).await;
            }
        }
    }

    async fn verify(&self, from: &SiteName, verify: Verify) -> Result<Beliefs, ServeError> {
        let line = self.line(from, &verify.from, &verify.to, &verify.history)?;
        let _one = line.comparing.lock().await;
        let page =
            beliefs(&self.bridge, from, verify.after.as_deref(), verify.texts).await.map_err(|e| self.away(&e))?;
        page.ok_or_else(|| ServeError::Malformed("after: no word of this site's; begin again without it".to_owned()))
    }

    async fn compare(&self, from: &SiteName, compare: Compare) -> Result<Compared, ServeError> {
        let line = self.line(from, &compare.from, &compare.to, &compare.history)?;
        let _one = line.comparing.lock().await;
        let problems = accounts(&self.bridge, from, &compare.problems).await.map_err(|e| self.away(&e))?;
        Ok(Compared { problems })
    }

    async fn lost(&self, from: &SiteName, lost: Lost) -> Result<LossRecorded, ServeError> {
        let line = self.line(from, &lost.from, &lost.to, &lost.history)?;
        let _one = line.comparing.lock().await;
        let taken = take_lost(&self.bridge, from, &lost.problems, lost.meant).await;
        let (problems, rows) = taken.map_err(|e| self.away(&e))?;
        if !lost.meant {
            line.retry_of(&problems);
        }
        Ok(LossRecorded { rows })
    }
}
