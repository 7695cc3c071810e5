//! Where a desk's database is: in a file of its own, or on a throwaway server that several desks and tests share.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use super::schema::Schema;
use super::server::{MariaDb, Postgres};
use super::sql::Vendor;

/// A place for databases. It lives as long as somebody has it.
#[derive(Clone)]
pub enum Host {
    /// Files in the desk's own folder.
    Files,
    /// A server.
    Postgres(Arc<Mutex<Postgres>>),
    /// A server.
    MariaDb(Arc<Mutex<MariaDb>>),
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.vendor())
    }
}

static POSTGRES: Mutex<Weak<Mutex<Postgres>>> = Mutex::new(Weak::new());
static MARIADB: Mutex<Weak<Mutex<MariaDb>>> = Mutex::new(Weak::new());

impl Host {
    /// The PostgreSQL that the tests of this process share. None where it is not installed.
    pub fn postgres() -> Option<Self> {
        shared(&POSTGRES, Postgres::start).map(Self::Postgres)
    }

    /// The MariaDB that the tests of this process share. None where it is not installed.
    pub fn mariadb() -> Option<Self> {
        shared(&MARIADB, MariaDb::start).map(Self::MariaDb)
    }

    /// A PostgreSQL of the test's own, which it may kill.
    pub fn own_postgres() -> Option<Self> {
        Postgres::start().map(|server| Self::Postgres(Arc::new(Mutex::new(server))))
    }

    /// A MariaDB of the test's own, which it may kill.
    pub fn own_mariadb() -> Option<Self> {
        MariaDb::start().map(|server| Self::MariaDb(Arc::new(Mutex::new(server))))
    }

    /// Whose databases they are.
    pub fn vendor(&self) -> Vendor {
        match self {
            Self::Files => Vendor::Sqlite,
            Self::Postgres(_) => Vendor::Postgres,
            Self::MariaDb(_) => Vendor::MariaDb,
        }
    }

    /// A new database for the desk of this folder: its name, and its URL for applications.
    pub fn make_database(&self, folder: &Path) -> (String, String) {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("desk_{}", MADE.fetch_add(1, Ordering::Relaxed));
        match self {
            Self::Files => ("desk.db".to_owned(), format!("sqlite:{}", folder.join("desk.db").display())),
            Self::Postgres(server) => (name.clone(), held(server).create_database(&name)),
            Self::MariaDb(server) => (name.clone(), held(server).create_database(&name)),
        }
    }

    /// Kills the server, as a crash would.
    pub fn kill(&self) {
        match self {
            Self::Files => panic!("a file has no process to kill"),
            Self::Postgres(server) => held(server).kill(),
            Self::MariaDb(server) => held(server).kill(),
        }
    }

    /// Starts the server again, after a stop in order where it runs. The port stays the same.
    pub fn restart(&self) {
        match self {
            Self::Files => panic!("a file has no process to start"),
            Self::Postgres(server) => held(server).restart(),
            Self::MariaDb(server) => held(server).restart(),
        }
    }

    /// Stops the server where it is: connections stay open and nothing answers.
    pub fn pause(&self) {
        match self {
            Self::Files => panic!("a file has no process to stop"),
            Self::Postgres(server) => held(server).pause(),
            Self::MariaDb(server) => held(server).pause(),
        }
    }

    /// Lets it go on.
    pub fn resume(&self) {
        match self {
            Self::Files => panic!("a file has no process to go on"),
            Self::Postgres(server) => held(server).resume(),
            Self::MariaDb(server) => held(server).resume(),
        }
    }
}

fn held<T>(server: &Mutex<T>) -> MutexGuard<'_, T> {
    // A test that failed while it held the server must not take the others with it.
    server.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn shared<T>(known: &Mutex<Weak<Mutex<T>>>, start: impl FnOnce() -> Option<T>) -> Option<Arc<Mutex<T>>> {
    let mut known = held(known);
    if let Some(server) = known.upgrade() {
        return Some(server);
    }
    let server = Arc::new(Mutex::new(start()?));
    *known = Arc::downgrade(&server);
    Some(server)
}

/// An application's database somewhere.
#[derive(Debug, Clone)]
pub struct At {
    /// The application, as it is on this vendor.
    pub schema: &'static Schema,
    /// Where.
    pub host: Host,
}

impl From<&'static Schema> for At {
    fn from(schema: &'static Schema) -> Self {
        assert_eq!(schema.vendor, Vendor::Sqlite, "say on which server: {}.on(&host)", schema.name);
        Self { schema, host: Host::Files }
    }
}

impl Schema {
    /// This application at that place.
    pub fn on(&self, host: &Host) -> At {
        At { schema: Schema::named(self.name, host.vendor()), host: host.clone() }
    }
}
