//! The queue's own sources, with the threads and locks of `shuttle` in place of the standard library's, run under thousands
//! of orders of events. A deadlock, a lost answer or a thread that stays fails a test and prints the order, which
//! `shuttle::replay` takes.

use shuttle::{check_pct, check_random};

use super::{error, options, sequence};
use crate::{
    batch::Budget,
    engine::{Capacity, Engine, EngineError, Health, Submission},
};

mod sync {
    pub(super) use shuttle::{
        sync::{Arc, Condvar, Mutex, MutexGuard, Weak},
        thread,
    };
}

// The sources name what they need as `super::…`, and find what stands above.
#[path = "dispatch.rs"]
mod dispatch;
#[path = "line.rs"]
mod line;
#[path = "ticket.rs"]
mod ticket;

use dispatch::Queue;
use error::QueueError;
use options::{Caller, QueueOptions, RequestOptions};
use sequence::Sequence;
use sync::{Arc, Condvar, Mutex, thread};
use ticket::Ticket;

/// Tokens of a pack.
const BUDGET: usize = 2;

/// A thread that answers packs, one after the other.
struct Worker {
    state: Arc<(Mutex<State>, Condvar)>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    packs: Vec<Submission>,
    closed: bool,
}

impl Worker {
    /// Drops packs with the token `lost` without an answer.
    fn start(lost: Option<i64>) -> Self {
        let state: Arc<(Mutex<State>, Condvar)> = Arc::default();
        let own = Arc::clone(&state);
        let thread = thread::spawn(move || {
            loop {
                let mut state = own.0.lock().unwrap();
                while state.packs.is_empty() {
                    if state.closed {
                        return;
                    }
                    state = own.1.wait(state).unwrap();
                }
                let pack = state.packs.remove(0);
                drop(state);
                if lost.is_some_and(|lost| pack.inputs.input_ids.contains(&lost)) {
                    continue;
                }
                if pack.cancellation.is_cancelled() {
                    pack.completion.complete(Err(EngineError::Cancelled));
                    continue;
                }
                let tokens = pack.inputs.score_tokens.iter();
                let ids = tokens.map(|&token| pack.inputs.input_ids[token as usize] as f32);
                pack.completion.complete(Ok(ids.collect()));
            }
        });
        Self {
            state,
            thread: Some(thread),
        }
    }
}

impl Engine for Worker {
    fn capacity(&self) -> Capacity {
        Capacity {
            packs: 2,
            tokens: usize::MAX,
        }
    }

    fn submit(&self, packs: Vec<Submission>) {
        self.state.0.lock().unwrap().packs.extend(packs);
        self.state.1.notify_one();
    }

    fn health(&self) -> Health {
        Health::WHOLE
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.state.0.lock().unwrap().closed = true;
        self.state.1.notify_one();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn queue(lost: Option<i64>, options: QueueOptions) -> Arc<Queue> {
    let budget = Budget::for_tokens(BUDGET);
    let worker = std::sync::Arc::new(Worker::start(lost));
    Arc::new(Queue::start(worker, 1, budget, options).unwrap())
}

fn of(caller: u64) -> RequestOptions {
    RequestOptions::default().with_caller(Caller(caller))
}

fn sequence(id: u32) -> Sequence {
    Sequence::new(vec![id], vec![0])
}

fn check(ticket: &Ticket, id: u32) {
    assert_eq!(ticket.wait().unwrap().values, [id as f32]);
}

/// Orders of events that are tried for each case, of each of the two ways to choose them.
const ORDERS: usize = 1000;

fn under_all_orders(case: impl Fn() + Send + Sync + 'static) {
    let case = std::sync::Arc::new(case);
    let same = std::sync::Arc::clone(&case);
    check_random(move || case(), ORDERS);
    check_pct(move || same(), ORDERS, 3);
}

#[test]
fn each_caller_has_its_own_numbers() {
    under_all_orders(|| {
        let queue = queue(None, QueueOptions::default());
        let other = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                let tickets = [10, 11].map(|id| queue.submit(sequence(id), &of(1)).unwrap());
                check(&tickets[0], 10);
                check(&tickets[1], 11);
            })
        };
        let tickets = queue.submit_all((0..3).map(sequence).collect(), &of(0));
        for (ticket, id) in tickets.iter().zip(0..) {
            check(ticket, id);
        }
        other.join().unwrap();
    });
}

#[test]
fn whoever_leaves_is_in_nobodys_way() {
    under_all_orders(|| {
        let queue = queue(None, QueueOptions::default());
        let mut tickets = queue.submit_all((0..4).map(sequence).collect(), &of(0));
        let leaving = [tickets.remove(1), tickets.remove(1)];
        let other = thread::spawn(move || {
            let [cancelled, dropped] = leaving;
            cancelled.cancel();
            match cancelled.wait() {
                Ok(numbers) => assert_eq!(numbers.values, [1.0]),
                Err(error) => assert!(matches!(error, QueueError::Cancelled), "{error}"),
            }
            drop(dropped);
        });
        check(&tickets[0], 0);
        check(&tickets[1], 3);
        other.join().unwrap();
        let counters = queue.counters();
        assert_eq!((counters.conversations, counters.tokens), (0, 0));
    });
}

#[test]
fn all_who_wait_for_room_get_it() {
    under_all_orders(|| {
        let queue = queue(None, QueueOptions::default().with_max_conversations(1));
        let other = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                let tickets = queue.submit_all(vec![sequence(10), sequence(11)], &of(1));
                check(&tickets[0], 10);
                check(&tickets[1], 11);
            })
        };
        let tickets = queue.submit_all(vec![sequence(0), sequence(1)], &of(0));
        check(&tickets[0], 0);
        check(&tickets[1], 1);
        other.join().unwrap();
    });
}

#[test]
fn a_queue_that_ends_computes_what_is_waited_for() {
    under_all_orders(|| {
        let queue = queue(None, QueueOptions::default());
        let mut tickets = queue.submit_all((0..5).map(sequence).collect(), &of(0));
        let dropped = tickets.pop();
        let other = thread::spawn(move || drop(dropped));
        drop(queue);
        for (ticket, id) in tickets.iter().zip(0..) {
            check(ticket, id);
        }
        other.join().unwrap();
    });
}

#[test]
fn a_pack_without_an_answer_fails_and_no_other() {
    under_all_orders(|| {
        let queue = queue(Some(2), QueueOptions::default());
        let tickets = queue.submit_all((0..5).map(sequence).collect(), &of(0));
        let mut failed = 0;
        for (ticket, id) in tickets.iter().zip(0_u32..) {
            match ticket.wait() {
                Ok(numbers) => assert_eq!(numbers.values, [id as f32]),
                Err(QueueError::Engine(EngineError::Stopped(_))) => failed += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert!((1..=BUDGET).contains(&failed), "{failed}");
    });
}
