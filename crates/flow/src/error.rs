//! What can go wrong at a store or at a peer, and in one table what to do about it.

use std::time::Duration;

use landbridge_core::message::Refusal;
use thiserror::Error;

/// A store did not do what it was asked. Each adapter translates its driver's errors into these, at its edge.
#[derive(Debug, Clone, Error)]
pub enum StoreError {
    /// The application took the number first. Nothing is wrong; the transaction is tried again.
    #[error("a row of that number was appended by somebody else meanwhile")]
    Taken,
    /// Another transaction and this one waited for each other, and the database ended this one. Nothing is wrong; the
    /// whole transaction is tried again.
    #[error("another transaction was in the way, and the database ended this one: {0}")]
    Deadlock(String),
    /// At least one of the rows that were appended is not taken by the table.
    #[error("a row was not taken: {refusal} ({detail})")]
    Row {
        /// What the peer is told.
        refusal: Refusal,
        /// What the database said. Stays in this house.
        detail: String,
    },
    /// Another program holds the database locked.
    #[error("the database is locked by another program: {0}")]
    Busy(String),
    /// The database does not answer.
    #[error("the database does not answer: {0}")]
    Gone(String),
    /// There is no room left.
    #[error("there is no room left for the database: {0}")]
    Full(String),
    /// The database cannot be written.
    #[error("the database cannot be written: {0}")]
    ReadOnly(String),
    /// The table or its columns are not what the configuration says.
    #[error("{0}")]
    Mapping(String),
    /// The database said something that this bridge does not understand.
    #[error("the database failed: {0}")]
    Broken(String),
}

/// The bridge at the other site did not answer as it should.
#[derive(Debug, Error)]
pub enum PeerError {
    /// No connection, or it broke.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// The peer does not accept us.
    #[error("does not accept this site: {0}")]
    Denied(String),
    /// Whoever answers there does not prove that it is the peer.
    #[error("is not believed to be that site: {0}")]
    Unproven(String),
    /// The message was larger than the peer takes.
    #[error("takes no message of that size")]
    TooLarge,
    /// The peer cannot answer now: its database is away or full.
    #[error("cannot answer now: {0}")]
    NotNow(String),
    /// The peer wants to be left alone for a while: more was asked of it than it allows.
    #[error("cannot answer now: {why}")]
    Later {
        /// What it says.
        why: String,
        /// For how long. It is the peer's word, and bounded where it is heeded.
        pause: Duration,
    },
    /// What came is no answer of this protocol.
    #[error("answered what this bridge does not understand: {0}")]
    Protocol(String),
    /// What came is given out as an answer of this protocol, and is none that a bridge in order gives.
    #[error("answered against the protocol: {0}")]
    Violation(String),
}

/// Why a peer gets no answer. It never tells more of this house than these sentences.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The message contradicts itself or is not meant for this site.
    #[error("{0}")]
    Malformed(String),
    /// This site does not know the peer, or does not speak with it now.
    #[error("{0}")]
    Denied(String),
    /// The database here is away, locked or full. What exactly is told to the operator only.
    #[error("the database at this site does not answer now")]
    NotNow,
    /// What was to leave could not be recorded here. Why is told to the operator only.
    #[error("this site sends nothing now")]
    NothingLeaves,
}

/// Who can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// The same again at once.
    Now,
    /// The same again after a pause.
    Later,
    /// A person.
    Person,
}

impl StoreError {
    /// Who can help, and with which next step.
    pub fn remedy(&self) -> (Remedy, &'static str) {
        match self {
            StoreError::Taken | StoreError::Deadlock(_) => (Remedy::Now, "nothing to do; it is tried again"),
            StoreError::Busy(_) => (Remedy::Later, "end the program that holds the lock, or wait for it"),
            StoreError::Gone(_) => (Remedy::Later, "start the database, or correct [database] url"),
            StoreError::Full(_) => (Remedy::Later, "free room on the disk of the database; then it goes on by itself"),
            StoreError::Row { .. } => (Remedy::Person, "see `landbridge check` for what the table demands"),
            StoreError::ReadOnly(_) => {
                let next = "give this user the right to write: for SQLite the file and its folder, otherwise what \
                            `landbridge grants` prints";
                (Remedy::Person, next)
            }
            StoreError::Mapping(_) => {
                (Remedy::Person, "correct the mapping in the configuration; `landbridge check` verifies it")
            }
            StoreError::Broken(_) => (Remedy::Person, "look at the database's own log"),
        }
    }
}

impl PeerError {
    /// Who can help, and with which next step.
    pub fn remedy(&self) -> (Remedy, &'static str) {
        match self {
            PeerError::Unreachable(_) => (Remedy::Later, "start the peer's bridge, or correct its url"),
            PeerError::NotNow(_) => (Remedy::Later, "nothing to do here; see the peer's status"),
            PeerError::Later { .. } => (Remedy::Later, "nothing to do here; it is asked again after the pause"),
            PeerError::TooLarge => (Remedy::Now, "nothing to do; smaller batches are sent"),
            PeerError::Denied(_) => {
                (Remedy::Person, "compare site names, history name, certificates and tokens on both sides")
            }
            PeerError::Unproven(_) => {
                (Remedy::Person, "`landbridge check` here and `landbridge cert show` there say whose certificate it is")
            }
            PeerError::Protocol(_) | PeerError::Violation(_) => {
                (Remedy::Person, "compare the versions of the two bridges, and what stands between them")
            }
        }
    }
}
