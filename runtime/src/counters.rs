//! What a scorer has done: numbers that only grow, for a server to export.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::{batch::PlanStats, engine::StageCounters, queue::QueueCounters};

/// What a [`Scorer`](crate::Scorer) has done since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Conversations whose scores were handed out.
    pub scored: u64,
    /// Conversations that came to an error: refused by the template or a limit, failed on a device, timed out.
    pub failed: u64,
    /// Conversations of which parts were left out to fit the length limit.
    pub truncated: u64,
    /// Texts that were templated elsewhere and begin with the default system prompt of the model's template, which the
    /// model was not trained on.
    pub foreign_system_prompts: u64,
    /// Conversations whose content holds the text of a special token.
    pub special_tokens_in_content: u64,
    /// What was planned: tokens, unique tokens, packs, padding.
    pub planned: PlanStats,
    /// Time spent with chat templates and the tokenizer, on the threads that hand in conversations.
    pub tokenising: Duration,
    /// Time spent with plans, and with making the packs' inputs, on the thread of the queue.
    pub planning: Duration,
    /// What each stage did, over all copies of the model.
    pub stages: Vec<StageCounters>,
}

/// The numbers that grow outside of the engine.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<Counters>);

impl Tally {
    pub(crate) fn count(&self, change: impl FnOnce(&mut Counters)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn counters(&self, queue: &QueueCounters, stages: Vec<StageCounters>) -> Counters {
        let counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Counters {
            planned: queue.planned,
            planning: queue.planning,
            stages,
            ..counted.clone()
        }
    }
}
