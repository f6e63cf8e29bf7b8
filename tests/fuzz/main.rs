//! Inputs that are spoiled at random, for every parser of the program, and kills at random moments.
//!
//! A run is bounded and always the same; `make fuzz` goes on for as long as one wants. `FUZZ_SECONDS` is how long,
//! `FUZZ_SEED` where the numbers begin, `FUZZ_FAILURES` the folder for inputs that failed, with the commands in `run.sh`,
//! `FUZZ_KINDS` the kinds to try, with commas between.
//!
//! Whatever the input, the program ends by itself, with status 0, 1 or 2, no panic, no signal and bounded memory and time.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../support/hub_server/mod.rs"]
mod hub_server;
#[path = "../support/mod.rs"]
mod support;

mod child;
mod inputs;
mod kills;
mod mutate;
mod options;
mod seed;

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;
use seed::Seed;

/// Cases of each kind in a bounded run.
const INPUTS: u64 = 10;
const KILLS: u64 = 3;
const WORKERS: usize = 2;
const SEED: u64 = 11;

/// What is tried: makes a case in an empty folder, runs it, and says what went wrong.
type Try = fn(&mut Rng, &Seed, &Path) -> Result<(), String>;

const KINDS: [(&str, Try, u64); 15] = [
    ("manifest", inputs::manifest, INPUTS),
    ("graph", inputs::graph, INPUTS),
    ("probes", inputs::probes, INPUTS),
    ("header", inputs::header, INPUTS),
    ("index", inputs::index, INPUTS),
    ("config", inputs::config, INPUTS),
    ("tokenizer", inputs::tokenizer, INPUTS),
    ("template", inputs::template, INPUTS),
    ("adapter", inputs::adapter, INPUTS),
    ("records", inputs::records, INPUTS),
    ("options", options::options, INPUTS),
    ("special-file", inputs::special_file, INPUTS),
    ("kill-export", kills::export, KILLS),
    ("kill-score", kills::score, KILLS),
    ("kill-download", kills::download, KILLS),
];

#[derive(Default)]
struct Report {
    /// Tried and held, by kind.
    counts: BTreeMap<&'static str, (u64, u64)>,
    failures: Vec<String>,
}

fn number(name: &str) -> Option<u64> {
    let value = env::var(name).ok().filter(|value| !value.is_empty())?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is `{value}`, not a number")),
    )
}

fn failures_folder() -> PathBuf {
    match env::var_os("FUZZ_FAILURES") {
        Some(folder) if !folder.is_empty() => folder.into(),
        _ => Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz-failures"),
    }
}

#[test]
fn nothing_panics_hangs_or_eats_memory() {
    let seed = Seed::new();
    for (name, check) in [("inputs", inputs::whole as Try), ("kills", kills::whole)] {
        let place = tempfile::tempdir().unwrap();
        check(&mut Rng::with_seed(0), &seed, place.path())
            .unwrap_or_else(|problem| panic!("{name} that nothing was done to: {problem}"));
    }
    let first = number("FUZZ_SEED").unwrap_or(SEED);
    let end = number("FUZZ_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let chosen = env::var("FUZZ_KINDS").unwrap_or_default();
    let kinds: Vec<_> = KINDS
        .iter()
        .filter(|(name, ..)| chosen.is_empty() || chosen.split(',').any(|kind| kind == *name))
        .collect();
    assert!(
        !kinds.is_empty(),
        "FUZZ_KINDS names none of {:?}",
        KINDS.map(|(name, ..)| name)
    );
    let (next, report) = (AtomicU64::new(0), Mutex::new(Report::default()));
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let case = next.fetch_add(1, Ordering::Relaxed);
                    let (name, attempt, times) = kinds[case as usize % kinds.len()];
                    let round = case / kinds.len() as u64;
                    match end {
                        Some(end) if Instant::now() > end => return,
                        None if round >= INPUTS.max(KILLS) => return,
                        None if round >= *times => continue,
                        _ => {}
                    }
                    let outcome = one(&seed, first.wrapping_add(round), name, *attempt);
                    let mut report = report.lock().unwrap();
                    let (tried, held) = report.counts.entry(name).or_default();
                    *tried += 1;
                    *held += u64::from(outcome.is_ok());
                    report.failures.extend(outcome.err());
                }
            });
        }
    });
    let Report { counts, failures } = report.into_inner().unwrap();
    println!("{:<14}{:>8}{:>8}", "kind", "tried", "held");
    for (name, (tried, held)) in &counts {
        println!("{name:<14}{tried:>8}{held:>8}");
    }
    assert!(
        failures.is_empty(),
        "{} inputs failed:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// Tries one case. One that fails is kept.
fn one(seed: &Seed, number: u64, name: &str, attempt: Try) -> Result<(), String> {
    let place = tempfile::tempdir().unwrap();
    let salt = name.bytes().fold(number, |salt, byte| {
        salt.wrapping_mul(31).wrapping_add(byte.into())
    });
    let problem = match attempt(&mut Rng::with_seed(salt), seed, place.path()) {
        Ok(()) => return Ok(()),
        Err(problem) => problem,
    };
    let kept = failures_folder().join(format!("{name}-{number}"));
    let _ = fs::remove_dir_all(&kept);
    fs::create_dir_all(kept.parent().unwrap()).unwrap();
    // Not a rename, which does not go to another file system. Pipes and links stay what they are.
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .arg(place.path())
        .arg(&kept)
        .status();
    assert!(copied.unwrap().success());
    Err(format!(
        "{name}, FUZZ_SEED={number}, kept in {}: {problem}",
        kept.display()
    ))
}
