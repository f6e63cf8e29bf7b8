//! Runs a bundle's stages: ONNX Runtime's library, one session per stage, and the pipeline that joins
//! them.

mod library;
mod memory;
mod pipeline;
mod session;

use std::sync::Arc;

pub use library::{OnnxRuntime, library_candidates};
pub use memory::return_large_blocks;
pub(crate) use pipeline::{Pending, Pipeline};
pub(crate) use session::{SessionStage, StageSetup};

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
    ) -> Result<Flow<Self::Hidden>, EngineError>;

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
