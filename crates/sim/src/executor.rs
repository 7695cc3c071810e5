//! Runs the futures of all sites on one thread, in an order that the dice decide, on a clock that stands still until
//! nobody can go on.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// A mutex whose poisoning does not matter: a panic ends the world anyway.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The one source of chance, shared by everything in a world.
#[derive(Clone)]
pub struct Dice(Arc<Mutex<fastrand::Rng>>);

impl Dice {
    /// Dice that fall the same way for the same seed.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))))
    }

    /// A number below `n`; 0 where `n` is 0.
    pub fn below(&self, n: usize) -> usize {
        locked(&self.0).usize(..n.max(1))
    }

    /// True once in `n` times. Never where `n` is 0.
    pub fn one_in(&self, n: usize) -> bool {
        n > 0 && self.below(n) == 0
    }

    /// One of these.
    pub fn pick<'a, T>(&self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }
}

/// The world's time.
#[derive(Clone, Default)]
pub struct Time(Arc<Mutex<Timers>>);

#[derive(Default)]
struct Timers {
    now: Duration,
    next: u64,
    sleeping: BTreeMap<(Duration, u64), Waker>,
}

impl Time {
    /// Now.
    pub fn now(&self) -> Duration {
        locked(&self.0).now
    }

    /// Ends after `pause`.
    pub fn sleep(&self, pause: Duration) -> Sleep {
        Sleep { time: self.clone(), until: self.now().saturating_add(pause), key: None }
    }

    /// Goes on to the next moment at which somebody wakes. False where nobody sleeps.
    pub fn advance(&self) -> bool {
        let mut timers = locked(&self.0);
        let Some((until, _)) = timers.sleeping.keys().next().copied() else { return false };
        timers.now = timers.now.max(until);
        let later = timers.sleeping.split_off(&(until, u64::MAX));
        let due = std::mem::replace(&mut timers.sleeping, later);
        drop(timers);
        due.into_values().for_each(Waker::wake);
        true
    }
}

/// A sleep.
pub struct Sleep {
    time: Time,
    until: Duration,
    key: Option<(Duration, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let time = self.time.clone();
        let mut timers = locked(&time.0);
        if timers.now >= self.until {
            return Poll::Ready(());
        }
        let key = self.key.unwrap_or_else(|| {
            timers.next += 1;
            (self.until, timers.next)
        });
        self.key = Some(key);
        timers.sleeping.insert(key, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            locked(&self.time.0).sleeping.remove(&key);
        }
    }
}

/// Lets everybody else go first.
pub fn step() -> impl Future<Output = ()> + Send {
    let mut stepped = false;
    std::future::poll_fn(move |cx| {
        if std::mem::replace(&mut stepped, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

type BoxedTask = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Task {
    site: usize,
    woken: Arc<Woken>,
    future: BoxedTask,
}

/// Takes new tasks while others run.
#[derive(Clone, Default)]
pub struct Spawner(Arc<Mutex<Vec<(usize, BoxedTask)>>>);

impl Spawner {
    /// Runs `future` as part of `site`: it ends with a crash of that site.
    pub fn spawn(&self, site: usize, future: impl Future<Output = ()> + Send + 'static) {
        locked(&self.0).push((site, Box::pin(future)));
    }
}

/// All tasks of a world.
#[derive(Default)]
pub struct Executor {
    tasks: Vec<Task>,
    /// Takes new tasks.
    pub spawner: Spawner,
}

impl Executor {
    /// Polls one of the tasks that can go on. Nothing where none can; else the site that it belongs to.
    pub fn step(&mut self, dice: &Dice) -> Option<usize> {
        for (site, future) in locked(&self.spawner.0).drain(..) {
            self.tasks.push(Task { site, woken: Arc::new(Woken(AtomicBool::new(true))), future });
        }
        let ready: Vec<_> = (0..self.tasks.len()).filter(|i| self.tasks[*i].woken.0.load(Ordering::Relaxed)).collect();
        let chosen = *dice.pick(&ready)?;
        let task = &mut self.tasks[chosen];
        let site = task.site;
        task.woken.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(task.woken.clone());
        if task.future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            drop(self.tasks.swap_remove(chosen));
        }
        Some(site)
    }

    /// Ends everything that `site` was doing, wherever it was.
    pub fn kill(&mut self, site: usize) {
        locked(&self.spawner.0).retain(|(s, _)| *s != site);
        self.tasks.retain(|task| task.site != site);
    }
}
