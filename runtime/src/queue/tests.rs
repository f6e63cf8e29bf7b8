mod sharing;

use std::{
    collections::{HashMap, HashSet},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::{
    Caller, Priority, Queue, QueueError, QueueOptions, RequestOptions, Sequence, Ticket,
    line::{Departure, Line, Next},
};
use crate::{
    batch::{Budget, plan},
    engine::{Capacity, Engine, EngineError, Health, Submission},
    testing::{FakeEngine, FakeOptions, Fault, fake_score},
};

fn sequence(ids: &[u32]) -> Sequence {
    Sequence::new(ids.to_vec(), vec![ids.len() - 1])
}

fn of(caller: u64) -> RequestOptions {
    RequestOptions::default().with_caller(Caller(caller))
}

fn queue(engine: FakeOptions, budget: usize, options: QueueOptions) -> Queue {
    let engine = Arc::new(FakeEngine::start(engine).unwrap());
    Queue::start(engine, 1, Budget::for_tokens(budget), options).unwrap()
}

fn slow() -> FakeOptions {
    FakeOptions::default().with_stages(vec![Duration::from_millis(30)])
}

/// An engine that answers when it is asked to.
#[derive(Default)]
struct Held(Mutex<Vec<Submission>>);

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
    fn next(&self) -> Submission {
        loop {
            if let Some(pack) = self.0.lock().unwrap().pop() {
                return pack;
            }
            thread::yield_now();
        }
    }
}

fn answer(pack: Submission) {
    let scores = vec![1.0; pack.inputs.score_tokens.len()];
    pack.completion.complete(Ok(scores));
}

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
fn callers_share_packs_and_beginnings() {
    let engine = Arc::new(Held::default());
    let queue = Queue::start(
        engine.clone(),
        1,
        Budget::default(),
        QueueOptions::default(),
    )
    .unwrap();
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
fn a_deadline_ends_waiting_and_running() {
    let engine = Arc::new(Held::default());
    let queue = Queue::start(
        engine.clone(),
        1,
        Budget::default(),
        QueueOptions::default(),
    )
    .unwrap();
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
    let engine = Arc::new(Held::default());
    let queue = Queue::start(
        engine.clone(),
        1,
        Budget::default(),
        QueueOptions::default(),
    )
    .unwrap();
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
    let engine = Arc::new(Held::default());
    let queue = Queue::start(
        engine.clone(),
        1,
        Budget::default(),
        QueueOptions::default(),
    )
    .unwrap();
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
fn waiting_has_an_end() {
    let engine = Arc::new(Held::default());
    let queue = Queue::start(
        engine.clone(),
        1,
        Budget::default(),
        QueueOptions::default(),
    )
    .unwrap();
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
    let engine = Arc::new(Held::default());
    let queue = Queue::start(
        engine.clone(),
        1,
        Budget::default(),
        QueueOptions::default(),
    )
    .unwrap();
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

/// A line with a plan and an engine of its own, and no threads.
struct Bench {
    line: Line<u64>,
    budget: Budget,
    capacity: Capacity,
    running: Vec<Departure>,
    /// Tokens of members that went, and of whom, in order.
    gone: Vec<u64>,
    answered: HashMap<u64, usize>,
}

impl Bench {
    fn new(options: QueueOptions, tokens: usize, packs: usize) -> Self {
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

    fn answered(&mut self, ids: impl IntoIterator<Item = u64>) {
        for id in ids {
            *self.answered.entry(id).or_default() += 1;
        }
    }

    /// Does what there is to do until it has to wait; says for how long.
    fn work(&mut self, now: Instant) -> Option<Duration> {
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

    fn finish(&mut self, at: usize) {
        let pack = self.running.swap_remove(at % self.running.len());
        let finished = self.line.finish(pack.number);
        self.answered(finished.into_iter().flatten());
    }
}

#[derive(Clone, Debug)]
enum Event {
    /// A caller, its priority, how many tokens, and within which time.
    Admit(u8, Priority, usize, Option<u16>),
    Withdraw(u8),
    Finish(u8),
    Work,
    /// Milliseconds pass.
    Pass(u8),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let priority = prop_oneof![
        Just(Priority::Low),
        Just(Priority::Normal),
        Just(Priority::High)
    ];
    let event = prop_oneof![
        4 => (0..5_u8, priority, 1..40_usize, proptest::option::of(0..300_u16))
            .prop_map(|(caller, priority, tokens, within)| Event::Admit(caller, priority, tokens, within)),
        1 => any::<u8>().prop_map(Event::Withdraw),
        2 => any::<u8>().prop_map(Event::Finish),
        3 => Just(Event::Work),
        1 => any::<u8>().prop_map(Event::Pass),
    ];
    proptest::collection::vec(event, 1..200)
}

proptest! {
    #[test]
    fn each_is_answered_once(events in events(), packs in 1..4_usize, delay in 0..3_u64) {
        let delay = Duration::from_millis(delay * 50);
        let options = QueueOptions::default().with_max_tokens(400).with_max_conversations(20).with_max_delay(delay);
        let mut bench = Bench::new(options, 64, packs);
        let mut now = Instant::now();
        let mut admitted = 0_u64;
        for event in events {
            match event {
                Event::Admit(caller, priority, tokens, within) => {
                    if !bench.line.has_room(tokens) {
                        continue;
                    }
                    let mut request = of(u64::from(caller)).with_priority(priority);
                    if let Some(within) = within {
                        request = request.with_deadline(now + Duration::from_millis(within.into()));
                    }
                    let ids = vec![u32::from(caller); tokens];
                    let id = bench.line.admit(sequence(&ids), &request, admitted, now);
                    prop_assert_eq!(id, admitted);
                    admitted += 1;
                    prop_assert!(bench.line.len() <= 20 && bench.line.tokens() <= 400);
                }
                Event::Withdraw(which) if admitted > 0 => {
                    let gone = bench.line.withdraw(u64::from(which) % admitted);
                    bench.answered(gone.map(|gone| gone.kept));
                }
                Event::Finish(which) if !bench.running.is_empty() => bench.finish(which.into()),
                Event::Work => drop(bench.work(now)),
                Event::Pass(time) => now += Duration::from_millis(time.into()),
                Event::Withdraw(_) | Event::Finish(_) => {}
            }
        }
        // Nothing more comes: all of it is answered in the end.
        let mut rounds = 0;
        while !bench.line.is_idle() {
            let wait = bench.work(now);
            match bench.running.is_empty() {
                false => bench.finish(0),
                true => now += wait.unwrap_or_default(),
            }
            rounds += 1;
            prop_assert!(rounds < 2000, "it does not end");
        }
        prop_assert_eq!(bench.line.tokens(), 0);
        prop_assert_eq!(bench.answered.len() as u64, admitted);
        prop_assert!(bench.answered.values().all(|&times| times == 1));
    }

    /// Whoever comes waits for what the engine has in hand and for a pack of each of the others, however much they have.
    #[test]
    fn nobody_starves(
        bulk in 1..4_u8,
        high in any::<bool>(),
        low in any::<bool>(),
        before in 0..30_usize,
        capacity in 1..3_usize,
    ) {
        let mut bench = Bench::new(QueueOptions::default(), 64, capacity);
        let now = Instant::now();
        let priority = match high {
            true => Priority::High,
            false => Priority::Normal,
        };
        for caller in 0..bulk {
            for at in 0..400_u32 {
                let ids = [vec![u32::from(caller)], vec![at; 15]].concat();
                let request = of(caller.into()).with_priority(priority);
                bench.line.admit(sequence(&ids), &request, 0, now);
            }
        }
        for _ in 0..before {
            bench.work(now);
            bench.finish(0);
        }
        let priority = match low {
            true => Priority::Low,
            false => Priority::Normal,
        };
        bench.line.admit(sequence(&[99; 16]), &of(99).with_priority(priority), 1, now);
        bench.gone.clear();
        let mut packs = 0;
        while !bench.gone.contains(&99) {
            bench.work(now);
            bench.finish(0);
            packs += 1;
            prop_assert!(packs <= capacity + 2 * usize::from(bulk), "{packs} packs before it");
        }
    }

    /// While several have more than enough, each gets its share.
    #[test]
    fn shares(priorities in proptest::collection::vec(0..3_u8, 2..4)) {
        let mut bench = Bench::new(QueueOptions::default(), 64, 1);
        let now = Instant::now();
        let of_index = |index: u8| [Priority::Low, Priority::Normal, Priority::High][usize::from(index)];
        for (caller, &priority) in (0_u32..).zip(&priorities) {
            for at in 0..2000_u32 {
                let ids = [vec![caller], vec![at; 7]].concat();
                let request = of(caller.into()).with_priority(of_index(priority));
                bench.line.admit(sequence(&ids), &request, 0, now);
            }
        }
        while bench.gone.len() < 1500 {
            bench.work(now);
            bench.finish(0);
        }
        let weight = |&priority: &u8| [1.0, 4.0, 16.0][usize::from(priority)];
        let all: f64 = priorities.iter().map(weight).sum();
        for (caller, priority) in (0_u64..).zip(&priorities) {
            let got = bench.gone.iter().filter(|&&who| who == caller).count() as f64;
            let due = bench.gone.len() as f64 * weight(priority) / all;
            prop_assert!((got - due).abs() < 60.0, "{caller} got {got} of {due}, {priorities:?}");
        }
    }
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

#[test]
fn what_is_wrong_with_one_touches_no_other() {
    let engine = Arc::new(Held::default());
    let queue = Queue::start(
        engine.clone(),
        1,
        Budget::default(),
        QueueOptions::default(),
    )
    .unwrap();
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
