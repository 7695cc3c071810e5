//! A connection as an application has one, to any of the three vendors, in the words of plain SQL with `?1`, `?2`. What
//! an application has to know of faults is here: whether the server is gone, or another transaction was in the way.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use rusqlite::types::{ToSqlOutput, ValueRef};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

/// How long an application waits for a lock of SQLite.
const BUSY: Duration = Duration::from_secs(100);

/// Whose database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vendor {
    /// A file.
    Sqlite,
    /// A server of PostgreSQL.
    Postgres,
    /// A server of MariaDB.
    MariaDb,
}

/// A value of a row or a parameter. Truth is 0 or 1.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// None.
    Null,
    /// A whole number, or truth.
    Int(i64),
    /// A text, and whatever else a column shows as one.
    Text(String),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Option<&str>> for Value {
    fn from(text: Option<&str>) -> Self {
        text.map_or(Self::Null, Self::from)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<Option<i64>> for Value {
    fn from(number: Option<i64>) -> Self {
        number.map_or(Self::Null, Self::Int)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Int(truth.into())
    }
}

impl Value {
    /// The number.
    pub fn int(&self) -> i64 {
        match self {
            Self::Int(number) => *number,
            other => panic!("{other:?} is no number"),
        }
    }

    /// The text, if it is not null.
    pub fn text(self) -> Option<String> {
        match self {
            Self::Null => None,
            Self::Int(number) => Some(number.to_string()),
            Self::Text(text) => Some(text),
        }
    }
}

/// Why a statement failed, as far as an application can do something about it.
#[derive(Debug)]
pub enum Fault {
    /// The server or the connection is gone. Whether a commit was done is unknown.
    Lost(String),
    /// Another transaction was in the way: the whole transaction may be tried again.
    Again(String),
    /// A mistake.
    Wrong(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// What comes of a statement.
pub type Done<T> = Result<T, Fault>;

/// A connection.
pub struct Sql(Inner);

enum Inner {
    Sqlite(rusqlite::Connection),
    Postgres(Runtime, tokio_postgres::Client),
    // None only while it is being closed.
    MariaDb(Runtime, Option<mysql_async::Conn>),
}

impl Sql {
    /// Connects to `url`: `sqlite:FILE`, `postgres://` or `mysql://`.
    pub fn connect(url: &str) -> Done<Self> {
        if let Some(file) = url.strip_prefix("sqlite:") {
            let sql = rusqlite::Connection::open(file)?;
            sql.busy_timeout(BUSY)?;
            sql.execute_batch("pragma foreign_keys = on; pragma synchronous = off")?;
            return Ok(Self(Inner::Sqlite(sql)));
        }
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        if url.starts_with("postgres:") {
            let (client, connection) = runtime.block_on(tokio_postgres::connect(url, tokio_postgres::NoTls))?;
            runtime.spawn(connection);
            return Ok(Self(Inner::Postgres(runtime, client)));
        }
        let opts = mysql_async::Opts::from_url(url).unwrap();
        // Found rows, not changed rows: an update to what is there already is no fault.
        let opts = mysql_async::OptsBuilder::from_opts(opts).client_found_rows(true).prefer_socket(false);
        let conn = runtime.block_on(mysql_async::Conn::new(opts))?;
        Ok(Self(Inner::MariaDb(runtime, Some(conn))))
    }

    /// Whose database it is.
    pub fn vendor(&self) -> Vendor {
        match self.0 {
            Inner::Sqlite(_) => Vendor::Sqlite,
            Inner::Postgres(..) => Vendor::Postgres,
            Inner::MariaDb(..) => Vendor::MariaDb,
        }
    }

    /// Runs statements without parameters.
    pub fn batch(&mut self, script: &str) -> Done<()> {
        match &mut self.0 {
            Inner::Sqlite(sql) => Ok(sql.execute_batch(script)?),
            Inner::Postgres(runtime, client) => Ok(runtime.block_on(client.batch_execute(script))?),
            Inner::MariaDb(runtime, conn) => Ok(runtime.block_on(conn.as_mut().unwrap().query_drop(script))?),
        }
    }

    /// Runs one statement. How many rows it met.
    pub fn execute(&mut self, statement: &str, values: &[Value]) -> Done<u64> {
        match &mut self.0 {
            Inner::Sqlite(sql) => {
                // A statement that yields rows is run to its end as well.
                let mut statement = sql.prepare_cached(statement)?;
                let mut rows = statement.query(rusqlite::params_from_iter(values))?;
                while rows.next()?.is_some() {}
                drop(rows);
                drop(statement);
                Ok(sql.changes())
            }
            Inner::Postgres(runtime, client) => {
                Ok(runtime.block_on(client.execute(&dollars(statement), &bound(values)))?)
            }
            Inner::MariaDb(runtime, conn) => {
                let conn = conn.as_mut().unwrap();
                let (statement, values) = questions(statement, values);
                runtime.block_on(conn.exec_drop(statement, values))?;
                Ok(conn.affected_rows())
            }
        }
    }

    /// Appends one row. The number that it has: the one that the statement returns, or that the database gave out.
    pub fn insert(&mut self, statement: &str, values: &[Value]) -> Done<i64> {
        if let Inner::Postgres(..) = self.0 {
            return Ok(self.query(statement, values)?[0][0].int());
        }
        assert_eq!(self.execute(statement, values)?, 1);
        Ok(match &self.0 {
            Inner::Sqlite(sql) => sql.last_insert_rowid(),
            Inner::Postgres(..) => unreachable!(),
            Inner::MariaDb(_, conn) => {
                conn.as_ref().unwrap().last_insert_id().map_or(0, |id| i64::try_from(id).unwrap())
            }
        })
    }

    /// The rows of a query.
    pub fn query(&mut self, select: &str, values: &[Value]) -> Done<Vec<Vec<Value>>> {
        match &mut self.0 {
            Inner::Sqlite(sql) => {
                let mut statement = sql.prepare_cached(select)?;
                let columns = statement.column_count();
                let mut rows = statement.query(rusqlite::params_from_iter(values))?;
                let mut all = Vec::new();
                while let Some(row) = rows.next()? {
                    all.push((0..columns).map(|c| of_sqlite(row.get_ref(c).unwrap())).collect());
                }
                Ok(all)
            }
            Inner::Postgres(runtime, client) => {
                let rows = runtime.block_on(client.query(&dollars(select), &bound(values)))?;
                Ok(rows.iter().map(|row| (0..row.len()).map(|c| of_postgres(row, c)).collect()).collect())
            }
            Inner::MariaDb(runtime, conn) => {
                let (select, values) = questions(select, values);
                let conn = conn.as_mut().unwrap();
                let rows: Vec<mysql_async::Row> = runtime.block_on(conn.exec(select, values))?;
                Ok(rows.into_iter().map(|row| row.unwrap().into_iter().map(of_mariadb).collect()).collect())
            }
        }
    }

    /// Begins a transaction in which the application writes.
    pub fn begin(&mut self) -> Done<()> {
        let begin = match self.vendor() {
            Vendor::Sqlite => "begin immediate",
            Vendor::Postgres | Vendor::MariaDb => "start transaction",
        };
        self.batch(begin)
    }

    /// Commits.
    pub fn commit(&mut self) -> Done<()> {
        self.batch("commit")
    }

    /// Undoes the transaction.
    pub fn rollback(&mut self) -> Done<()> {
        self.batch("rollback")
    }

    /// Whether the server answers.
    pub fn is_alive(&mut self) -> bool {
        self.batch("select 1").is_ok()
    }
}

impl Drop for Sql {
    fn drop(&mut self) {
        if let Inner::MariaDb(runtime, conn) = &mut self.0
            && let Some(conn) = conn.take()
        {
            // Dropped outside of a runtime it would panic.
            let _guard = runtime.enter();
            drop(conn);
        }
    }
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::from(rusqlite::types::Null),
            Self::Int(number) => ToSqlOutput::from(*number),
            Self::Text(text) => ToSqlOutput::from(text.as_str()),
        })
    }
}

fn of_sqlite(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Int(number),
        ValueRef::Real(number) => Value::Text(number.to_string()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Value::Text(String::from_utf8_lossy(bytes).into_owned()),
    }
}

impl ToSql for Value {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match (self, ty) {
            (Self::Null, _) => Ok(IsNull::Yes),
            (Self::Int(number), &Type::BOOL) => (*number != 0).to_sql(ty, out),
            (Self::Int(number), &Type::INT4) => i32::try_from(*number)?.to_sql(ty, out),
            (Self::Int(number), &Type::INT8) => number.to_sql(ty, out),
            (Self::Int(number), _) => number.to_string().to_sql(ty, out),
            (Self::Text(text), &Type::INT4) => text.parse::<i32>()?.to_sql(ty, out),
            (Self::Text(text), &Type::INT8) => text.parse::<i64>()?.to_sql(ty, out),
            (Self::Text(text), _) => text.to_sql(ty, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

fn bound(values: &[Value]) -> Vec<&(dyn ToSql + Sync)> {
    values.iter().map(|value| value as _).collect()
}

fn of_postgres(row: &tokio_postgres::Row, column: usize) -> Value {
    match *row.columns()[column].type_() {
        Type::BOOL => row.get::<_, Option<bool>>(column).map_or(Value::Null, Value::from),
        Type::INT4 => row.get::<_, Option<i32>>(column).map(i64::from).into(),
        Type::INT8 => row.get::<_, Option<i64>>(column).into(),
        _ => row.get::<_, Option<&str>>(column).into(),
    }
}

fn of_mariadb(value: mysql_async::Value) -> Value {
    match value {
        mysql_async::Value::NULL => Value::Null,
        mysql_async::Value::Int(number) => Value::Int(number),
        mysql_async::Value::UInt(number) => Value::Int(i64::try_from(number).unwrap()),
        mysql_async::Value::Bytes(bytes) => Value::Text(String::from_utf8_lossy(&bytes).into_owned()),
        other => Value::Text(other.as_sql(true)),
    }
}

/// PostgreSQL writes `$1` where this kit writes `?1`.
fn dollars(sql: &str) -> String {
    sql.replace('?', "$")
}

/// MariaDB knows only `?`, one after the other.
fn questions(sql: &str, values: &[Value]) -> (String, mysql_async::Params) {
    let mut parts = sql.split('?');
    let mut text = parts.next().unwrap_or_default().to_owned();
    let mut ordered = Vec::new();
    for part in parts {
        let (number, rest) = part.split_at(1);
        let number: usize = number.parse().unwrap_or_else(|_| panic!("no number behind a ? in {sql}"));
        ordered.push(match &values[number - 1] {
            Value::Null => mysql_async::Value::NULL,
            Value::Int(number) => mysql_async::Value::Int(*number),
            Value::Text(text) => mysql_async::Value::Bytes(text.clone().into_bytes()),
        });
        text.push('?');
        text.push_str(rest);
    }
    let params = match ordered.is_empty() {
        true => mysql_async::Params::Empty,
        false => mysql_async::Params::Positional(ordered),
    };
    (text, params)
}

impl From<rusqlite::Error> for Fault {
    fn from(fault: rusqlite::Error) -> Self {
        Self::Wrong(fault.to_string())
    }
}

impl From<tokio_postgres::Error> for Fault {
    fn from(fault: tokio_postgres::Error) -> Self {
        let said = format!("{fault}: {:?}", fault.as_db_error());
        match fault.code().map(|code| code.code()) {
            // Serialization, deadlock, a number that another has taken.
            Some("40001" | "40P01" | "23505") => Self::Again(said),
            Some(code) if !code.starts_with("57P") && !code.starts_with("08") => Self::Wrong(said),
            // It shuts down, has crashed, or comes up; or the connection broke.
            _ => Self::Lost(said),
        }
    }
}

impl From<mysql_async::Error> for Fault {
    fn from(fault: mysql_async::Error) -> Self {
        let said = fault.to_string();
        match &fault {
            mysql_async::Error::Server(server) => match server.code {
                // Changed since it was read, a number that another has taken, a lock not had in time, a deadlock.
                1020 | 1062 | 1205 | 1213 => Self::Again(said),
                // It shuts down, or has killed the connection.
                1053 | 1927 => Self::Lost(said),
                _ => Self::Wrong(said),
            },
            mysql_async::Error::Io(_) => Self::Lost(said),
            mysql_async::Error::Driver(mysql_async::DriverError::ConnectionClosed) => Self::Lost(said),
            mysql_async::Error::Driver(mysql_async::DriverError::PoolDisconnected) => Self::Lost(said),
            _ => Self::Wrong(said),
        }
    }
}
