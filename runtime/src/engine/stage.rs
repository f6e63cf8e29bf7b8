//! A part of the model on its device, and what it is given and gives.

use std::sync::Arc;

use super::EngineError;
use crate::batch::PackInputs;

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
