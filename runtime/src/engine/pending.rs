//! A pack whose answer one thread waits for.

use super::{
    EngineError,
    cancellation::Cancellation,
    interface::{Completion, Submission},
    sync::{
        Arc,
        mpsc::{Receiver, channel},
    },
};
use crate::batch::PackInputs;

/// A pack that is being computed. Dropping it cancels the pack.
#[derive(Debug)]
pub(crate) struct Pending {
    scores: Receiver<Result<Vec<f32>, EngineError>>,
    pub(super) cancellation: Arc<Cancellation>,
}

impl Pending {
    /// A pack to submit, and the end to wait at.
    pub(crate) fn new(inputs: PackInputs) -> (Submission, Self) {
        let (reply, scores) = channel();
        let cancellation = Arc::new(Cancellation::default());
        let submission = Submission {
            inputs,
            cancellation: Arc::clone(&cancellation),
            completion: Completion::new(move |answer| {
                // A caller that no longer waits is no error.
                let _ = reply.send(answer);
            }),
        };
        let pending = Self {
            scores,
            cancellation,
        };
        (submission, pending)
    }

    /// Waits for the pack's scores, in the order of its `score_tokens`.
    pub(crate) fn wait(self) -> Result<Vec<f32>, EngineError> {
        let ended_early = || Err(EngineError::Stopped("a stage ended early".into()));
        self.scores.recv().unwrap_or_else(|_| ended_early())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.cancellation.cancel();
    }
}
