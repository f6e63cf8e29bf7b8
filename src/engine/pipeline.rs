//! Stages joined by bounded channels, each on its own thread, so that several packs are under way at once.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::{self, JoinHandle},
};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::{EngineError, Flow, Stage};
use crate::batch::PackInputs;

/// Packs that may wait between two stages. One is enough to keep the later stage busy; more would only
/// hold hidden states in memory.
const WAITING: usize = 1;

type Scores = Result<Vec<f32>, EngineError>;

struct Job<H> {
    inputs: Arc<PackInputs>,
    hidden: Option<H>,
    reply: Sender<Scores>,
}

/// The threads of a pipeline. Dropping it waits for the packs that are under way.
pub(crate) struct Pipeline<S: Stage> {
    entry: Option<Sender<Job<S::Hidden>>>,
    threads: Vec<JoinHandle<()>>,
}

/// A pack on its way.
#[derive(Debug)]
pub(crate) struct Pending(Receiver<Scores>);

impl Pending {
    /// Waits for the pack's scores, in the order of its `score_tokens`.
    pub(crate) fn wait(self) -> Scores {
        self.0
            .recv()
            .unwrap_or_else(|_| Err(EngineError::Stopped("a stage ended early".into())))
    }
}

impl<S: Stage> Pipeline<S> {
    /// Starts a thread for each stage.
    ///
    /// # Errors
    /// [`EngineError::Stopped`] when the system gives no thread.
    pub(crate) fn start(stages: Vec<S>) -> Result<Self, EngineError> {
        let (entry, mut receiver) = unbounded::<Job<S::Hidden>>();
        let mut threads = Vec::with_capacity(stages.len());
        for (index, stage) in stages.into_iter().enumerate() {
            let (next, next_receiver) = bounded(WAITING);
            let from = std::mem::replace(&mut receiver, next_receiver);
            let thread = thread::Builder::new()
                .name(format!("stage-{index:02}"))
                .spawn(move || work(stage, &from, &next))
                .map_err(|error| EngineError::Stopped(format!("no thread: {error}")))?;
            threads.push(thread);
        }
        Ok(Self {
            entry: Some(entry),
            threads,
        })
    }

    /// Puts a pack in line and returns at once. Packs are computed in the order of submission.
    pub(crate) fn submit(&self, inputs: PackInputs) -> Pending {
        let (reply, receiver) = bounded(1);
        let job = Job {
            inputs: Arc::new(inputs),
            hidden: None,
            reply,
        };
        if let Some(entry) = &self.entry {
            // When the first stage is gone the reply channel goes with the job, and `wait` says so.
            let _ = entry.send(job);
        }
        Pending(receiver)
    }
}

impl<S: Stage> Drop for Pipeline<S> {
    fn drop(&mut self) {
        self.entry = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// The life of a stage's thread: until the channel before it is closed and empty.
fn work<S: Stage>(mut stage: S, from: &Receiver<Job<S::Hidden>>, next: &Sender<Job<S::Hidden>>) {
    let name = stage.name();
    for Job {
        inputs,
        hidden,
        reply,
    } in from
    {
        // A panic fails its pack and no other.
        let outcome = catch_unwind(AssertUnwindSafe(|| stage.run(&inputs, hidden)))
            .unwrap_or_else(|_| Err(EngineError::Stopped(format!("{name} panicked"))));
        match outcome {
            Ok(Flow::Hidden(hidden)) => {
                let job = Job {
                    inputs,
                    hidden: Some(hidden),
                    reply,
                };
                let _ = next.send(job);
            }
            // A caller that no longer waits is no error.
            Ok(Flow::Scores(scores)) => drop(reply.send(Ok(scores))),
            Err(error) => drop(reply.send(Err(error))),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    /// Adds one to a number; the last stage returns it. Fails or panics on chosen packs.
    struct Counter {
        last: bool,
        fail_on: Option<i64>,
        panic_on: Option<i64>,
        live: Arc<AtomicUsize>,
    }

    impl Stage for Counter {
        type Hidden = f32;

        fn run(
            &mut self,
            inputs: &Arc<PackInputs>,
            hidden: Option<f32>,
        ) -> Result<Flow<f32>, EngineError> {
            let id = inputs.input_ids[0];
            if self.fail_on == Some(id) {
                return Err(EngineError::Stopped("injected".into()));
            }
            assert_ne!(self.panic_on, Some(id), "injected");
            #[allow(clippy::cast_precision_loss)]
            let value = hidden.unwrap_or(id as f32) + 1.0;
            Ok(if self.last {
                Flow::Scores(vec![value])
            } else {
                Flow::Hidden(value)
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

    fn pipeline(stages: usize, faults: [Option<i64>; 2]) -> (Pipeline<Counter>, Arc<AtomicUsize>) {
        let live = Arc::new(AtomicUsize::new(stages));
        let stages = (0..stages)
            .map(|index| Counter {
                last: index + 1 == stages,
                fail_on: faults[0].filter(|_| index == stages / 2),
                panic_on: faults[1].filter(|_| index == stages / 2),
                live: Arc::clone(&live),
            })
            .collect();
        (Pipeline::start(stages).unwrap(), live)
    }

    fn pack(id: i64) -> PackInputs {
        PackInputs {
            input_ids: vec![id],
            ..PackInputs::default()
        }
    }

    #[test]
    #[allow(clippy::cast_precision_loss)]
    fn every_pack_gets_its_own_scores() {
        for stages in 1..5 {
            let (pipeline, live) = pipeline(stages, [None, None]);
            let pending: Vec<_> = (0..50).map(|id| pipeline.submit(pack(id))).collect();
            for (id, pending) in pending.into_iter().enumerate() {
                assert_eq!(pending.wait().unwrap(), [(id + stages) as f32]);
            }
            drop(pipeline);
            assert_eq!(
                live.load(Ordering::SeqCst),
                0,
                "a stage outlived its pipeline"
            );
        }
    }

    #[test]
    fn a_fault_fails_its_pack_alone() {
        let (pipeline, _) = pipeline(3, [Some(4), Some(7)]);
        let pending: Vec<_> = (0..10).map(|id| pipeline.submit(pack(id))).collect();
        for (id, pending) in pending.into_iter().enumerate() {
            let outcome = pending.wait();
            match id {
                4 => assert!(outcome.unwrap_err().to_string().contains("injected")),
                7 => assert!(outcome.unwrap_err().to_string().contains("panicked")),
                _ => assert!(outcome.is_ok(), "{id}"),
            }
        }
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
        ) -> Result<Flow<()>, EngineError> {
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
        let pipeline = Pipeline::start(stages.into()).unwrap();
        let pending: Vec<_> = (0..2).map(|id| pipeline.submit(pack(id))).collect();
        for pending in pending {
            pending.wait().unwrap();
        }
    }

    #[test]
    fn packs_left_behind_do_not_block() {
        let (pipeline, live) = pipeline(3, [None, None]);
        for id in 0..20 {
            drop(pipeline.submit(pack(id)));
        }
        drop(pipeline);
        assert_eq!(live.load(Ordering::SeqCst), 0);
    }
}
