//! The thread that fills packs and gives them to the engine.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use super::{
    error::QueueError,
    line::{Arrivals, Departure, Line, Next, Window},
    options::{QueueOptions, RequestOptions},
    sequence::Sequence,
    sync::{Arc, Condvar, Mutex, MutexGuard, Weak, thread},
    ticket::{Numbers, Slot, Ticket, Withdraw},
};
use crate::{
    batch::{Budget, PackInputs, PlanStats, plan},
    engine::{Completion, Engine, EngineError, Health, Submission},
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

struct Shared {
    state: Mutex<State>,
    /// Something has changed for the dispatcher.
    changed: Condvar,
    /// Something has left, for those who wait to be admitted.
    left: Condvar,
    budget: Budget,
    /// Numbers for each scored token.
    width: usize,
}

struct State {
    line: Line<Arc<Slot>>,
    /// Those that the dispatcher is woken for.
    arrivals: Arrivals,
    closed: bool,
    planned: PlanStats,
    planning: Duration,
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

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The line is changed by functions that do not panic half way.
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn admit(
        self: &Arc<Self>,
        state: &mut State,
        sequence: Sequence,
        request: &RequestOptions,
    ) -> Ticket {
        let slot = Arc::new(Slot::default());
        let kept = Arc::clone(&slot);
        let refused = match sequence.check() {
            _ if state.closed => Some(QueueError::Closed),
            Ok(()) => None,
            Err(error) => Some(error.into()),
        };
        let id = match refused {
            None => state.line.admit(sequence, request, kept, Instant::now()),
            Some(error) => {
                slot.fill(Err(error));
                u64::MAX
            }
        };
        let queue: Weak<Self> = Arc::downgrade(self);
        Ticket { id, slot, queue }
    }

    /// The dispatcher is gone.
    fn abandon(&self) {
        let mut state = self.lock();
        state.closed = true;
        for slot in state.line.drain() {
            let stopped = EngineError::Stopped("the queue panicked".into());
            slot.fill(Err(stopped.into()));
        }
        self.left.notify_all();
    }

    /// Hands the answer to a pack to those who wait for its members.
    fn finish(&self, departure: &Departed, answer: Result<Vec<f32>, EngineError>) {
        let slots = self.lock().line.finish(departure.number, Instant::now());
        self.changed.notify_one();
        self.left.notify_all();
        let expected = departure.scored_tokens * self.width;
        let answer = answer.and_then(|values| match values.len() {
            found if found == expected => Ok(values),
            found => Err(EngineError::Scores { found, expected }),
        });
        let computed = Instant::now();
        let mut work = Some(departure.work);
        let mut scores = departure.member_scores.iter();
        for (slot, &count) in slots.into_iter().zip(&departure.counts) {
            let own = scores.by_ref().take(count);
            let Some(slot) = slot else {
                own.for_each(drop);
                continue;
            };
            slot.fill(match &answer {
                Ok(values) => {
                    let of_token = |&token: &usize| {
                        values[token * self.width..(token + 1) * self.width].iter()
                    };
                    Ok(Numbers {
                        values: own.flat_map(of_token).copied().collect(),
                        work: work.take().unwrap_or_default(),
                        begun: departure.begun,
                        computed,
                    })
                }
                Err(error) => {
                    own.for_each(drop);
                    Err(error.clone().into())
                }
            });
        }
    }
}

impl Withdraw for Shared {
    fn withdraw(&self, id: u64) {
        let withdrawn = self.lock().line.withdraw(id);
        let Some(withdrawn) = withdrawn else {
            return;
        };
        if let Some(run) = withdrawn.unwanted {
            run.cancel();
        }
        self.changed.notify_one();
        self.left.notify_all();
    }
}

/// What has to be known of a pack when its answer comes.
struct Departed {
    number: u64,
    /// When it was given to the engine.
    begun: Instant,
    /// Scored positions of each member.
    counts: Vec<usize>,
    member_scores: Vec<usize>,
    scored_tokens: usize,
    work: PlanStats,
}

/// The life of the dispatcher: until the queue is closed and empty.
fn dispatch(shared: &Arc<Shared>, engine: &dyn Engine) {
    let mut state = shared.lock();
    loop {
        let now = Instant::now();
        for expired in state.line.expire(now) {
            expired.kept.fill(Err(QueueError::DeadlineExceeded));
            if let Some(run) = expired.unwanted {
                run.cancel();
            }
            shared.left.notify_all();
        }
        if state.closed && state.line.is_idle() {
            return;
        }
        let closed = state.closed;
        match state.line.next(engine.capacity(), now, closed) {
            Next::Plan(window) => {
                drop(state);
                state = plan_window(shared, engine, window, now);
            }
            Next::Send(departures) => {
                drop(state);
                let submissions = departures
                    .into_iter()
                    .filter_map(|pack| submission(shared, pack));
                let submissions: Vec<Submission> = submissions.collect();
                let spent = now.elapsed();
                engine.submit(submissions);
                state = shared.lock();
                state.planning += spent;
            }
            Next::Wait(None, arrivals) => {
                state.arrivals = arrivals;
                let changed = shared.changed.wait(state);
                state = changed.unwrap_or_else(|poisoned| poisoned.into_inner());
            }
            Next::Wait(Some(time), arrivals) => {
                state.arrivals = arrivals;
                let changed = shared.changed.wait_timeout(state, time);
                state = changed.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
            }
        }
    }
}

fn plan_window<'s>(
    shared: &'s Shared,
    engine: &dyn Engine,
    window: Window,
    begun: Instant,
) -> MutexGuard<'s, State> {
    let span = tracing::debug_span!("plan", conversations = window.sequences.len());
    let planned = span.in_scope(|| plan(&window.sequences, &shared.budget));
    let mut state = shared.lock();
    match planned {
        Ok(plan) => {
            let planned = state.line.planned(window, plan, engine.capacity());
            state.planned += planned;
        }
        Err(error) => {
            for slot in state.line.refuse(&window) {
                slot.fill(Err(error.clone().into()));
            }
            shared.left.notify_all();
        }
    }
    state.planning += begun.elapsed();
    state
}

/// A pack as the engine takes it; `None` when it cannot be made, which its members get as their error.
fn submission(shared: &Arc<Shared>, pack: Departure) -> Option<Submission> {
    let Departure {
        number,
        pack,
        work,
        window,
        cancellation,
    } = pack;
    let inputs: PackInputs = match pack.inputs_scored_at(&window.sequences, &window.scored) {
        Ok(inputs) => inputs,
        Err(error) => {
            let slots = shared.lock().line.finish(number, Instant::now());
            for slot in slots.into_iter().flatten() {
                slot.fill(Err(error.clone().into()));
            }
            shared.left.notify_all();
            return None;
        }
    };
    let departed = Departed {
        number,
        begun: Instant::now(),
        counts: pack
            .members
            .iter()
            .map(|&m| window.scored[m].len())
            .collect(),
        member_scores: inputs.member_scores.clone(),
        scored_tokens: inputs.score_tokens.len(),
        work,
    };
    // Weak: whoever ends the queue must not be a thread of its engine, which would wait for itself.
    let shared = Arc::downgrade(shared);
    let completion = Completion::new(move |answer| {
        if let Some(shared) = shared.upgrade() {
            shared.finish(&departed, answer);
        }
    });
    Some(Submission {
        inputs,
        cancellation,
        completion,
    })
}
