//! The line that the log has of each request. None has content.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use super::context::{RequestContext, Work};
use crate::http::{Client, ProblemKind};

/// Most lines a second of what comes in floods: refusals of an overloaded server.
const FLOOD_LINES: u64 = 10;

/// How a request ended.
#[derive(Clone, Copy)]
pub(super) enum Outcome {
    Good,
    /// Refused, for what is the client's to mend or to wait for.
    Refused,
    /// Failed by a fault that is not the client's.
    Fault,
}

impl Outcome {
    pub(super) fn of(status: u16, kind: Option<ProblemKind>) -> Self {
        match (kind, status) {
            (Some(ProblemKind::Internal), _) | (None, 500..) => Self::Fault,
            (None, ..400) => Self::Good,
            _ => Self::Refused,
        }
    }
}

/// Says what became of a request, within its span, which has its id.
pub(super) fn line(
    throttle: &Throttle,
    request: &RequestContext,
    outcome: Outcome,
    (method, status): (&str, u16),
    kind: Option<ProblemKind>,
    client: Client,
) {
    // Macros of `tracing` have their level in their names.
    macro_rules! line {
        ($level:ident, $said:literal, $left_out:expr) => {{
            let Work { conversations, tokens, .. } = request.work();
            let milliseconds = (request.begun.elapsed().as_secs_f64() * 1e6).round() / 1e3;
            tracing::$level!(
                method,
                route = request.route.name(),
                status,
                kind = kind.map(ProblemKind::as_str),
                conversations,
                tokens,
                milliseconds,
                client = %Shown(client),
                left_out = $left_out,
                $said
            );
        }};
    }
    match outcome {
        Outcome::Good => line!(debug, "answered", None::<u64>),
        Outcome::Fault => line!(error, "failed", None::<u64>),
        Outcome::Refused => {
            let floods = matches!(
                kind,
                Some(ProblemKind::Overloaded | ProblemKind::RateLimited)
            );
            match if floods {
                throttle.lets_pass()
            } else {
                Some(0)
            } {
                Some(left_out) => line!(info, "refused", (left_out > 0).then_some(left_out)),
                None => line!(debug, "refused", None::<u64>),
            }
        }
    }
}

struct Shown(Client);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Client::Local => f.write_str("local"),
            Client::Address(address) => address.fmt(f),
            Client::Key(number) => write!(f, "key {number}"),
        }
    }
}

/// Lets a few through in each second, and counts the others.
pub(super) struct Throttle {
    since: Instant,
    /// The second that is counted, and how many came in it; the low half has the count.
    now: AtomicU64,
    left_out: AtomicU64,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            now: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        }
    }
}

impl Throttle {
    /// How many were left out before this one, if it may pass.
    fn lets_pass(&self) -> Option<u64> {
        self.lets_pass_at(self.since.elapsed())
    }

    fn lets_pass_at(&self, since: Duration) -> Option<u64> {
        let second = since.as_secs() << 32;
        let count = |now: u64| {
            if now >> 32 == second >> 32 {
                now + 1
            } else {
                second + 1
            }
        };
        let before = self
            .now
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| Some(count(now)));
        let (Ok(before) | Err(before)) = before;
        match count(before) - second <= FLOOD_LINES {
            true => Some(self.left_out.swap(0, Ordering::Relaxed)),
            false => {
                self.left_out.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_few_lines() {
        let throttle = Throttle::default();
        let at = |second| throttle.lets_pass_at(Duration::from_secs(second));
        let passed = (0..100).filter_map(|_| at(0)).count();
        assert_eq!(passed as u64, FLOOD_LINES);
        assert_eq!(at(1), Some(90));
        assert_eq!(at(1), Some(0));
        assert_eq!(at(3), Some(0));
    }
}
