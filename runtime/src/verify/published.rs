//! Compares a bundle with the scores that a model's authors have published.

use worldpm_ort_bundle::published::PublishedScore;

use super::Limit;
use crate::{Conversation, Message, Output, Scorer};

/// How closely scores computed in fp32 meet each other between this project and others.
const FP32: f64 = 1e-3;

/// What came of a published score.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PublishedResult {
    /// Its name in the recipe.
    pub id: String,
    /// Tokens of the conversation, when it could be scored.
    pub tokens: Option<usize>,
    /// The published score.
    pub published: f64,
    /// The score of the bundle, or why there is none.
    pub got: Result<f32, String>,
    /// Largest difference that is let pass.
    pub limit: f64,
}

impl PublishedResult {
    /// How far the bundle's score is from the published one.
    #[must_use]
    pub fn difference(&self) -> Option<f64> {
        let got = self.got.as_ref().ok()?;
        Some((f64::from(*got) - self.published).abs())
    }

    /// Whether it is within the limit.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.difference()
            .is_some_and(|difference| difference <= self.limit)
    }
}

/// Scores published conversations and compares.
///
/// `limit` is the largest difference, in proportion to scores beyond 1 and -1. Default: 1e-3, or the limit of the
/// bundle's precision or of the authors' when one of those is wider, see [`Limit::of`].
#[must_use]
pub fn run_published(
    scorer: &Scorer,
    published: &[PublishedScore],
    limit: Option<f64>,
) -> Vec<PublishedResult> {
    let conversations: Vec<Conversation> = published
        .iter()
        .map(|one| {
            let messages = one.messages.iter();
            Conversation::new(
                messages
                    .map(|m| Message::new(m.role.as_str(), m.content.as_str()))
                    .collect(),
            )
        })
        .collect();
    let bundle = Limit::of(scorer.manifest(), None, scorer.matmul_precision()).value;
    published
        .iter()
        .zip(scorer.rewards(&conversations))
        .map(|(one, reward)| {
            let limit = limit.unwrap_or_else(|| {
                let theirs = Limit::of_precision(one.computed_in).value;
                FP32.max(bundle).max(theirs)
            });
            let tokens = reward.as_ref().ok().map(|found| found.tokens);
            let got = match reward.map(|found| found.output) {
                Ok(Output::Score(score)) => Ok(score),
                Ok(_) => Err("the model gives no single score".to_owned()),
                Err(error) => Err(error.to_string()),
            };
            PublishedResult {
                id: one.id.clone(),
                tokens,
                published: one.score,
                got,
                limit: limit * one.score.abs().max(1.0),
            }
        })
        .collect()
}
