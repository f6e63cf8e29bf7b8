//! Runs a model larger than memory: one stage is loaded at a time, and every waiting pack goes through it.
//!
//! Packs that wait together are a *wave*. A wave goes through stage 0, then through stage 1, and so on; its hidden
//! states wait in host memory. While one stage computes the next is loaded, where memory holds both. The longer the
//! wave, the less the loading costs each of its packs.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

use super::{
    Activity, EngineError, Stage, StageLoad,
    interface::{Capacity, Engine, Health, Submission},
    job::{Job, StageId, Step},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel},
        thread,
    },
};
/// Where stages come from.
pub(crate) trait StageSource: Send + Sync + 'static {
    /// The stages.
    type Stage: Stage;

    /// How many there are.
    fn stages(&self) -> usize;

    /// Loads a stage.
    fn load(&self, index: usize) -> Result<Self::Stage, EngineError>;
}

/// What a wave may hold, and what may be in memory at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wave {
    /// Most unique tokens of its packs. A pack with more goes alone.
    pub(crate) tokens: usize,
    /// Of each stage, the most unique tokens of a wave with which the next one is loaded while it computes.
    pub(crate) ahead: Vec<usize>,
}

/// The thread that loads stages and runs waves. Dropping it waits for the packs that are under way.
pub(crate) struct Streamer<H> {
    entry: Option<Sender<Vec<Job<H>>>>,
    thread: Option<thread::JoinHandle<()>>,
    packs: AtomicU64,
    tokens: usize,
    /// 1 after its device was lost.
    lost: Arc<AtomicUsize>,
}

impl<H: Send + 'static> Streamer<H> {
    /// # Errors
    /// [`EngineError::Stopped`] when the system gives no thread.
    pub(crate) fn start<S>(
        source: S,
        wave: Wave,
        activity: Arc<Activity>,
    ) -> Result<Self, EngineError>
    where
        S: StageSource,
        S::Stage: Stage<Hidden = H>,
    {
        let (entry, from) = channel();
        // One wave is computed while the next comes together.
        let tokens = wave.tokens.saturating_mul(2);
        let lost = Arc::new(AtomicUsize::new(0));
        let worker = Worker {
            source,
            wave,
            activity,
            lost: Arc::clone(&lost),
        };
        let thread = thread::Builder::new()
            .name("streamed".into())
            .spawn(move || worker.work(&from))
            .map_err(|error| EngineError::Stopped(format!("no thread: {error}")))?;
        Ok(Self {
            entry: Some(entry),
            thread: Some(thread),
            packs: AtomicU64::new(0),
            tokens,
            lost,
        })
    }
}

impl<H: Send + 'static> Engine for Streamer<H> {
    fn capacity(&self) -> Capacity {
        Capacity {
            packs: usize::MAX,
            tokens: self.tokens,
        }
    }

    /// Packs that are submitted together share a wave as far as its limit permits.
    fn submit(&self, packs: Vec<Submission>) {
        let number = |pack| Job::new(self.packs.fetch_add(1, Ordering::Relaxed), pack);
        let jobs = packs.into_iter().map(number).collect();
        if let Some(entry) = &self.entry {
            let _ = entry.send(jobs);
        }
    }

    fn health(&self) -> Health {
        Health {
            copies: 1,
            lost: self.lost.load(Ordering::SeqCst),
        }
    }
}

impl<H> Drop for Streamer<H> {
    fn drop(&mut self) {
        self.entry = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Worker<S> {
    source: S,
    wave: Wave,
    activity: Arc<Activity>,
    lost: Arc<AtomicUsize>,
}

/// A stage that was loaded ahead.
type Loaded<S> = Option<Result<S, EngineError>>;

impl<S: StageSource> Worker<S> {
    /// Runs waves until the line is closed and empty.
    fn work(&self, from: &Receiver<Vec<Job<Hidden<S>>>>) {
        let mut waiting = VecDeque::new();
        let mut first: Loaded<S::Stage> = None;
        loop {
            if waiting.is_empty() {
                match from.recv() {
                    Ok(jobs) => waiting.extend(jobs),
                    Err(_) => return,
                }
            }
            while let Ok(jobs) = from.try_recv() {
                waiting.extend(jobs);
            }
            waiting.retain(|job| !job.is_cancelled());
            let wave = next_wave(&mut waiting, self.wave.tokens);
            if !wave.is_empty() {
                first = self.run(wave, first, !waiting.is_empty());
            }
        }
    }

    /// Runs a wave through all stages. Returns the first stage when it is wanted again at once.
    fn run(
        &self,
        mut wave: Vec<Job<Hidden<S>>>,
        first: Loaded<S::Stage>,
        more: bool,
    ) -> Loaded<S::Stage> {
        let stages = self.source.stages();
        let mut ahead = first;
        for index in 0..stages {
            let stage = ahead.take().unwrap_or_else(|| self.load(index));
            let mut stage = match stage {
                Ok(stage) => stage,
                Err(error) => {
                    wave.into_iter()
                        .for_each(|job| job.answer(Err(error.clone())));
                    return None;
                }
            };
            if stages == 1 {
                stage.settle();
                self.run_stage(wave, 0, &mut stage);
                return Some(Ok(stage));
            }
            let following = (index + 1) % stages;
            let tokens: usize = wave.iter().map(Job::tokens).sum();
            let fits = self
                .wave
                .ahead
                .get(index)
                .is_some_and(|most| tokens <= *most);
            let wanted = fits && (following != 0 || more);
            (wave, ahead) = thread::scope(|scope| {
                // A thread of its own, since it may be pinned to a processor, and what it starts would be too.
                let running = scope.spawn(|| {
                    stage.settle();
                    self.run_stage(wave, index, &mut stage)
                });
                let loaded = wanted.then(|| self.load(following));
                // A panic has taken the wave's jobs with it, which tells whoever waits.
                (running.join().unwrap_or_default(), loaded)
            });
            if wave.is_empty() && following != 0 {
                return None;
            }
        }
        ahead
    }

    /// Runs a wave through one stage, and returns what goes on.
    fn run_stage(
        &self,
        wave: Vec<Job<Hidden<S>>>,
        index: usize,
        stage: &mut S::Stage,
    ) -> Vec<Job<Hidden<S>>> {
        let place = StageId {
            replica: 0,
            stage: index,
        };
        let last = index + 1 == self.source.stages();
        let mut lost: Option<EngineError> = None;
        let mut next = Vec::with_capacity(wave.len());
        for job in wave {
            if let Some(error) = &lost {
                job.answer(Err(error.clone()));
                continue;
            }
            match job.run(stage, place, &self.activity) {
                Step::Next(job) if last => {
                    let problem = "the last stage gave no scores; the manifest and the graphs of the bundle disagree";
                    job.answer(Err(EngineError::Stopped(problem.into())));
                }
                Step::Next(job) => next.push(job),
                Step::Answered => {}
                Step::StageLost(error) => {
                    self.lost.store(1, Ordering::SeqCst);
                    lost = Some(error);
                }
            }
        }
        next
    }

    fn load(&self, index: usize) -> Result<S::Stage, EngineError> {
        let span = tracing::debug_span!("load", stage = index);
        let started = Instant::now();
        let stage = span.in_scope(|| {
            catch_unwind(AssertUnwindSafe(|| self.source.load(index)))
                .unwrap_or_else(|_| Err(EngineError::Stopped("loading a stage panicked".into())))
        });
        self.activity.loaded(&StageLoad {
            stage: index,
            replica: 0,
            started,
            ended: Instant::now(),
            failed: stage.is_err(),
        });
        stage
    }
}

type Hidden<S> = <<S as StageSource>::Stage as Stage>::Hidden;

/// The longest beginning of the line that a wave holds, but at least one pack.
fn next_wave<H>(waiting: &mut VecDeque<Job<H>>, tokens: usize) -> Vec<Job<H>> {
    let mut held = 0_usize;
    let count = waiting
        .iter()
        .take_while(|job| {
            held = held.saturating_add(job.tokens());
            held <= tokens
        })
        .count();
    waiting.drain(..count.max(1).min(waiting.len())).collect()
}
