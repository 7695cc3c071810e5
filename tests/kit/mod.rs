//! What the tests need of the world: folders, desks with their databases and configurations, bridges as processes, a
//! network that can be cut, people who write.
//!
//! Both test binaries have it as a module, so it is compiled twice and neither uses all of it.

pub mod ask;
pub mod authority;
pub mod backup;
pub mod bridge;
pub mod command;
pub mod desk;
pub mod folder;
pub mod host;
pub mod hostile;
pub mod ledger;
pub mod mounts;
pub mod pair;
pub mod proxy;
pub mod schema;
pub mod server;
pub mod sql;
pub mod systems;
pub mod wait;
pub mod wire;
pub mod writer;
