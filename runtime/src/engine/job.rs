//! A pack on its way through the stages, and the end that somebody waits at.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use super::{
    Activity, EngineError, Failure, Flow, Stage, StageRun,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    ticket::Ticket,
};
use crate::batch::PackInputs;

type Scores = Result<Vec<f32>, EngineError>;

/// A pack with what has been computed of it.
pub(super) struct Job<H> {
    pack: u64,
    inputs: Arc<PackInputs>,
    hidden: Option<H>,
    reply: Sender<Scores>,
    ticket: Arc<Ticket>,
}

/// A pack that is being computed. Dropping it cancels the pack.
#[derive(Debug)]
pub(crate) struct Pending {
    scores: Receiver<Scores>,
    ticket: Arc<Ticket>,
}

/// Which stage works on a job.
#[derive(Clone, Copy)]
pub(super) struct Place {
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
    pub(super) fn new(pack: u64, inputs: PackInputs) -> (Self, Pending) {
        let (reply, scores) = channel();
        let ticket = Arc::new(Ticket::default());
        let job = Self {
            pack,
            inputs: Arc::new(inputs),
            hidden: None,
            reply,
            ticket: Arc::clone(&ticket),
        };
        (job, Pending { scores, ticket })
    }

    pub(super) fn tokens(&self) -> usize {
        self.inputs.input_ids.len()
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.ticket.is_cancelled()
    }

    pub(super) fn answer(self, scores: Scores) {
        // A caller that no longer waits is no error.
        let _ = self.reply.send(scores);
    }

    /// Runs the job through a stage. A panic fails this job and no other.
    pub(super) fn run<S: Stage<Hidden = H>>(
        mut self,
        stage: &mut S,
        place: Place,
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
                stage.run(&self.inputs, hidden, &*self.ticket)
            }))
            .unwrap_or_else(|_| {
                let problem = format!("{} panicked", stage.name());
                Err(EngineError::Stopped(problem).into())
            })
        });
        let begun = self.ticket.begun(handed);
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

impl Pending {
    /// Waits for the pack's scores, in the order of its `score_tokens`.
    pub(crate) fn wait(self) -> Scores {
        self.scores.recv().unwrap_or_else(|_| Err(ended_early()))
    }

    /// As [`wait`](Self::wait), but not past `deadline`, `allowed` after the waiting began.
    pub(crate) fn wait_until(self, deadline: Instant, allowed: Duration) -> Scores {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.scores.recv_timeout(left) {
            Ok(scores) => scores,
            Err(RecvTimeoutError::Timeout) => Err(EngineError::TimedOut(allowed)),
            Err(RecvTimeoutError::Disconnected) => Err(ended_early()),
        }
    }

    /// Nobody needs the scores.
    pub(crate) fn cancel(&self) {
        self.ticket.cancel();
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.cancel();
    }
}

fn ended_early() -> EngineError {
    EngineError::Stopped("a stage ended early".into())
}
