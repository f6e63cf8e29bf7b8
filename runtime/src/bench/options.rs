//! How long is measured, and how.

use std::{num::NonZeroUsize, time::Duration};

/// How long, and how, is measured.
#[derive(Clone, Copy, Debug)]
pub struct BenchOptions {
    /// Rounds that are not measured, at the beginning. Default 1.
    pub warmup: usize,
    /// Rounds that are measured. Default 3.
    pub rounds: NonZeroUsize,
    /// Measure rounds until so much time has passed, and as many as `rounds` at least. Default: none.
    pub at_least: Option<Duration>,
    /// Conversations whose latency is measured, alone and again under load. Default 20.
    pub samples: usize,
    /// Conversations that are under way at once for latency under load. Default 4.
    pub clients: NonZeroUsize,
}

impl Default for BenchOptions {
    fn default() -> Self {
        Self {
            warmup: 1,
            rounds: NonZeroUsize::MIN.saturating_add(2),
            at_least: None,
            samples: 20,
            clients: NonZeroUsize::MIN.saturating_add(3),
        }
    }
}
