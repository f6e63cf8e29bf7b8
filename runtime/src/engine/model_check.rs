//! The engine's own sources, with the threads, locks and channels of `shuttle` in place of the standard library's, run
//! under thousands of orders of events. A deadlock, a lost answer or a thread that stays fails a test and prints the
//! order, which `shuttle::replay` takes.

use shuttle::{check_pct, check_random};

use super::{Activity, EngineError, Failure, Flow, Stage, StageLoad, StageRun, Watch};
use crate::batch::PackInputs;

mod sync {
    pub(super) use shuttle::{
        sync::{Arc, Mutex, Weak, atomic, mpsc},
        thread,
    };
}

// The sources name what they need as `super::…`, and find what stands above.
#[path = "cancellation.rs"]
#[allow(dead_code)]
mod cancellation;
#[path = "interface.rs"]
mod interface;
#[path = "job.rs"]
mod job;
#[path = "pending.rs"]
mod pending;
#[path = "pipeline.rs"]
mod pipeline;
#[path = "streamed.rs"]
mod streamed;

use interface::Engine;
use pending::Pending;
use pipeline::Pipeline;
use streamed::{StageSource, Streamer, Wave};
use sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
    thread,
};

/// What goes wrong with a pack in a stage.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The pack fails.
    Pack,
    /// The stage can do nothing more.
    Stage,
}

/// Counts the stages that a pack has been through, and fails where it is told to.
struct Counter {
    last: bool,
    /// The pack that goes wrong here.
    fault: Option<(i64, Fault)>,
    live: Arc<AtomicUsize>,
}

impl Stage for Counter {
    type Hidden = u32;

    fn run(
        &mut self,
        inputs: &std::sync::Arc<PackInputs>,
        hidden: Option<u32>,
        watch: &dyn Watch,
    ) -> Result<Flow<u32>, Failure> {
        if !watch.begin(Box::new(|| ())) {
            return Err(EngineError::Cancelled.into());
        }
        thread::yield_now();
        watch.end();
        let pack = inputs.input_ids[0];
        if let Some((at, fault)) = self.fault
            && (at == pack || fault == Fault::Stage && pack > at)
        {
            return Err(Failure {
                error: EngineError::Stopped("injected".into()),
                fatal: fault == Fault::Stage,
            });
        }
        let passed = hidden.unwrap_or(0) + 1;
        Ok(if self.last {
            Flow::Scores(vec![pack as f32, passed as f32])
        } else {
            Flow::Hidden(passed)
        })
    }

    fn name(&self) -> String {
        "counter".into()
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.live.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A case: the faults of each stage of each copy.
struct Case {
    faults: Vec<Vec<Option<(i64, Fault)>>>,
    packs: i64,
}

fn packs(from: i64, count: i64) -> Vec<PackInputs> {
    (from..from + count)
        .map(|id| PackInputs {
            input_ids: vec![id],
            rows: 1,
            columns: 1,
            ..PackInputs::default()
        })
        .collect()
}

/// The answer of a pack: its own scores after all stages, or one of the errors that were injected.
fn check(answer: Result<Vec<f32>, EngineError>, pack: i64, stages: usize) -> bool {
    match answer {
        Ok(scores) => {
            assert_eq!(scores, [pack as f32, stages as f32]);
            true
        }
        Err(EngineError::Stopped(problem)) if problem == "injected" => false,
        Err(error) => panic!("{error}"),
    }
}

fn submit(engine: &dyn Engine, packs: Vec<PackInputs>) -> Vec<Pending> {
    let (packs, pending) = packs.into_iter().map(Pending::new).unzip();
    engine.submit(packs);
    pending
}

impl Case {
    fn start(&self) -> (Pipeline<Counter>, Arc<AtomicUsize>) {
        let all = self.faults.iter().map(Vec::len).sum();
        let live = Arc::new(AtomicUsize::new(all));
        let copy = |faults: &Vec<Option<(i64, Fault)>>| {
            let stage = |(index, fault): (usize, &Option<(i64, Fault)>)| Counter {
                last: index + 1 == faults.len(),
                fault: *fault,
                live: Arc::clone(&live),
            };
            faults.iter().enumerate().map(stage).collect()
        };
        let activity = std::sync::Arc::new(Activity::new(self.faults[0].len(), None));
        let copies = self.faults.iter().map(copy).collect();
        (Pipeline::start(copies, &activity).unwrap(), live)
    }

    /// Submits from two threads, leaves one pack unwanted, waits for the rest, and shuts down.
    fn run(&self) -> usize {
        let stages = self.faults[0].len();
        let (pipeline, live) = self.start();
        let pipeline = Arc::new(pipeline);
        let other = {
            let (pipeline, packs) = (Arc::clone(&pipeline), packs(100, 2));
            thread::spawn(move || {
                let mut pending = submit(&*pipeline, packs);
                drop(pending.pop());
                pending
            })
        };
        let mine = submit(&*pipeline, packs(0, self.packs));
        let theirs = other.join().unwrap();
        let mut scored = 0;
        for (pending, pack) in mine
            .into_iter()
            .zip(0..)
            .chain(theirs.into_iter().zip(100..))
        {
            scored += usize::from(check(pending.wait(), pack, stages));
        }
        drop(pipeline);
        assert_eq!(
            live.load(Ordering::SeqCst),
            0,
            "a stage outlived its pipeline"
        );
        scored
    }
}

/// Orders of events that are tried for each case, of each of the two ways to choose them.
const ORDERS: usize = 2000;

fn under_all_orders(case: impl Fn() + Send + Sync + 'static) {
    let case = std::sync::Arc::new(case);
    let same = std::sync::Arc::clone(&case);
    check_random(move || case(), ORDERS);
    check_pct(move || same(), ORDERS, 3);
}

#[test]
fn every_pack_is_answered_by_its_own_scores() {
    for stages in 1..=3 {
        under_all_orders(move || {
            let case = Case {
                faults: vec![vec![None; stages]],
                packs: 4,
            };
            assert_eq!(case.run(), 5);
        });
    }
}

#[test]
fn a_fault_fails_its_pack_alone() {
    for at in 0..3 {
        under_all_orders(move || {
            let mut faults = vec![None; 3];
            faults[at] = Some((1, Fault::Pack));
            let case = Case {
                faults: vec![faults],
                packs: 3,
            };
            assert_eq!(case.run(), 3);
        });
    }
}

#[test]
fn a_lost_stage_answers_all_and_stops_cleanly() {
    for at in 0..3 {
        under_all_orders(move || {
            let mut faults = vec![None; 3];
            faults[at] = Some((1, Fault::Stage));
            let case = Case {
                faults: vec![faults],
                packs: 4,
            };
            assert!(case.run() <= 2);
        });
    }
}

#[test]
fn another_copy_takes_over_from_a_lost_one() {
    for at in 0..2 {
        under_all_orders(move || {
            let mut faults = vec![vec![None; 2], vec![None; 2]];
            faults[0][at] = Some((1, Fault::Stage));
            // Only the pack that met the fault fails. What else the lost copy had begins anew in the other one.
            let case = Case { faults, packs: 4 };
            assert!(case.run() >= 4);
        });
    }
}

#[test]
fn losing_every_copy_answers_all() {
    under_all_orders(|| {
        let lost = Some((0, Fault::Stage));
        let case = Case {
            faults: vec![vec![lost, None], vec![None, lost]],
            packs: 4,
        };
        assert_eq!(case.run(), 0);
    });
}

#[test]
fn packs_that_nobody_wants_do_not_block() {
    under_all_orders(|| {
        let case = Case {
            faults: vec![vec![None; 3]],
            packs: 0,
        };
        let (pipeline, live) = case.start();
        let pending = submit(&pipeline, packs(0, 6));
        let canceller = thread::spawn(move || drop(pending));
        drop(pipeline);
        canceller.join().unwrap();
        assert_eq!(live.load(Ordering::SeqCst), 0);
    });
}

/// Makes counters as they are loaded; some loads fail.
struct Loader {
    stages: usize,
    fault: Option<(usize, i64, Fault)>,
    /// Loads, counted down, after which one fails.
    fail_load: Option<AtomicUsize>,
    live: Arc<AtomicUsize>,
    most: usize,
}

impl StageSource for Loader {
    type Stage = Counter;

    fn stages(&self) -> usize {
        self.stages
    }

    fn load(&self, index: usize) -> Result<Counter, EngineError> {
        if let Some(left) = &self.fail_load
            && left.fetch_sub(1, Ordering::SeqCst) == 1
        {
            return Err(EngineError::Stopped("injected".into()));
        }
        let live = self.live.fetch_add(1, Ordering::SeqCst) + 1;
        assert!(live <= self.most, "{live} stages are in memory at once");
        Ok(Counter {
            last: index + 1 == self.stages,
            fault: self
                .fault
                .filter(|(at, ..)| *at == index)
                .map(|(_, pack, fault)| (pack, fault)),
            live: Arc::clone(&self.live),
        })
    }
}

/// Two callers, waves of two packs; returns how many packs were scored.
fn stream(
    stages: usize,
    prefetch: bool,
    fault: Option<(usize, i64, Fault)>,
    fail_load: Option<usize>,
) -> usize {
    let live = Arc::new(AtomicUsize::new(0));
    let loader = Loader {
        stages,
        fault,
        fail_load: fail_load.map(AtomicUsize::new),
        live: Arc::clone(&live),
        most: if prefetch { 2 } else { 1 },
    };
    let wave = Wave {
        tokens: 2,
        ahead: vec![if prefetch { usize::MAX } else { 0 }; stages],
    };
    let activity = std::sync::Arc::new(Activity::new(stages, None));
    let streamer = Arc::new(Streamer::start(loader, wave, activity).unwrap());
    let other = {
        let streamer = Arc::clone(&streamer);
        thread::spawn(move || {
            let mut pending: Vec<Pending> = submit(&*streamer, packs(100, 2));
            drop(pending.pop());
            pending
        })
    };
    let mine = submit(&*streamer, packs(0, 3));
    let theirs = other.join().unwrap();
    let mut scored = 0;
    for (pending, pack) in mine
        .into_iter()
        .zip(0..)
        .chain(theirs.into_iter().zip(100..))
    {
        scored += usize::from(check(pending.wait(), pack, stages));
    }
    drop(streamer);
    assert_eq!(live.load(Ordering::SeqCst), 0, "a stage stayed in memory");
    scored
}

#[test]
fn streamed_stages_answer_every_pack() {
    for prefetch in [false, true] {
        for stages in 1..=3 {
            under_all_orders(move || assert_eq!(stream(stages, prefetch, None, None), 4));
        }
    }
}

#[test]
fn streamed_faults_fail_their_packs() {
    for prefetch in [false, true] {
        under_all_orders(move || {
            assert_eq!(stream(2, prefetch, Some((1, 1, Fault::Pack)), None), 3);
            stream(2, prefetch, Some((0, 1, Fault::Stage)), None);
        });
    }
}

#[test]
fn a_stage_that_cannot_be_loaded_fails_its_wave_and_no_other() {
    for prefetch in [false, true] {
        for load in 1..=3 {
            under_all_orders(move || assert!(stream(2, prefetch, None, Some(load)) >= 1));
        }
    }
}
