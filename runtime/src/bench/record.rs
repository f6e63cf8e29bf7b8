//! Keeps all that happens during a benchmark.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use crate::engine::{Observer, StageLoad, StageRun};

/// A part of the benchmark.
#[derive(Clone, Debug)]
pub(super) struct Phase {
    pub(super) name: String,
    pub(super) started: Instant,
    pub(super) ended: Instant,
}

/// What has happened so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Events {
    pub(super) loads: Vec<StageLoad>,
    pub(super) runs: Vec<StageRun>,
    pub(super) phases: Vec<Phase>,
}

/// Writes events down as they come.
#[derive(Debug, Default)]
pub(super) struct Recorder(Mutex<Events>);

impl Recorder {
    pub(super) fn events(&self) -> Events {
        self.lock().clone()
    }

    /// Does something that is a phase of the benchmark, and returns it with what came out.
    pub(super) fn phase<T>(&self, name: &str, work: impl FnOnce() -> T) -> (Phase, T) {
        let started = Instant::now();
        let done = work();
        let phase = Phase {
            name: name.to_owned(),
            started,
            ended: Instant::now(),
        };
        self.lock().phases.push(phase.clone());
        (phase, done)
    }

    fn lock(&self) -> MutexGuard<'_, Events> {
        // A holder that panicked has left lists that are whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Recorder {
    fn loaded(&self, load: &StageLoad) {
        self.lock().loads.push(*load);
    }

    fn ran(&self, run: &StageRun) {
        self.lock().runs.push(*run);
    }
}

impl Phase {
    pub(super) fn seconds(&self) -> f64 {
        self.ended
            .saturating_duration_since(self.started)
            .as_secs_f64()
    }

    /// How many seconds of a time from `started` to `ended` lie within the phase.
    pub(super) fn overlap(&self, started: Instant, ended: Instant) -> f64 {
        let from = self.started.max(started);
        self.ended
            .min(ended)
            .saturating_duration_since(from)
            .as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn overlaps() {
        let at = Instant::now();
        let second = |seconds| at + Duration::from_secs(seconds);
        let phase = Phase {
            name: String::new(),
            started: second(10),
            ended: second(20),
        };
        assert_eq!(phase.seconds(), 10.0);
        for (from, to, expected) in [
            (0, 5, 0.0),
            (0, 12, 2.0),
            (12, 15, 3.0),
            (5, 25, 10.0),
            (19, 25, 1.0),
            (20, 25, 0.0),
        ] {
            assert_eq!(phase.overlap(second(from), second(to)), expected);
        }
    }
}
