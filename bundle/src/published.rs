//! Scores that the authors of a model have published.

use serde::{Deserialize, Serialize};

use crate::vocabulary::Precision;

/// A conversation and the score that the authors have published for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedScore {
    /// A name for it.
    pub id: String,
    /// The conversation.
    pub messages: Vec<PublishedMessage>,
    /// The raw score.
    pub score: f64,
    /// What the authors computed it in, which bounds how closely it can be met.
    pub computed_in: Precision,
}

/// A message of a published conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedMessage {
    /// As in `user`.
    pub role: String,
    /// The text.
    pub content: String,
}
