//! How slow an answer may be.

use std::time::{Duration, Instant};

/// Bytes a second below which an answer counts as stalled: a connection that is held open with a byte now and then.
const LEAST_RATE: f64 = 1024.0;
/// A small answer must be whole within so many windows.
const WINDOWS: u32 = 10;

/// Watches the rate of an answer over windows of time. Only the time spent waiting for the network counts.
pub(super) struct Pace {
    window: Duration,
    limit: Option<Duration>,
    total: Duration,
    spent: Duration,
    bytes: u64,
}

impl Pace {
    /// For an answer of any size.
    pub(super) fn new(window: Duration) -> Self {
        Self {
            window,
            limit: None,
            total: Duration::ZERO,
            spent: Duration::ZERO,
            bytes: 0,
        }
    }

    /// For a small answer, whose whole time is limited too.
    pub(super) fn small(window: Duration) -> Self {
        Self {
            limit: Some(window.saturating_mul(WINDOWS)),
            ..Self::new(window)
        }
    }

    /// Counts `bytes` that were waited for since `start`. `Err` says that the answer is too slow.
    pub(super) fn took(&mut self, start: Instant, bytes: usize) -> Result<(), String> {
        self.count(start.elapsed(), bytes as u64)
    }

    fn count(&mut self, time: Duration, bytes: u64) -> Result<(), String> {
        self.total += time;
        self.spent += time;
        self.bytes += bytes;
        if let Some(limit) = self.limit.filter(|limit| self.total > *limit) {
            return Err(format!(
                "the answer was not whole after {} seconds",
                limit.as_secs_f32()
            ));
        }
        if self.spent < self.window {
            return Ok(());
        }
        // No count of bytes in one window comes near the limit of what a double holds.
        #[allow(clippy::cast_precision_loss)]
        if (self.bytes as f64) < LEAST_RATE * self.spent.as_secs_f64() {
            return Err(format!(
                "only {} bytes came in {:.0} seconds",
                self.bytes,
                self.spent.as_secs_f32().ceil()
            ));
        }
        self.spent = Duration::ZERO;
        self.bytes = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers that bring `bytes` every `millis`: the seconds after which they are abandoned, if ever within an hour.
    fn given_up(mut pace: Pace, millis: u64, bytes: u64) -> Option<u64> {
        (1..3_600_000 / millis).find_map(|step| {
            let slow = pace.count(Duration::from_millis(millis), bytes);
            slow.err().map(|_| step * millis / 1000)
        })
    }

    #[test]
    fn rates() {
        let window = Duration::from_secs(30);
        for (millis, bytes, expected) in [
            (1000, 1, Some(30)),
            (100, 1, Some(30)),
            (1000, 1000, Some(30)),
            (29_000, 1, Some(58)),
            (1000, 1025, None),
            (20_000, 100_000, None),
            (10, 1_000_000, None),
        ] {
            assert_eq!(
                given_up(Pace::new(window), millis, bytes),
                expected,
                "{bytes} in {millis} ms"
            );
            let small = Some(expected.unwrap_or(300));
            let found = given_up(Pace::small(window), millis, bytes);
            assert!(
                found >= small && found <= small.map(|s| s + 20),
                "{found:?}"
            );
        }
    }
}
