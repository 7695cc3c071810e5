//! Why the record cannot be written or its end not be read, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use landbridge_flow::RecordError;
use thiserror::Error;

use super::chain::{Head, KeyId};
use super::keys;

/// Why the record cannot be written, or its end not be read.
#[derive(Debug, Error)]
pub enum AuditError {
    /// It cannot be opened, made or read.
    #[error("the record {} cannot be opened: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is a folder, a pipe or a device.
    #[error("the record {} is no regular file", path.display())]
    NoFile {
        /// The file.
        path: PathBuf,
    },
    /// Another process does not let go of it.
    #[error("the record {} is held by another program", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// It has less than was written to it.
    #[error("the record {} was replaced or cut: it ends before line {seq}, which was written to it", path.display())]
    Cut {
        /// The file.
        path: PathBuf,
        /// The number of the line.
        seq: u64,
    },
    /// It does not have the line that it ended with when this site last wrote to it.
    #[error("the record {} was replaced or cut: this site left it with {left}, and {}", path.display(), now(*has, *left))]
    Left {
        /// The file.
        path: PathBuf,
        /// The last line then.
        left: Head,
        /// What stands in its place, or the last line now; nothing where there is none.
        has: Option<Head>,
    },
    /// It was deleted while it was written to.
    #[error("the record {} was deleted; its last line was number {seq}", path.display())]
    Deleted {
        /// The file.
        path: PathBuf,
        /// The number of the line.
        seq: u64,
    },
    /// What stands at its end is no line.
    #[error("the record {} is broken at its end: what stands at byte {at} is no line of it", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// Where.
        at: u64,
    },
    /// Its last line is not sealed by this site.
    #[error("the last line of the record {} has a seal that this site did not make", path.display())]
    Forged {
        /// The file.
        path: PathBuf,
    },
    /// The key of its last line is not at hand.
    #[error("the last line of the record {} is sealed by key {key}, which is not at hand", path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// Which.
        key: KeyId,
    },
    /// It cannot be written.
    #[error("the record {} cannot be written: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is none.
    #[error("there is no record {} yet", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
}

impl AuditError {
    /// The next step.
    pub fn next(&self) -> String {
        let of = |key: &KeyId, path: &Path| {
            format!(
                "put the key file that has {key} into {}, or let `landbridge audit rotate --accept` begin a new file behind it",
                keys::file(path).display()
            )
        };
        match self {
            Self::Open { .. } | Self::NoFile { .. } => {
                "let [audit] file name a file that this user may write, in a folder that it may write".to_owned()
            }
            Self::Busy { .. } => "see which program holds it (`fuser`, `lsof`); then it goes on by itself".to_owned(),
            Self::Cut { .. } | Self::Left { .. } | Self::Deleted { .. } | Self::Broken { .. } | Self::Forged { .. } => {
                "find out who did that. Put the file back as it was, or let `landbridge audit rotate --accept` move it \
                 aside and begin a new one that says so"
                    .to_owned()
            }
            Self::UnknownKey { key, path } => of(key, path),
            Self::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "free room on its disk; then it goes on by itself".to_owned()
            }
            Self::Write { .. } => "see to its disk and its permissions; then it goes on by itself".to_owned(),
            Self::Missing { .. } => "it is begun with the first entry that leaves".to_owned(),
        }
    }
}

fn now(has: Option<Head>, left: Head) -> String {
    match has {
        Some(has) if has.seq == left.seq => format!("it has {has} there now"),
        Some(has) => format!("it ends with {has} now"),
        None => "it has no line now".to_owned(),
    }
}

impl From<&AuditError> for RecordError {
    fn from(error: &AuditError) -> Self {
        Self { what: error.to_string(), next: error.next() }
    }
}
