//! Which server is asked next.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The first wait after a failure.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// The state of every server, as far as it is known from here.
pub(super) struct Balance {
    servers: Mutex<Vec<Server>>,
    longest_wait: Duration,
}

#[derive(Clone, Default)]
struct Server {
    under_way: usize,
    /// Failures since it last answered.
    failures: u32,
    /// Until when it is left alone.
    rests_until: Option<Instant>,
}

/// What came of asking a server.
pub(super) enum Came {
    Answer,
    /// It wants to be left alone, for so long where it says so.
    Failure(Option<Duration>),
}

impl Balance {
    pub(super) fn new(servers: usize, longest_wait: Duration) -> Self {
        Self {
            servers: Mutex::new(vec![Server::default(); servers]),
            longest_wait,
        }
    }

    /// The server that has least to do of those that do not rest. `Err`: how long all of them rest.
    pub(super) fn take(&self, now: Instant) -> Result<usize, Duration> {
        let mut servers = self.lock();
        let rest = |server: &Server| match server.rests_until {
            Some(until) => until.saturating_duration_since(now),
            None => Duration::ZERO,
        };
        let awake = (0..servers.len()).filter(|&index| rest(&servers[index]).is_zero());
        match awake.min_by_key(|&index| servers[index].under_way) {
            Some(index) => {
                servers[index].under_way += 1;
                Ok(index)
            }
            None => Err(servers.iter().map(rest).min().unwrap_or_default()),
        }
    }

    pub(super) fn give_back(&self, server: usize, came: Came, now: Instant) {
        let mut servers = self.lock();
        let server = &mut servers[server];
        server.under_way -= 1;
        match came {
            Came::Answer => {
                server.failures = 0;
                server.rests_until = None;
            }
            Came::Failure(asked) => {
                let doubled = FIRST_WAIT.saturating_mul(1 << server.failures.min(16));
                // Clients that failed together must not come back together.
                let wait = asked
                    .unwrap_or_else(|| doubled.mul_f64(0.5 + fastrand::f64() / 2.0))
                    .min(self.longest_wait);
                server.failures += 1;
                let until = now + wait;
                server.rests_until = server.rests_until.max(Some(until));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Server>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_least_busy_is_asked_and_failed_ones_rest() {
        let balance = Balance::new(2, Duration::from_secs(30));
        let now = Instant::now();
        let first = balance.take(now).unwrap();
        let second = balance.take(now).unwrap();
        assert_ne!(first, second);
        balance.give_back(first, Came::Failure(None), now);
        assert_eq!(balance.take(now), Ok(second));
        balance.give_back(second, Came::Failure(Some(Duration::from_secs(7))), now);
        let rest = balance.take(now).unwrap_err();
        assert!(rest >= FIRST_WAIT / 2 && rest <= FIRST_WAIT, "{rest:?}");
        assert_eq!(balance.take(now + FIRST_WAIT), Ok(first));
        balance.give_back(first, Came::Failure(None), now);
        // The second still has a request under way.
        let longer = balance.take(now).unwrap_err();
        assert!(longer > FIRST_WAIT / 2, "{longer:?}");
    }

    #[test]
    fn waits_are_bounded() {
        let balance = Balance::new(1, Duration::from_secs(2));
        let mut now = Instant::now();
        for _ in 0..40 {
            let server = balance.take(now).unwrap();
            balance.give_back(server, Came::Failure(None), now);
            now += balance.take(now).unwrap_err();
        }
        let server = balance.take(now).unwrap();
        balance.give_back(server, Came::Failure(Some(Duration::from_secs(3600))), now);
        assert!(balance.take(now).unwrap_err() <= Duration::from_secs(2));
        assert!(balance.take(now + Duration::from_secs(2)).is_ok());
    }
}
