//! An engine that stands in for a model, for tests of what is built on a [`Scorer`](crate::Scorer) or a
//! [`Queue`](crate::queue::Queue): set times, memory and faults, and scores that can be foretold.
//!
//! It is the real pipeline, with stages that pass the time and one score for each scored token.
//!
//! ```
//! use std::sync::Arc;
//! use worldpm_ort_runtime::{
//!     batch::Budget,
//!     queue::{Queue, QueueOptions, RequestOptions, Sequence},
//!     testing::{FakeEngine, FakeOptions, fake_score},
//! };
//!
//! let engine = Arc::new(FakeEngine::start(FakeOptions::default())?);
//! let queue = Queue::start(engine, 1, Budget::default(), QueueOptions::default())?;
//! let ticket = queue.submit(Sequence::new(vec![7, 8, 9], vec![2]), &RequestOptions::default())?;
//! assert_eq!(ticket.wait()?.values, [fake_score(&[7, 8, 9])]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    batch::PackInputs,
    engine::{
        Activity, Capacity, Engine, EngineError, Failure, Flow, Health, Pipeline, Stage,
        Submission, Watch,
    },
};

static STAND_IN: OnceLock<Arc<dyn Engine>> = OnceLock::new();

/// From now on [`Scorer::open`](crate::Scorer::open) computes with `engine`, and loads no model: for measuring what opens its
/// scorers itself, such as the command. Says whether there was none before; otherwise that one stays.
pub fn stand_in(engine: Arc<dyn Engine>) -> bool {
    STAND_IN.set(engine).is_ok()
}

pub(crate) fn standing_in() -> Option<Arc<dyn Engine>> {
    STAND_IN.get().cloned()
}

/// How a [`FakeEngine`] behaves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FakeOptions {
    /// How long each stage takes for a pack. Default: one stage, no time.
    pub stages: Vec<Duration>,
    /// Copies of the stages. Default 1.
    pub replicas: usize,
    /// Most unique tokens of a pack that there is memory for. Default: no limit.
    pub memory_tokens: usize,
    /// What goes wrong. Default: nothing.
    pub faults: Vec<Fault>,
}

impl Default for FakeOptions {
    fn default() -> Self {
        Self {
            stages: vec![Duration::ZERO],
            replicas: 1,
            memory_tokens: usize::MAX,
            faults: Vec::new(),
        }
    }
}

impl FakeOptions {
    /// Sets how long each stage takes for a pack.
    #[must_use]
    pub fn with_stages(mut self, stages: Vec<Duration>) -> Self {
        self.stages = stages;
        self
    }

    /// Sets the most unique tokens of a pack that there is memory for.
    #[must_use]
    pub fn with_memory_tokens(mut self, tokens: usize) -> Self {
        self.memory_tokens = tokens;
        self
    }

    /// Adds something that goes wrong.
    #[must_use]
    pub fn with_fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }
}

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Packs with this token fail, and no others.
    Pack {
        /// The token.
        token: u32,
    },
    /// A pack with this token loses the device of the last stage: all packs fail from then on.
    DeviceLost {
        /// The token.
        token: u32,
    },
}

/// See the [module](self).
pub struct FakeEngine(Pipeline<FakeStage>);

impl FakeEngine {
    /// Starts the threads of its stages.
    ///
    /// # Errors
    /// [`EngineError::Stopped`] when the system gives no thread.
    pub fn start(options: FakeOptions) -> Result<Self, EngineError> {
        let options = Arc::new(options);
        let stages = options.stages.len().max(1);
        let copy = |_| {
            let stage = |index| FakeStage {
                index,
                last: index + 1 == stages,
                options: Arc::clone(&options),
            };
            (0..stages).map(stage).collect()
        };
        let copies = (0..options.replicas.max(1)).map(copy).collect();
        let activity = Arc::new(Activity::new(stages, None));
        Ok(Self(Pipeline::start(copies, &activity)?))
    }
}

impl Engine for FakeEngine {
    fn capacity(&self) -> Capacity {
        self.0.capacity()
    }

    fn submit(&self, packs: Vec<Submission>) {
        self.0.submit(packs);
    }

    fn health(&self) -> Health {
        self.0.health()
    }
}

/// The score of a sequence that is scored at its last token.
#[must_use]
pub fn fake_score(ids: &[u32]) -> f32 {
    let hash = ids
        .iter()
        .fold(7_u32, |hash, id| (hash * 31 + id % 65_521) % 65_521);
    hash as f32 / 65_521.0
}

struct FakeStage {
    index: usize,
    last: bool,
    options: Arc<FakeOptions>,
}

impl FakeStage {
    fn name_of(&self) -> (String, String) {
        (self.name(), "a fake device".into())
    }

    fn fault(&self, inputs: &PackInputs) -> Option<Failure> {
        let (stage, device) = self.name_of();
        if inputs.input_ids.len() > self.options.memory_tokens {
            let problem = format!(
                "Failed to allocate memory for {} tokens",
                inputs.input_ids.len()
            );
            let error = EngineError::Run {
                stage,
                device,
                problem,
            };
            return Some(error.into());
        }
        let has = |token: u32| inputs.input_ids.contains(&i64::from(token));
        let fault = self.options.faults.iter().find(|fault| match fault {
            Fault::Pack { token } | Fault::DeviceLost { token } => has(*token),
        });
        Some(match fault? {
            Fault::Pack { .. } => Failure::from(EngineError::Run {
                stage,
                device,
                problem: "it was to fail".into(),
            }),
            Fault::DeviceLost { .. } => Failure {
                error: EngineError::Lost {
                    stage,
                    device,
                    problem: "it was to be lost".into(),
                },
                fatal: true,
            },
        })
    }
}

impl Stage for FakeStage {
    type Hidden = ();

    fn run(
        &mut self,
        inputs: &Arc<PackInputs>,
        _: Option<()>,
        watch: &dyn Watch,
    ) -> Result<Flow<()>, Failure> {
        let interrupted = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&interrupted);
        if !watch.begin(Box::new(move || flag.store(true, Ordering::SeqCst))) {
            return Err(EngineError::Cancelled.into());
        }
        let time = self.options.stages.get(self.index).copied();
        let until = Instant::now() + time.unwrap_or_default();
        while Instant::now() < until && !interrupted.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1).min(until - Instant::now()));
        }
        watch.end();
        if interrupted.load(Ordering::SeqCst) {
            return Err(EngineError::Cancelled.into());
        }
        if !self.last {
            return Ok(Flow::Hidden(()));
        }
        match self.fault(inputs) {
            Some(failure) => Err(failure),
            None => {
                let scores = inputs.score_tokens.iter();
                Ok(Flow::Scores(
                    scores.map(|&token| score(inputs, token as usize)).collect(),
                ))
            }
        }
    }

    fn name(&self) -> String {
        format!("fake stage {}", self.index)
    }
}

/// Of the sequence that ends with a packed token: those before it are the nearest ones of each smaller depth.
fn score(inputs: &PackInputs, token: usize) -> f32 {
    let mut ids = Vec::new();
    let mut depth = inputs.position_ids[token];
    for at in (0..=token).rev() {
        if inputs.position_ids[at] == depth {
            ids.push(inputs.input_ids[at] as u32);
            depth -= 1;
        }
    }
    ids.reverse();
    fake_score(&ids)
}
