//! Why a conversation has no numbers.

use crate::{batch::BatchError, engine::EngineError, error::ErrorKind};

/// Why a [`Queue`](super::Queue) gives no numbers for a sequence.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// So much waits that this one was not taken.
    #[error(
        "{conversations} conversations of {tokens} tokens are waiting or being computed, which is as much as the queue \
         takes; try again later"
    )]
    Full {
        /// How many conversations there are.
        conversations: usize,
        /// Their tokens.
        tokens: usize,
    },
    /// Its deadline passed.
    #[error("not scored before its deadline")]
    DeadlineExceeded,
    /// Nobody waited for it any more.
    #[error("cancelled")]
    Cancelled,
    /// The queue takes no more.
    #[error("the queue is closed")]
    Closed,
    /// It cannot be put into a pack.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// Its pack failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl QueueError {
    /// What kind of error this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Full { .. } | Self::Closed => ErrorKind::Overloaded,
            Self::DeadlineExceeded => ErrorKind::DeadlineExceeded,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Batch(error) => error.kind(),
            Self::Engine(error) => error.kind(),
        }
    }
}
