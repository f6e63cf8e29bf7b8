//! Stages joined by bounded channels, each on its own thread, so that several packs are under way at once.
//!
//! There may be several such chains, copies of the model that take packs from one line. `model_check.rs` runs this
//! source under every order of events that it can.

use super::{
    Activity, EngineError, Stage,
    interface::{self, Capacity, Engine, Submission},
    job::{Job, StageId, Step},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
        thread,
    },
};
/// Packs that may wait between two stages. One is enough to keep the later stage busy; more would only
/// hold hidden states in memory.
const WAITING: usize = 1;

/// The threads of a pipeline. Dropping it waits for the packs that are under way.
pub(crate) struct Pipeline<S: Stage> {
    entry: Option<Arc<Sender<Job<S::Hidden>>>>,
    threads: Vec<thread::JoinHandle<()>>,
    packs: AtomicU64,
    capacity: usize,
    copies: usize,
    /// Copies that are not lost.
    alive: Arc<AtomicUsize>,
}

/// What the first stages of all copies take packs from.
struct EntryLine<H> {
    line: Mutex<Receiver<Job<H>>>,
    /// For giving a pack back. The pipeline alone keeps the line open.
    back: Weak<Sender<Job<H>>>,
    /// Copies that are not lost.
    alive: Arc<AtomicUsize>,
}

/// Whether a copy of the model still works.
struct Health<H> {
    lost: Mutex<Option<EngineError>>,
    entry: Arc<EntryLine<H>>,
}

impl<S: Stage> Pipeline<S> {
    /// Starts a thread for each stage of each copy of the model.
    ///
    /// # Errors
    /// [`EngineError::Stopped`] when the system gives no thread.
    pub(crate) fn start(
        replicas: Vec<Vec<S>>,
        activity: &Arc<Activity>,
    ) -> Result<Self, EngineError> {
        // One in each stage, one before it.
        let capacity = replicas
            .iter()
            .map(|stages| stages.len() * (1 + WAITING))
            .sum();
        let copies = replicas.len();
        let alive = Arc::new(AtomicUsize::new(copies));
        let (sender, line) = channel::<Job<S::Hidden>>();
        let sender = Arc::new(sender);
        let entry = Arc::new(EntryLine {
            line: Mutex::new(line),
            back: Arc::downgrade(&sender),
            alive: Arc::clone(&alive),
        });
        let mut threads = Vec::new();
        for (replica, stages) in replicas.into_iter().enumerate() {
            let health = Arc::new(Health {
                lost: Mutex::new(None),
                entry: Arc::clone(&entry),
            });
            let last = stages.len().saturating_sub(1);
            let mut before: Option<Receiver<Job<S::Hidden>>> = None;
            for (index, stage) in stages.into_iter().enumerate() {
                let (next, after) = match index == last {
                    true => (None, None),
                    false => {
                        let (next, after) = sync_channel(WAITING);
                        (Some(next), Some(after))
                    }
                };
                let mut worker = Worker {
                    stage,
                    place: StageId {
                        replica,
                        stage: index,
                    },
                    next,
                    health: Arc::clone(&health),
                    activity: Arc::clone(activity),
                };
                let from = std::mem::replace(&mut before, after);
                let thread = thread::Builder::new()
                    .name(format!("stage-{replica}-{index:02}"))
                    .spawn(move || {
                        worker.stage.settle();
                        match from {
                            Some(from) => from.iter().for_each(|job| worker.handle(job)),
                            None => worker.take_from_line(),
                        }
                    })
                    .map_err(|error| EngineError::Stopped(format!("no thread: {error}")))?;
                threads.push(thread);
            }
        }
        Ok(Self {
            entry: Some(sender),
            threads,
            packs: AtomicU64::new(0),
            capacity,
            copies,
            alive,
        })
    }
}

impl<S: Stage> Engine for Pipeline<S> {
    fn capacity(&self) -> Capacity {
        Capacity {
            packs: self.capacity.max(1),
            tokens: usize::MAX,
        }
    }

    /// Packs are computed in the order of submission.
    fn submit(&self, packs: Vec<Submission>) {
        for pack in packs {
            let number = self.packs.fetch_add(1, Ordering::Relaxed);
            if let Some(entry) = &self.entry {
                // When the first stages are gone the job is dropped, and its completion says so.
                let _ = entry.send(Job::new(number, pack));
            }
        }
    }

    fn health(&self) -> interface::Health {
        interface::Health {
            copies: self.copies,
            lost: self.copies - self.alive.load(Ordering::SeqCst),
        }
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

/// A stage and its surroundings, on its thread.
struct Worker<S: Stage> {
    stage: S,
    place: StageId,
    next: Option<SyncSender<Job<S::Hidden>>>,
    health: Arc<Health<S::Hidden>>,
    activity: Arc<Activity>,
}

impl<S: Stage> Worker<S> {
    /// The life of a first stage: until the line is closed and empty, or until its copy of the model is lost while
    /// others work.
    fn take_from_line(&mut self) {
        loop {
            let next = {
                let line = self.health.entry.line.lock();
                // The lock guards a channel that stays whole.
                line.unwrap_or_else(|poisoned| poisoned.into_inner()).recv()
            };
            let Ok(job) = next else {
                return;
            };
            // In this order: a copy is lost before it is counted out, and one of them stays to answer what comes.
            let leaves =
                self.health.lost().is_some() && self.health.entry.alive.load(Ordering::SeqCst) > 0;
            self.handle(job);
            if leaves {
                return;
            }
        }
    }

    fn handle(&mut self, job: Job<S::Hidden>) {
        if let Some(error) = self.health.lost() {
            self.health.entry.give_back(job, error);
            return;
        }
        match job.run(&mut self.stage, self.place, &self.activity) {
            Step::Next(job) => match &self.next {
                Some(next) => drop(next.send(job)),
                None => job.answer(Err(EngineError::Stopped(format!(
                    "{} is the last stage and gave no scores; the manifest and the graphs of the bundle disagree",
                    self.stage.name()
                )))),
            },
            Step::Answered => {}
            Step::StageLost(error) => self.health.lose(error),
        }
    }
}

impl<H> EntryLine<H> {
    /// Hands a pack of a copy that was lost by `error` to another one, if there is one.
    fn give_back(&self, job: Job<H>, error: EngineError) {
        match self.back.upgrade() {
            Some(line) if self.alive.load(Ordering::SeqCst) > 0 => {
                drop(line.send(job.restarted()));
            }
            _ => job.answer(Err(error)),
        }
    }
}

impl<H> Health<H> {
    fn lost(&self) -> Option<EngineError> {
        self.lock().clone()
    }

    /// From now on every pack of this copy gets `error`.
    fn lose(&self, error: EngineError) {
        let mut lost = self.lock();
        if lost.is_none() {
            *lost = Some(error);
            self.entry.alive.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn lock(&self) -> impl std::ops::DerefMut<Target = Option<EngineError>> {
        self.lost
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
