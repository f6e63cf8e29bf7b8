//! Why there is no measurement.

use std::path::PathBuf;

use crate::Error;

/// A benchmark that cannot be made.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// The model, or the machine.
    #[error(transparent)]
    Scorer(#[from] Error),
    /// Nothing to score.
    #[error("there is nothing to score; give at least one record")]
    Empty,
    /// Made-up conversations that the model does not take.
    #[error(
        "conversations of about {tokens} tokens are longer than the model's limit of {limit}; ask for fewer tokens"
    )]
    TooLong {
        /// Tokens of the longest, about.
        tokens: usize,
        /// The limit in force.
        limit: usize,
    },
    /// ONNX Runtime's profile cannot be read.
    #[error("{}: the profile cannot be read: {problem}", path.display())]
    Profile {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        problem: String,
    },
    /// No conversation of a round was scored.
    #[error("no conversation was scored, the first for this reason: {0}")]
    NoneScored(Error),
}
