//! How much a peer may ask of this site: requests, bytes and entries in a minute, and what may be under way at the same
//! time. Whoever asks for more is told to come again later; nothing else depends on the clock that is read here.
//!
//! Buckets are `governor`'s: each is one number that is changed without a lock, says how long to wait, and takes a
//! clock that only goes forward. What is under way is counted here, since it ends and does not refill.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, RateLimiter};
use landbridge_core::SiteName;
use landbridge_flow::Violation;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes are counted in these, since a bucket holds 32 bits.
const KIB: usize = 1 << 10;
/// When to come again where something under way has to end first.
const SOON: Duration = Duration::from_secs(1);
/// A body that is taken however much is under way with other peers.
const SMALL: usize = 1 << 20;
/// Requests of strangers that are answered in a minute; the others are not even read.
const STRANGERS_PER_MINUTE_MAX: u32 = 600;

/// What one peer may do. The defaults are those of `[limits]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowance {
    /// Requests in a minute.
    pub requests_per_minute_max: u32,
    /// Requests that are being answered at the same time, waiting pulls among them.
    pub requests_at_once_max: usize,
    /// Bytes of bodies in a minute, as they are after decompression.
    pub bytes_per_minute_max: u64,
    /// Bytes of bodies, of requests and answers, that are in memory at the same time.
    pub bytes_at_once_max: usize,
    /// Entries in a minute, whether taken or refused, once [`Allowance::entries_burst_max`] is used up.
    pub entries_per_minute_max: u32,
    /// Entries that may come without a pause: a first synchronisation.
    pub entries_burst_max: u32,
}

impl Default for Allowance {
    fn default() -> Self {
        Self {
            requests_per_minute_max: 30_000,
            requests_at_once_max: 16,
            bytes_per_minute_max: 1 << 30,
            bytes_at_once_max: 64 << 20,
            entries_per_minute_max: 60_000,
            entries_burst_max: 1_000_000,
        }
    }
}

/// Bodies of all peers together that are in memory at the same time, in bytes, where nothing else is said.
pub const ALL_BYTES_AT_ONCE_MAX: usize = 256 << 20;

/// More was asked for than is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what}; come again in {} s", seconds(*pause))]
pub struct Exceeded {
    what: What,
    /// When it may be asked for again.
    pub(crate) pause: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Requests(u32),
    RequestsAtOnce(usize),
    Bytes(u64),
    BytesAtOnce(usize),
    AllBytesAtOnce,
    Entries(u32),
    Strangers,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Requests(max) => write!(f, "more than {max} requests in a minute"),
            What::RequestsAtOnce(max) => write!(f, "more than {max} requests at the same time"),
            What::Bytes(max) => write!(f, "more than {max} bytes in a minute"),
            What::BytesAtOnce(max) => write!(f, "more than {max} bytes at the same time"),
            What::AllBytesAtOnce => f.write_str("this site has too much under way"),
            What::Entries(max) => write!(f, "more than {max} entries in a minute"),
            What::Strangers => f.write_str("too many requests without a token"),
        }
    }
}

impl Exceeded {
    /// Whether it is this site that has too much to do, whoever asks.
    pub(crate) fn is_of_all(&self) -> bool {
        self.what == What::AllBytesAtOnce
    }

    /// What the peer did with it; nothing where others have a part in it.
    pub(crate) fn violation(&self) -> Option<Violation> {
        match self.what {
            What::Requests(_) => Some(Violation::Requests),
            What::RequestsAtOnce(_) | What::BytesAtOnce(_) => Some(Violation::AtOnce),
            What::Bytes(_) => Some(Violation::Bytes),
            What::Entries(_) => Some(Violation::Entries),
            What::AllBytesAtOnce | What::Strangers => None,
        }
    }
}

/// A pause in whole seconds, at least one.
pub(crate) fn seconds(pause: Duration) -> u64 {
    pause.as_secs() + u64::from(pause.subsec_nanos() > 0 || pause.is_zero())
}

/// A bucket that refills at an even pace.
struct Bucket {
    limiter: DefaultDirectRateLimiter,
    burst: u32,
}

impl Bucket {
    fn per_minute(max: u32, burst: u32) -> Self {
        let (max, burst) = (max.max(1), NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN));
        let each = (Duration::from_secs(60) / max).max(Duration::from_nanos(1));
        let quota = governor::Quota::with_period(each);
        let quota = quota.unwrap_or(governor::Quota::per_minute(NonZeroU32::MIN)).allow_burst(burst);
        Self { limiter: RateLimiter::direct(quota), burst: burst.get() }
    }

    /// Takes `n` out, or says how long to wait. More than the bucket holds needs a full one.
    fn take(&self, n: usize) -> Result<(), Duration> {
        let n = u32::try_from(n).unwrap_or(u32::MAX).min(self.burst);
        let Some(n) = NonZeroU32::new(n) else { return Ok(()) };
        match self.limiter.check_n(n) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_yet)) => Err(not_yet.wait_time_from(DefaultClock::default().now())),
            // `n` is never more than the bucket holds.
            Err(_) => Err(SOON),
        }
    }
}

/// What is left to one peer.
pub struct Quota {
    allowance: Allowance,
    requests: Bucket,
    bytes: Bucket,
    entries: Bucket,
    at_once: Arc<Semaphore>,
    held: AtomicUsize,
    /// Entries of answers to this site's own pulls that are not paid for yet: they had come before they could be counted.
    owing: AtomicUsize,
}

impl fmt::Debug for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Quota").field(&self.allowance).finish()
    }
}

impl Quota {
    /// All of it.
    pub fn new(allowance: Allowance) -> Self {
        let kib_per_minute = u32::try_from(allowance.bytes_per_minute_max.div_ceil(KIB as u64)).unwrap_or(u32::MAX);
        Self {
            requests: Bucket::per_minute(allowance.requests_per_minute_max, allowance.requests_per_minute_max),
            bytes: Bucket::per_minute(kib_per_minute, kib_per_minute),
            entries: Bucket::per_minute(
                allowance.entries_per_minute_max,
                allowance.entries_burst_max.max(allowance.entries_per_minute_max),
            ),
            at_once: Arc::new(Semaphore::new(allowance.requests_at_once_max.clamp(1, Semaphore::MAX_PERMITS))),
            held: AtomicUsize::new(0),
            owing: AtomicUsize::new(0),
            allowance,
        }
    }

    fn take_bytes(&self, bytes: usize) -> Result<(), Exceeded> {
        let what = What::Bytes(self.allowance.bytes_per_minute_max);
        self.bytes.take(bytes.div_ceil(KIB)).map_err(|pause| Exceeded { what, pause })
    }

    /// So many entries, or deliveries without any, are asked to be taken.
    pub(crate) fn take_entries(&self, entries: usize) -> Result<(), Exceeded> {
        let what = What::Entries(self.allowance.entries_per_minute_max);
        self.entries.take(entries).map_err(|pause| Exceeded { what, pause })
    }

    fn take_request(&self) -> Result<(), Exceeded> {
        let what = What::Requests(self.allowance.requests_per_minute_max);
        self.requests.take(1).map_err(|pause| Exceeded { what, pause })
    }

    /// Before this site asks the peer for what it is owed: what came with the last answers has to be paid for first.
    pub(crate) fn before_pull(&self) -> Result<(), Exceeded> {
        let owing = self.owing.load(Ordering::Relaxed);
        self.take_entries(owing)?;
        self.owing.fetch_sub(owing, Ordering::Relaxed);
        self.take_request()
    }

    /// So many entries came with the answer to a pull.
    pub(crate) fn pulled(&self, entries: usize) {
        self.owing.fetch_add(entries, Ordering::Relaxed);
    }
}

/// What is left to each peer, and to all of them together.
#[derive(Clone)]
pub struct Quotas {
    peers: BTreeMap<SiteName, Arc<Quota>>,
    /// Of requests that name nobody before their body is read. There are none where every peer has a token.
    unnamed: Arc<Quota>,
    strangers: Arc<Bucket>,
    all: Arc<All>,
}

impl fmt::Debug for Quotas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quotas").field("peers", &self.peers).finish_non_exhaustive()
    }
}

/// The bodies of all peers that are in memory.
struct All {
    held: AtomicUsize,
    bytes_max: usize,
}

impl Quotas {
    /// For these peers; any other has the default allowance. `all_bytes_at_once_max`: bodies of all of them in memory.
    pub fn new(peers: impl IntoIterator<Item = (SiteName, Allowance)>, all_bytes_at_once_max: usize) -> Self {
        let peers = peers.into_iter().map(|(peer, allowance)| (peer, Arc::new(Quota::new(allowance))));
        Self {
            peers: peers.collect(),
            unnamed: Arc::new(Quota::new(Allowance::default())),
            strangers: Arc::new(Bucket::per_minute(STRANGERS_PER_MINUTE_MAX, STRANGERS_PER_MINUTE_MAX)),
            all: Arc::new(All { held: AtomicUsize::new(0), bytes_max: all_bytes_at_once_max }),
        }
    }

    /// What is left to `peer`.
    pub fn of(&self, peer: &SiteName) -> Arc<Quota> {
        self.peers.get(peer).unwrap_or(&self.unnamed).clone()
    }

    /// A request of `peer` begins.
    pub(crate) fn admit(&self, peer: Option<&SiteName>) -> Result<Admitted, Exceeded> {
        let quota = peer.map_or_else(|| self.unnamed.clone(), |peer| self.of(peer));
        let what = What::RequestsAtOnce(quota.allowance.requests_at_once_max);
        let place = quota.at_once.clone().try_acquire_owned().map_err(|_| Exceeded { what, pause: SOON })?;
        quota.take_request()?;
        Ok(Admitted { quota, all: self.all.clone(), _place: place, held: 0, paid: 0 })
    }

    /// A stranger's request: whether it is worth an answer.
    pub(crate) fn stranger(&self) -> Result<(), Exceeded> {
        self.strangers.take(1).map_err(|pause| Exceeded { what: What::Strangers, pause })
    }
}

impl Default for Quotas {
    fn default() -> Self {
        Self::new([], ALL_BYTES_AT_ONCE_MAX)
    }
}

/// A request under way. Dropped, once its answer is on its way, its place and its memory are free again.
pub(crate) struct Admitted {
    quota: Arc<Quota>,
    all: Arc<All>,
    _place: OwnedSemaphorePermit,
    held: usize,
    paid: usize,
}

impl Admitted {
    /// The body has so many bytes by now. A peer's only body always finds room among its own, or a small limit would stop
    /// everything; and a small one among all, so that no peer keeps another out.
    pub(crate) fn body_is(&mut self, bytes: usize) -> Result<(), Exceeded> {
        // A whole KiB at a time, so that small parts are not each rounded up.
        let more = bytes.saturating_sub(self.paid);
        if more >= KIB || self.paid == 0 {
            self.quota.take_bytes(more)?;
            self.paid = bytes;
        }
        let more = bytes.saturating_sub(self.held);
        let others = self.quota.held.load(Ordering::Relaxed) - self.held;
        let max = self.quota.allowance.bytes_at_once_max;
        if others > 0 && others.saturating_add(bytes) > max {
            return Err(Exceeded { what: What::BytesAtOnce(max), pause: SOON });
        }
        let others = self.all.held.load(Ordering::Relaxed) - self.held;
        if bytes > SMALL && others.saturating_add(bytes) > self.all.bytes_max {
            return Err(Exceeded { what: What::AllBytesAtOnce, pause: SOON });
        }
        self.hold(more);
        Ok(())
    }

    /// The answer is in memory too, until it is sent.
    pub(crate) fn hold(&mut self, bytes: usize) {
        self.held += bytes;
        self.quota.held.fetch_add(bytes, Ordering::Relaxed);
        self.all.held.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.quota.held.fetch_sub(self.held, Ordering::Relaxed);
        self.all.held.fetch_sub(self.held, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quotas(allowance: Allowance, all: usize) -> Quotas {
        Quotas::new(["A", "B"].map(|name| (name.parse().unwrap(), allowance.clone())), all)
    }

    fn said(exceeded: Result<(), Exceeded>) -> String {
        exceeded.unwrap_err().to_string()
    }

    #[test]
    fn a_peer_that_asks_too_often_is_told_when_to_come_again_and_another_is_not() {
        let quotas = quotas(Allowance { requests_per_minute_max: 3, ..Allowance::default() }, 1 << 20);
        let (a, b): (SiteName, SiteName) = ("A".parse().unwrap(), "B".parse().unwrap());
        (0..3).for_each(|_| drop(quotas.admit(Some(&a)).unwrap_or_else(|e| panic!("{e}"))));
        let exceeded = quotas.admit(Some(&a)).map(drop);
        assert_eq!(said(exceeded), "more than 3 requests in a minute; come again in 20 s");
        assert!(quotas.admit(Some(&b)).is_ok());
    }

    #[test]
    fn what_is_under_way_ends_with_the_request() {
        let allowance = Allowance { requests_at_once_max: 2, bytes_at_once_max: 3 << 20, ..Allowance::default() };
        let quotas = quotas(allowance, 4 << 20);
        let (a, b): (SiteName, SiteName) = ("A".parse().unwrap(), "B".parse().unwrap());
        let admit = |peer| quotas.admit(Some(peer)).unwrap_or_else(|e| panic!("{e}"));
        let (mut one, mut two) = (admit(&a), admit(&a));
        assert!(quotas.admit(Some(&a)).is_err_and(|e| e.violation() == Some(Violation::AtOnce)));
        assert_eq!(one.body_is(9 << 20), Ok(()), "the only body finds room whatever the limit");
        assert_eq!(said(two.body_is(1)), "more than 3145728 bytes at the same time; come again in 1 s");
        let mut other = admit(&b);
        assert_eq!(other.body_is(1 << 20), Ok(()), "a small one is taken whatever others do");
        assert!(other.body_is(2 << 20).is_err_and(|e| e.violation().is_none()));
        drop(one);
        assert_eq!((two.body_is(2 << 20), other.body_is(2 << 20)), (Ok(()), Ok(())));
    }

    #[test]
    fn more_than_a_bucket_holds_needs_a_full_one() {
        let bucket = Bucket::per_minute(10, 10);
        assert_eq!(bucket.take(1_000_000), Ok(()));
        assert!(bucket.take(1).is_err_and(|pause| pause <= Duration::from_secs(6)));
        assert_eq!(Bucket::per_minute(u32::MAX, u32::MAX).take(5), Ok(()));
        assert_eq!([0, 1, 1000, 1001].map(|ms| seconds(Duration::from_millis(ms))), [1, 1, 1, 2]);
    }

    #[test]
    fn what_came_with_an_answer_is_paid_for_before_the_next() {
        let allowance = Allowance { entries_per_minute_max: 60, entries_burst_max: 100, ..Allowance::default() };
        let quota = Quota::new(allowance);
        assert_eq!(quota.before_pull(), Ok(()));
        quota.pulled(100);
        assert_eq!(quota.before_pull(), Ok(()));
        quota.pulled(3);
        assert_eq!(said(quota.before_pull()), "more than 60 entries in a minute; come again in 3 s");
    }
}
