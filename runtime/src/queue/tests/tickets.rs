//! What a ticket gives, and what is left when nobody waits for it.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use super::support::{answer, held, of, queue, sequence};
use crate::{
    batch::Budget,
    engine::{Capacity, Engine, EngineError, Health, Submission},
    queue::{Queue, QueueError, QueueOptions, Sequence},
    testing::{FakeOptions, fake_score},
};

#[test]
fn each_has_its_own_numbers() {
    let queue = queue(FakeOptions::default(), 64, QueueOptions::default());
    let sequences: Vec<Vec<u32>> = (0..200_u32)
        .map(|index| (0..=index % 17).map(|at| at * (index % 5)).collect())
        .collect();
    let tickets = queue.submit_all(sequences.iter().map(|ids| sequence(ids)).collect(), &of(1));
    for (ticket, ids) in tickets.iter().zip(&sequences) {
        assert_eq!(ticket.wait().unwrap().values, [fake_score(ids)]);
        assert!(
            matches!(ticket.wait(), Err(QueueError::Cancelled)),
            "given once"
        );
    }
    let counters = queue.counters();
    assert_eq!(
        (
            counters.conversations,
            counters.tokens,
            counters.running_packs
        ),
        (0, 0, 0)
    );
    assert_eq!(counters.planned.conversations, 200);
}

#[test]
fn numbers_of_several_positions_and_labels() {
    struct Two;
    impl Engine for Two {
        fn capacity(&self) -> Capacity {
            Capacity {
                packs: 1,
                tokens: 100,
            }
        }
        fn submit(&self, packs: Vec<Submission>) {
            for pack in packs {
                let tokens = pack.inputs.score_tokens.iter();
                let ids = tokens.map(|&token| pack.inputs.input_ids[token as usize] as f32);
                pack.completion
                    .complete(Ok(ids.flat_map(|id| [id, -id]).collect()));
            }
        }
        fn health(&self) -> Health {
            Health::WHOLE
        }
    }
    let queue = Queue::start(Arc::new(Two), 2, Budget::default(), QueueOptions::default()).unwrap();
    let tickets = queue.submit_all(
        vec![
            Sequence::new(vec![1, 2, 3, 9], vec![0, 2]),
            Sequence::new(vec![1, 2, 4], vec![2]),
        ],
        &of(0),
    );
    assert_eq!(tickets[0].wait().unwrap().values, [1.0, -1.0, 3.0, -3.0]);
    assert_eq!(tickets[1].wait().unwrap().values, [4.0, -4.0]);
}

#[test]
fn a_deadline_ends_waiting_and_running() {
    let (engine, queue) = held();
    let soon = || of(0).with_deadline(Instant::now() + Duration::from_millis(20));
    let running = queue.submit(sequence(&[1]), &soon()).unwrap();
    let pack = engine.next();
    let waiting = queue.submit(sequence(&[2]), &soon()).unwrap();
    let patient = queue.submit(sequence(&[3]), &of(0)).unwrap();
    for late in [&running, &waiting] {
        assert!(matches!(late.wait(), Err(QueueError::DeadlineExceeded)));
    }
    assert!(pack.cancellation.is_cancelled(), "nobody waits for it");
    answer(pack);
    let pack = engine.next();
    assert_eq!(pack.inputs.input_ids, [3]);
    answer(pack);
    patient.wait().unwrap();
}

#[test]
fn a_run_ends_when_nobody_waits_for_any_of_it() {
    let (engine, queue) = held();
    let mut tickets = queue.submit_all(vec![sequence(&[1]), sequence(&[2])], &of(0));
    let pack = engine.next();
    tickets[0].cancel();
    assert!(!pack.cancellation.is_cancelled());
    drop(tickets.pop());
    assert!(pack.cancellation.is_cancelled());
    assert!(matches!(tickets[0].wait(), Err(QueueError::Cancelled)));
    pack.completion.complete(Err(EngineError::Cancelled));
}

#[test]
fn waiting_has_an_end() {
    let (engine, queue) = held();
    let ticket = queue.submit(sequence(&[1]), &of(0)).unwrap();
    assert!(
        ticket
            .wait_until(Instant::now() + Duration::from_millis(5))
            .is_none()
    );
    answer(engine.next());
    let far = Instant::now() + Duration::from_secs(600);
    assert_eq!(ticket.wait_until(far).unwrap().unwrap().values, [1.0]);
}

/// Counts how often it was woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn tickets_are_futures() {
    let (engine, queue) = held();
    let mut ticket = pin!(queue.submit(sequence(&[1]), &of(0)).unwrap());
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    assert!(ticket.as_mut().poll(&mut context).is_pending());
    assert!(ticket.as_mut().poll(&mut context).is_pending());
    assert_eq!(woken.0.load(Ordering::SeqCst), 0);
    answer(engine.next());
    assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    match ticket.as_mut().poll(&mut context) {
        Poll::Ready(Ok(numbers)) => assert_eq!(numbers.values, [1.0]),
        other => panic!("{other:?}"),
    }
}
