//! One line for all callers of a scorer: they share packs, and none of them sees the others in its scores.

use std::{
    cell::Cell,
    future::Future,
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Wake, Waker},
    thread,
    time::{Duration, Instant},
};

use worldpm_ort::{
    Conversation, Error, Output, Scorer, ScorerOptions,
    engine::{Capacity, Engine, EngineError, Health, Submission},
    queue::{Caller, QueueError, QueueOptions, RequestOptions},
};
use worldpm_ort_runtime::testing::{FakeEngine, FakeOptions, Fault, fake_score};

use crate::support;

fn bundle() -> std::path::PathBuf {
    support::bundle(support::SMALL, &["--end-token", ""])
}

fn of(caller: u64) -> RequestOptions {
    RequestOptions::default().with_caller(Caller(caller))
}

fn fake(engine: FakeOptions, options: &ScorerOptions) -> Scorer {
    let engine = Arc::new(FakeEngine::start(engine).unwrap());
    Scorer::open_with_engine(&bundle(), options, engine).unwrap()
}

fn score(output: &Output) -> f32 {
    match output {
        Output::Score(score) => *score,
        other => panic!("{other:?}"),
    }
}

#[test]
fn callers_with_one_conversation_each_have_the_scores_of_a_batch() {
    let mut options = ScorerOptions::default();
    options.queue = QueueOptions::default().with_max_delay(Duration::from_millis(200));
    let scorer = Scorer::open(&bundle(), &options).unwrap();
    let prompt = "Why is the sky blue? ".repeat(20);
    let conversations: Vec<Conversation> = (0..24)
        .map(|index| Conversation::exchange(prompt.clone(), format!("Answer {index}.")))
        .collect();
    let expected = scorer.score(&conversations);
    let before = scorer.counters().planned;
    thread::scope(|scope| {
        for ((caller, conversation), expected) in (0..).zip(&conversations).zip(expected) {
            let scorer = &scorer;
            scope.spawn(move || {
                let pending = scorer.enqueue(conversation, &of(caller)).unwrap();
                let got = pending.wait().unwrap().score().unwrap();
                assert_eq!(got, expected.unwrap());
            });
        }
    });
    let after = scorer.counters().planned;
    let (packs, unique) = (
        after.packs - before.packs,
        after.unique_tokens - before.unique_tokens,
    );
    assert!(packs < 24, "{packs} packs for 24 callers");
    assert!(
        unique < before.tokens / 2,
        "{unique} of {} tokens",
        before.tokens
    );
    assert_eq!(scorer.queue().conversations, 0);
}

#[test]
fn a_full_queue_refuses_and_goes_on() {
    let mut options = ScorerOptions::default();
    options.queue = QueueOptions::default().with_max_conversations(2);
    let scorer = fake(
        FakeOptions::default().with_stages(vec![Duration::from_millis(50)]),
        &options,
    );
    let ids = |last: u32| vec![1, 2, last];
    let first = scorer.enqueue_ids(&ids(3), &of(0)).unwrap();
    let second = scorer.enqueue_ids(&ids(4), &of(1)).unwrap();
    let error = scorer.enqueue_ids(&ids(5), &of(2)).unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(
            error,
            Error::Queue(QueueError::Full {
                conversations: 2,
                tokens: 6
            })
        ),
        "{text}"
    );
    assert!(text.contains("try again later"), "{text}");
    for (pending, last) in [(first, 3), (second, 4)] {
        assert_eq!(
            score(&pending.wait().unwrap().output),
            fake_score(&ids(last))
        );
    }
    let third = scorer.enqueue_ids(&ids(5), &of(2)).unwrap();
    assert_eq!(score(&third.wait().unwrap().output), fake_score(&ids(5)));
    // A batch waits for room instead.
    let batch: Vec<Vec<u32>> = (0..6).map(ids).collect();
    for (got, ids) in scorer.rewards_of_ids(&batch).into_iter().zip(&batch) {
        assert_eq!(score(&got.unwrap().output), fake_score(ids));
    }
}

#[test]
fn a_batch_has_a_callers_share() {
    let mut options = ScorerOptions::default();
    options.budget = options.budget.with_max_tokens(64);
    let scorer = fake(
        FakeOptions::default().with_stages(vec![Duration::from_millis(20)]),
        &options,
    );
    let conversation = |index: usize| Conversation::exchange("Why?", format!("Because {index}."));
    let bulk: Vec<Conversation> = (0..600).map(conversation).collect();
    let bulk = scorer.submit_as(&bulk, &of(1));
    let late = scorer.submit_as(&[conversation(1000)], &of(2)).wait();
    assert!(late[0].is_ok());
    // Hundreds of the others, who were first, are still to come.
    assert!(scorer.queue().conversations > 300, "{:?}", scorer.queue());
    assert!(bulk.wait().iter().all(Result::is_ok));
}

#[test]
fn deadlines_cancellation_and_faults_are_told_apart() {
    let engine = FakeOptions::default()
        .with_stages(vec![Duration::from_millis(40); 2])
        .with_memory_tokens(6)
        .with_fault(Fault::Pack { token: 77 });
    let mut options = ScorerOptions::default();
    options.budget = options.budget.with_max_tokens(1);
    let scorer = fake(engine, &options);
    let hurried = of(0).with_deadline(Instant::now() + Duration::from_millis(5));
    let late = scorer.enqueue_ids(&[1], &hurried).unwrap();
    let cancelled = scorer.enqueue_ids(&[2], &of(0)).unwrap();
    let patience = scorer.enqueue_ids(&[3], &of(0)).unwrap();
    let faulty = scorer.enqueue_ids(&[77], &of(0)).unwrap();
    let large = scorer.enqueue_ids(&[4; 7], &of(0)).unwrap();
    cancelled.cancel();
    let error = late.wait().unwrap_err();
    assert!(
        matches!(error, Error::Queue(QueueError::DeadlineExceeded)),
        "{error}"
    );
    let error = cancelled.wait().unwrap_err();
    assert!(
        matches!(error, Error::Engine(EngineError::Cancelled)),
        "{error}"
    );
    let allowed = Duration::from_millis(1);
    let error = patience.wait_for(allowed).unwrap_err();
    assert!(
        matches!(error, Error::Engine(EngineError::TimedOut(time)) if time == allowed),
        "{error}"
    );
    for failing in [faulty, large] {
        let error = failing.wait().unwrap_err();
        assert!(
            matches!(error, Error::Engine(EngineError::Run { .. })),
            "{error}"
        );
    }
    let counters = scorer.counters();
    assert_eq!((counters.scored, counters.failed), (0, 5));
}

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn scores_can_be_awaited() {
    let scorer = fake(
        FakeOptions::default().with_stages(vec![Duration::from_millis(5); 3]),
        &ScorerOptions::default(),
    );
    let conversation = Conversation::exchange("Why?", "Because.");
    let ids = scorer.token_ids(&conversation).unwrap();
    let pending = scorer.enqueue(&conversation, &of(0)).unwrap();
    let reward = block_on(pending).unwrap();
    assert_eq!(score(&reward.output), fake_score(&ids));
    assert_eq!(reward.tokens, ids.len());
}

#[test]
fn streams_keep_their_order_beside_others() {
    let scorer = fake(
        FakeOptions::default().with_stages(vec![Duration::from_micros(200); 2]),
        &ScorerOptions::default(),
    );
    thread::scope(|scope| {
        for stream in 0..3 {
            let scorer = &scorer;
            scope.spawn(move || {
                let items = (0..700).map(|index| {
                    let answer = format!("{stream} {}", index % 13);
                    (index, vec![Conversation::exchange("Why?", answer)])
                });
                let mut seen = 0;
                for (index, rewards) in scorer.stream(items) {
                    assert_eq!(index, seen);
                    let answer = format!("{stream} {}", index % 13);
                    let ids = scorer
                        .token_ids(&Conversation::exchange("Why?", answer))
                        .unwrap();
                    let [reward] = &rewards[..] else {
                        panic!("{rewards:?}");
                    };
                    let reward = reward.as_ref().unwrap();
                    assert_eq!(score(&reward.output), fake_score(&ids));
                    seen += 1;
                }
                assert_eq!(seen, 700);
            });
        }
    });
}

/// An engine that answers at once, but for packs of many tokens, which it keeps.
#[derive(Default)]
struct KeepsLong(Mutex<Vec<Submission>>);

impl Engine for KeepsLong {
    fn capacity(&self) -> Capacity {
        Capacity {
            packs: usize::MAX,
            tokens: usize::MAX,
        }
    }

    fn submit(&self, packs: Vec<Submission>) {
        for pack in packs {
            match pack.inputs.input_ids.len() {
                0..200 => {
                    let scores = vec![1.0; pack.inputs.score_tokens.len()];
                    pack.completion.complete(Ok(scores));
                }
                _ => self.0.lock().unwrap().push(pack),
            }
        }
    }

    fn health(&self) -> Health {
        Health::WHOLE
    }
}

#[test]
fn a_stream_that_is_stopped_gives_what_is_scored() {
    let engine = Arc::new(KeepsLong::default());
    let mut options = ScorerOptions::default();
    // A pack for each.
    options.budget = options.budget.with_max_tokens(1);
    let scorer = Scorer::open_with_engine(&bundle(), &options, engine.clone()).unwrap();
    let taken = Cell::new(0);
    let items = (0..5000).map(|index| {
        taken.set(index + 1);
        let answer = if index == 700 {
            "long ".repeat(200)
        } else {
            "Short.".into()
        };
        (index, vec![Conversation::exchange("Why?", answer)])
    });
    let mut stream = scorer.stream(items);
    assert_eq!(stream.next().unwrap().0, 0);
    let before = taken.get();
    assert!((701..5000).contains(&before), "{before}");
    while scorer.queue().conversations > 1 {
        thread::yield_now();
    }
    stream.stop();
    let rest: Vec<_> = stream.by_ref().collect();
    assert!(rest.iter().map(|(index, _)| *index).eq(1..700));
    let mut rewards = rest.iter().flat_map(|(_, rewards)| rewards);
    assert!(rewards.all(|reward| score(&reward.as_ref().unwrap().output) == 1.0));
    assert_eq!(taken.get(), before);
    let kept = std::mem::take(&mut *engine.0.lock().unwrap());
    assert!(matches!(&kept[..], [pack] if pack.cancellation.is_cancelled()));
}
