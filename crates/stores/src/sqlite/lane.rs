//! A thread per connection: SQLite blocks, so each connection lives on a thread of its own, which does the jobs that
//! come through a channel one after the other. Idle lanes are kept in a pool; one whose database file was replaced
//! meanwhile (a restore that moved another file into its place) is never used again.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use landbridge_flow::StoreError;
use rusqlite::OpenFlags;
use tokio::sync::{Semaphore, oneshot};

use super::Plan;
use super::fault::Trouble;
use super::session::Session;

/// How many idle connections are kept.
const IDLE_MAX: usize = 4;

type Job = Box<dyn FnOnce(&mut Session) + Send>;

/// Which file a path names at the moment, so that a replaced one is noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileMark {
    path: PathBuf,
    #[cfg(unix)]
    node: (u64, u64),
}

impl FileMark {
    /// The file at `path`; [`StoreError::Gone`] where there is none. The file is not opened: closing it again would
    /// take away the locks that SQLite holds on it.
    pub(super) fn of(path: &Path) -> Result<Self, StoreError> {
        let gone = |e: std::io::Error| {
            StoreError::Gone(format!("{}: {e}. A database that is missing is not created", path.display()))
        };
        let found = path.canonicalize().map_err(gone)?;
        let seen = found.metadata().map_err(gone)?;
        if !seen.is_file() {
            return Err(StoreError::Gone(format!("{} is no file", path.display())));
        }
        Ok(Self {
            path: found,
            #[cfg(unix)]
            node: {
                use std::os::unix::fs::MetadataExt;
                (seen.dev(), seen.ino())
            },
        })
    }

    /// The path without links, which SQLite cannot mistake for a URI.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// A connection on its thread. Dropped, the connection is closed.
#[derive(Clone)]
pub(super) struct Lane {
    jobs: mpsc::Sender<Job>,
    file: FileMark,
}

impl Lane {
    /// Opens a connection to the file that the plan names.
    async fn open(plan: &Arc<Plan>, file: FileMark) -> Result<Self, StoreError> {
        let (jobs, work) = mpsc::channel::<Job>();
        let (tell, told) = oneshot::channel();
        let (plan, path) = (Arc::clone(plan), file.path().to_owned());
        let body = move || match Session::open(plan, &path) {
            Err(e) => {
                let _nobody_waits = tell.send(Err(e));
            }
            Ok(mut session) => {
                let _nobody_waits = tell.send(Ok(()));
                work.into_iter().for_each(|job| job(&mut session));
            }
        };
        thread::Builder::new()
            .name("landbridge-sqlite".to_owned())
            .spawn(body)
            .map_err(|e| StoreError::Gone(format!("no thread for a connection: {e}")))?;
        told.await.map_err(|_| ended())??;
        Ok(Self { jobs, file })
    }

    /// Does `job` on the connection's thread.
    pub(super) async fn call<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Session) -> Result<T, StoreError> + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        let job = move |session: &mut Session| {
            let _nobody_waits = tell.send(job(session));
        };
        self.jobs.send(Box::new(job)).map_err(|_| ended())?;
        told.await.map_err(|_| ended())?
    }
}

fn ended() -> StoreError {
    StoreError::Gone("the thread of a connection ended; the next call opens another".to_owned())
}

/// The connections of one store.
pub(super) struct Pool {
    /// What every connection works by.
    pub(super) plan: Arc<Plan>,
    /// One writer at a time, in the order they came: our own need not wait by SQLite's polling.
    pub(super) writer: Arc<Semaphore>,
    idle: Mutex<Vec<Lane>>,
}

impl Pool {
    pub(super) fn new(plan: Arc<Plan>) -> Self {
        Self { plan, writer: Arc::new(Semaphore::new(1)), idle: Mutex::default() }
    }

    /// An idle connection to the file as it is now, or a new one.
    pub(super) async fn take(&self) -> Result<Lane, StoreError> {
        let file = FileMark::of(&self.plan.path)?;
        let idle = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.retain(|lane| lane.file == file);
            idle.pop()
        };
        match idle {
            Some(lane) => Ok(lane),
            None => Lane::open(&self.plan, file).await,
        }
    }

    fn keep(&self, lane: Lane) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(lane);
        }
    }

    /// Takes a connection back: whatever is open on it is rolled back on its own thread first, and `held` is let go
    /// only then. A connection that cannot be rolled back is closed.
    pub(super) fn give_back<H: Send + 'static>(self: &Arc<Self>, lane: Lane, held: H) {
        let (pool, again) = (Arc::clone(self), lane.clone());
        let job = move |session: &mut Session| {
            if session.reset() {
                pool.keep(again);
            }
            drop(held);
        };
        let _thread_is_gone = lane.jobs.send(Box::new(job));
    }

    /// A read in a transaction of its own.
    pub(super) async fn read<T, F>(self: &Arc<Self>, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&rusqlite::Connection, &Plan) -> Result<T, Trouble> + Send + 'static,
    {
        let lane = self.take().await?;
        let result = lane
            .call(|session| {
                session.begin_read()?;
                let result = session.run(job);
                session.reset();
                result
            })
            .await;
        self.give_back(lane, ());
        result
    }
}

/// The one connection that only listens. It never writes, so that every commit is somebody else's and changes the
/// number that it reads.
#[derive(Default)]
pub(super) struct Listener {
    lane: Option<Lane>,
    opened: u32,
}

impl Listener {
    /// A number that changes with every commit, and when the file is another.
    pub(super) async fn signal(&mut self, plan: &Arc<Plan>) -> Result<u64, StoreError> {
        let file = FileMark::of(&plan.path)?;
        let lane = match self.lane.take() {
            Some(lane) if lane.file == file => lane,
            _ => {
                self.opened = self.opened.wrapping_add(1);
                Lane::open(plan, file).await?
            }
        };
        let version = lane.call(Session::signal).await?;
        self.lane = Some(lane);
        Ok(u64::from(self.opened) << 32 | u64::from(version))
    }
}

/// How connections are opened: never creating a file, each used by one thread.
pub(super) const FLAGS: OpenFlags = OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);
