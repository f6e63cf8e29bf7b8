//! The thread that fills packs and gives them to the engine.

use std::time::Instant;

use super::{
    super::{
        error::QueueError,
        line::{Departure, Next, Window},
        sync::{Arc, MutexGuard},
        ticket::Numbers,
    },
    shared::{Shared, State},
};
use crate::{
    batch::{PackInputs, PlanStats, plan},
    engine::{Completion, Engine, EngineError, Submission},
};

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
pub(super) fn dispatch(shared: &Arc<Shared>, engine: &dyn Engine) {
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

impl Shared {
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
