//! What can fail below the scorer.

use std::time::Duration;

use super::library_error::LibraryError;
use crate::{
    ep::{device_lost, out_of_memory},
    error::ErrorKind,
};

/// A failure below the scorer: in ONNX Runtime or between its sessions.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// ONNX Runtime's library is not there or cannot be used.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// A stage cannot be loaded.
    #[error("{stage} cannot be loaded on {device}: {problem}")]
    Load {
        /// The stage's graph.
        stage: String,
        /// The device.
        device: String,
        /// What ONNX Runtime says.
        problem: String,
    },
    /// A stage failed while it ran.
    #[error("{stage} failed on {device}: {problem}")]
    Run {
        /// The stage's graph.
        stage: String,
        /// The device.
        device: String,
        /// What ONNX Runtime says.
        problem: String,
    },
    /// The device of a stage is lost to this process. What it had in hand fails, and so does what comes.
    #[error(
        "{stage} has lost {device}: {problem}; nothing can be computed there until the process is started again"
    )]
    Lost {
        /// The stage's graph.
        stage: String,
        /// The device.
        device: String,
        /// What ONNX Runtime says.
        problem: String,
    },
    /// The last stage gave another number of scores than the manifest promises.
    #[error(
        "the graph gave {found} numbers where {expected} were due; the manifest and the graphs of the \
         bundle disagree, export the checkpoint again"
    )]
    Scores {
        /// Numbers that came.
        found: usize,
        /// Scored tokens times labels.
        expected: usize,
    },
    /// The thread of a stage is gone.
    #[error("the pipeline has stopped: {0}")]
    Stopped(String),
    /// The scores did not come in the time allowed.
    #[error("not scored within {0:?}")]
    TimedOut(Duration),
    /// Nobody waited for the scores any more.
    #[error("cancelled")]
    Cancelled,
}

impl EngineError {
    /// What kind of error this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Library(_) => ErrorKind::BadOptions,
            Self::Load { problem, .. } | Self::Run { problem, .. } if out_of_memory(problem) => {
                ErrorKind::OutOfMemory
            }
            Self::Load { problem, .. } | Self::Run { problem, .. } if device_lost(problem) => {
                ErrorKind::DeviceLost
            }
            Self::Lost { .. } => ErrorKind::DeviceLost,
            Self::Scores { .. } => ErrorKind::DamagedBundle,
            Self::TimedOut(_) => ErrorKind::DeadlineExceeded,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Load { .. } | Self::Run { .. } | Self::Stopped(_) => ErrorKind::Internal,
        }
    }
}
