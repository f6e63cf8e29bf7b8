//! What a model says of a conversation: one score, or one for each of its labels.

use std::sync::Arc;

use worldpm_ort_export::Manifest;

use crate::error::{Error, Result};

/// The score of a conversation, where the model gives one.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Score {
    /// The raw output of the reward head: no sigmoid, no normalisation. Higher is better; only the
    /// differences between answers to the same prompt mean something.
    pub score: f32,
    /// Tokens of the rendered conversation.
    pub tokens: usize,
    /// Whether parts of the conversation were left out to fit the length limit.
    pub truncated: bool,
}

/// All that a model says of a conversation, whatever kind of model it is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Evaluation {
    /// The scores.
    pub output: Output,
    /// Tokens of the rendered conversation.
    pub tokens: usize,
    /// Whether parts of the conversation were left out to fit the length limit.
    pub truncated: bool,
}

/// What the reward head of a model gives. Every number is finite.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Output {
    /// One score.
    Score(f32),
    /// A score for each of several labels.
    Labels(LabelScores),
}

/// Scores by the names that the model's configuration gives them: raw outputs of the reward head, in the
/// order of the labels.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelScores {
    names: Arc<[String]>,
    values: Vec<f32>,
}

impl Evaluation {
    /// The one score.
    ///
    /// # Errors
    /// [`Error::NotOneScore`] when there are several: which of them counts is the caller's to say.
    pub fn score(&self) -> Result<Score> {
        match &self.output {
            Output::Score(score) => Ok(Score {
                score: *score,
                tokens: self.tokens,
                truncated: self.truncated,
            }),
            Output::Labels(labels) => Err(Error::NotOneScore {
                given: format!(
                    "a score for each of {} labels ({})",
                    labels.names.len(),
                    labels.names.join(", ")
                ),
            }),
        }
    }
}

impl LabelScores {
    /// The score of a label; `None` when the model has no label of that name.
    #[must_use]
    pub fn get(&self, label: &str) -> Option<f32> {
        self.iter()
            .find(|(name, _)| *name == label)
            .map(|(_, value)| value)
    }

    /// Labels and their scores.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f32)> {
        self.names
            .iter()
            .map(String::as_str)
            .zip(self.values.iter().copied())
    }

    /// The scores alone.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }
}

/// Turns what the graph gives into an [`Output`].
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    labels: Arc<[String]>,
}

impl Reading {
    pub(crate) fn of(manifest: &Manifest) -> Self {
        Self {
            labels: manifest.model.labels.as_slice().into(),
        }
    }

    /// Numbers that the graph gives for each scored token.
    pub(crate) fn width(&self) -> usize {
        self.labels.len()
    }

    /// The output of a conversation, from the [`width`](Self::width) numbers of its scored token.
    ///
    /// # Errors
    /// [`Error::NotFinite`], naming the label.
    pub(crate) fn output(&self, values: &[f32]) -> Result<Output> {
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            return Err(Error::NotFinite {
                label: self.labels.get(index).filter(|_| values.len() > 1).cloned(),
                value: values[index],
            });
        }
        Ok(match values {
            [score] => Output::Score(*score),
            values => Output::Labels(LabelScores {
                names: Arc::clone(&self.labels),
                values: values.to_vec(),
            }),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn reading(labels: &[&str]) -> Reading {
        Reading {
            labels: labels.iter().map(|&label| label.to_owned()).collect(),
        }
    }

    fn evaluation(output: Output) -> Evaluation {
        Evaluation {
            output,
            tokens: 7,
            truncated: true,
        }
    }

    #[test]
    fn one_label_is_a_score() {
        let output = reading(&["LABEL_0"]).output(&[1.5]).unwrap();
        let score = evaluation(output).score().unwrap();
        assert_eq!((score.score, score.tokens, score.truncated), (1.5, 7, true));
    }

    #[test]
    fn several_labels_have_names_and_no_single_score() {
        let output = reading(&["clear", "true"]).output(&[1.5, -2.0]).unwrap();
        let Output::Labels(labels) = &output else {
            panic!("{output:?}");
        };
        let pairs: Vec<_> = labels.iter().collect();
        assert_eq!(pairs, [("clear", 1.5), ("true", -2.0)]);
        assert_eq!(labels.get("true"), Some(-2.0));
        assert_eq!(labels.get("LABEL_0"), None);
        let error = evaluation(output).score().unwrap_err().to_string();
        assert!(error.contains("2 labels (clear, true)"), "{error}");
    }

    #[test]
    fn what_is_not_finite_is_named() {
        for (labels, values, parts) in [
            (&["a"][..], &[f32::NAN][..], &["score is NaN"][..]),
            (
                &["a", "b", "c"],
                &[0.0, f32::INFINITY, f32::NAN],
                &["for label `b` is inf"],
            ),
        ] {
            let error = reading(labels).output(values).unwrap_err().to_string();
            for part in parts {
                assert!(error.contains(part), "{error}");
            }
        }
    }
}
