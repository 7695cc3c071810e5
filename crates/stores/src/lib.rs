//! Where histories are kept: the memory store, which passes the conformance suite first and serves as its
//! specification, and the adapters of real databases, each behind a feature.

pub mod catalog;
#[cfg(all(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub mod database;
pub mod encoding;
#[cfg(any(test, fuzzing))]
pub mod hostile;
pub mod inspection;
pub mod mapping;
pub mod memory;
#[cfg(feature = "mysql")]
pub mod mysql;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "sqlite")]
pub mod sqlite;
pub mod sqltext;

#[cfg(all(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub use database::Database;
pub use inspection::Inspection;
pub use mapping::{Mapping, Numbering, ProblemTable, Source, Statements, Table, TableName};
