//! Conversations between submission and score.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use crate::{
    batch::PlanStats,
    counters::Tally,
    engine::EngineError,
    error::Result,
    queue::{Numbers, QueueError, Ticket},
    reward::{Reading, Reward},
    weights::WeightFiles,
};

/// What makes a reward of numbers; shared by all conversations of a scorer.
#[derive(Debug)]
pub(crate) struct Finishing {
    pub(crate) reading: Reading,
    pub(crate) tally: Arc<Tally>,
    /// Those that were computed with; `None` for an engine without.
    pub(crate) weights: Option<Arc<WeightFiles>>,
}

impl Finishing {
    /// Counts an outcome that is handed out.
    fn count(&self, outcome: &Result<Reward>) {
        self.tally.count(|counters| match outcome {
            Ok(reward) => {
                counters.scored += 1;
                counters.truncated += u64::from(reward.truncated);
            }
            Err(_) => counters.failed += 1,
        });
    }

    fn require_unchanged(&self, computed: Option<Instant>) -> Result<()> {
        match (&self.weights, computed) {
            (None, _) => Ok(()),
            (Some(weights), Some(computed)) => weights.require_unchanged_since(computed),
            // A run that failed may have failed for this.
            (Some(weights), None) => weights.require_unchanged(),
        }
    }
}

/// A conversation whose score is being computed. It can be waited for on a thread, or polled as a future. Dropping it
/// cancels the conversation.
#[derive(Debug)]
pub struct PendingScore {
    ticket: Ticket,
    entered: Entered,
    finishing: Arc<Finishing>,
}

/// What is known of a conversation when it is put in line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entered {
    /// Tokens of the rendered conversation.
    pub(crate) tokens: usize,
    pub(crate) truncated: bool,
    pub(crate) scored: ScoredToken,
}

/// The token at which a conversation is scored; the last one, of a model that scores steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScoredToken {
    /// Its place in the sequence, from 0.
    pub position: usize,
    /// Its id.
    pub id: u32,
}

/// When a conversation was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timings {
    /// When its pack was given to the engine.
    pub begun: Instant,
    /// When its pack was computed.
    pub computed: Instant,
}

impl PendingScore {
    pub(crate) fn new(ticket: Ticket, entered: Entered, finishing: Arc<Finishing>) -> Self {
        Self {
            ticket,
            entered,
            finishing,
        }
    }

    /// Waits for what the model says.
    ///
    /// # Errors
    /// As [`Scorer::rewards`](crate::Scorer::rewards).
    pub fn wait(self) -> Result<Reward> {
        let numbers = self.ticket.wait();
        self.finish(numbers)
    }

    /// As [`wait`](Self::wait), but no longer than `allowed`.
    ///
    /// # Errors
    /// [`EngineError::TimedOut`] when it was not scored by then, and is cancelled.
    pub fn wait_for(self, allowed: Duration) -> Result<Reward> {
        let Some(deadline) = Instant::now().checked_add(allowed) else {
            return self.wait();
        };
        match self.ticket.wait_until(deadline) {
            Some(numbers) => self.finish(numbers),
            None => {
                let outcome = Err(EngineError::TimedOut(allowed).into());
                self.finishing.count(&outcome);
                outcome
            }
        }
    }

    /// Cancels the conversation: it comes to [`EngineError::Cancelled`], unless it is scored. A run of the model that was
    /// for it alone is ended early.
    pub fn cancel(&self) {
        self.ticket.cancel();
    }

    /// Tokens of the rendered conversation.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.entered.tokens
    }

    /// The token at which it is scored.
    #[must_use]
    pub fn scored_token(&self) -> ScoredToken {
        self.entered.scored
    }

    /// The same score, with the times at which it was computed; `None` where it was not.
    #[must_use]
    pub fn timed(self) -> TimedScore {
        TimedScore(self)
    }

    fn finish(&self, numbers: Result<Numbers, QueueError>) -> Result<Reward> {
        let computed = numbers.as_ref().ok().map(|numbers| numbers.computed);
        let unchanged = self.finishing.require_unchanged(computed);
        let outcome = unchanged.and_then(|()| self.reward(&numbers?.values));
        self.finishing.count(&outcome);
        outcome
    }

    fn reward(&self, values: &[f32]) -> Result<Reward> {
        Ok(Reward {
            output: self.finishing.reading.output(values)?,
            tokens: self.entered.tokens,
            truncated: self.entered.truncated,
        })
    }
}

impl Future for PendingScore {
    type Output = Result<Reward>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let numbers = ready!(Pin::new(&mut self.ticket).poll(context));
        Poll::Ready(self.finish(numbers))
    }
}

/// A [`PendingScore`] whose times are wanted.
#[derive(Debug)]
pub struct TimedScore(PendingScore);

impl Future for TimedScore {
    type Output = (Result<Reward>, Option<Timings>);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let numbers = ready!(Pin::new(&mut self.0.ticket).poll(context));
        let timings = numbers.as_ref().ok().map(|numbers| Timings {
            begun: numbers.begun,
            computed: numbers.computed,
        });
        Poll::Ready((self.0.finish(numbers), timings))
    }
}

/// Conversations whose scores are being computed. Dropping it cancels those that are not.
#[derive(Debug)]
pub struct PendingScores {
    outcomes: Vec<Result<PendingScore>>,
    finishing: Arc<Finishing>,
}

impl PendingScores {
    pub(crate) fn new(outcomes: Vec<Result<PendingScore>>, finishing: Arc<Finishing>) -> Self {
        Self {
            outcomes,
            finishing,
        }
    }

    /// Waits for all scores, in the order of the conversations.
    #[must_use = "scores are returned, not stored"]
    pub fn wait(self) -> Vec<Result<Reward>> {
        self.wait_with_work().0
    }

    /// As [`wait`](Self::wait), and says what the conversations came to in the packs that held them. A pack that holds others
    /// too is counted for one of them.
    #[must_use = "scores are returned, not stored"]
    pub fn wait_with_work(self) -> (Vec<Result<Reward>>, PlanStats) {
        self.collect(|ticket| ticket.wait().map_err(Into::into))
    }

    /// As [`wait`](Self::wait), but no longer than `allowed`. Conversations that are not scored by then come to
    /// [`EngineError::TimedOut`] and are cancelled; those that are have their scores.
    #[must_use = "scores are returned, not stored"]
    pub fn wait_for(self, allowed: Duration) -> Vec<Result<Reward>> {
        let Some(deadline) = Instant::now().checked_add(allowed) else {
            return self.wait();
        };
        let late = || Err(EngineError::TimedOut(allowed).into());
        let wait = |ticket: &Ticket| match ticket.wait_until(deadline) {
            Some(numbers) => numbers.map_err(Into::into),
            None => late(),
        };
        self.collect(wait).0
    }

    /// Cancels the conversations that are not scored yet: they come to [`EngineError::Cancelled`]. A run of the model that
    /// is under way for them alone is ended early.
    pub fn cancel(&self) {
        for pending in self.outcomes.iter().flatten() {
            pending.cancel();
        }
    }

    fn collect(
        self,
        wait: impl Fn(&Ticket) -> Result<Numbers>,
    ) -> (Vec<Result<Reward>>, PlanStats) {
        let waited: Vec<_> = self
            .outcomes
            .into_iter()
            .map(|outcome| {
                outcome.map(|pending| {
                    let numbers = wait(&pending.ticket);
                    (pending, numbers)
                })
            })
            .collect();
        let numbers = || waited.iter().flatten().map(|(_, numbers)| numbers);
        let failed = numbers().any(Result::is_err);
        let latest = numbers().flatten().map(|numbers| numbers.computed).max();
        let unchanged = match (failed, latest) {
            (false, None) => Ok(()),
            (false, latest) => self.finishing.require_unchanged(latest),
            (true, _) => self.finishing.require_unchanged(None),
        };
        let mut work = PlanStats::default();
        let outcomes = waited.into_iter().map(|outcome| {
            let (pending, numbers) = outcome?;
            unchanged.clone()?;
            let numbers = numbers?;
            work += numbers.work;
            pending.reward(&numbers.values)
        });
        let outcomes: Vec<_> = outcomes.collect();
        for outcome in &outcomes {
            self.finishing.count(outcome);
        }
        (outcomes, work)
    }
}
