//! How far a job is, for all who work on it.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use worldpm_ort_jobs::Job;

use crate::cli::common::progress::InputProgress;

/// Between two looks at what others have done.
const LOOK: Duration = Duration::from_secs(5);

pub(super) struct Progress {
    shown: InputProgress,
    records: u64,
    looked: Cell<Option<Instant>>,
}

impl Progress {
    pub(super) fn new(records: u64, done: u64) -> Self {
        Self {
            shown: InputProgress::of_records(records, done),
            records,
            looked: Cell::new(None),
        }
    }

    /// Another handle on what is shown.
    pub(super) fn handle(&self) -> InputProgress {
        self.shown.clone()
    }

    /// Prints a line on standard error, beside the bar.
    pub(super) fn report(&self, line: &str) {
        self.shown.report(line);
    }

    /// Scoring begins.
    pub(super) fn begin(&self) {
        self.shown.begin();
    }

    /// Looks how far the job is, if the last look is old. `open` are records that are done and not committed.
    pub(super) fn look(&self, job: &Job, open: u64) {
        let now = Instant::now();
        let is_fresh = |looked: Instant| now.duration_since(looked) < LOOK;
        if self.looked.get().is_some_and(is_fresh) {
            return;
        }
        self.looked.set(Some(now));
        // A directory that cannot be read is reported by what needs it.
        if let Ok((_, committed)) = job.progress() {
            self.shown.set_records((committed + open).min(self.records));
        }
    }

    pub(super) fn clear(&self) {
        self.shown.finish_and_clear();
    }
}
