//! How it travels: messages of `landbridge-core` over HTTP, between two bridges on one machine or, with TLS, anywhere.
//!
//! [`client`] is the flow's `Peer`, [`server`] hands requests to the flow's `Service`, [`listener`] lets connections in,
//! [`tls`] and [`trust`] say whose certificate it is and whether it is believed, [`auth`] whose request, [`quota`] how much of
//! it. What a message means is decided elsewhere.

pub mod auth;
mod body;
pub mod certificate;
pub mod client;
pub mod guests;
#[cfg(any(test, fuzzing))]
pub mod hostile;
pub mod listener;
pub mod quota;
pub mod server;
pub mod tls;
pub mod trust;

pub use auth::{Auth, AuthError, Token, TokenError};
pub use certificate::Certificate;
pub use client::{ClientError, ClientOptions, Direction, HttpPeer, PeerTls, Tap};
pub use listener::{Door, ListenLimits, PeerSite};
pub use quota::{Allowance, Quota, Quotas};
pub use server::{ServerError, ServerOptions, router, serve};
pub use tls::{Pem, Tls, TlsError};
pub use trust::{Authority, AuthorityError, Distrust, Witness};

/// The description of the protocol that every bridge serves at `/v1/openapi.json`.
pub const OPENAPI: &str = include_str!("../../../docs/openapi.json");
