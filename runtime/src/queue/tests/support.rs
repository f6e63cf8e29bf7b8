//! Sequences, engines and lines for the tests.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use crate::{
    batch::{Budget, plan},
    engine::{Capacity, Engine, Health, Submission},
    queue::{
        Caller, Queue, QueueOptions, RequestOptions, Sequence,
        line::{Departure, Line, Next},
    },
    testing::{FakeEngine, FakeOptions},
};

pub(super) fn sequence(ids: &[u32]) -> Sequence {
    Sequence::new(ids.to_vec(), vec![ids.len() - 1])
}

pub(super) fn of(caller: u64) -> RequestOptions {
    RequestOptions::default().with_caller(Caller(caller))
}

pub(super) fn queue(engine: FakeOptions, budget: usize, options: QueueOptions) -> Queue {
    let engine = Arc::new(FakeEngine::start(engine).unwrap());
    Queue::start(engine, 1, Budget::for_tokens(budget), options).unwrap()
}

pub(super) fn slow() -> FakeOptions {
    FakeOptions::default().with_stages(vec![Duration::from_millis(30)])
}

/// An engine that answers when it is asked to.
#[derive(Default)]
pub(super) struct Held(pub(super) Mutex<Vec<Submission>>);

impl Engine for Held {
    fn capacity(&self) -> Capacity {
        Capacity {
            packs: 1,
            tokens: usize::MAX,
        }
    }

    fn submit(&self, packs: Vec<Submission>) {
        self.0.lock().unwrap().extend(packs);
    }

    fn health(&self) -> Health {
        Health::WHOLE
    }
}

impl Held {
    /// Waits for a pack.
    pub(super) fn next(&self) -> Submission {
        loop {
            if let Some(pack) = self.0.lock().unwrap().pop() {
                return pack;
            }
            thread::yield_now();
        }
    }
}

/// A queue before an engine that is held.
pub(super) fn held() -> (Arc<Held>, Queue) {
    let engine = Arc::new(Held::default());
    let (budget, options) = (Budget::default(), QueueOptions::default());
    let queue = Queue::start(engine.clone(), 1, budget, options).unwrap();
    (engine, queue)
}

pub(super) fn answer(pack: Submission) {
    let scores = vec![1.0; pack.inputs.score_tokens.len()];
    pack.completion.complete(Ok(scores));
}

/// A line with a plan and an engine of its own, and no threads.
pub(super) struct Bench {
    pub(super) line: Line<u64>,
    budget: Budget,
    capacity: Capacity,
    pub(super) running: Vec<Departure>,
    /// Tokens of members that went, and of whom, in order.
    pub(super) gone: Vec<u64>,
    pub(super) answered: HashMap<u64, usize>,
}

impl Bench {
    pub(super) fn new(options: QueueOptions, tokens: usize, packs: usize) -> Self {
        Self {
            line: Line::new(options, tokens),
            budget: Budget::for_tokens(tokens),
            capacity: Capacity {
                packs,
                tokens: usize::MAX,
            },
            running: Vec::new(),
            gone: Vec::new(),
            answered: HashMap::new(),
        }
    }

    pub(super) fn answered(&mut self, ids: impl IntoIterator<Item = u64>) {
        for id in ids {
            *self.answered.entry(id).or_default() += 1;
        }
    }

    /// Does what there is to do until it has to wait; says for how long.
    pub(super) fn work(&mut self, now: Instant) -> Option<Duration> {
        loop {
            let expired = self.line.expire(now);
            self.answered(expired.into_iter().map(|gone| gone.kept));
            match self.line.next(self.capacity, now, false) {
                Next::Plan(window) => {
                    let planned = plan(&window.sequences, &self.budget).unwrap();
                    self.line.planned(window, planned, self.capacity);
                }
                Next::Send(departures) => {
                    assert!(!departures.is_empty());
                    for pack in departures {
                        let members = pack.pack.members.iter();
                        self.gone
                            .extend(members.map(|&m| u64::from(pack.window.sequences[m][0])));
                        self.running.push(pack);
                    }
                    assert!(self.running.len() <= self.capacity.packs);
                }
                Next::Wait(time, _) => return time,
            }
        }
    }

    /// The engine has a pack done; gives those who waited for it.
    pub(super) fn finish(&mut self, at: usize, now: Instant) -> Vec<u64> {
        let pack = self.running.swap_remove(at % self.running.len());
        let finished = self.line.finish(pack.number, now);
        let finished: Vec<u64> = finished.into_iter().flatten().collect();
        self.answered(finished.iter().copied());
        finished
    }
}
