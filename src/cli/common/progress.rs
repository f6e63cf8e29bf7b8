//! How far a command is: a bar on a terminal, and a line now and then where there is none.

use std::{
    io::{self, BufRead, BufReader, IsTerminal, Read},
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use console::Term;
use indicatif::{ProgressBar, ProgressStyle};

use super::notices;

/// Between two looks at the numbers, for a bar.
const REDRAW: Duration = Duration::from_millis(200);
/// Between two lines where there is no terminal.
const LINE: Duration = Duration::from_secs(30);
/// Columns that are left to the bar itself, where the terminal has so many.
const BAR_COLUMNS: usize = 12;

/// A bar over something else, where there is a terminal to show it on.
pub(crate) fn bar(total: u64, template: &str) -> ProgressBar {
    if notices::is_quiet() || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(total);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// How far reading and scoring are. Copies are handles on the same.
#[derive(Clone)]
pub(crate) struct InputProgress(Arc<Shared>);

struct Shared {
    bar: ProgressBar,
    /// Whether it is shown at all.
    shown: Shown,
    total: Total,
    begun: OnceLock<Instant>,
    /// Records that were done before.
    at_first: u64,
    bytes: AtomicU64,
    records: AtomicU64,
    tokens: AtomicU64,
    computed: AtomicU64,
    /// Closed when the last handle goes, which ends the thread that looks.
    end: Mutex<Option<Sender<()>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    No,
    Bar,
    Lines,
}

/// What it is a share of.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Total {
    Unknown,
    Bytes(u64),
    Records(u64),
}

impl InputProgress {
    /// Over so many bytes of input, where that is known.
    pub(crate) fn new(bytes: Option<u64>) -> Self {
        match bytes {
            Some(bytes) => Self::over(Total::Bytes(bytes), 0, true),
            // Whoever types the records sees how far they are.
            None => Self::over(Total::Unknown, 0, !io::stdin().is_terminal()),
        }
    }

    /// Over so many records, of which some were done before.
    pub(crate) fn of_records(records: u64, done: u64) -> Self {
        Self::over(Total::Records(records), done, true)
    }

    fn over(total: Total, at_first: u64, is_wanted: bool) -> Self {
        let shown = match (io::stderr().is_terminal(), is_wanted) {
            _ if notices::is_quiet() => Shown::No,
            (_, false) => Shown::No,
            (true, true) => Shown::Bar,
            (false, true) => Shown::Lines,
        };
        let bar = match (shown, total) {
            (Shown::Bar, Total::Unknown) => ProgressBar::new_spinner(),
            (Shown::Bar, Total::Bytes(total) | Total::Records(total)) => ProgressBar::new(total),
            _ => ProgressBar::hidden(),
        };
        let template = match total {
            Total::Unknown => "{spinner} {msg}",
            _ => "{wide_bar} {msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self(Arc::new(Shared {
            bar,
            shown,
            total,
            begun: OnceLock::new(),
            at_first,
            bytes: AtomicU64::new(0),
            records: AtomicU64::new(at_first),
            tokens: AtomicU64::new(0),
            computed: AtomicU64::new(0),
            end: Mutex::new(None),
        }))
    }

    /// Scoring begins: rates and the time that is left count from here, and are shown.
    pub(crate) fn begin(&self) {
        let shared = &self.0;
        if shared.begun.set(Instant::now()).is_err() || shared.shown == Shown::No {
            return;
        }
        let (end, ended) = channel();
        let looked_at = Arc::downgrade(shared);
        let look = move || look(&looked_at, &ended);
        // Without a thread nothing is shown, and nothing else is amiss.
        if thread::Builder::new()
            .name("progress".into())
            .spawn(look)
            .is_ok()
        {
            *shared.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
        }
    }

    pub(crate) fn wrap_read<R: Read + Send>(&self, input: R) -> impl BufRead + use<R> {
        BufReader::new(Counted {
            input,
            progress: self.clone(),
        })
    }

    /// Counts bytes that were read.
    pub(crate) fn advance(&self, bytes: u64) {
        self.0.bytes.fetch_add(bytes, Relaxed);
    }

    /// Counts a record that is done.
    pub(crate) fn add_record(&self) {
        self.0.records.fetch_add(1, Relaxed);
    }

    /// Says how many records are done in all.
    pub(crate) fn set_records(&self, records: u64) {
        self.0.records.store(records, Relaxed);
    }

    /// Says how many tokens there were so far, and how many of them were computed.
    pub(crate) fn set_tokens(&self, tokens: usize, computed: usize) {
        self.0.tokens.store(tokens as u64, Relaxed);
        self.0.computed.store(computed as u64, Relaxed);
    }

    /// Prints a line on standard error, beside the bar.
    pub(crate) fn report(&self, line: &str) {
        self.0.bar.suspend(|| report!("{line}"));
    }

    /// The same of what is wrong, which is printed in any case.
    pub(crate) fn alert(&self, line: &str) {
        self.0.bar.suspend(|| alert!("{line}"));
    }

    pub(crate) fn finish_and_clear(&self) {
        self.stop();
        self.0.bar.finish_and_clear();
    }

    pub(crate) fn abandon(&self) {
        self.stop();
        self.0.bar.abandon();
    }

    fn stop(&self) {
        let mut end = self.0.end.lock().unwrap_or_else(PoisonError::into_inner);
        *end = None;
    }
}

/// Shows the numbers now and then, until nobody has them any more.
fn look(progress: &Weak<Shared>, ended: &Receiver<()>) {
    loop {
        let Some(pause) = progress.upgrade().map(|shared| shared.pause()) else {
            return;
        };
        match ended.recv_timeout(pause) {
            Err(RecvTimeoutError::Timeout) => {}
            _ => return,
        }
        match progress.upgrade() {
            Some(shared) => shared.show(),
            None => return,
        }
    }
}

impl Shared {
    fn pause(&self) -> Duration {
        match self.shown {
            Shown::Bar => REDRAW,
            _ => LINE,
        }
    }

    fn seen(&self) -> Seen {
        Seen {
            total: self.total,
            elapsed: self.begun.get().map_or(Duration::ZERO, Instant::elapsed),
            at_first: self.at_first,
            bytes: self.bytes.load(Relaxed),
            records: self.records.load(Relaxed),
            tokens: self.tokens.load(Relaxed),
            computed: self.computed.load(Relaxed),
        }
    }

    fn show(&self) {
        let seen = self.seen();
        if self.shown == Shown::Lines {
            report!("{}", seen.parts(usize::MAX));
            return;
        }
        let columns = Term::stderr().size_checked();
        let columns = columns.map_or(usize::MAX, |(_, columns)| usize::from(columns));
        self.bar.set_message(seen.parts(columns));
        self.bar.set_position(match self.total {
            Total::Records(_) => seen.records,
            _ => seen.bytes,
        });
    }
}

/// The numbers at one time.
struct Seen {
    total: Total,
    elapsed: Duration,
    at_first: u64,
    bytes: u64,
    records: u64,
    tokens: u64,
    computed: u64,
}

impl Seen {
    /// What fits on a line of a terminal with so many columns, beside a bar.
    fn parts(&self, columns: usize) -> String {
        let seconds = self.elapsed.as_secs_f64().max(1e-3);
        let rate = |count: u64| count as f64 / seconds;
        let done = self.records.saturating_sub(self.at_first);
        let records = match self.total {
            Total::Records(total) => format!("{} of {total} records", self.records),
            _ => format!("{} records", self.records),
        };
        let speed = format!("{:.1} a second", rate(done));
        let tokens = (self.tokens > 0).then(|| format!("{:.0} tokens/s", rate(self.tokens)));
        let computed = (self.computed > 0).then(|| {
            let share = self.computed as f64 / self.tokens.max(1) as f64;
            format!("{:.0}% computed", share * 100.0)
        });
        let left = self.left();
        let all = [Some(records), Some(speed), tokens, computed, left];
        // What is left out first, by its place in `all`.
        let mut parts: Vec<_> = (0..)
            .zip(all)
            .filter_map(|(at, part)| Some((at, part?)))
            .collect();
        for least in [3, 1, 2, 4] {
            let text = join(&parts);
            if text.len().saturating_add(BAR_COLUMNS) <= columns {
                return text;
            }
            parts.retain(|(at, _)| *at != least);
        }
        join(&parts)
    }

    /// The time that is left, if it goes on as it did.
    fn left(&self) -> Option<String> {
        let (before, done, total) = match self.total {
            Total::Unknown => return None,
            Total::Bytes(total) => (0, self.bytes, total),
            Total::Records(total) => (self.at_first, self.records, total),
        };
        let rate = done.saturating_sub(before) as f64 / self.elapsed.as_secs_f64().max(1e-3);
        Some(match rate > 0.0 {
            true => format!(
                "{} left",
                duration(total.saturating_sub(done) as f64 / rate)
            ),
            false => "time left unknown".to_owned(),
        })
    }
}

fn join(parts: &[(usize, String)]) -> String {
    let parts: Vec<_> = parts.iter().map(|(_, part)| part.as_str()).collect();
    parts.join(", ")
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

/// Counts what is read.
struct Counted<R> {
    input: R,
    progress: InputProgress,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.progress.advance(count as u64);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(total: Total) -> Seen {
        Seen {
            total,
            elapsed: Duration::from_secs(60),
            at_first: 0,
            bytes: 25,
            records: 1500,
            tokens: 120_000,
            computed: 45_600,
        }
    }

    #[test]
    fn a_line_says_rates_and_the_time_left() {
        assert_eq!(
            seen(Total::Bytes(100)).parts(usize::MAX),
            "1500 records, 25.0 a second, 2000 tokens/s, 38% computed, 3 min left"
        );
        assert_eq!(
            seen(Total::Unknown).parts(usize::MAX),
            "1500 records, 25.0 a second, 2000 tokens/s, 38% computed"
        );
        let job = Seen {
            at_first: 1000,
            tokens: 0,
            computed: 0,
            ..seen(Total::Records(1_000_000))
        };
        assert_eq!(
            job.parts(usize::MAX),
            "1500 of 1000000 records, 8.3 a second, 33.3 h left"
        );
        let begun = Seen {
            records: 1000,
            ..job
        };
        assert_eq!(
            begun.parts(usize::MAX),
            "1000 of 1000000 records, 0.0 a second, time left unknown"
        );
        assert_eq!(duration(59.6), "60 s");
        assert_eq!(duration(864_000.0), "10.0 days");
    }

    #[test]
    fn a_narrow_terminal_has_the_most_important_parts() {
        let seen = seen(Total::Bytes(100));
        for (columns, expected) in [
            (
                80,
                "1500 records, 25.0 a second, 2000 tokens/s, 38% computed, 3 min left",
            ),
            (79, "1500 records, 25.0 a second, 2000 tokens/s, 3 min left"),
            (60, "1500 records, 2000 tokens/s, 3 min left"),
            (40, "1500 records, 3 min left"),
            (30, "1500 records"),
            (5, "1500 records"),
        ] {
            assert_eq!(seen.parts(columns), expected, "{columns}");
        }
    }
}
