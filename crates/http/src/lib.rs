//! How it travels: messages of `landbridge-core` over HTTP, between two bridges on one machine or through a tunnel.
//!
//! [`client`] is the flow's `Peer`, [`server`] hands requests to the flow's `Service`, [`auth`] says whose request it
//! is. What a message means is decided elsewhere. This version speaks plain HTTP on loopback addresses only; TLS and
//! certificates will stand beside the token in [`auth`] and around the listener in [`server`].

pub mod auth;
mod body;
pub mod client;
#[cfg(any(test, fuzzing))]
pub mod hostile;
pub mod server;

pub use auth::{Auth, AuthError, Token, TokenError};
pub use client::{ClientError, ClientOptions, Direction, HttpPeer, Tap};
pub use server::{ServerError, ServerOptions, router, serve};

/// The description of the protocol that every bridge serves at `/v1/openapi.json`.
pub const OPENAPI: &str = include_str!("../../../docs/openapi.json");
