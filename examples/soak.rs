//! Scores a mix of everything for a long time, with one model in one process, and watches whether memory grows: the
//! part of `make soak` that runs this project.
//!
//! Several threads hand in short and long conversations, batches that hold refused ones, batches that are cancelled or
//! dropped, and batches that nobody waits for long enough. Memory is sampled at even intervals, and its slope is that
//! of the line with the least squared distances, over the samples after the warm-up.
//!
//! ```text
//! cargo run --release --example soak -- BUNDLE SECONDS [WARM_UP_SECONDS] [DEVICES]
//! ```
//!
//! Prints a sample a line to standard error, and one JSON object at the end.

use std::{
    env,
    io::{self, Write},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use worldpm_ort::{
    Conversation, Error, Scorer, ScorerOptions,
    bench::{ProcessMemory, statistics},
    engine::EngineError,
    ep::Devices,
};

/// Threads that hand in work.
const CLIENTS: u64 = 4;
/// Samples of memory over the whole time.
const SAMPLES: u32 = 120;

/// What came of the conversations, by what was done with their batch.
#[derive(Debug, Default)]
struct Tally {
    scored: AtomicU64,
    refused: AtomicU64,
    cancelled: AtomicU64,
    timed_out: AtomicU64,
    dropped_batches: AtomicU64,
    wrong: AtomicU64,
}

fn main() -> Result<()> {
    let mut args = env::args().skip(1);
    let bundle = args
        .next()
        .context("usage: soak BUNDLE SECONDS [WARM_UP_SECONDS] [DEVICES]")?;
    let mut seconds = |name, default| -> Result<Duration> {
        let seconds = args.next().map_or(Ok(default), |text| text.parse());
        Ok(Duration::from_secs_f64(seconds.context(name)?))
    };
    let total = seconds("SECONDS", 3600.0)?;
    let warm_up = seconds("WARM_UP_SECONDS", total.as_secs_f64() / 10.0)?;
    ensure!(
        warm_up < total,
        "the warm-up has to be shorter than the whole"
    );
    let mut options = ScorerOptions::default();
    if let Some(devices) = args.next() {
        options = options.with_devices(devices.parse::<Devices>()?);
    }
    worldpm_ort::engine::return_large_blocks();
    let scorer = Scorer::open(bundle.as_ref(), &options)?;
    let tally = Tally::default();
    let done = AtomicBool::new(false);
    let samples = thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (scorer, tally, done) = (&scorer, &tally, &done);
            scope.spawn(move || work(scorer, tally, done, client));
        }
        let samples = watch(total, warm_up);
        done.store(true, Ordering::Relaxed);
        samples
    })?;
    report(&scorer, &tally, &samples)
}

/// Hands in batches of all kinds until it is enough.
fn work(scorer: &Scorer, tally: &Tally, done: &AtomicBool, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    while !done.load(Ordering::Relaxed) {
        let batch = scorer.submit(&conversations(&mut random));
        let results = match random.u8(0..10) {
            0 => {
                drop(batch);
                count(&tally.dropped_batches);
                continue;
            }
            1 => {
                thread::sleep(Duration::from_millis(random.u64(0..50)));
                batch.cancel();
                batch.wait()
            }
            2 => batch.wait_for(Duration::from_millis(random.u64(0..50))),
            _ => batch.wait(),
        };
        for result in results {
            count(match result {
                Ok(reward) => match reward.score() {
                    Ok(score) if score.score.is_finite() => &tally.scored,
                    _ => &tally.wrong,
                },
                Err(Error::Engine(EngineError::Cancelled)) => &tally.cancelled,
                Err(Error::Engine(EngineError::TimedOut(_))) => &tally.timed_out,
                Err(Error::Text(_) | Error::Ending(_)) => &tally.refused,
                Err(_) => &tally.wrong,
            });
        }
    }
}

/// A few conversations that belong together: most of them short, some long, some that have to be refused.
fn conversations(random: &mut fastrand::Rng) -> Vec<Conversation> {
    let prompt = words(random, 5..100);
    (0..random.usize(1..8))
        .map(|_| match random.u8(0..20) {
            // No message.
            0 => Conversation::new(Vec::new()),
            // Longer than any model takes.
            1 => Conversation::exchange(prompt.as_str(), "again ".repeat(140_000)),
            2 => Conversation::exchange(prompt.as_str(), words(random, 500..2500)),
            _ => Conversation::exchange(prompt.as_str(), words(random, 1..300)),
        })
        .collect()
}

/// Words that nobody said before, so that little is shared but the prompt.
fn words(random: &mut fastrand::Rng, count: std::ops::Range<usize>) -> String {
    let count = random.usize(count);
    let words: Vec<String> = (0..count)
        .map(|_| {
            let letters = random.usize(1..8);
            (0..letters).map(|_| random.lowercase()).collect()
        })
        .collect();
    words.join(" ")
}

fn count(cell: &AtomicU64) {
    cell.fetch_add(1, Ordering::Relaxed);
}

/// Samples of (seconds, bytes resident) after the warm-up.
fn watch(total: Duration, warm_up: Duration) -> Result<Vec<(f64, f64)>> {
    let begun = Instant::now();
    let mut samples = Vec::new();
    for sample in 1..=SAMPLES {
        let due = total * sample / SAMPLES;
        thread::sleep(due.saturating_sub(begun.elapsed()));
        let memory =
            ProcessMemory::read().context("the system does not report the memory in use")?;
        let seconds = begun.elapsed().as_secs_f64();
        eprintln!("{seconds:8.1} s {:10.1} MB", memory.resident as f64 / 1e6);
        if begun.elapsed() >= warm_up {
            samples.push((seconds, memory.resident as f64));
        }
    }
    Ok(samples)
}

fn report(scorer: &Scorer, tally: &Tally, samples: &[(f64, f64)]) -> Result<()> {
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else {
        bail!("no samples after the warm-up; give a longer time");
    };
    let slope = statistics::slope(samples).context("one sample is no line")?;
    let read = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
    let counters = scorer.counters();
    let stages: Vec<_> = counters
        .stages
        .iter()
        .map(|stage| json!({"packs": stage.packs, "failed": stage.failed, "tokens": stage.tokens}))
        .collect();
    let peak = ProcessMemory::read().map(|memory| memory.peak as f64 / 1e6);
    let report = json!({
        "minutes": (last.0 - first.0) / 60.0,
        "samples": samples.len(),
        "start_mb": first.1 / 1e6,
        "end_mb": last.1 / 1e6,
        "peak_mb": peak,
        "slope_mb_per_hour": slope * 3600.0 / 1e6,
        "conversations": {
            "scored": read(&tally.scored),
            "refused": read(&tally.refused),
            "cancelled": read(&tally.cancelled),
            "timed_out": read(&tally.timed_out),
            "wrong": read(&tally.wrong),
        },
        "dropped_batches": read(&tally.dropped_batches),
        "stages": stages,
    });
    writeln!(io::stdout(), "{report:#}")?;
    ensure!(
        read(&tally.wrong) == 0,
        "some conversations came to what none of them should"
    );
    Ok(())
}
