//! A pack on its way through the stages.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

use super::{
    Activity, EngineError, Failure, Flow, Stage, StageRun,
    cancellation::Cancellation,
    interface::{Completion, Submission},
    sync::Arc,
};
use crate::batch::PackInputs;

type Scores = Result<Vec<f32>, EngineError>;

/// A pack with what has been computed of it.
pub(super) struct Job<H> {
    pack: u64,
    inputs: Arc<PackInputs>,
    hidden: Option<H>,
    completion: Completion,
    cancellation: Arc<Cancellation>,
}

/// Which stage works on a job.
#[derive(Clone, Copy)]
pub(super) struct StageId {
    pub(super) replica: usize,
    pub(super) stage: usize,
}

/// What became of a job in a stage.
pub(super) enum Step<H> {
    /// It goes on to the next stage.
    Next(Job<H>),
    /// Its waiter has its scores or an error.
    Answered,
    /// Its waiter has an error, and the stage cannot go on.
    StageLost(EngineError),
}

impl<H> Job<H> {
    pub(super) fn new(pack: u64, submission: Submission) -> Self {
        Self {
            pack,
            inputs: Arc::new(submission.inputs),
            hidden: None,
            completion: submission.completion,
            cancellation: submission.cancellation,
        }
    }

    pub(super) fn tokens(&self) -> usize {
        self.inputs.input_ids.len()
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancellation.is_cancelled()
    }

    /// The same pack, of which nothing is computed.
    pub(super) fn restarted(mut self) -> Self {
        self.hidden = None;
        self
    }

    pub(super) fn answer(self, scores: Scores) {
        self.completion.complete(scores);
    }

    /// Runs the job through a stage. A panic fails this job and no other.
    pub(super) fn run<S: Stage<Hidden = H>>(
        mut self,
        stage: &mut S,
        place: StageId,
        activity: &Activity,
    ) -> Step<H> {
        if self.is_cancelled() {
            self.answer(Err(EngineError::Cancelled));
            return Step::Answered;
        }
        let span = tracing::debug_span!(
            "stage",
            stage = place.stage,
            replica = place.replica,
            pack = self.pack,
            tokens = self.tokens()
        );
        let hidden = self.hidden.take();
        let handed = Instant::now();
        let outcome = span.in_scope(|| {
            catch_unwind(AssertUnwindSafe(|| {
                stage.run(&self.inputs, hidden, &*self.cancellation)
            }))
            .unwrap_or_else(|_| {
                let problem = format!("{} panicked", stage.name());
                Err(EngineError::Stopped(problem).into())
            })
        });
        let begun = self.cancellation.begun(handed);
        if let (Err(_), None) = (&outcome, begun)
            && self.is_cancelled()
        {
            self.answer(Err(EngineError::Cancelled));
            return Step::Answered;
        }
        activity.ran(&StageRun {
            stage: place.stage,
            replica: place.replica,
            pack: self.pack,
            tokens: self.tokens(),
            rows: self.inputs.rows,
            columns: self.inputs.columns,
            scored: self.inputs.score_tokens.len(),
            row_squares: self.inputs.row_squares(),
            started: begun.unwrap_or(handed),
            ended: Instant::now(),
            failed: outcome.is_err(),
        });
        match outcome {
            Ok(Flow::Hidden(hidden)) => {
                self.hidden = Some(hidden);
                Step::Next(self)
            }
            Ok(Flow::Scores(scores)) => {
                self.answer(Ok(scores));
                Step::Answered
            }
            Err(_) if self.is_cancelled() => {
                self.answer(Err(EngineError::Cancelled));
                Step::Answered
            }
            Err(Failure { error, fatal }) => {
                self.answer(Err(error.clone()));
                if fatal {
                    Step::StageLost(error)
                } else {
                    Step::Answered
                }
            }
        }
    }
}
