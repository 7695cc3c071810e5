//! Growing pauses after failures. They change when something is tried, never what comes of it.

use std::time::Duration;

/// Doubles from a first pause to a longest one.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// Pauses from `first` to `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// The pause after one more failure.
    pub fn failed(&mut self) -> Duration {
        let pause = self.pause_after(self.failures);
        self.failures = self.failures.saturating_add(1);
        pause
    }

    /// After a success the next failure is a first one.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    fn pause_after(&self, failures: u32) -> Duration {
        let factor = 1_u32.checked_shl(failures.min(31)).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_start_again_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
        let pauses: Vec<_> = (0..5).map(|_| backoff.failed().as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 5, 5]);
        backoff.succeeded();
        assert_eq!(backoff.failed().as_secs(), 1);
        let mut long = Backoff::new(Duration::from_secs(1), Duration::MAX);
        assert!((0..100).all(|_| long.failed() >= Duration::from_secs(1)));
    }
}
