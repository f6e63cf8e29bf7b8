//! Conversations between submission and score.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    batch::PlanStats,
    counters::Tally,
    engine::{EngineError, Pending},
    error::{Error, Result},
    evaluation::{Evaluation, Reading},
    weights::WeightFiles,
};

/// Conversations whose scores are being computed. Dropping it cancels those that are not.
#[derive(Debug)]
pub struct Batch {
    outcomes: Vec<Outcome>,
    packs: Vec<PendingPack>,
    stats: PlanStats,
    reading: Reading,
    tally: Arc<Tally>,
    weights: Arc<WeightFiles>,
}

/// A pack that is being computed.
#[derive(Debug)]
pub(crate) struct PendingPack {
    /// The conversations in it.
    pub(crate) members: Vec<usize>,
    /// Scored tokens of the pack.
    pub(crate) scored_tokens: usize,
    /// Which of them are whose: those of the first member, then those of the next.
    pub(crate) member_scores: Vec<usize>,
    /// Their scores to come.
    pub(crate) pending: Pending,
}

/// What is known of a conversation.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Its scores are to come.
    Waiting {
        /// Tokens of the rendered conversation.
        tokens: usize,
        /// Whether it was cut.
        truncated: bool,
        /// How many of its tokens are scored.
        scored: usize,
    },
    /// It is scored.
    Done(Evaluation),
    /// It cannot be scored.
    Failed(Error),
}

impl Batch {
    pub(crate) fn new(
        outcomes: Vec<Outcome>,
        reading: Reading,
        tally: Arc<Tally>,
        weights: Arc<WeightFiles>,
    ) -> Self {
        Self {
            outcomes,
            packs: Vec::new(),
            stats: PlanStats::default(),
            reading,
            tally,
            weights,
        }
    }

    pub(crate) fn set_stats(&mut self, stats: PlanStats) {
        self.tally.count(|counters| counters.planned += stats);
        self.stats = stats;
    }

    pub(crate) fn push(&mut self, pack: PendingPack) {
        self.packs.push(pack);
    }

    pub(crate) fn fail(&mut self, members: &[usize], error: &Error) {
        for &member in members {
            self.outcomes[member] = Outcome::Failed(error.clone());
        }
    }

    /// How many tokens there are, how many are computed, and how many attention cells are padding.
    #[must_use]
    pub fn stats(&self) -> &PlanStats {
        &self.stats
    }

    /// Waits for all scores, in the order of the conversations.
    #[must_use = "scores are returned, not stored"]
    pub fn wait(self) -> Vec<Result<Evaluation>> {
        self.collect(Pending::wait)
    }

    /// As [`wait`](Self::wait), but no longer than `allowed`. Conversations that are not scored by then come to
    /// [`EngineError::TimedOut`] and are cancelled; those that are have their scores.
    #[must_use = "scores are returned, not stored"]
    pub fn wait_for(self, allowed: Duration) -> Vec<Result<Evaluation>> {
        let Some(deadline) = Instant::now().checked_add(allowed) else {
            return self.wait();
        };
        self.collect(|pending| pending.wait_until(deadline, allowed))
    }

    /// Gives up the scores that are not there yet: their conversations come to [`EngineError::Cancelled`]. A run of the
    /// model that is under way for them is ended early.
    pub fn cancel(&self) {
        for pack in &self.packs {
            pack.pending.cancel();
        }
    }

    fn collect(
        mut self,
        wait: impl Fn(Pending) -> Result<Vec<f32>, EngineError>,
    ) -> Vec<Result<Evaluation>> {
        let mut computed = Vec::new();
        for pack in std::mem::take(&mut self.packs) {
            computed.extend(&pack.members);
            let expected = pack.scored_tokens * self.reading.width();
            match wait(pack.pending) {
                Ok(scores) if scores.len() == expected => {
                    self.finish(&pack.members, &pack.member_scores, &scores);
                }
                Ok(scores) => {
                    let found = scores.len();
                    let error = EngineError::Scores { found, expected };
                    self.fail(&pack.members, &error.into());
                }
                Err(error) => self.fail(&pack.members, &error.into()),
            }
        }
        // A run that failed may have failed for this.
        if let Err(error) = self.weights.require_unchanged() {
            self.fail(&computed, &error);
        }
        let results: Vec<_> = self
            .outcomes
            .into_iter()
            .map(Outcome::into_result)
            .collect();
        self.tally.count(|counters| {
            for result in &results {
                match result {
                    Ok(evaluation) => {
                        counters.scored += 1;
                        counters.truncated += u64::from(evaluation.truncated);
                    }
                    Err(_) => counters.failed += 1,
                }
            }
        });
        results
    }

    /// Hands each member of a pack its scores.
    fn finish(&mut self, members: &[usize], member_scores: &[usize], scores: &[f32]) {
        let _span = tracing::debug_span!("head", conversations = members.len()).entered();
        let width = self.reading.width();
        let mut member_scores = member_scores.iter();
        for &member in members {
            let outcome = &mut self.outcomes[member];
            if let Outcome::Waiting {
                tokens,
                truncated,
                scored,
            } = *outcome
            {
                let own = member_scores.by_ref().take(scored);
                let values: Vec<f32> = own
                    .flat_map(|&token| &scores[token * width..(token + 1) * width])
                    .copied()
                    .collect();
                *outcome = match self.reading.output(&values) {
                    Ok(output) => Outcome::Done(Evaluation {
                        output,
                        tokens,
                        truncated,
                    }),
                    Err(error) => Outcome::Failed(error),
                };
            }
        }
    }
}

impl Outcome {
    fn into_result(self) -> Result<Evaluation> {
        match self {
            Self::Done(evaluation) => Ok(evaluation),
            Self::Failed(error) => Err(error),
            Self::Waiting { .. } => Err(Error::Engine(EngineError::Stopped(
                "no pack held this conversation".into(),
            ))),
        }
    }
}
