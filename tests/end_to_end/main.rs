//! Real bridges (`landbridge run`) on real databases, with people writing at both sites: what DESIGN §11 promises, seen
//! from outside.
//!
//! `LANDBRIDGE_SOAK=1` gives the long stories their full counts: 20,000 entries over 500 problems, 30 kills; 3,000 in each topology of
//! seven sites, 40 kills.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets something unexpected has failed, wherever in it that is"
)]

#[allow(dead_code, reason = "the kit is for both test binaries, and neither uses all of it")]
#[path = "../kit/mod.rs"]
mod kit;

mod adopted;
mod audit;
mod compact;
mod crowd;
mod hostile;
mod hostile_answers;
mod hostile_peer;
mod linked;
mod markers;
mod mesh;
mod races;
mod refusals;
mod relayed;
mod restores;
mod sequences;
mod servers;
mod systems;
mod tls;
mod topologies;
mod worked_example;

/// Not a test by itself: the processes that write are this executable, started once more to run this function.
#[test]
fn writer_process() {
    kit::writer::work_if_asked();
}
