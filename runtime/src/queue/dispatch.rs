//! The queue as its callers have it: they put sequences in, and a thread of the queue does the rest.

// With paths for the model check, which has this file elsewhere.
#[path = "dispatch/dispatcher.rs"]
mod dispatcher;
#[path = "dispatch/shared.rs"]
mod shared;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use self::{
    dispatcher::dispatch,
    shared::{Shared, State},
};
use super::{
    error::QueueError,
    line::{Arrivals, Line},
    options::{QueueOptions, RequestOptions},
    sequence::Sequence,
    sync::{Arc, Condvar, Mutex, thread},
    ticket::Ticket,
};
use crate::{
    batch::{Budget, PlanStats},
    engine::{Engine, EngineError, Health},
};

/// One line for all who want sequences computed.
///
/// Sequences of different callers share packs, and beginnings that they have in common are computed once. What waits is
/// bounded by [`QueueOptions`]; who is next follows from the shares of the callers, see [`RequestOptions`].
///
/// Dropping a queue computes what was admitted and is still waited for.
pub struct Queue {
    shared: Arc<Shared>,
    // Dropped last, on the thread that drops the queue: an engine waits for its own threads.
    engine: Option<Arc<dyn Engine>>,
    dispatcher: Option<thread::JoinHandle<()>>,
}

/// What a queue holds and has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueCounters {
    /// Conversations that were admitted and have no outcome yet.
    pub conversations: usize,
    /// Their tokens, before shared beginnings are taken out.
    pub tokens: usize,
    /// Packs that the engine has in hand.
    pub running_packs: usize,
    /// How long the oldest conversation has waited that the engine does not have in hand yet; `None` where none waits.
    pub oldest_wait: Option<Duration>,
    /// What was planned so far.
    pub planned: PlanStats,
    /// Time spent with plans and with making the inputs of packs.
    pub planning: Duration,
}

impl Queue {
    /// A queue before an engine that takes packs of this budget and gives `width` numbers for each scored token.
    ///
    /// # Errors
    /// [`EngineError::Stopped`] when the system gives no thread.
    pub fn start(
        engine: Arc<dyn Engine>,
        width: usize,
        budget: Budget,
        options: QueueOptions,
    ) -> Result<Self, EngineError> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                arrivals: Arrivals::Matter,
                line: Line::new(options, budget.max_tokens),
                closed: false,
                planned: PlanStats::default(),
                planning: Duration::ZERO,
            }),
            changed: Condvar::new(),
            left: Condvar::new(),
            budget,
            width,
        });
        let dispatcher = {
            let (shared, engine) = (Arc::clone(&shared), Arc::clone(&engine));
            thread::Builder::new()
                .name("queue".into())
                .spawn(move || {
                    // Whoever waits must not wait for ever.
                    if catch_unwind(AssertUnwindSafe(|| dispatch(&shared, &*engine))).is_err() {
                        shared.abandon();
                    }
                })
                .map_err(|error| EngineError::Stopped(format!("no thread: {error}")))?
        };
        Ok(Self {
            shared,
            engine: Some(engine),
            dispatcher: Some(dispatcher),
        })
    }

    /// Admits a sequence at once or not at all.
    ///
    /// # Errors
    /// [`QueueError::Full`] when as much waits as may.
    pub fn submit(
        &self,
        sequence: Sequence,
        request: &RequestOptions,
    ) -> Result<Ticket, QueueError> {
        let mut state = self.shared.lock();
        if !state.line.has_room(sequence.ids.len()) {
            return Err(state.line.full());
        }
        let ticket = self.shared.admit(&mut state, sequence, request);
        let is_news = state.line.is_news(state.arrivals, request);
        drop(state);
        if is_news {
            self.shared.changed.notify_one();
        }
        Ok(ticket)
    }

    /// Admits sequences together, as far as there is room, and waits for room for the rest.
    pub fn submit_all(&self, sequences: Vec<Sequence>, request: &RequestOptions) -> Vec<Ticket> {
        let mut tickets = Vec::with_capacity(sequences.len());
        let mut state = self.shared.lock();
        for sequence in sequences {
            while !state.line.has_room(sequence.ids.len()) {
                self.shared.changed.notify_one();
                let left = self.shared.left.wait(state);
                state = left.unwrap_or_else(|poisoned| poisoned.into_inner());
            }
            tickets.push(self.shared.admit(&mut state, sequence, request));
        }
        drop(state);
        self.shared.changed.notify_one();
        tickets
    }

    /// Whether the engine can still compute.
    #[must_use]
    pub fn health(&self) -> Health {
        let engine = self.engine.as_ref();
        engine.map_or(Health { copies: 1, lost: 1 }, |engine| engine.health())
    }

    /// What the queue holds and has done.
    #[must_use]
    pub fn counters(&self) -> QueueCounters {
        let state = self.shared.lock();
        QueueCounters {
            conversations: state.line.len(),
            tokens: state.line.tokens(),
            running_packs: state.line.running_packs(),
            oldest_wait: state.line.oldest_waiting().map(|since| since.elapsed()),
            planned: state.planned,
            planning: state.planning,
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_one();
        if let Some(dispatcher) = self.dispatcher.take() {
            let _ = dispatcher.join();
        }
        self.engine = None;
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Queue").field(&self.counters()).finish()
    }
}
