//! Who is computed together.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use super::support::{Held, answer, held, of, queue, sequence, slow};
use crate::{
    batch::Budget,
    queue::{Queue, QueueOptions, Ticket},
    testing::fake_score,
};

#[test]
fn callers_share_packs_and_beginnings() {
    let (engine, queue) = held();
    let first = queue.submit(sequence(&[1]), &of(0)).unwrap();
    let running = engine.next();
    // While it runs, eight callers come, with one conversation each.
    let prompt: Vec<u32> = (0..100).collect();
    let tickets: Vec<Ticket> = (0..8_u32)
        .map(|caller| {
            let ids = [&prompt[..], &[1000 + caller]].concat();
            queue
                .submit(sequence(&ids), &of(u64::from(caller)))
                .unwrap()
        })
        .collect();
    answer(running);
    let pack = engine.next();
    assert_eq!(pack.inputs.input_ids.len(), 108);
    answer(pack);
    let work: Vec<_> = tickets
        .iter()
        .map(|ticket| ticket.wait().unwrap().work)
        .collect();
    assert_eq!(
        work.iter().map(|work| work.unique_tokens).sum::<usize>(),
        108
    );
    assert_eq!(work.iter().map(|work| work.tokens).sum::<usize>(), 808);
    first.wait().unwrap();
}

#[test]
fn a_short_delay_fills_a_pack() {
    let delay = Duration::from_secs(600);
    let engine = Arc::new(Held::default());
    let options = QueueOptions::default().with_max_delay(delay);
    let queue = Queue::start(engine.clone(), 1, Budget::for_tokens(6), options).unwrap();
    let tickets = [
        queue.submit(sequence(&[1, 2, 3]), &of(0)).unwrap(),
        queue.submit(sequence(&[4, 5, 6]), &of(1)).unwrap(),
    ];
    let pack = engine.next();
    assert_eq!(pack.inputs.input_ids.len(), 6);
    answer(pack);
    for ticket in &tickets {
        ticket.wait().unwrap();
    }
    // What would wait for others is computed when the queue ends.
    let last = queue.submit(sequence(&[1]), &of(0)).unwrap();
    let end = thread::spawn(move || drop(queue));
    answer(engine.next());
    end.join().unwrap();
    last.wait().unwrap();
}

#[test]
fn many_threads_at_once() {
    let queue = queue(slow(), 256, QueueOptions::default());
    let seen = Mutex::new(HashSet::new());
    thread::scope(|scope| {
        for caller in 0..16_u32 {
            let (queue, seen) = (&queue, &seen);
            scope.spawn(move || {
                let ids = [7, 7, 7, caller];
                let ticket = queue.submit(sequence(&ids), &of(caller.into())).unwrap();
                assert_eq!(ticket.wait().unwrap().values, [fake_score(&ids)]);
                seen.lock().unwrap().insert(caller);
            });
        }
    });
    assert_eq!(seen.lock().unwrap().len(), 16);
    // The first alone, those that came meanwhile together.
    assert!(
        queue.counters().planned.packs <= 5,
        "{:?}",
        queue.counters()
    );
}
