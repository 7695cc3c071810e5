//! Waiting for something to become true. The time that it takes decides nothing, except when to give up.

use std::time::{Duration, Instant};

/// After this a test has failed: generous, because a machine under load is not a fault.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks.
pub const LOOK: Duration = Duration::from_millis(10);

/// Returns once `holds`. Fails with `what` after [`PATIENCE`].
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "in {} s it did not come true that {what}", PATIENCE.as_secs());
        std::thread::sleep(LOOK);
    }
}
