//! The record of what left to whom: an append-only file, one JSON object a line, each line chained to the one before it and
//! sealed (docs/audit.md). Written before anything leaves; where it cannot be written, nothing does.
//!
//! `chain` says what a line is and what makes it genuine, `verify` reads lines and names the first that is wrong; neither
//! touches a file. `file` keeps the file of a running site, `tail` finds where one ends, `lines` reads one, `keys` keeps
//! retired keys, and `record` is what the flow calls.

pub mod chain;
mod error;
pub mod file;
pub mod keys;
pub mod lines;
mod record;
mod tail;
pub mod time;
pub mod verify;

pub use error::AuditError;
pub use file::RecordFile;
pub use record::Record;
