//! One connection and the transaction that is open on it: begin, savepoints, commit, and what happens when SQLite
//! ends the transaction by itself.

use std::path::Path;
use std::sync::Arc;

use landbridge_flow::StoreError;
use rusqlite::{Connection, OpenFlags};

use super::fault::Trouble;
use super::{Plan, statements};

/// How many prepared statements a connection keeps.
const PREPARED_MAX: usize = 64;

/// A connection on its thread.
pub(super) struct Session {
    /// What it works by.
    pub(super) plan: Arc<Plan>,
    /// The connection itself.
    pub(super) connection: Connection,
    savepoints: usize,
    open: bool,
    /// Why SQLite ended the transaction by itself: `raise(rollback)` in a trigger, a full disk. Every later call of
    /// the transaction fails for the same reason.
    ended: Option<StoreError>,
}

/// Opens the file as every connection needs it. The journal mode stays what the application chose.
pub(super) fn connect(path: &Path, flags: OpenFlags, busy: std::time::Duration) -> Result<Connection, Trouble> {
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(busy)?;
    connection.set_prepared_statement_cache_capacity(PREPARED_MAX);
    connection.execute_batch("pragma foreign_keys = on; pragma synchronous = full")?;
    Ok(connection)
}

impl Session {
    /// Opens a connection to the file at `path`.
    pub(super) fn open(plan: Arc<Plan>, path: &Path) -> Result<Self, StoreError> {
        let connected = connect(path, plan.flags, plan.busy);
        let connection = connected.map_err(|e| e.translate(&plan.path))?;
        Ok(Self { plan, connection, savepoints: 0, open: false, ended: None })
    }

    /// The number that changes with every commit of another connection.
    pub(super) fn signal(&mut self) -> Result<u32, StoreError> {
        let version = self.connection.query_row(statements::SIGNAL, [], |r| r.get(0));
        version.map_err(|e| Trouble::from(e).translate(&self.plan.path))
    }

    /// Begins to read one committed snapshot.
    pub(super) fn begin_read(&mut self) -> Result<(), StoreError> {
        self.begin(statements::BEGIN_READ)
    }

    /// Begins to write, once no other writer is open, unless that is done already.
    pub(super) fn begin_write(&mut self) -> Result<(), StoreError> {
        if self.open { Ok(()) } else { self.begin(statements::BEGIN_WRITE) }
    }

    fn begin(&mut self, sql: &str) -> Result<(), StoreError> {
        let begun = self.connection.execute_batch(sql);
        if begun.is_err() {
            self.reset();
        }
        begun.map_err(|e| Trouble::from(e).translate(&self.plan.path))?;
        self.open = true;
        Ok(())
    }

    /// Does `job` inside the open transaction, and notices when SQLite ends that.
    pub(super) fn run<T>(
        &mut self,
        job: impl FnOnce(&Connection, &Plan) -> Result<T, Trouble>,
    ) -> Result<T, StoreError> {
        if let Some(e) = &self.ended {
            return Err(e.clone());
        }
        let result = job(&self.connection, &self.plan).map_err(|e| e.translate(&self.plan.path));
        if let Err(e) = &result
            && self.open
            && self.connection.is_autocommit()
        {
            self.ended = Some(e.clone());
        }
        result
    }

    /// Sets a savepoint inside those already set.
    pub(super) fn savepoint(&mut self) -> Result<(), StoreError> {
        let sql = statements::savepoint(self.savepoints);
        self.run(|connection, _| Ok(connection.execute_batch(&sql)?))?;
        self.savepoints += 1;
        Ok(())
    }

    /// Undoes everything since the innermost savepoint and takes that away.
    pub(super) fn rollback_to(&mut self) -> Result<(), StoreError> {
        self.leave(statements::rollback_to)
    }

    /// Takes the innermost savepoint away.
    pub(super) fn release(&mut self) -> Result<(), StoreError> {
        self.leave(statements::release)
    }

    fn leave(&mut self, sql: fn(usize) -> String) -> Result<(), StoreError> {
        let Some(innermost) = self.savepoints.checked_sub(1) else {
            return Err(StoreError::Broken("no savepoint is set".to_owned()));
        };
        self.run(|connection, _| Ok(connection.execute_batch(&sql(innermost))?))?;
        self.savepoints = innermost;
        Ok(())
    }

    /// Commits durably; where that fails, nothing is kept.
    pub(super) fn commit(&mut self) -> Result<(), StoreError> {
        if !self.open {
            return Ok(());
        }
        // Deferred foreign keys are looked at only now.
        let result = self.run(|connection, _| Ok(connection.execute_batch("commit")?));
        self.reset();
        result
    }

    /// Rolls back what is open. Says whether the connection is fit for the next transaction.
    pub(super) fn reset(&mut self) -> bool {
        (self.savepoints, self.open, self.ended) = (0, false, None);
        self.connection.is_autocommit() || self.connection.execute_batch("rollback").is_ok()
    }
}
