//! The connections of one store: how each is set up, and which may be used again. A transaction that was given up is
//! rolled back before its connection is; one that was given up in the middle of a statement is closed, and the
//! statement is cancelled.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use landbridge_flow::StoreError;
use tokio::task::JoinHandle;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::fault::translate;
use super::options::PostgresOptions;
use super::statements::READ_ONLY;
use super::tls;
use super::values::Params;

/// How many idle connections are kept.
const IDLE_MAX: usize = 4;

/// What every session is set to, whatever the user's or the database's defaults are: values come in one form, and a
/// commit that was answered is on disk. The search path stays the user's.
const SETUP: &str = "set timezone = 'UTC'; set datestyle = 'ISO, YMD'; set intervalstyle = 'iso_8601';
    set bytea_output = 'hex'; set extra_float_digits = 1; set standard_conforming_strings = on;
    select pg_catalog.set_config('synchronous_commit', 'on', false)
    where pg_catalog.current_setting('synchronous_commit') in ('off', 'local')";

/// From PostgreSQL 14 on, and not on every system: the server notices within this time that we are gone.
const CHECK_CLIENT: &str = "select pg_catalog.set_config(name, '10s', false) from pg_catalog.pg_settings
    where name = 'client_connection_check_interval'";

/// A connection.
pub(super) struct Session {
    pub(super) client: Client,
    driver: JoinHandle<()>,
}

impl Session {
    /// Runs one statement. Its parameters' types are known, so it costs one round trip and leaves nothing behind.
    pub(super) async fn query(
        &self,
        sql: &str,
        params: Params,
    ) -> Result<Vec<tokio_postgres::Row>, tokio_postgres::Error> {
        self.client.query_typed(sql, &params.as_refs()).await
    }

    /// Runs one statement and says how many rows it appended or changed.
    pub(super) async fn execute(&self, sql: &str, params: Params) -> Result<u64, tokio_postgres::Error> {
        self.client.execute_typed(sql, &params.as_refs()).await
    }
}

/// Opens one connection and sets it up.
pub(super) async fn connect(options: &PostgresOptions, tls: &MakeRustlsConnect) -> Result<Session, StoreError> {
    let shown = options.shown();
    let failed = |e: tokio_postgres::Error| translate(&e, &shown);
    // The driver's own limit is one for each socket, which the kernel opens for a server that hangs too. One more for what
    // is said on it.
    let config = &options.config;
    let hosts = u32::try_from(config.get_hosts().len()).unwrap_or(u32::MAX);
    let each = config.get_connect_timeout().copied().unwrap_or(Duration::MAX);
    let within = each.saturating_mul(hosts.saturating_add(1));
    let connecting = tokio::time::timeout(within, config.connect(tls.clone()));
    let connected = connecting.await.map_err(|_| StoreError::Gone(format!("{shown}: no answer")))?;
    let (client, connection) = connected.map_err(failed)?;
    let driver = tokio::spawn(async move {
        // What went wrong is told to whoever waits for an answer.
        let _told_elsewhere = connection.await;
    });
    let session = Session { client, driver };
    let busy = options.busy.as_millis().max(1);
    session.client.batch_execute(&format!("{SETUP}; set lock_timeout = {busy}")).await.map_err(failed)?;
    if let Err(e) = session.client.batch_execute(CHECK_CLIENT).await
        && session.client.is_closed()
    {
        return Err(failed(e));
    }
    Ok(session)
}

/// The connections of one store.
pub(super) struct Pool {
    options: PostgresOptions,
    tls: MakeRustlsConnect,
    pub(super) shown: String,
    idle: Mutex<Vec<Session>>,
}

impl Pool {
    pub(super) fn new(options: PostgresOptions) -> Result<Self, StoreError> {
        let (tls, shown) = (tls::connector(&options)?, options.shown());
        Ok(Self { options, tls, shown, idle: Mutex::default() })
    }

    /// A connection, on which `begin` was run. An idle one may have died without anybody noticing (the server was
    /// restarted): then they all are thrown away and a new one is opened.
    pub(super) async fn begin(&self, begin: &str) -> Result<Session, StoreError> {
        while let Some(session) = self.idle() {
            match session.client.simple_query(begin).await {
                Ok(answer) => return self.begun(session, &answer),
                Err(e) if e.as_db_error().is_some() && !session.client.is_closed() => {
                    return Err(translate(&e, &self.shown));
                }
                Err(_) => continue,
            }
        }
        let session = connect(&self.options, &self.tls).await?;
        let answer = session.client.simple_query(begin).await.map_err(|e| translate(&e, &self.shown))?;
        self.begun(session, &answer)
    }

    /// The connection, unless the server says that nothing may be written; it is closed then, because the next may be
    /// to another server.
    fn begun(&self, session: Session, answer: &[SimpleQueryMessage]) -> Result<Session, StoreError> {
        let is_on = |m: &SimpleQueryMessage| matches!(m, SimpleQueryMessage::Row(r) if r.get(0) == Some(READ_ONLY));
        if answer.iter().any(is_on) {
            return Err(StoreError::ReadOnly(format!(
                "{}: the server is a standby, or default_transaction_read_only is on",
                self.shown
            )));
        }
        Ok(session)
    }

    fn idle(&self) -> Option<Session> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(session) = idle.pop() {
            if !session.client.is_closed() {
                return Some(session);
            }
        }
        None
    }

    /// Keeps a connection on which no transaction is open.
    pub(super) fn keep(&self, session: Session) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if !session.client.is_closed() && idle.len() < IDLE_MAX {
            idle.push(session);
        }
    }

    /// Takes back a connection whose transaction was given up; `in_flight`, in the middle of a statement.
    pub(super) fn give_up(self: Arc<Self>, session: Session, in_flight: bool) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            if in_flight {
                let _best_effort = session.client.cancel_token().cancel_query(self.tls.clone()).await;
                session.driver.abort();
            } else if session.client.batch_execute("rollback").await.is_ok() {
                self.keep(session);
            }
        });
    }

    /// The signal, outside of any transaction.
    pub(super) async fn signal(&self, sql: &str) -> Result<String, StoreError> {
        let session = match self.idle() {
            Some(session) => match session.query(sql, Params::default()).await {
                Ok(rows) => return self.first_text(session, &rows),
                Err(_) => connect(&self.options, &self.tls).await?,
            },
            None => connect(&self.options, &self.tls).await?,
        };
        let rows = session.query(sql, Params::default()).await.map_err(|e| translate(&e, &self.shown))?;
        self.first_text(session, &rows)
    }

    fn first_text(&self, session: Session, rows: &[tokio_postgres::Row]) -> Result<String, StoreError> {
        self.keep(session);
        let row = rows.first().ok_or_else(|| StoreError::Broken(format!("{}: no answer", self.shown)))?;
        row.try_get(0).map_err(|e| translate(&e, &self.shown))
    }
}

/// The shards' class and numbers as parameters of the lock.
pub(super) fn lock_params(class: i32, shards: Vec<i32>) -> Params {
    Params::default().add(class, Type::INT4).add(shards, Type::INT4_ARRAY)
}
