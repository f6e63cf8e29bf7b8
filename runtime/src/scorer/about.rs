//! What a scorer says of itself: its model, where that is, and what it does.

use worldpm_ort_bundle::Manifest;

use super::Scorer;
use crate::{
    MatmulPrecision,
    counters::Counters,
    deploy::reason::{PlacementReason, ResidencyReason},
    engine::Health,
    ep::Provider,
    queue::QueueCounters,
};

impl Scorer {
    /// The manifest of the bundle.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        self.bundle.manifest()
    }

    /// How exactly products are computed: what was asked for where our own kernels multiply, [`MatmulPrecision::Medium`]
    /// where they multiply the integers of `w8a8`, or any on a CPU without AMX, else [`MatmulPrecision::Highest`], as floats.
    #[must_use]
    pub fn matmul_precision(&self) -> MatmulPrecision {
        self.loaded.matmul_precision
    }

    /// The device of each stage, for each copy of the model.
    #[must_use]
    pub fn providers(&self) -> &[Vec<Provider>] {
        &self.loaded.providers
    }

    /// Why the stages are where they are; `None` where the devices were asked for.
    #[must_use]
    pub fn placement_reason(&self) -> Option<&PlacementReason> {
        self.loaded.reason.as_ref()
    }

    /// Whether one stage at a time is in memory.
    #[must_use]
    pub fn is_streamed(&self) -> bool {
        self.loaded.residency.streamed.is_some()
    }

    /// Why the stages are resident or streamed.
    #[must_use]
    pub fn residency_reason(&self) -> &ResidencyReason {
        &self.loaded.residency.reason
    }

    /// What has been done since the scorer was opened.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let queue = self.queue.counters();
        let stages = self.loaded.activity.counters();
        self.finishing.tally.counters(&queue, stages)
    }

    /// Unique tokens that one pass over the weights serves best: a window of a stream should have as many.
    pub(crate) fn wave_tokens(&self) -> Option<usize> {
        let streaming = self.loaded.residency.streamed.as_ref()?;
        Some(streaming.wave.tokens)
    }

    /// Most tokens of a conversation.
    #[must_use]
    pub fn max_length(&self) -> usize {
        self.length.max_tokens
    }

    /// Whether the devices of the model still work. Without any, every conversation fails until the process is started
    /// again.
    #[must_use]
    pub fn health(&self) -> Health {
        self.queue.health()
    }

    /// What waits and is computed at the moment.
    #[must_use]
    pub fn queue(&self) -> QueueCounters {
        self.queue.counters()
    }
}
