//! How probes are scored.

use crate::{Output, Scorer, ScorerOptions};

/// The time that templates with a date in them see while probes are rendered: 2025-01-01, 00:00 UTC. A date
/// that moves would move the scores.
const PROBE_TIME: i64 = 1_735_689_600;

/// Options for a scorer that probes are run with: `options`, and a fixed time for templates that write a
/// date.
#[must_use]
pub fn scorer_options(options: ScorerOptions) -> ScorerOptions {
    options.with_now(PROBE_TIME)
}

/// The numbers that the model gives for each sequence of tokens, in the order of the graph's output.
pub fn scores_of_ids(scorer: &Scorer, sequences: &[Vec<u32>]) -> Vec<crate::Result<Vec<f32>>> {
    let rewards = scorer.rewards_of_ids(sequences);
    rewards
        .into_iter()
        .map(|reward| {
            Ok(match reward?.output {
                Output::Score(score) => vec![score],
                Output::Labels(labels) => labels.values().to_vec(),
                // Before the softmax, where an error shows however sure the model is.
                Output::Steps(steps) => steps.logits().to_vec(),
            })
        })
        .collect()
}
