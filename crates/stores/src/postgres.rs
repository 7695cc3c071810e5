//! A stand-in with the names of the adapter for Postgres, which is written elsewhere and takes the place of this file.

use std::time::Duration;

use async_trait::async_trait;
use landbridge_core::{ProblemId, WorkId};
use landbridge_flow::StoreError;
use landbridge_flow::ports::{Capabilities, Condition, Mode, Store, Swept, Txn};

use crate::catalog::Catalog;
use crate::inspection::Inspection;
use crate::mapping::{Mapping, TableName};

/// How the database is reached.
#[derive(Clone)]
pub struct PostgresOptions {
    /// How long a lock is waited for.
    pub busy: Duration,
    shown: String,
}

impl PostgresOptions {
    /// Reads a url.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(url: &str) -> Result<Self, String> {
        let (_, rest) = url.split_once("://").ok_or("the url has no host")?;
        let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        if host.is_empty() {
            return Err("the url has no host".to_owned());
        }
        Ok(Self { busy: Duration::from_secs(30), shown: format!("postgres://{host}") })
    }

    /// The same with this password.
    #[must_use]
    pub fn with_password(self, _password: String) -> Self {
        self
    }

    /// Without the password.
    pub fn shown(&self) -> String {
        self.shown.clone()
    }
}

/// A stand-in.
pub struct PostgresStore(Capabilities);

impl PostgresStore {
    /// Opens nothing.
    ///
    /// # Errors
    /// Always.
    pub async fn open(options: PostgresOptions, _: Mapping) -> Result<Self, StoreError> {
        Err(away(&options))
    }
}

fn away(options: &PostgresOptions) -> StoreError {
    StoreError::Gone(options.shown())
}

/// Looks at nothing.
///
/// # Errors
/// Always.
pub async fn inspect(options: &PostgresOptions, _: &Mapping) -> Result<Inspection, StoreError> {
    Err(away(options))
}

/// Looks at nothing.
///
/// # Errors
/// Always.
pub async fn catalog(options: &PostgresOptions) -> Result<Catalog, StoreError> {
    Err(away(options))
}

/// Looks at nothing.
///
/// # Errors
/// Always.
pub async fn sample(
    options: &PostgresOptions,
    _: &TableName,
    _: &[String],
    _: usize,
) -> Result<Vec<Vec<Option<String>>>, StoreError> {
    Err(away(options))
}

/// Looks at nothing.
///
/// # Errors
/// Always.
pub async fn writable(options: &PostgresOptions, _: &Mapping) -> Result<(), StoreError> {
    Err(away(options))
}

#[async_trait]
impl Store for PostgresStore {
    fn capabilities(&self) -> &Capabilities {
        &self.0
    }

    async fn signal(&self) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn sweep(&self, _: Option<&ProblemId>, _: usize) -> Result<Vec<Swept>, StoreError> {
        Ok(Vec::new())
    }

    async fn begin(&self, _: Mode) -> Result<Box<dyn Txn>, StoreError> {
        Err(StoreError::Gone(String::new()))
    }

    async fn conditions(&self, _: &ProblemId, _: WorkId) -> Result<Option<Vec<Condition>>, StoreError> {
        Ok(None)
    }
}
