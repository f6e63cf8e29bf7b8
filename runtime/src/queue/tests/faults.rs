//! What goes wrong with one conversation, one pack or the engine.

use std::sync::Arc;

use super::support::{answer, held, of, queue, sequence, slow};
use crate::{
    batch::Budget,
    engine::{Capacity, Engine, EngineError, Health, Submission},
    queue::{Queue, QueueError, QueueOptions, Sequence},
    testing::{FakeOptions, Fault, fake_score},
};

#[test]
fn a_fault_fails_its_pack_alone() {
    let faulty = FakeOptions::default().with_fault(Fault::Pack { token: 5 });
    let queue = queue(faulty, 1, QueueOptions::default());
    let tickets = queue.submit_all((0..9).map(|id| sequence(&[id])).collect(), &of(0));
    for (ticket, id) in tickets.iter().zip(0..) {
        match ticket.wait() {
            Ok(numbers) => assert_eq!(numbers.values, [fake_score(&[id])]),
            Err(QueueError::Engine(EngineError::Run { .. })) => assert_eq!(id, 5),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn losing_the_device_answers_all() {
    let faulty = slow().with_fault(Fault::DeviceLost { token: 0 });
    let queue = queue(faulty, 1, QueueOptions::default());
    let tickets = queue.submit_all((0..9).map(|id| sequence(&[id])).collect(), &of(0));
    for ticket in &tickets {
        let lost = ticket.wait();
        assert!(
            matches!(lost, Err(QueueError::Engine(EngineError::Lost { .. }))),
            "{lost:?}"
        );
    }
}

#[test]
fn wrong_counts_and_empty_sequences_are_errors() {
    let (engine, queue) = held();
    let empty = queue
        .submit(Sequence::new(Vec::new(), Vec::new()), &of(0))
        .unwrap();
    assert!(matches!(empty.wait(), Err(QueueError::Batch(_))));
    let ticket = queue.submit(sequence(&[1]), &of(0)).unwrap();
    engine.next().completion.complete(Ok(vec![1.0, 2.0]));
    let error = ticket.wait();
    assert!(
        matches!(
            error,
            Err(QueueError::Engine(EngineError::Scores {
                found: 2,
                expected: 1
            }))
        ),
        "{error:?}"
    );
    // An engine that forgets a pack.
    let ticket = queue.submit(sequence(&[1]), &of(0)).unwrap();
    drop(engine.next());
    assert!(matches!(
        ticket.wait(),
        Err(QueueError::Engine(EngineError::Stopped(_)))
    ));
}

#[test]
fn what_is_wrong_with_one_touches_no_other() {
    let (engine, queue) = held();
    let beyond = Sequence {
        ids: vec![1],
        scored: vec![1],
    };
    let tickets = queue.submit_all(vec![sequence(&[1]), Sequence::default(), beyond], &of(0));
    answer(engine.next());
    assert_eq!(tickets[0].wait().unwrap().values, [1.0]);
    for wrong in &tickets[1..] {
        assert!(matches!(wrong.wait(), Err(QueueError::Batch(_))));
    }
}

#[test]
fn an_engine_that_panics_leaves_nobody_waiting() {
    struct Panics;
    impl Engine for Panics {
        fn capacity(&self) -> Capacity {
            Capacity {
                packs: 1,
                tokens: 1,
            }
        }
        fn submit(&self, _: Vec<Submission>) {
            panic!("on purpose");
        }
        fn health(&self) -> Health {
            Health::WHOLE
        }
    }
    let queue = Queue::start(
        Arc::new(Panics),
        1,
        Budget::for_tokens(1),
        QueueOptions::default(),
    )
    .unwrap();
    let tickets = queue.submit_all((0..4).map(|id| sequence(&[id])).collect(), &of(0));
    for ticket in &tickets {
        assert!(ticket.wait().is_err());
    }
}
