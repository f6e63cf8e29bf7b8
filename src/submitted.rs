//! Conversations between submission and score.

use crate::{
    batch::PlanStats,
    engine::{EngineError, Pending},
    error::{Error, Result},
    evaluation::{Evaluation, Reading},
};

/// Conversations whose scores are being computed.
#[derive(Debug)]
pub struct Batch {
    outcomes: Vec<Outcome>,
    packs: Vec<PendingPack>,
    stats: PlanStats,
    reading: Reading,
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
    pub(crate) fn new(outcomes: Vec<Outcome>, reading: Reading) -> Self {
        Self {
            outcomes,
            packs: Vec::new(),
            stats: PlanStats::default(),
            reading,
        }
    }

    pub(crate) fn set_stats(&mut self, stats: PlanStats) {
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
    pub fn wait(mut self) -> Vec<Result<Evaluation>> {
        for pack in std::mem::take(&mut self.packs) {
            let expected = pack.scored_tokens * self.reading.width();
            match pack.pending.wait() {
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
        self.outcomes
            .into_iter()
            .map(Outcome::into_result)
            .collect()
    }

    /// Hands each member of a pack its scores.
    fn finish(&mut self, members: &[usize], member_scores: &[usize], scores: &[f32]) {
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
