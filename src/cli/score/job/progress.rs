//! How far a job is, for all who work on it.

use std::{
    cell::Cell,
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use worldpm_ort_jobs::Job;

/// Between two looks at what others have done.
const LOOK: Duration = Duration::from_secs(5);
/// Between two lines where there is no terminal.
const TELL: Duration = Duration::from_secs(30);

pub(super) struct Progress {
    bar: ProgressBar,
    is_shown: bool,
    records: u64,
    begun: Instant,
    /// Records that were done then.
    at_first: u64,
    looked: Cell<Option<Instant>>,
    told: Cell<Instant>,
}

impl Progress {
    pub(super) fn new(records: u64, done: u64) -> Self {
        let is_shown = io::stderr().is_terminal();
        let bar = match is_shown {
            true => ProgressBar::new(records).with_position(done),
            false => ProgressBar::hidden(),
        };
        let template = "{wide_bar} {human_pos} of {human_len} records, {per_sec}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.reset_eta();
        Self {
            bar,
            is_shown,
            records,
            begun: Instant::now(),
            at_first: done,
            looked: Cell::new(None),
            told: Cell::new(Instant::now()),
        }
    }

    /// Another handle on the bar, for a line beside it.
    pub(super) fn bar(&self) -> ProgressBar {
        self.bar.clone()
    }

    /// Prints a line on standard error, beside the bar.
    pub(super) fn report(&self, line: &str) {
        self.bar.suspend(|| report!("{line}"));
    }

    /// Looks how far the job is, if the last look is old. `open` are records that are done and not committed.
    pub(super) fn look(&self, job: &Job, open: u64) {
        let now = Instant::now();
        let is_fresh = |looked: Instant| now.duration_since(looked) < LOOK;
        if self.looked.get().is_some_and(is_fresh) {
            return;
        }
        self.looked.set(Some(now));
        // A directory that cannot be read is told of by what needs it.
        let Ok((_, committed)) = job.progress() else {
            return;
        };
        let done = (committed + open).min(self.records);
        self.bar.set_position(done);
        if !self.is_shown && now.duration_since(self.told.get()) >= TELL {
            self.told.set(now);
            report!("{}", self.line(done, now.duration_since(self.begun)));
        }
    }

    fn line(&self, done: u64, elapsed: Duration) -> String {
        let rate = done.saturating_sub(self.at_first) as f64 / elapsed.as_secs_f64().max(1e-3);
        let left = match rate > 0.0 {
            true => {
                let seconds = (self.records - done) as f64 / rate;
                format!("{} left", duration(seconds))
            }
            false => "time left unknown".to_owned(),
        };
        format!(
            "{done} of {} records, {rate:.1} a second, {left}",
            self.records
        )
    }

    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// A time in words that say as much as is known of it.
fn duration(seconds: f64) -> String {
    match seconds {
        ..120.0 => format!("{seconds:.0} s"),
        ..7200.0 => format!("{:.0} min", seconds / 60.0),
        ..172_800.0 => format!("{:.1} h", seconds / 3600.0),
        _ => format!("{:.1} days", seconds / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_rate_and_time() {
        let progress = Progress::new(1_000_000, 1000);
        let minute = Duration::from_secs(60);
        assert_eq!(
            progress.line(7000, minute),
            "7000 of 1000000 records, 100.0 a second, 2.8 h left"
        );
        assert_eq!(
            progress.line(1000, minute),
            "1000 of 1000000 records, 0.0 a second, time left unknown"
        );
        assert_eq!(duration(59.6), "60 s");
        assert_eq!(duration(864_000.0), "10.0 days");
    }
}
