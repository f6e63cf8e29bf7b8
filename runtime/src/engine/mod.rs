//! Runs a bundle's stages: ONNX Runtime's library, one session per stage, and what joins them: a pipeline of loaded
//! stages, or one that loads them in turn.

mod activity;
mod cancellation;
mod interface;
mod job;
mod kernels;
mod library;
mod library_search;
mod matrix;
mod memory;
#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    dead_code,
    unreachable_pub
)]
mod model_check;
mod operators;
mod pending;
mod pipeline;
mod providers;
mod session;
mod source;
mod streamed;
#[doc(hidden)]
pub mod testing;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::cast_precision_loss)]
mod tests;
mod trust;

use std::{sync::Arc, time::Duration};

pub(crate) use activity::Activity;
pub use activity::{Observer, StageCounters, StageLoad, StageRun};
pub use cancellation::Cancellation;
pub use interface::{Capacity, Completion, Engine, Submission};
pub(crate) use kernels::KernelChoice;
pub use library::{OnnxRuntime, library_candidates};
pub(crate) use matrix::{MatrixProbe, MatrixSizes};
pub use memory::return_large_blocks;
pub(crate) use pending::Pending;
pub(crate) use pipeline::Pipeline;
pub(crate) use session::{SessionStage, StageSetup, Threads};
pub(crate) use source::{BundleSource, load_copies};
pub(crate) use streamed::{StageSource, Streamer, Wave};

/// What the threads of an engine share. `model_check` has another of the same names.
mod sync {
    pub(super) use std::{
        sync::{Arc, Mutex, Weak, atomic, mpsc},
        thread,
    };
}

use crate::batch::PackInputs;

/// A failure below the scorer: in ONNX Runtime or between its sessions.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// ONNX Runtime's library is not there or cannot be used.
    #[error("{0}")]
    Library(String),
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

/// Why a stage did not run a pack.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What is wrong.
    pub(crate) error: EngineError,
    /// Whether no other pack can be run either: the device is lost.
    pub(crate) fatal: bool,
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self {
            error,
            fatal: false,
        }
    }
}

/// Whoever waits for a pack, as a stage sees them.
pub(crate) trait Watch {
    /// A run begins; `interrupt` ends it early, from any thread. False when nobody waits any more.
    fn begin(&self, interrupt: Box<dyn Fn() + Send>) -> bool;

    /// The run has ended.
    fn end(&self);
}

/// One stage of a pipeline, owned by one thread.
pub(crate) trait Stage: Send + 'static {
    /// What stages hand on: the hidden states, wherever they are.
    type Hidden: Send + 'static;

    /// Runs a pack through the stage. `hidden` is `None` for the first stage.
    fn run(
        &mut self,
        inputs: &Arc<PackInputs>,
        hidden: Option<Self::Hidden>,
        watch: &dyn Watch,
    ) -> Result<Flow<Self::Hidden>, Failure>;

    /// Called once on the thread that will run the stage.
    fn settle(&mut self) {}

    /// What the stage is called in errors.
    fn name(&self) -> String;
}

/// What comes out of a stage.
#[derive(Debug)]
pub(crate) enum Flow<H> {
    /// Hidden states for the next stage.
    Hidden(H),
    /// The scores: the pipeline's end.
    Scores(Vec<f32>),
}
