//! What is written of a scored record, as JSON: by the command, and by whatever else answers records.
//!
//! | record | fields |
//! |---|---|
//! | a conversation | `score`, or `scores` by label, or `steps` (with a `score` where one is made of them); `tokens`; `truncated` |
//! | a pair | `chosen` and `rejected`, each as above; `margin` and `probability`, or `margins` by label |
//! | answers to one prompt | `candidates`, a list of them, each as above, and with its `group` where there are two; `best`: the place in it, from 0, of the highest score |
//! | one without an answer | `line` and `error` |
//!
//! Numbers are the model's, which are `f32`, written in full as `f64`.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    json::Json,
    records::{CandidateReward, Entry, EntryError, Group, RecordReward},
    reward::{LabelScores, Output, Reward, StepRewards},
};

/// A line that answers a record: its `id` as it was given, then what came of it.
#[derive(Clone, Debug, Serialize)]
pub struct AnswerLine<'a> {
    /// The record's `id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<&'a Json>,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What came of a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Outcome {
    /// It was scored.
    Answer(Answer),
    /// It was not.
    Failure {
        /// The line of the record, from 1.
        line: usize,
        /// Why it has no answer.
        error: String,
    },
}

/// The answer to a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    /// To a pair.
    Pair(ScoredPair),
    /// To several answers to one prompt.
    Candidates(ScoredCandidates),
    /// To a conversation.
    Single(ScoredConversation),
}

/// What the model says of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ScoredConversation {
    /// The score, of a model with one label; of one that scores steps, what a reduction makes of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// The scores of a model with several labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scores: Option<ByLabel>,
    /// The rewards of the steps, each a probability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<f64>>,
    /// Tokens of the conversation as it was scored.
    pub tokens: usize,
    /// Whether it was cut to the length limit.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

/// What the model says of a pair.
///
/// A model with several labels has a margin for each of them, one that scores steps has a margin where a score is made of
/// them. Neither has a probability: these models are not trained on which answer was preferred.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ScoredPair {
    /// Of the preferred conversation.
    pub chosen: ScoredConversation,
    /// Of the other one.
    pub rejected: ScoredConversation,
    /// The score of `chosen` less that of `rejected`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<f64>,
    /// The same for each label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margins: Option<ByLabel>,
    /// The Bradley-Terry probability that `chosen` is the better answer: the sigmoid of the margin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
}

/// What the model says of answers to one prompt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ScoredCandidates {
    /// Of each, in their order.
    pub candidates: Vec<ScoredCandidate>,
    /// The place of the one with the highest score, from 0; the first of equals. `None` of a model that does not give one
    /// score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<usize>,
}

/// What the model says of one of several answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ScoredCandidate {
    /// Which answers it belongs to, where there are two kinds of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Group>,
    /// What the model says.
    #[serde(flatten)]
    pub scored: ScoredConversation,
}

/// A number for each label, in the order of the model's labels; a JSON object.
#[derive(Clone, Debug, PartialEq)]
pub struct ByLabel(pub Vec<(String, f64)>);

impl<'a> AnswerLine<'a> {
    /// The line of a record.
    #[must_use]
    pub fn new(entry: &'a Entry, outcome: &Result<RecordReward, EntryError>) -> Self {
        Self {
            id: entry.id.as_ref(),
            outcome: match outcome {
                Ok(reward) => Outcome::Answer(reward.into()),
                Err(error) => Outcome::Failure {
                    line: entry.line,
                    error: error.to_string(),
                },
            },
        }
    }
}

impl From<&RecordReward> for Answer {
    fn from(reward: &RecordReward) -> Self {
        match reward {
            RecordReward::Single(reward) => Self::Single(reward.into()),
            RecordReward::Pair { chosen, rejected } => {
                Self::Pair(ScoredPair::new(chosen, rejected))
            }
            RecordReward::Candidates(all) => Self::Candidates(ScoredCandidates::new(all)),
        }
    }
}

impl Answer {
    /// What the model says of one of the record's conversations, by its place in the record, from 0.
    #[must_use]
    pub fn conversation(&self, place: usize) -> Option<&ScoredConversation> {
        match (self, place) {
            (Self::Single(one), 0) | (Self::Pair(ScoredPair { chosen: one, .. }), 0) => Some(one),
            (Self::Pair(pair), 1) => Some(&pair.rejected),
            (Self::Candidates(all), place) => all.candidates.get(place).map(|one| &one.scored),
            _ => None,
        }
    }
}

impl ScoredConversation {
    /// The reward that this was written of, with the same bits. The raw outputs of steps are not written, and are missing.
    /// `None` where nothing says what the model gave.
    #[must_use]
    pub fn reward(&self) -> Option<Reward> {
        // They were `f32` when they were written.
        #[allow(clippy::cast_possible_truncation)]
        let number = |&value: &f64| value as f32;
        let score = self.score.as_ref().map(number);
        let output = match (&self.steps, &self.scores, score) {
            (Some(steps), ..) => {
                Output::Steps(StepRewards::of_written(steps.iter().map(number), score))
            }
            (None, Some(ByLabel(labels)), _) => Output::Labels(LabelScores::of_written(
                labels.iter().map(|(label, value)| (label, number(value))),
            )),
            (None, None, Some(score)) => Output::Score(score),
            (None, None, None) => return None,
        };
        Some(Reward {
            output,
            tokens: self.tokens,
            truncated: self.truncated,
        })
    }
}

impl From<&Reward> for ScoredConversation {
    fn from(reward: &Reward) -> Self {
        let mut scored = Self {
            score: None,
            scores: None,
            steps: None,
            tokens: reward.tokens,
            truncated: reward.truncated,
        };
        match &reward.output {
            Output::Score(score) => scored.score = Some(f64::from(*score)),
            Output::Labels(labels) => scored.scores = Some(labels.into()),
            Output::Steps(steps) => {
                scored.score = steps.score().map(f64::from);
                scored.steps = Some(steps.rewards().iter().copied().map(f64::from).collect());
            }
        }
        scored
    }
}

impl ScoredPair {
    /// Of the rewards of both conversations, which one model gave.
    #[must_use]
    pub fn new(chosen: &Reward, rejected: &Reward) -> Self {
        let mut pair = Self {
            chosen: chosen.into(),
            rejected: rejected.into(),
            margin: None,
            margins: None,
            probability: None,
        };
        match (&chosen.output, &rejected.output) {
            (Output::Score(chosen), Output::Score(rejected)) => {
                let margin = chosen - rejected;
                pair.margin = Some(margin.into());
                pair.probability = Some(sigmoid(margin).into());
            }
            (Output::Labels(chosen), Output::Labels(rejected)) => {
                let both = chosen.iter().zip(rejected.values());
                let margins = both.map(|((label, c), r)| (label.to_owned(), f64::from(c - r)));
                pair.margins = Some(ByLabel(margins.collect()));
            }
            (Output::Steps(chosen), Output::Steps(rejected)) => {
                if let (Some(chosen), Some(rejected)) = (chosen.score(), rejected.score()) {
                    pair.margin = Some((chosen - rejected).into());
                }
            }
            _ => {}
        }
        pair
    }
}

impl ScoredCandidates {
    /// Of the rewards of all, which one model gave.
    #[must_use]
    pub fn new(all: &[CandidateReward]) -> Self {
        let candidates: Vec<ScoredCandidate> = all
            .iter()
            .map(|one| ScoredCandidate {
                group: one.group,
                scored: (&one.reward).into(),
            })
            .collect();
        let best = best(candidates.iter().map(|one| one.scored.score));
        Self { candidates, best }
    }
}

/// The place of the highest score, the first of equals; `None` where one has no score.
fn best(scores: impl Iterator<Item = Option<f64>>) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (index, score) in scores.enumerate() {
        let score = score?;
        if best.is_none_or(|(_, highest)| score > highest) {
            best = Some((index, score));
        }
    }
    best.map(|(index, _)| index)
}

/// The Bradley-Terry probability that the chosen answer is the better one.
fn sigmoid(margin: f32) -> f32 {
    1.0 / (1.0 + (-margin).exp())
}

impl From<&LabelScores> for ByLabel {
    fn from(labels: &LabelScores) -> Self {
        let scores = labels.iter();
        Self(
            scores
                .map(|(label, score)| (label.to_owned(), score.into()))
                .collect(),
        )
    }
}

impl Serialize for ByLabel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(label, value)| (label, value)))
    }
}

impl<'de> Deserialize<'de> for ByLabel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = ByLabel;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of numbers")
            }

            fn visit_map<M: de::MapAccess<'de>>(self, mut map: M) -> Result<ByLabel, M::Error> {
                let mut all = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    all.push(entry);
                }
                Ok(ByLabel(all))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str) -> Outcome {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn what_is_written_can_be_read() {
        for text in [
            r#"{"score":-1.6425328254699707,"tokens":19}"#,
            r#"{"scores":{"b":0.5,"a":1.0},"tokens":3,"truncated":true}"#,
            r#"{"score":0.25,"steps":[0.5,0.25],"tokens":3}"#,
            r#"{"steps":[0.5],"tokens":3}"#,
            r#"{"chosen":{"score":1.0,"tokens":3},"rejected":{"score":0.0,"tokens":4},"margin":1.0,"probability":0.75}"#,
            r#"{"chosen":{"scores":{"b":1.0},"tokens":3},"rejected":{"scores":{"b":0.0},"tokens":4},"margins":{"b":1.0}}"#,
            r#"{"candidates":[{"score":1.0,"tokens":3},{"score":2.0,"tokens":3}],"best":1}"#,
            r#"{"candidates":[{"group":"chosen","scores":{"a":1.0},"tokens":3},{"group":"rejected","scores":{"a":1.0},"tokens":3}]}"#,
            r#"{"line":7,"error":"no"}"#,
        ] {
            assert_eq!(serde_json::to_string(&read(text)).unwrap(), text);
        }
        assert!(serde_json::from_str::<Outcome>(r#"{"score":1.0}"#).is_err());
        assert!(serde_json::from_str::<Outcome>(r#"{"scores":[1.0],"tokens":1}"#).is_err());
    }

    #[test]
    fn a_reward_has_the_bits_that_were_written() {
        for text in [
            r#"{"score":-1.6425328254699707,"tokens":19}"#,
            r#"{"score":-0.0,"tokens":1,"truncated":true}"#,
            r#"{"scores":{"b":0.10000000149011612,"a":1.0},"tokens":3}"#,
            r#"{"score":0.25,"steps":[0.5,0.25],"tokens":3}"#,
            r#"{"steps":[0.5],"tokens":3}"#,
        ] {
            let Outcome::Answer(answer) = read(text) else {
                panic!("{text}");
            };
            let reward = answer.conversation(0).unwrap().reward().unwrap();
            let again = serde_json::to_string(&ScoredConversation::from(&reward)).unwrap();
            assert_eq!(again, text);
            assert!(answer.conversation(1).is_none());
        }
        let Outcome::Answer(pair) = read(
            r#"{"chosen":{"score":1.0,"tokens":3},"rejected":{"score":0.0,"tokens":4},"margin":1.0}"#,
        ) else {
            panic!("no pair");
        };
        let tokens = |place| pair.conversation(place).map(|one| one.tokens);
        assert_eq!(
            (0..3).map(tokens).collect::<Vec<_>>(),
            [Some(3), Some(4), None]
        );
        assert_eq!(
            ScoredConversation {
                score: None,
                ..pair.conversation(0).unwrap().clone()
            }
            .reward(),
            None
        );
    }

    #[test]
    fn a_line_begins_with_the_id_as_it_was_given() {
        let id = Json::parse("1.0e5").unwrap();
        let line = AnswerLine {
            id: Some(&id),
            outcome: read(r#"{"score":0.10000000149011612,"tokens":1}"#),
        };
        let text = serde_json::to_string(&line).unwrap();
        assert_eq!(
            text,
            r#"{"id":1.0e5,"score":0.10000000149011612,"tokens":1}"#
        );
    }

    #[test]
    fn the_best_is_the_first_of_the_highest() {
        for (scores, expected) in [
            (&[Some(1.0), Some(3.0), Some(3.0)][..], Some(1)),
            (&[Some(-1.0)], Some(0)),
            (&[Some(-0.0), Some(0.0)], Some(0)),
            (&[Some(1.0), None], None),
            (&[], None),
        ] {
            assert_eq!(best(scores.iter().copied()), expected, "{scores:?}");
        }
        let candidates = read(r#"{"candidates":[{"group":"rejected","score":1.0,"tokens":3}]}"#);
        let Outcome::Answer(Answer::Candidates(all)) = candidates else {
            panic!("candidates were written");
        };
        assert_eq!(all.candidates[0].group, Some(Group::Rejected));
        assert!(
            serde_json::from_str::<Outcome>(
                r#"{"candidates":[{"group":"other","score":1.0,"tokens":3}]}"#
            )
            .is_err()
        );
    }

    #[test]
    fn probabilities() {
        assert_eq!(sigmoid(0.0), 0.5);
        assert!(sigmoid(200.0) == 1.0 && sigmoid(-200.0) == 0.0);
    }
}
