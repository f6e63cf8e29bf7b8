//! What the planner refuses.

use thiserror::Error;

use crate::error::ErrorKind;

/// Why sequences cannot be planned or packed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BatchError {
    /// A sequence without tokens has no token to score.
    #[error("sequence {index} is empty: it has no token to score")]
    EmptySequence {
        /// Position of the sequence in the input.
        index: usize,
    },
    /// A scored position is not one of its sequence.
    #[error("sequence {index} has {tokens} tokens and cannot be scored at position {position}")]
    NoSuchPosition {
        /// Position of the sequence in the input.
        index: usize,
        /// Its tokens.
        tokens: usize,
        /// The position that was to be scored.
        position: usize,
    },
    /// A pack names a sequence that was not given: it belongs to other sequences.
    #[error(
        "the pack names sequence {index}, but {count} sequences were given: \
         give the sequences that the plan was made for"
    )]
    UnknownMember {
        /// The position that the pack names.
        index: usize,
        /// How many sequences were given.
        count: usize,
    },
    /// The index tensors would not fit the graph's 32-bit lengths.
    #[error(
        "a pack of {rows} rows of up to {columns} tokens exceeds the graph's 32-bit lengths: \
         lower the budget or the length limit"
    )]
    TooLarge {
        /// Attention rows.
        rows: usize,
        /// Tokens of the longest row.
        columns: usize,
    },
}

impl BatchError {
    /// What kind of error this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::EmptySequence { .. } => ErrorKind::InvalidInput,
            Self::TooLarge { .. } => ErrorKind::TooLong,
            Self::NoSuchPosition { .. } | Self::UnknownMember { .. } => ErrorKind::Internal,
        }
    }
}
