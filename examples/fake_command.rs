//! The `worldpm-ort` command on an engine that passes no time, to measure all of it but the model. At the end it says how much
//! memory it took.
//!
//!     cargo run --release --example fake_command -- score --model DIR --input records.jsonl --output scores.jsonl --job JOB

#![allow(clippy::unwrap_used)]

use std::{fs, process::ExitCode, sync::Arc};

use worldpm_ort_runtime::testing::{FakeEngine, FakeOptions, stand_in};

/// As the command has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    assert!(stand_in(Arc::new(
        FakeEngine::start(FakeOptions::default()).unwrap()
    )));
    let code = worldpm_ort::cli::main();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    eprintln!("peak memory: {}", peak.unwrap_or("unknown").trim());
    code
}
