//! How we know: a seeded world of sites in any topology on the memory store, with writers, a lossy network, crashes
//! before and after every store call and jumping clocks, and the invariants of DESIGN §11, a file each.
//!
//! A failure prints its seed and the command that plays it again. Start with [`plan`] (what a seed is), then [`world`].

pub mod baseline;
pub mod compaction;
pub mod executor;
pub mod faults;
pub mod invariants;
pub mod model;
pub mod mutants;
pub mod names;
pub mod network;
pub mod plan;
pub mod restores;
pub mod script;
pub mod world;

pub use plan::Plan;
pub use world::{Report, World, run};
