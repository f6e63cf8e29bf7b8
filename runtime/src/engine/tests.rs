//! The pipeline on real threads. What must hold under every order of events is in `model_check.rs`.

use std::{
    collections::HashSet,
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::{
    Activity, Engine, EngineError, Failure, Flow, Observer, Pending, Pipeline, Stage, StageRun,
    Watch,
};
use crate::batch::PackInputs;

fn pack(id: i64) -> PackInputs {
    PackInputs {
        input_ids: vec![id],
        ..PackInputs::default()
    }
}

fn start<S: Stage>(stages: Vec<S>) -> Pipeline<S> {
    let activity = Arc::new(Activity::new(stages.len(), None));
    Pipeline::start(vec![stages], &activity).unwrap()
}

fn submit<S: Stage>(pipeline: &Pipeline<S>, id: i64) -> Pending {
    submit_all(pipeline, vec![pack(id)]).remove(0)
}

fn submit_all<S: Stage>(pipeline: &Pipeline<S>, packs: Vec<PackInputs>) -> Vec<Pending> {
    let (packs, pending) = packs.into_iter().map(Pending::new).unzip();
    pipeline.submit(packs);
    pending
}

/// Panics on a pack.
struct Panicking(i64);

impl Stage for Panicking {
    type Hidden = ();

    fn run(
        &mut self,
        inputs: &Arc<PackInputs>,
        _: Option<()>,
        _: &dyn Watch,
    ) -> Result<Flow<()>, Failure> {
        assert_ne!(inputs.input_ids[0], self.0, "injected");
        Ok(Flow::Scores(vec![1.0]))
    }

    fn name(&self) -> String {
        "panicking".into()
    }
}

#[test]
fn a_panic_fails_its_pack_alone() {
    let pipeline = start(vec![Panicking(1)]);
    let pending: Vec<_> = (0..3).map(|id| submit(&pipeline, id)).collect();
    let answers: Vec<_> = pending.into_iter().map(Pending::wait).collect();
    assert_eq!(answers[0].as_deref().unwrap(), [1.0]);
    let error = answers[1].as_ref().unwrap_err().to_string();
    assert!(error.contains("panicking panicked"), "{error}");
    assert_eq!(answers[2].as_deref().unwrap(), [1.0]);
}

/// Two stages that meet inside their runs: they can only if both are at work at the same time.
struct Meeting {
    last: bool,
    barrier: Arc<Barrier>,
}

impl Stage for Meeting {
    type Hidden = ();

    fn run(
        &mut self,
        inputs: &Arc<PackInputs>,
        _: Option<()>,
        _: &dyn Watch,
    ) -> Result<Flow<()>, Failure> {
        // The first stage meets with the second pack, the second stage with the first.
        if self.last == (inputs.input_ids[0] == 0) {
            self.barrier.wait();
        }
        Ok(if self.last {
            Flow::Scores(vec![0.0])
        } else {
            Flow::Hidden(())
        })
    }

    fn name(&self) -> String {
        "meeting".into()
    }
}

#[test]
fn stages_work_at_the_same_time() {
    let barrier = Arc::new(Barrier::new(2));
    let stages = [false, true].map(|last| Meeting {
        last,
        barrier: Arc::clone(&barrier),
    });
    let pipeline = start(stages.into());
    let pending = submit_all(&pipeline, vec![pack(0), pack(1)]);
    for pending in pending {
        pending.wait().unwrap();
    }
}

/// A run that ends only when it is interrupted.
struct Endless(Sender<()>);

impl Stage for Endless {
    type Hidden = ();

    fn run(
        &mut self,
        inputs: &Arc<PackInputs>,
        _: Option<()>,
        watch: &dyn Watch,
    ) -> Result<Flow<()>, Failure> {
        if inputs.input_ids[0] != 0 {
            return Ok(Flow::Scores(vec![1.0]));
        }
        let (interrupt, interrupted) = channel();
        let wanted = watch.begin(Box::new(move || {
            let _ = interrupt.send(());
        }));
        assert!(wanted, "nobody has cancelled yet");
        self.0.send(()).unwrap();
        interrupted.recv().unwrap();
        Err(EngineError::Stopped("interrupted".into()).into())
    }

    fn name(&self) -> String {
        "endless".into()
    }
}

#[test]
fn a_cancelled_run_ends_early_and_others_go_on() {
    let (begun, begins) = channel();
    let pipeline = start(vec![Endless(begun)]);
    let endless = submit(&pipeline, 0);
    let next = submit(&pipeline, 1);
    begins.recv().unwrap();
    endless.cancellation.cancel();
    assert!(matches!(endless.wait(), Err(EngineError::Cancelled)));
    assert_eq!(next.wait().unwrap(), [1.0]);
}

#[test]
fn a_pack_that_nobody_waits_for_is_interrupted() {
    let (begun, begins) = channel();
    let pipeline = start(vec![Endless(begun)]);
    let endless = submit(&pipeline, 0);
    begins.recv().unwrap();
    drop(endless);
    // It was interrupted, or this would wait for ever.
    assert_eq!(submit(&pipeline, 1).wait().unwrap(), [1.0]);
}

#[test]
fn dropping_the_pipeline_finishes_what_is_wanted() {
    let pipeline = start(vec![Panicking(-1)]);
    let pending: Vec<_> = (0..20).map(|id| submit(&pipeline, id)).collect();
    let waiter = thread::spawn(move || pending.into_iter().map(Pending::wait).collect::<Vec<_>>());
    drop(pipeline);
    for answer in waiter.join().unwrap() {
        assert_eq!(answer.unwrap(), [1.0]);
    }
}

/// Waits for something before its run begins, and notes when that was.
struct Waiting(Sender<Instant>);

impl Stage for Waiting {
    type Hidden = ();

    fn run(
        &mut self,
        _: &Arc<PackInputs>,
        _: Option<()>,
        watch: &dyn Watch,
    ) -> Result<Flow<()>, Failure> {
        thread::sleep(Duration::from_millis(1));
        self.0.send(Instant::now()).unwrap();
        watch.begin(Box::new(|| ()));
        watch.end();
        Ok(Flow::Scores(vec![1.0]))
    }

    fn name(&self) -> String {
        "waiting".into()
    }
}

#[derive(Debug)]
struct Starts(Sender<Instant>);

impl Observer for Starts {
    fn ran(&self, run: &StageRun) {
        self.0.send(run.started).unwrap();
    }
}

#[test]
fn a_run_begins_when_its_stage_says_so() {
    let (turn, turns) = channel();
    let (start, starts) = channel();
    let activity = Arc::new(Activity::new(1, Some(Arc::new(Starts(start)))));
    let pipeline = Pipeline::start(vec![vec![Waiting(turn)]], &activity).unwrap();
    for id in 0..2 {
        submit(&pipeline, id).wait().unwrap();
        assert!(starts.recv().unwrap() >= turns.recv().unwrap());
    }
}

/// Fails, panics or loses its device where a plan says so.
struct Faulty {
    last: bool,
    faults: Arc<Vec<Fault>>,
    place: (usize, usize),
    lost: bool,
    live: Arc<AtomicUsize>,
}

#[derive(Clone, Copy, Debug)]
struct Fault {
    replica: usize,
    stage: usize,
    pack: i64,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Error,
    Panic,
    Lost,
}

impl Stage for Faulty {
    type Hidden = usize;

    fn run(
        &mut self,
        inputs: &Arc<PackInputs>,
        hidden: Option<usize>,
        watch: &dyn Watch,
    ) -> Result<Flow<usize>, Failure> {
        if !watch.begin(Box::new(|| ())) {
            return Err(EngineError::Cancelled.into());
        }
        let pack = inputs.input_ids[0];
        let here = |fault: &&Fault| {
            (fault.replica, fault.stage, fault.pack) == (self.place.0, self.place.1, pack)
        };
        let fault = self.faults.iter().find(here).map(|fault| fault.kind);
        self.lost |= fault == Some(Kind::Lost);
        watch.end();
        if self.lost {
            return Err(Failure {
                error: EngineError::Stopped("lost".into()),
                fatal: true,
            });
        }
        match fault {
            Some(Kind::Error) => return Err(EngineError::Stopped("error".into()).into()),
            Some(_) => panic!("injected"),
            None => {}
        }
        let passed = hidden.unwrap_or(0) + 1;
        Ok(match self.last {
            true => Flow::Scores(vec![pack as f32, passed as f32]),
            false => Flow::Hidden(passed),
        })
    }

    fn name(&self) -> String {
        "faulty".into()
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.live.fetch_sub(1, Ordering::SeqCst);
    }
}

fn faults() -> impl Strategy<Value = Vec<Fault>> {
    let kind = prop_oneof![Just(Kind::Error), Just(Kind::Panic), Just(Kind::Lost)];
    let fault =
        (0..3_usize, 0..4_usize, 0..40_i64, kind).prop_map(|(replica, stage, pack, kind)| Fault {
            replica,
            stage,
            pack,
            kind,
        });
    prop::collection::vec(fault, 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever goes wrong, every pack that is wanted is answered, by its own scores unless something went wrong with
    /// it or its copy of the model; and every thread ends.
    #[test]
    fn faults_of_all_kinds(
        stages in 1..5_usize,
        replicas in 1..4_usize,
        faults in faults(),
        unwanted in prop::collection::hash_set(0..40_i64, 0..10),
    ) {
        let faults = Arc::new(faults);
        let live = Arc::new(AtomicUsize::new(stages * replicas));
        let stage = |place: (usize, usize)| Faulty {
            last: place.1 + 1 == stages,
            faults: Arc::clone(&faults),
            place,
            lost: false,
            live: Arc::clone(&live),
        };
        let copies = (0..replicas).map(|r| (0..stages).map(|s| stage((r, s))).collect()).collect();
        let pipeline = Pipeline::start(copies, &Arc::new(Activity::new(stages, None))).unwrap();
        let pending = submit_all(&pipeline, (0..40).map(pack).collect());
        let mut wanted = Vec::new();
        for (id, pending) in (0_i64..).zip(pending) {
            if unwanted.contains(&id) {
                drop(pending);
            } else {
                wanted.push((id, pending));
            }
        }
        let losing = faults.iter().filter(|fault| fault.kind == Kind::Lost);
        let losing = losing.filter(|fault| fault.replica < replicas && fault.stage < stages);
        let lost: HashSet<usize> = losing.map(|fault| fault.replica).collect();
        for (id, pending) in wanted {
            let at_fault = faults.iter().any(|fault| fault.pack == id);
            match pending.wait() {
                Ok(scores) => prop_assert_eq!(scores, [id as f32, stages as f32]),
                Err(EngineError::Stopped(problem)) => match problem.as_str() {
                    "error" | "faulty panicked" => prop_assert!(at_fault, "{}", problem),
                    // Another copy takes over what the lost one had.
                    "lost" => prop_assert!(at_fault || lost.len() == replicas),
                    _ => prop_assert!(false, "{}", problem),
                },
                Err(error) => prop_assert!(false, "{}", error),
            }
        }
        drop(pipeline);
        prop_assert_eq!(live.load(Ordering::SeqCst), 0);
    }
}
