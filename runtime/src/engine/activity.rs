//! What stages do and when: counters that grow, and events for whoever watches.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Watches stages at work. Its methods are called on the threads of the stages, which wait for them: they should
/// return at once.
pub trait Observer: fmt::Debug + Send + Sync {
    /// A stage was loaded, or could not be.
    fn loaded(&self, load: &StageLoad) {
        let _ = load;
    }

    /// A stage has run a pack, or has failed to.
    fn ran(&self, run: &StageRun) {
        let _ = run;
    }
}

/// The loading of a stage.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct StageLoad {
    /// The stage, from 0.
    pub stage: usize,
    /// Which copy of the model, from 0.
    pub replica: usize,
    /// When it began.
    pub started: Instant,
    /// When it ended.
    pub ended: Instant,
    /// Whether it came to nothing.
    pub failed: bool,
}

/// The run of a pack through a stage.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct StageRun {
    /// The stage, from 0.
    pub stage: usize,
    /// Which copy of the model, from 0.
    pub replica: usize,
    /// Number of the pack, in the order of submission.
    pub pack: u64,
    /// Its unique tokens.
    pub tokens: usize,
    /// Its rows of attention.
    pub rows: usize,
    /// Tokens of its longest row, padded to an even number.
    pub columns: usize,
    /// Its scored tokens.
    pub scored: usize,
    /// The squares of its rows' lengths, padding left out, added up.
    pub row_squares: u64,
    /// When it began: a stage that shares its device has waited for its turn by then.
    pub started: Instant,
    /// When it ended.
    pub ended: Instant,
    /// Whether it came to nothing.
    pub failed: bool,
}

/// What a stage has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StageCounters {
    /// Packs that it has run.
    pub packs: u64,
    /// Packs that failed in it.
    pub failed: u64,
    /// Unique tokens of the packs.
    pub tokens: u64,
    /// Time spent in runs.
    pub busy: Duration,
    /// How many times it was loaded.
    pub loads: u64,
    /// Time spent loading it.
    pub loading: Duration,
}

/// Counts what the stages of an engine do, and reports it to the observer.
pub(crate) struct Activity {
    stages: Vec<Cells>,
    observer: Option<Arc<dyn Observer>>,
}

#[derive(Default)]
struct Cells {
    packs: AtomicU64,
    failed: AtomicU64,
    tokens: AtomicU64,
    busy: AtomicU64,
    loads: AtomicU64,
    loading: AtomicU64,
}

impl Activity {
    pub(crate) fn new(stages: usize, observer: Option<Arc<dyn Observer>>) -> Self {
        Self {
            stages: (0..stages).map(|_| Cells::default()).collect(),
            observer,
        }
    }

    pub(super) fn loaded(&self, load: &StageLoad) {
        if let Some(cells) = self.stages.get(load.stage) {
            add(&cells.loads, 1);
            add(&cells.loading, nanoseconds(load.started, load.ended));
        }
        if let Some(observer) = &self.observer {
            observer.loaded(load);
        }
    }

    pub(super) fn ran(&self, run: &StageRun) {
        if let Some(cells) = self.stages.get(run.stage) {
            if run.failed {
                add(&cells.failed, 1);
            } else {
                add(&cells.packs, 1);
                add(&cells.tokens, run.tokens as u64);
            }
            add(&cells.busy, nanoseconds(run.started, run.ended));
        }
        if let Some(observer) = &self.observer {
            observer.ran(run);
        }
    }

    /// Of each stage, over all copies of the model.
    pub(crate) fn counters(&self) -> Vec<StageCounters> {
        let read = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        self.stages
            .iter()
            .map(|cells| StageCounters {
                packs: read(&cells.packs),
                failed: read(&cells.failed),
                tokens: read(&cells.tokens),
                busy: Duration::from_nanos(read(&cells.busy)),
                loads: read(&cells.loads),
                loading: Duration::from_nanos(read(&cells.loading)),
            })
            .collect()
    }
}

impl fmt::Debug for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Activity")
            .field("stages", &self.counters())
            .finish_non_exhaustive()
    }
}

fn add(cell: &AtomicU64, amount: u64) {
    cell.fetch_add(amount, Ordering::Relaxed);
}

fn nanoseconds(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Debug, Default)]
    struct Log(Mutex<Vec<u64>>);

    impl Observer for Log {
        fn ran(&self, run: &StageRun) {
            self.0.lock().unwrap().push(run.pack);
        }
    }

    #[test]
    fn counts_and_tells() {
        let log = Arc::new(Log::default());
        let activity = Activity::new(2, Some(Arc::clone(&log) as Arc<dyn Observer>));
        let started = Instant::now();
        let run = |stage, pack, failed| StageRun {
            stage,
            replica: 0,
            pack,
            tokens: 10,
            rows: 2,
            columns: 10,
            scored: 2,
            row_squares: 100,
            started,
            ended: started + Duration::from_millis(3),
            failed,
        };
        activity.ran(&run(0, 7, false));
        activity.ran(&run(1, 7, false));
        activity.ran(&run(1, 8, true));
        activity.loaded(&StageLoad {
            stage: 0,
            replica: 0,
            started,
            ended: started + Duration::from_secs(1),
            failed: false,
        });
        let counters = activity.counters();
        assert_eq!((counters[0].packs, counters[0].tokens), (1, 10));
        assert_eq!((counters[0].loads, counters[1].loads), (1, 0));
        assert_eq!(counters[0].loading, Duration::from_secs(1));
        assert_eq!((counters[1].packs, counters[1].failed), (1, 1));
        assert_eq!(counters[1].busy, Duration::from_millis(6));
        assert_eq!(*log.0.lock().unwrap(), [7, 7, 8]);
    }
}
