//! The end at which the numbers of a sequence are waited for.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Instant,
};

use super::{
    error::QueueError,
    sync::{Arc, Condvar, Mutex, Weak},
};
use crate::batch::PlanStats;

/// The numbers of a sequence.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Numbers {
    /// Those of its scored positions, one after the other: as many for each as the model has labels.
    pub values: Vec<f32>,
    /// Its share of the work. What a pack came to is counted for one of the sequences in it, so that sums are right.
    pub work: PlanStats,
    /// When its pack was given to the engine.
    pub begun: Instant,
    /// When its pack was computed.
    pub computed: Instant,
}

type Outcome = Result<Numbers, QueueError>;

/// Where the outcome of a sequence is put.
#[derive(Default)]
pub(super) struct Slot {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
enum State {
    #[default]
    Empty,
    /// Somebody waits without a thread.
    Polled(Waker),
    Filled(Box<Outcome>),
    Taken,
}

impl Slot {
    /// Puts the outcome there, unless there is one.
    pub(super) fn fill(&self, outcome: Outcome) {
        let mut state = self.lock();
        let before = match &*state {
            State::Empty | State::Polled(_) => {
                std::mem::replace(&mut *state, State::Filled(Box::new(outcome)))
            }
            State::Filled(_) | State::Taken => return,
        };
        drop(state);
        self.filled.notify_all();
        if let State::Polled(waker) = before {
            waker.wake();
        }
    }

    /// The outcome, once; [`QueueError::Cancelled`] after that.
    fn take(state: &mut State) -> Option<Outcome> {
        match std::mem::replace(state, State::Taken) {
            State::Filled(outcome) => Some(*outcome),
            State::Taken => Some(Err(QueueError::Cancelled)),
            waiting => {
                *state = waiting;
                None
            }
        }
    }

    fn lock(&self) -> super::sync::MutexGuard<'_, State> {
        // Whoever panicked with the lock has left a state that is whole.
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Hears when nobody waits for a sequence any more.
pub(super) trait Withdraw: Send + Sync {
    fn withdraw(&self, id: u64);
}

/// A sequence in a [`Queue`](super::Queue). Its numbers can be waited for, on a thread or by polling it as a future, and
/// they are given once. Dropping it cancels the sequence.
pub struct Ticket {
    pub(super) id: u64,
    pub(super) slot: Arc<Slot>,
    pub(super) queue: Weak<dyn Withdraw>,
}

impl Ticket {
    /// Waits for the numbers.
    ///
    /// # Errors
    /// [`QueueError`]
    pub fn wait(&self) -> Result<Numbers, QueueError> {
        let mut state = self.slot.lock();
        loop {
            if let Some(outcome) = Slot::take(&mut state) {
                return outcome;
            }
            let woken = self.slot.filled.wait(state);
            state = woken.unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    /// Waits for the numbers until `deadline`; `None` when they are not there by then. They may still come.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_until(&self, deadline: Instant) -> Option<Result<Numbers, QueueError>> {
        let mut state = self.slot.lock();
        loop {
            if let Some(outcome) = Slot::take(&mut state) {
                return Some(outcome);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let woken = self.slot.filled.wait_timeout(state, left);
            state = woken.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
    }

    /// Nobody needs the numbers: it comes to [`QueueError::Cancelled`], unless they are there. A run of the model that was
    /// for this one alone is ended early.
    pub fn cancel(&self) {
        self.slot.fill(Err(QueueError::Cancelled));
        if let Some(queue) = self.queue.upgrade() {
            queue.withdraw(self.id);
        }
    }
}

impl Future for Ticket {
    type Output = Result<Numbers, QueueError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.slot.lock();
        match Slot::take(&mut state) {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                *state = State::Polled(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let is_done = matches!(*self.slot.lock(), State::Filled(_) | State::Taken);
        if !is_done {
            self.cancel();
        }
    }
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket").field("id", &self.id).finish()
    }
}
