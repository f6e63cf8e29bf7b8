//! Choices that several verbs offer.

use clap::ValueEnum;

use crate::{Reduction, SpecialTokenHandling, Truncation};

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum TruncationWay {
    /// Refuse it with an error
    #[default]
    Refuse,
    /// Leave out the oldest turns
    OldestTurns,
    /// Cut out the middle of the longest message
    LongestMessageMiddle,
}

impl From<TruncationWay> for Truncation {
    fn from(way: TruncationWay) -> Self {
        match way {
            TruncationWay::Refuse => Self::Refuse,
            TruncationWay::OldestTurns => Self::OldestTurns,
            TruncationWay::LongestMessageMiddle => Self::LongestMessageMiddle,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum SpecialTokensWay {
    /// That token, as in transformers
    #[default]
    Parse,
    /// Ordinary text
    Literal,
    /// An error
    Reject,
}

impl From<SpecialTokensWay> for SpecialTokenHandling {
    fn from(way: SpecialTokensWay) -> Self {
        match way {
            SpecialTokensWay::Parse => Self::Parse,
            SpecialTokensWay::Literal => Self::Literal,
            SpecialTokensWay::Reject => Self::Reject,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ReduceWay {
    /// The lowest: an answer is as good as its worst step
    Min,
    /// Their product: the probability that all are right, were they independent
    Product,
    /// The last one
    Last,
}

impl From<ReduceWay> for Reduction {
    fn from(way: ReduceWay) -> Self {
        match way {
            ReduceWay::Min => Self::Min,
            ReduceWay::Product => Self::Product,
            ReduceWay::Last => Self::Last,
        }
    }
}

/// A time, as a number of seconds.
pub(crate) fn seconds(text: &str) -> Result<std::time::Duration, String> {
    let given: Option<f64> = text.parse().ok();
    let time = given.and_then(|seconds| std::time::Duration::try_from_secs_f64(seconds).ok());
    time.ok_or_else(|| "give a number of seconds, 0 or more".to_owned())
}

/// A number that others can be compared with.
pub(crate) fn number(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err("give a number".into()),
    }
}
