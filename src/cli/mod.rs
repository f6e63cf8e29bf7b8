//! The command line. Results go to standard output, everything else to standard error.

mod args;
mod bench;
mod bench_args;
mod checkpoint;
mod doctor;
mod export;
mod inspect;
mod interrupt;
mod notices;
mod output;
mod plan;
mod recipes;
mod records;
mod score;
mod scorer_args;
mod serving_args;
mod sigbus;
mod simulate;
mod synth;
mod table;
mod verify;

use std::{io, process::ExitCode};

use clap::Parser;

use args::{Args, Command};

/// How a command ended, when it did not fail outright.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    /// Everything was done.
    Done,
    /// Some records could not be scored; they are in the output as errors.
    SomeFailed,
    /// A signal ended the work early; what is in the output is right.
    Interrupted,
    /// A check was made and did not pass; the output says of what.
    CheckFailed,
}

/// Runs the command that the process was started with. Exit status: 0 done, 1 failed, 2 bad usage,
/// 130 ended by a signal.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    crate::engine::return_large_blocks();
    sigbus::install();
    notices::show();
    let outcome = match &args.command {
        Command::Synth(args) => synth::run(args),
        Command::Export(args) => export::run(args),
        Command::Recipes(args) => recipes::run(args),
        Command::Score(args) => score::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Plan(args) => plan::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Doctor(args) => doctor::run(args),
    };
    match outcome {
        Ok(Status::Done) => ExitCode::SUCCESS,
        Ok(Status::SomeFailed | Status::CheckFailed) => ExitCode::FAILURE,
        // As shells have it for a command that SIGINT has ended.
        Ok(Status::Interrupted) => ExitCode::from(130),
        // Whoever read the results has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
