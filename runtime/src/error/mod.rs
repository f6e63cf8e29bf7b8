//! Everything that can go wrong in scoring.

mod bundle;
mod change;
mod ending;
mod kind;
mod option;

use std::{path::PathBuf, sync::Arc};

pub use bundle::BundleProblem;
pub use change::WeightsChange;
pub use ending::EndingProblem;
pub use kind::ErrorKind;
pub use option::OptionProblem;

use crate::{
    batch::BatchError, engine::EngineError, ep::ProviderError, queue::QueueError, text::TextError,
};

/// An error of this crate. Its text says what is wrong, where, and what to do.
///
/// It is cheap to clone: when a batch fails, each of its conversations gets the error.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bundle cannot be used.
    #[error("{}: {problem}", path.display())]
    Bundle {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        #[source]
        problem: BundleProblem,
    },
    /// A weight file changed while the bundle was open. No score that is computed after it is handed out.
    #[error(
        "{}: {problem}, so no score counts that was not given before; put the file back or export the checkpoint again, \
         and open the bundle anew",
        path.display()
    )]
    WeightsChanged {
        /// The file.
        path: PathBuf,
        /// How that is known.
        problem: WeightsChange,
    },
    /// The bundle's manifest cannot be read.
    #[error(transparent)]
    Manifest(Arc<worldpm_ort_bundle::Error>),
    /// ONNX Runtime's library, a session, or a run of one failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A device was asked for that the bundle or the machine cannot serve.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The conversation cannot be turned into tokens.
    #[error(transparent)]
    Text(Arc<TextError>),
    /// The rendered conversation does not end as the model's pooling rule needs.
    #[error("{0}")]
    Ending(EndingProblem),
    /// A model that scores steps is given a conversation without one.
    #[error(
        "the conversation has no step token {token:?} (id {id}), at which the model is scored; put it behind every step \
         of the answer, or give the answer as a list: {{\"role\": \"assistant\", \"content\": [\"step 1\", \"step 2\"]}}"
    )]
    NoSteps {
        /// Id of the step token.
        id: u32,
        /// Its text.
        token: String,
    },
    /// An option does not fit the model.
    #[error("option `{option}`: {problem}")]
    Option {
        /// The option, by its name in [`ScorerOptions`](crate::ScorerOptions).
        option: &'static str,
        /// Why not, and what to do.
        problem: OptionProblem,
    },
    /// A token sequence is longer than the length limit.
    #[error("the sequence has {tokens} tokens and the limit is {limit}")]
    TooLong {
        /// Its tokens.
        tokens: usize,
        /// The limit in force.
        limit: usize,
    },
    /// The batch planner refused the sequences.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The conversation was not taken, or it was not scored in time.
    #[error(transparent)]
    Queue(QueueError),
    /// A token id is outside the model's vocabulary.
    #[error(
        "token id {id} at position {position} is outside the vocabulary of {vocab_size} tokens"
    )]
    TokenId {
        /// The id.
        id: u32,
        /// Its position in the sequence.
        position: usize,
        /// Size of the vocabulary.
        vocab_size: usize,
    },
    /// One score was asked of a model that gives several.
    #[error("the model gives {given} and not one score; {remedy}")]
    NotOneScore {
        /// What it gives.
        given: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The model gave no number.
    #[error(
        "the model's score{}{} is {value}, which is not a finite number; the weights or the precision of \
         the bundle are at fault (compare with an fp32 bundle)",
        label.as_ref().map(|label| format!(" for label `{label}`")).unwrap_or_default(),
        step.map(|step| format!(" at step {step}")).unwrap_or_default()
    )]
    NotFinite {
        /// The label that it is for, where the model has several.
        label: Option<String>,
        /// The step that it is for, from 1, where the model scores steps.
        step: Option<usize>,
        /// What it gave.
        value: f32,
    },
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// What kind of error this is: what can be done about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Bundle {
                problem: BundleProblem::Interface(_),
                ..
            } => ErrorKind::BadOptions,
            Self::Bundle { .. } | Self::WeightsChanged { .. } | Self::Manifest(_) => {
                ErrorKind::DamagedBundle
            }
            Self::Engine(error) => error.kind(),
            Self::Provider(error) => error.kind(),
            Self::Text(error) => error.kind(),
            Self::Batch(error) => error.kind(),
            Self::Queue(error) => error.kind(),
            Self::Option { .. } | Self::NotOneScore { .. } => ErrorKind::BadOptions,
            Self::TooLong { .. } => ErrorKind::TooLong,
            Self::Ending(_) | Self::NoSteps { .. } | Self::TokenId { .. } => {
                ErrorKind::InvalidInput
            }
            Self::NotFinite { .. } => ErrorKind::Internal,
        }
    }
}

impl From<worldpm_ort_bundle::Error> for Error {
    fn from(error: worldpm_ort_bundle::Error) -> Self {
        Self::Manifest(Arc::new(error))
    }
}

impl From<TextError> for Error {
    fn from(error: TextError) -> Self {
        Self::Text(Arc::new(error))
    }
}

impl From<QueueError> for Error {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::Batch(error) => Self::Batch(error),
            QueueError::Engine(error) => Self::Engine(error),
            QueueError::Cancelled => Self::Engine(EngineError::Cancelled),
            other => Self::Queue(other),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
