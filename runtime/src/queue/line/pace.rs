//! How long a pack takes, so that what the engine is given next is planned late, when more has come that may belong to it.

use super::{Duration, Instant};

/// The part of the time of a pack, from its beginning, in which the next one is not planned yet. The rest is for planning, and
/// for what the estimate is wrong by.
const PART: f64 = 0.5;
/// How much of the estimate the last pack makes up when it took longer. When it was faster it counts alone: the first packs of a
/// device take long, and to plan too late costs more than to plan too early.
const SLOWER: f64 = 0.25;

/// What is known of the time that packs take.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Seconds for each unique token.
    token_seconds: Option<f64>,
    /// When the last pack was answered.
    answered: Option<Instant>,
}

impl Pace {
    /// A pack that was `sent` then is answered.
    pub(super) fn answered(&mut self, sent: Instant, tokens: usize, now: Instant) {
        let seconds = now
            .saturating_duration_since(self.begun(sent))
            .as_secs_f64();
        let newest = seconds / tokens.max(1) as f64;
        self.token_seconds = Some(match self.token_seconds {
            Some(before) if before < newest => before + SLOWER * (newest - before),
            _ => newest,
        });
        self.answered = Some(now);
    }

    /// Until when there is no hurry, while a pack is computed that was `sent` then.
    pub(super) fn no_hurry_until(&self, sent: Instant, tokens: usize) -> Option<Instant> {
        let seconds = self.token_seconds? * tokens as f64 * PART;
        let time = Duration::try_from_secs_f64(seconds).ok()?;
        self.begun(sent).checked_add(time)
    }

    /// An engine begins with a pack when it has it, and has answered the one before.
    fn begun(&self, sent: Instant) -> Instant {
        self.answered.map_or(sent, |answered| answered.max(sent))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_pack_is_that_of_its_tokens() {
        let begin = Instant::now();
        let at = |milliseconds: u64| begin + Duration::from_millis(milliseconds);
        let mut pace = Pace::default();
        assert_eq!(pace.no_hurry_until(begin, 100), None);
        pace.answered(begin, 100, at(400));
        // It was sent while the one before was computed.
        assert_eq!(pace.no_hurry_until(at(10), 50), Some(at(500)));
        assert_eq!(pace.no_hurry_until(at(500), 50), Some(at(600)));
        // Twice as fast, then as slow as before, of which a quarter counts.
        pace.answered(at(10), 100, at(600));
        assert_eq!(pace.no_hurry_until(at(700), 100), Some(at(800)));
        pace.answered(at(700), 100, at(1100));
        let until = pace.no_hurry_until(at(1200), 100).unwrap();
        assert_eq!((until - at(1200)).as_micros(), 125_000);
    }
}
