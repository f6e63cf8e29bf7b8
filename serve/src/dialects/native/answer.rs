//! All that is known of a scored conversation.

use serde::Serialize;
use utoipa::ToSchema;
use worldpm_ort_runtime::{
    Scorer,
    answers::{ByLabel, ScoredCandidates, ScoredConversation, ScoredPair},
    records::{CandidateReward, Group},
};

use super::described::Numbers;
use crate::scoring::{Scored, Times};

/// An answer to a record.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Answer {
    Single(Conversation),
    Pair(Pair),
    Candidates(Candidates),
}

/// A scored conversation.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ScoredConversation)]
pub(super) struct Conversation {
    #[serde(flatten)]
    #[schema(value_type = Numbers)]
    scored: ScoredConversation,
    scored_token: Token,
    timings: Timings,
}

/// Scored answers to one prompt.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ScoredCandidates)]
pub(super) struct Candidates {
    candidates: Vec<Candidate>,
    /// The place of the one with the highest score, from 0; not there for a model with several labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    best: Option<usize>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ScoredCandidate)]
struct Candidate {
    /// `chosen` or `rejected`, where the record has both kinds of answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    group: Option<Group>,
    #[serde(flatten)]
    conversation: Conversation,
}

/// The token at which it was scored.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ScoredToken)]
struct Token {
    /// From 0.
    position: usize,
    id: u32,
    /// As the tokenizer writes it; null for an id without a token.
    text: Option<String>,
}

/// Milliseconds until it was tokens, in line, and in the model.
#[derive(Debug, Serialize, ToSchema)]
struct Timings {
    tokenizing_ms: f64,
    queued_ms: f64,
    computing_ms: f64,
}

/// A scored pair.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ScoredPair)]
pub(super) struct Pair {
    chosen: Conversation,
    rejected: Conversation,
    /// The score of `chosen` less that of `rejected`.
    #[serde(skip_serializing_if = "Option::is_none")]
    margin: Option<f64>,
    /// The same for each label, of a model with several.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<HashMap<String, f64>>)]
    margins: Option<ByLabel>,
    /// The Bradley-Terry probability that `chosen` is the better answer: the sigmoid of the margin.
    #[serde(skip_serializing_if = "Option::is_none")]
    probability: Option<f64>,
}

impl Conversation {
    pub(super) fn of(scored: &Scored, scorer: &Scorer) -> Self {
        Self {
            scored: (&scored.reward).into(),
            scored_token: Token {
                position: scored.token.position,
                id: scored.token.id,
                text: scorer.token_text(scored.token.id),
            },
            timings: scored.times.into(),
        }
    }
}

impl Pair {
    pub(super) fn of(chosen: &Scored, rejected: &Scored, scorer: &Scorer) -> Self {
        let pair = ScoredPair::new(&chosen.reward, &rejected.reward);
        Self {
            chosen: Conversation::of(chosen, scorer),
            rejected: Conversation::of(rejected, scorer),
            margin: pair.margin,
            margins: pair.margins,
            probability: pair.probability,
        }
    }
}

impl Candidates {
    /// Of what the model says of them, with all that is known of each.
    pub(super) fn of(all: &[CandidateReward], scored: &[Scored], scorer: &Scorer) -> Self {
        let candidates = all.iter().zip(scored).map(|(one, scored)| Candidate {
            group: one.group,
            conversation: Conversation::of(scored, scorer),
        });
        Self {
            candidates: candidates.collect(),
            best: ScoredCandidates::new(all).best,
        }
    }
}

impl From<Times> for Timings {
    fn from(times: Times) -> Self {
        let milliseconds = |time: std::time::Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
        Self {
            tokenizing_ms: milliseconds(times.tokenizing),
            queued_ms: milliseconds(times.queued),
            computing_ms: milliseconds(times.computing),
        }
    }
}
