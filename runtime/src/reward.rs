//! What a model says of a conversation: one score, one for each of its labels, or one for each step of the
//! answer.

use std::sync::Arc;

use worldpm_ort_bundle::{Activation, Pooling};

use crate::error::{Error, OptionProblem, Result};

/// The score of a conversation, where there is one.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Score {
    /// The raw output of the reward head: no sigmoid, no normalisation. Higher is better; only the
    /// differences between answers to the same prompt mean something. For a model that scores steps, what
    /// the [`Reduction`] makes of their rewards, from 0 to 1.
    pub score: f32,
    /// Tokens of the rendered conversation.
    pub tokens: usize,
    /// Whether parts of the conversation were left out to fit the length limit.
    pub truncated: bool,
}

/// All that a model says of a conversation, whatever kind of model it is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Reward {
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
    /// A reward for each step of the answer.
    Steps(StepRewards),
}

/// Scores by the names that the model's configuration gives them: raw outputs of the reward head, in the
/// order of the labels.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelScores {
    names: Arc<[String]>,
    values: Vec<f32>,
}

/// Rewards of the steps of an answer, in their order: for each the probability that it is right.
#[derive(Clone, Debug, PartialEq)]
pub struct StepRewards {
    rewards: Vec<f32>,
    logits: Vec<f32>,
    score: Option<f32>,
}

/// What makes one score of the rewards of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reduction {
    /// The lowest: an answer is as good as its worst step.
    Min,
    /// Their product: the probability that all are right, were they independent.
    Product,
    /// The last one.
    Last,
}

impl Reward {
    /// The one score.
    ///
    /// # Errors
    /// [`Error::NotOneScore`] when there are several: which of them counts is the caller's to say.
    pub fn score(&self) -> Result<Score> {
        match &self.output {
            Output::Score(score) => Ok(*score),
            Output::Labels(labels) => Err(Error::NotOneScore {
                given: format!(
                    "a score for each of {} labels ({})",
                    labels.names.len(),
                    labels.names.join(", ")
                ),
                remedy: "take them all, with `Scorer::rewards` or `worldpm-ort score`",
            }),
            Output::Steps(steps) => steps.score().ok_or_else(|| Error::NotOneScore {
                given: "a score for each step".into(),
                remedy: "take them all, with `Scorer::rewards` or `worldpm-ort score`, or say with the \
                         option `reduce` what makes one of them",
            }),
        }
        .map(|score| Score {
            score,
            tokens: self.tokens,
            truncated: self.truncated,
        })
    }
}

impl LabelScores {
    pub(crate) fn of_written<'a>(all: impl Iterator<Item = (&'a String, f32)>) -> Self {
        let (names, values): (Vec<_>, _) = all.map(|(name, value)| (name.clone(), value)).unzip();
        Self {
            names: names.into(),
            values,
        }
    }

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

impl StepRewards {
    /// Without raw outputs.
    pub(crate) fn of_written(rewards: impl Iterator<Item = f32>, score: Option<f32>) -> Self {
        Self {
            rewards: rewards.collect(),
            logits: Vec::new(),
            score,
        }
    }

    /// The reward of each step, from 0 to 1; there is at least one.
    #[must_use]
    pub fn rewards(&self) -> &[f32] {
        &self.rewards
    }

    /// The raw outputs of the reward head that the rewards were made of: those of the first step, one for
    /// each label of the model, then those of the next. None of a reward that was read from what was written of it.
    #[must_use]
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// What the scorer's [`Reduction`] makes of the rewards; `None` when it was given none.
    #[must_use]
    pub fn score(&self) -> Option<f32> {
        self.score
    }
}

impl Reduction {
    /// One score, of at least one reward.
    fn of(self, rewards: &[f32]) -> Option<f32> {
        match self {
            Self::Min => rewards.iter().copied().reduce(f32::min),
            // In double precision: a factor near 1 would lose digits in each product.
            #[allow(clippy::cast_possible_truncation)]
            Self::Product => Some(rewards.iter().map(|&r| f64::from(r)).product::<f64>() as f32),
            Self::Last => rewards.last().copied(),
        }
    }
}

/// Turns what the graph gives into an [`Output`].
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    labels: Arc<[String]>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Whole,
    Steps {
        label: usize,
        reduction: Option<Reduction>,
    },
}

impl Reading {
    /// How a model with these labels and rules is read.
    ///
    /// # Errors
    /// [`Error::Option`] for a pooling rule or a reduction that the model cannot have.
    pub(crate) fn new(
        labels: &[String],
        activation: Activation,
        pooling: Pooling,
        reduction: Option<Reduction>,
    ) -> Result<Self> {
        let steps = matches!(pooling, Pooling::EachToken { .. });
        let option = |option, problem| Error::Option { option, problem };
        let kind = match activation {
            Activation::Softmax { label } if steps => Kind::Steps { label, reduction },
            Activation::None if !steps && reduction.is_none() => Kind::Whole,
            Activation::None if !steps => {
                return Err(option("reduce", OptionProblem::NoStepsToReduce));
            }
            Activation::None => {
                return Err(option("pooling", OptionProblem::NotAtEachToken));
            }
            Activation::Softmax { .. } => {
                return Err(option("pooling", OptionProblem::OnlyAtStepTokens));
            }
        };
        Ok(Self {
            labels: labels.into(),
            kind,
        })
    }

    /// Numbers that the graph gives for each scored token.
    pub(crate) fn width(&self) -> usize {
        self.labels.len()
    }

    /// The output of a conversation, from the [`width`](Self::width) numbers of each of its scored tokens.
    ///
    /// # Errors
    /// [`Error::NotFinite`], naming label and step.
    pub(crate) fn output(&self, values: &[f32]) -> Result<Output> {
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            let label = self.labels.get(index % self.width());
            return Err(Error::NotFinite {
                label: label.filter(|_| self.width() > 1).cloned(),
                step: match self.kind {
                    Kind::Whole => None,
                    Kind::Steps { .. } => Some(index / self.width() + 1),
                },
                value: values[index],
            });
        }
        Ok(match (self.kind, values) {
            (Kind::Steps { label, reduction }, values) => {
                let each = values.chunks_exact(self.width());
                let rewards: Vec<f32> = each.map(|logits| probability(logits, label)).collect();
                Output::Steps(StepRewards {
                    score: reduction.and_then(|reduction| reduction.of(&rewards)),
                    rewards,
                    logits: values.to_vec(),
                })
            }
            (Kind::Whole, [score]) => Output::Score(*score),
            (Kind::Whole, values) => Output::Labels(LabelScores {
                names: Arc::clone(&self.labels),
                values: values.to_vec(),
            }),
        })
    }
}

/// The softmax of finite numbers, at one of them.
#[allow(clippy::cast_possible_truncation)]
fn probability(logits: &[f32], label: usize) -> f32 {
    let chosen = f64::from(logits[label]);
    let weights = logits
        .iter()
        .map(|&logit| (f64::from(logit) - chosen).exp());
    (1.0 / weights.sum::<f64>()) as f32
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const STEP: Pooling = Pooling::EachToken { token_id: 7 };
    const RIGHT: Activation = Activation::Softmax { label: 1 };

    fn names(labels: &[&str]) -> Vec<String> {
        labels.iter().map(|&label| label.to_owned()).collect()
    }

    fn whole(labels: &[&str]) -> Reading {
        Reading::new(&names(labels), Activation::None, Pooling::Last, None).unwrap()
    }

    fn steps(reduction: Option<Reduction>) -> Reading {
        Reading::new(&names(&["bad", "good"]), RIGHT, STEP, reduction).unwrap()
    }

    fn reward(output: Output) -> Reward {
        Reward {
            output,
            tokens: 7,
            truncated: true,
        }
    }

    #[test]
    fn one_label_is_a_score() {
        let output = whole(&["LABEL_0"]).output(&[1.5]).unwrap();
        let score = reward(output).score().unwrap();
        assert_eq!((score.score, score.tokens, score.truncated), (1.5, 7, true));
    }

    #[test]
    fn several_labels_have_names_and_no_single_score() {
        let output = whole(&["clear", "true"]).output(&[1.5, -2.0]).unwrap();
        let Output::Labels(labels) = &output else {
            panic!("{output:?}");
        };
        let pairs: Vec<_> = labels.iter().collect();
        assert_eq!(pairs, [("clear", 1.5), ("true", -2.0)]);
        assert_eq!(labels.get("true"), Some(-2.0));
        assert_eq!(labels.get("LABEL_0"), None);
        let error = reward(output).score().unwrap_err().to_string();
        assert!(error.contains("2 labels (clear, true)"), "{error}");
    }

    #[test]
    fn steps_have_the_probability_of_their_label() {
        let logits = [0.0, 0.0, -1.0, 1.0, 200.0, -200.0, 3e38, -3e38, -3e38, 3e38];
        let output = steps(None).output(&logits).unwrap();
        let Output::Steps(rewards) = &output else {
            panic!("{output:?}");
        };
        let sigmoid_of_two = (1.0 / (1.0 + (-2.0_f64).exp())) as f32;
        assert_eq!(rewards.rewards()[..2], [0.5, sigmoid_of_two]);
        // Differences that no float can hold end at the bounds and not in NaN.
        assert!(rewards.rewards()[2] < 1e-30);
        assert_eq!(rewards.rewards()[3..], [0.0, 1.0]);
        assert_eq!(rewards.logits(), logits);
        let error = reward(output).score().unwrap_err().to_string();
        assert!(error.contains("option `reduce`"), "{error}");
    }

    #[test]
    fn steps_are_reduced_on_demand() {
        let logits = [0.0, 0.0, 0.0, 2.0, 0.0, 1.0];
        let probability = |x: f64| 1.0 / (1.0 + (-x).exp());
        let (a, b) = (probability(2.0), probability(1.0));
        for (reduction, expected) in [
            (Reduction::Min, 0.5),
            (Reduction::Product, 0.5 * a * b),
            (Reduction::Last, b),
        ] {
            let output = steps(Some(reduction)).output(&logits).unwrap();
            let score = reward(output).score().unwrap().score;
            assert!((f64::from(score) - expected).abs() < 1e-7, "{reduction:?}");
        }
    }

    #[test]
    fn what_is_not_finite_is_named() {
        for (reading, values, part) in [
            (whole(&["a"]), &[f32::NAN][..], "score is NaN"),
            (
                whole(&["a", "b", "c"]),
                &[0.0, f32::INFINITY, f32::NAN],
                "score for label `b` is inf",
            ),
            (
                steps(None),
                &[0.0, 1.0, 0.0, f32::NEG_INFINITY],
                "score for label `good` at step 2 is -inf",
            ),
        ] {
            let error = reading.output(values).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn options_that_do_not_fit_the_model() {
        let labels = names(&["a", "b"]);
        for (activation, pooling, reduction, expected) in [
            (RIGHT, Pooling::Last, None, "pooling"),
            (Activation::None, STEP, None, "pooling"),
            (
                Activation::None,
                Pooling::Last,
                Some(Reduction::Min),
                "reduce",
            ),
        ] {
            let error = Reading::new(&labels, activation, pooling, reduction).unwrap_err();
            assert!(
                matches!(error, Error::Option { option, .. } if option == expected),
                "{error}"
            );
        }
    }
}
