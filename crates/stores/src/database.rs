//! One database of whatever vendor: opened, looked at and asked for what it says of itself.
//!
//! Nothing above this file tells vendors apart to reach one. What the mapping means there is the adapter's business.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use landbridge_flow::StoreError;
use landbridge_flow::ports::Store;

use crate::catalog::{Catalog, Vendor};
use crate::inspection::Inspection;
use crate::mapping::{Mapping, TableName};
use crate::mysql::{self, MysqlOptions, MysqlStore};
use crate::postgres::{self, PostgresOptions, PostgresStore};
use crate::sqlite::{self, SqliteOptions, SqliteStore};

/// Where a history is kept, and how it is reached.
#[derive(Clone)]
pub enum Database {
    /// A file of SQLite.
    Sqlite {
        /// The file.
        path: PathBuf,
        /// How long a lock that another program holds is waited for.
        busy: Duration,
    },
    /// A database of PostgreSQL.
    Postgres(PostgresOptions),
    /// A database of MySQL or MariaDB.
    Mysql(MysqlOptions),
}

/// Says which database it is and nothing that is secret.
impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Database({})", self.shown())
    }
}

impl Database {
    /// The database that `url` names: `postgres://`, `postgresql://`, `mysql://` or `mariadb://`.
    ///
    /// # Errors
    /// A sentence on what is wrong with it. It quotes nothing, because a url may hold a password.
    pub fn of_server(url: &str, busy: Duration) -> Result<Self, String> {
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("postgres" | "postgresql") => {
                let mut options = PostgresOptions::parse(url)?;
                options.busy = busy;
                Ok(Self::Postgres(options))
            }
            Some("mysql" | "mariadb") => {
                let mut options = MysqlOptions::parse(url)?;
                options.busy = busy;
                Ok(Self::Mysql(options))
            }
            _ => Err("the url names a kind of database that is not known".to_owned()),
        }
    }

    /// The same with this password. SQLite has none.
    #[must_use]
    pub fn with_password(self, password: String) -> Self {
        match self {
            Self::Sqlite { .. } => self,
            Self::Postgres(options) => Self::Postgres(options.with_password(password)),
            Self::Mysql(options) => Self::Mysql(options.with_password(password)),
        }
    }

    /// How it is called in messages to people, without a password.
    pub fn shown(&self) -> String {
        match self {
            Self::Sqlite { path, .. } => path.display().to_string(),
            Self::Postgres(options) => options.shown(),
            Self::Mysql(options) => options.shown(),
        }
    }

    /// Whose SQL it speaks.
    pub fn vendor(&self) -> Vendor {
        match self {
            Self::Sqlite { .. } => Vendor::Sqlite,
            Self::Postgres(_) => Vendor::Postgres,
            Self::Mysql(_) => Vendor::Mysql,
        }
    }

    /// How long a lock that another program holds is waited for.
    pub fn busy(&self) -> Duration {
        match self {
            Self::Sqlite { busy, .. } => *busy,
            Self::Postgres(options) => options.busy,
            Self::Mysql(options) => options.busy,
        }
    }

    /// Opens it as the store of a history.
    ///
    /// # Errors
    /// [`StoreError::Mapping`] where it is not what `mapping` says; others where it does not answer.
    pub async fn open(&self, mapping: Mapping) -> Result<Arc<dyn Store>, StoreError> {
        Ok(match self.clone() {
            Self::Sqlite { path, busy } => {
                Arc::new(blocking(move || SqliteStore::open(&path, mapping, SqliteOptions { busy })).await?)
            }
            Self::Postgres(options) => Arc::new(PostgresStore::open(options, mapping).await?),
            Self::Mysql(options) => Arc::new(MysqlStore::open(options, mapping).await?),
        })
    }

    /// Compares it with `mapping` and changes nothing.
    ///
    /// # Errors
    /// Where it does not answer. What is wrong with the mapping is in [`Inspection::faults`].
    pub async fn inspect(&self, mapping: &Mapping) -> Result<Inspection, StoreError> {
        match self.clone() {
            Self::Sqlite { path, .. } => {
                let mapping = mapping.clone();
                blocking(move || sqlite::inspect(&path, &mapping)).await
            }
            Self::Postgres(options) => postgres::inspect(&options, mapping).await,
            Self::Mysql(options) => mysql::inspect(&options, mapping).await,
        }
    }

    /// What it says of its tables, and of what its user may do.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn catalog(&self) -> Result<Catalog, StoreError> {
        match self.clone() {
            Self::Sqlite { path, .. } => blocking(move || sqlite::catalog(&path)).await,
            Self::Postgres(options) => postgres::catalog(&options).await,
            Self::Mysql(options) => mysql::catalog(&options).await,
        }
    }

    /// Some rows of a table, as text, for a person to recognise it by.
    ///
    /// # Errors
    /// Where it does not answer, or does not let them be read.
    pub async fn sample(
        &self,
        table: &TableName,
        columns: &[String],
        rows: usize,
    ) -> Result<Vec<Vec<Option<String>>>, StoreError> {
        match self.clone() {
            Self::Sqlite { path, .. } => {
                let (table, columns) = (table.clone(), columns.to_vec());
                blocking(move || sqlite::sample(&path, &table, &columns, rows)).await
            }
            Self::Postgres(options) => postgres::sample(&options, table, columns, rows).await,
            Self::Mysql(options) => mysql::sample(&options, table, columns, rows).await,
        }
    }

    /// The rows of an administrator's query, each value as text. Nothing can be written by it.
    ///
    /// # Errors
    /// What the database says against it.
    pub async fn query(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, StoreError> {
        match self.clone() {
            Self::Sqlite { path, .. } => {
                let sql = sql.to_owned();
                blocking(move || sqlite::query(&path, &sql)).await
            }
            Self::Postgres(options) => postgres::query(&options, sql).await,
            Self::Mysql(options) => mysql::query(&options, sql).await,
        }
    }

    /// Whether a transaction that writes can be begun. It is taken back.
    ///
    /// # Errors
    /// Why it cannot.
    pub async fn writable(&self, mapping: &Mapping) -> Result<(), StoreError> {
        match self.clone() {
            Self::Sqlite { path, busy } => blocking(move || sqlite::writable(&path, busy)).await,
            Self::Postgres(options) => postgres::writable(&options, mapping).await,
            Self::Mysql(options) => mysql::writable(&options, mapping).await,
        }
    }
}

/// SQLite is called on a thread that may wait.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(StoreError::Broken("looking at the database ended early".to_owned())))
}
