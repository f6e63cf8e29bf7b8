//! How much is admitted, and how long it has waited.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::support::{Held, answer, of, queue, sequence};
use crate::{
    batch::Budget,
    queue::{Queue, QueueError, QueueOptions, Ticket},
    testing::{FakeOptions, fake_score},
};

#[test]
fn no_more_is_admitted_than_may_be() {
    let engine = Arc::new(Held::default());
    let options = QueueOptions::default()
        .with_max_conversations(2)
        .with_max_tokens(10);
    let queue = Queue::start(engine.clone(), 1, Budget::default(), options).unwrap();
    // One that is too large by itself is taken alone.
    let large = queue.submit(sequence(&[1; 11]), &of(0)).unwrap();
    let full = |result: Result<Ticket, QueueError>| match result {
        Err(QueueError::Full {
            conversations,
            tokens,
        }) => (conversations, tokens),
        other => panic!("{other:?}"),
    };
    assert_eq!(full(queue.submit(sequence(&[1]), &of(1))), (1, 11));
    drop(large);
    let first = queue.submit(sequence(&[1; 4]), &of(0)).unwrap();
    let second = queue.submit(sequence(&[2; 4]), &of(0)).unwrap();
    assert_eq!(full(queue.submit(sequence(&[1]), &of(1))), (2, 8));
    second.cancel();
    assert_eq!(full(queue.submit(sequence(&[1; 7]), &of(1))), (1, 4));
    let third = queue.submit(sequence(&[1; 6]), &of(1)).unwrap();
    let end = thread::spawn(move || drop(queue));
    while !end.is_finished() {
        if let Some(pack) = engine.0.lock().unwrap().pop() {
            answer(pack);
        }
        thread::yield_now();
    }
    first.wait().unwrap();
    third.wait().unwrap();
    assert!(matches!(second.wait(), Err(QueueError::Cancelled)));
}

#[test]
fn batches_wait_for_room() {
    let options = QueueOptions::default().with_max_conversations(3);
    let queue = queue(FakeOptions::default(), 8, options);
    let sequences = (0..50).map(|id| sequence(&[id, id + 1])).collect();
    let tickets = queue.submit_all(sequences, &of(0));
    for (ticket, id) in tickets.iter().zip(0..) {
        assert_eq!(ticket.wait().unwrap().values, [fake_score(&[id, id + 1])]);
    }
}

#[test]
fn the_oldest_wait_is_of_what_the_engine_does_not_have() {
    let engine = Arc::new(Held::default());
    let budget = Budget::for_tokens(4);
    let options = QueueOptions::default().with_max_delay(Duration::ZERO);
    let queue = Queue::start(engine.clone(), 1, budget, options).unwrap();
    assert_eq!(queue.counters().oldest_wait, None);
    let submit = |ids: &[u32]| queue.submit(sequence(ids), &of(0)).unwrap();
    let first = submit(&[1, 2, 3, 4]);
    let running = engine.next();
    assert_eq!(queue.counters().oldest_wait, None);
    let begun = Instant::now();
    let second = submit(&[5, 6, 7, 8]);
    let between = Instant::now();
    let third = submit(&[7, 8, 9, 10]);
    thread::sleep(Duration::from_millis(5));
    let least = between.elapsed();
    let oldest = queue.counters().oldest_wait.unwrap();
    assert!(least <= oldest && oldest <= begun.elapsed(), "{oldest:?}");
    second.cancel();
    let oldest = queue.counters().oldest_wait.unwrap();
    assert!(oldest <= between.elapsed(), "{oldest:?}");
    answer(running);
    first.wait().unwrap();
    answer(engine.next());
    third.wait().unwrap();
    assert_eq!(queue.counters().oldest_wait, None);
    // What has come and gone is forgotten.
    for _ in 0..1000 {
        drop(submit(&[1]));
    }
    assert_eq!(queue.counters().oldest_wait, None);
    // One of them may have reached the engine, which the queue waits for.
    while queue.counters().running_packs > 0 {
        answer(engine.next());
    }
}
