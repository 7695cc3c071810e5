//! What SQLite's errors mean in the words of [`StoreError`]. Messages name the database file and what SQLite said of
//! tables and columns; values of rows are not in them.

use std::path::Path;

use landbridge_core::message::{Code, Refusal};
use landbridge_flow::StoreError;
use rusqlite::{ErrorCode, ffi};

/// An error inside the adapter, before it is known which database it speaks of.
#[derive(Debug)]
pub(super) enum Trouble {
    /// SQLite's.
    Sql(rusqlite::Error),
    /// Ours, already in the words of the port.
    Store(StoreError),
}

impl From<rusqlite::Error> for Trouble {
    fn from(e: rusqlite::Error) -> Self {
        Self::Sql(e)
    }
}

impl From<StoreError> for Trouble {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

impl Trouble {
    /// In the words of the port.
    pub(super) fn translate(self, file: &Path) -> StoreError {
        match self {
            Self::Store(e) => e,
            Self::Sql(e) => translate(&e, file),
        }
    }
}

/// A row that is refused for `code`.
pub(super) fn row(code: Code, detail: impl Into<String>) -> StoreError {
    StoreError::Row { refusal: Refusal::of(code), detail: detail.into() }
}

fn translate(error: &rusqlite::Error, file: &Path) -> StoreError {
    let said = format!("{}: {error}", file.display());
    // Beginning a transaction or preparing a statement can fail with either shape of the same error.
    let code = match error {
        rusqlite::Error::SqliteFailure(e, _) => *e,
        rusqlite::Error::SqlInputError { error, .. } => *error,
        _ => return StoreError::Broken(said),
    };
    match code.code {
        ErrorCode::ConstraintViolation => constraint(code.extended_code, said),
        ErrorCode::TooBig => row(Code::TextTooLong, said),
        ErrorCode::TypeMismatch => row(Code::Value, said),
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => {
            StoreError::Busy(said)
        }
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => StoreError::ReadOnly(said),
        ErrorCode::CannotOpen if file.exists() => StoreError::ReadOnly(said),
        ErrorCode::CannotOpen | ErrorCode::NoLargeFileSupport => StoreError::Gone(said),
        ErrorCode::DiskFull => StoreError::Full(said),
        ErrorCode::SystemIoFailure => match code.extended_code {
            ffi::SQLITE_IOERR_WRITE | ffi::SQLITE_IOERR_SHMSIZE => StoreError::Full(said),
            _ => StoreError::Gone(said),
        },
        ErrorCode::OutOfMemory | ErrorCode::OperationInterrupted => StoreError::Gone(said),
        ErrorCode::DatabaseCorrupt => StoreError::Broken(format!("the database file is damaged: {said}")),
        ErrorCode::NotADatabase => StoreError::Mapping(format!("[database] url names no SQLite database: {said}")),
        _ if names_something_missing(&error.to_string()) => StoreError::Mapping(format!(
            "the table is no longer what it was when the bridge started: {said}; run `landbridge check`"
        )),
        _ => StoreError::Broken(said),
    }
}

fn names_something_missing(said: &str) -> bool {
    ["no such table", "no such column", "has no column named"].iter().any(|s| said.contains(s))
}

/// A constraint that the table, a trigger or the end of the transaction holds against a row.
///
/// Never [`StoreError::Taken`]: nobody else writes beside the one writer, so a number that is taken once the highest
/// was read again (`append`) is taken every time.
fn constraint(extended: i32, said: String) -> StoreError {
    match extended {
        ffi::SQLITE_CONSTRAINT_NOTNULL => row(Code::NullInColumn, said),
        ffi::SQLITE_CONSTRAINT_TRIGGER => row(Code::Trigger, said),
        ffi::SQLITE_CONSTRAINT_DATATYPE => row(Code::Value, said),
        _ => row(Code::Constraint, said),
    }
}
