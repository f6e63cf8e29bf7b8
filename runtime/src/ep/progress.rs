//! Reports progress of something that takes long and reports nothing by itself.

use std::{
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

/// Does `work`. Until that is done, `report` is called after every `interval` with how long it has been going on.
pub(super) fn reporting<T>(
    interval: Duration,
    report: impl Fn(Duration) + Send,
    work: impl FnOnce() -> T,
) -> T {
    let (working, done) = mpsc::channel::<()>();
    thread::scope(|scope| {
        // Without a thread the work is done in silence.
        let _ = thread::Builder::new().spawn_scoped(scope, move || {
            let begun = Instant::now();
            while done.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                report(begun.elapsed());
            }
        });
        // Dropped when the work is done, and when it panics.
        let _working = working;
        work()
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{panic, sync::Mutex};

    use super::*;

    #[test]
    fn long_work_is_told_of_until_it_is_done() {
        let reported = Mutex::new(Vec::new());
        let (heard, hears) = mpsc::channel();
        let report = |elapsed| {
            reported.lock().unwrap().push(elapsed);
            // Nobody listens when the work is done.
            let _ = heard.send(());
        };
        let interval = Duration::from_millis(1);
        let result = reporting(interval, report, || {
            for _ in 0..3 {
                hears.recv().unwrap();
            }
            "done"
        });
        assert_eq!(result, "done");
        let reported = reported.into_inner().unwrap();
        assert!(reported.len() >= 3 && reported.is_sorted(), "{reported:?}");
        assert!(reported[0] >= interval, "{reported:?}");
    }

    #[test]
    fn short_work_and_work_that_panics() {
        fn never(_: Duration) {
            panic!("an hour has not passed");
        }
        let hour = Duration::from_secs(3600);
        assert_eq!(reporting(hour, never, || 1), 1);
        let panicked =
            panic::catch_unwind(|| reporting(hour, never, || -> u8 { panic!("at work") }));
        assert!(panicked.is_err());
    }
}
