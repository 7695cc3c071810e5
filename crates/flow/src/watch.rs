//! Which problems changed (DESIGN §6). This first watch is the complete one: when the database's signal moved, every
//! problem's digest is compared with the last one.
//!
//! Correctness does not rest on it. A digest sees no texts, so that a number which is given out twice between two looks
//! leaves it as it was; therefore each outbox goes through all problems by itself, at the start and after every
//! `[pace] sweep`. It keeps 16 bytes for each problem.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use landbridge_core::Digest;

use crate::bridge::{Bridge, Event};
use crate::error::StoreError;
use crate::line::Line;
use crate::pace::Backoff;
use crate::pairing::learn_links;
use crate::ports::{Clock, Swept};

/// Problems that one page of a sweep has.
const PAGE_PROBLEMS: usize = 1000;
/// How many times as long as a look took the next one waits: where the signal moves all the time (PostgreSQL's does with
/// every database of the server), looking takes a fifth of the time and not all of it.
const REST_TIMES: u32 = 4;

/// What the last sweep saw.
#[derive(Debug, Default)]
pub struct Watch {
    digests: HashMap<u64, u64>,
}

impl Watch {
    /// A watch that has seen nothing: to its first [`Watch::look`] every problem is a changed one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Goes through all problems and touches the changed ones in every line. How many.
    pub async fn look(&mut self, bridge: &Bridge, lines: &[Arc<Line>]) -> Result<usize, StoreError> {
        let (mut after, mut touched) = (None, 0);
        loop {
            let page = bridge.store.sweep(after.as_ref(), PAGE_PROBLEMS).await?;
            let key = |swept: &Swept| Digest::of(swept.problem.as_str()).short();
            let is_changed = |swept: &&Swept| self.digests.get(&key(swept)) != Some(&swept.digest);
            let changed: Vec<_> = page.iter().filter(is_changed).cloned().collect();
            if bridge.is_linked() && !changed.is_empty() {
                let problems: Vec<_> = changed.iter().map(|swept| swept.problem.clone()).collect();
                learn_links(bridge, &problems).await?;
            }
            // Only now they count as seen; what fails on a later page must not keep these from being sent.
            for swept in &changed {
                self.digests.insert(key(swept), swept.digest);
                lines.iter().for_each(|line| line.touch(&swept.problem));
            }
            if !changed.is_empty() {
                lines.iter().for_each(|line| line.ring());
            }
            touched += changed.len();
            match page.into_iter().next_back() {
                Some(last) => after = Some(last.problem),
                None => break,
            }
        }
        bridge.links.are_all_read();
        Ok(touched)
    }
}

/// What was seen, and when all outboxes began to go through everything.
struct Seen {
    signal: Option<u64>,
    pass: Duration,
}

/// Looks again whenever the signal moved, and lets all outboxes go through everything whenever `[pace] sweep` is over.
/// Ends only by being dropped.
pub async fn watch(bridge: &Bridge, lines: &[Arc<Line>], clock: &dyn Clock) {
    let mut watch = Watch::new();
    let mut backoff = Backoff::new(bridge.pauses.retry_first, bridge.pauses.retry_longest);
    let mut seen = Seen { signal: None, pass: clock.now() };
    loop {
        match look_if_moved(&mut watch, bridge, lines, clock, &mut seen).await {
            Ok(took) => {
                backoff.succeeded();
                let rest = took.saturating_mul(REST_TIMES).min(bridge.pauses.retry_longest);
                clock.sleep(bridge.pauses.poll.max(rest)).await;
            }
            Err(error) => {
                let pause = backoff.failed();
                bridge.observer.event(&Event::StoreFailed { error: &error, pause });
                clock.sleep(pause).await;
            }
        }
    }
}

/// How long it took.
async fn look_if_moved(
    watch: &mut Watch,
    bridge: &Bridge,
    lines: &[Arc<Line>],
    clock: &dyn Clock,
    seen: &mut Seen,
) -> Result<Duration, StoreError> {
    let signal = bridge.store.signal().await?;
    let now = clock.now();
    if seen.signal != Some(signal) {
        watch.look(bridge, lines).await?;
        seen.signal = Some(signal);
    }
    if now.abs_diff(seen.pass) >= bridge.pauses.sweep {
        lines.iter().for_each(|line| line.start_pass());
        seen.pass = now;
    }
    Ok(clock.now().saturating_sub(now))
}
