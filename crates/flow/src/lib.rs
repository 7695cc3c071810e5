//! What happens, in order. `send` and `accept` are the product; read them with `ports` and you know it.
//!
//! Everything here runs over four traits ([`ports`]), so that the daemon and the simulator run the same code: a store
//! and its transactions, a peer, a clock.

pub mod accept;
mod append;
pub mod bridge;
mod case;
pub mod compact;
pub mod conformance;
pub mod egress;
pub mod error;
pub mod exchange;
pub mod line;
pub mod operator;
mod outbox;
pub mod pace;
pub mod pairing;
pub mod ports;
pub mod repair;
pub mod send;
pub mod settle;
pub mod survey;
mod texts;
pub mod verify;
pub mod violation;
pub mod watch;

pub use bridge::{Bridge, Decisions, Event, Limits, Observer, PeerPolicy};
pub use egress::{Egress, RecordError};
pub use error::{PeerError, Remedy, StoreError};
pub use pairing::Pairing;
pub use violation::Violation;
