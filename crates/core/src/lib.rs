//! What is true about a history: which texts are markers, what the markers say, what is still owed to a peer and
//! what an arriving entry is.
//!
//! Everything here is a function from values to values. No clock, file, socket, database or environment is read, so
//! that the simulator, the fuzzers and the daemon run the very same decisions. Start with [`marker`], then
//! [`ledger`], then the two decisions: [`pending`] at the sender and [`judge`] at the receiver.

pub mod account;
pub mod bounds;
pub mod compaction;
pub mod cursor;
pub mod entry;
pub mod id;
pub mod id_set;
pub mod judge;
pub mod ledger;
pub mod marker;
pub mod message;
pub mod pairing;
pub mod pending;
pub mod scribe;
pub mod seal;
pub mod value;

pub use bounds::Bounds;
pub use entry::{Digest, Fields};
pub use id::{Origin, ProblemId, ProblemName, SiteName, WorkId};
pub use id_set::{IdSet, OriginSet};
pub use ledger::Ledger;
pub use marker::{Group, Marker, Name};
pub use scribe::{Reading, Scribe};
pub use seal::Keyring;
