//! The command line: a file or folder for each verb, with its arguments, its run and its print, and what they share in
//! `common/`. Results go to standard output, everything else to standard error.

#[macro_use]
mod common;

mod bench;
mod check_text;
mod command;
mod doctor;
mod export;
mod filter;
mod inspect;
mod plan;
mod rank;
mod recipes;
mod rotate;
mod score;
#[cfg(feature = "serve")]
mod serve;
mod synth;
mod verify;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;

use command::{Args, has_log, run};
use common::{
    notices,
    outcome::{Status, describe, is_broken_pipe},
    output, sigbus,
};

/// As shells have it for a command that a signal has ended: 128 and the signal, here SIGINT and SIGPIPE.
const INTERRUPTED: u8 = 130;
const BROKEN_PIPE: u8 = 141;

/// Runs the command that the process was started with. Exit status: 0 done, 1 failed, 2 bad usage,
/// 130 ended by a signal, 141 the reader of the results has gone.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    args.verbosity.apply();
    crate::engine::return_large_blocks();
    sigbus::install();
    if !has_log(&args.command) {
        notices::show();
    }
    let outcome = run(&args.command).and_then(|status| {
        io::stdout().flush().map_err(output::to_stdout)?;
        Ok(status)
    });
    match outcome {
        Ok(Status::Done) => ExitCode::SUCCESS,
        Ok(Status::SomeFailed | Status::CheckFailed) => ExitCode::FAILURE,
        Ok(Status::Interrupted) => ExitCode::from(INTERRUPTED),
        // Whoever read the results has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::from(BROKEN_PIPE),
        Err(error) => {
            alert!("error: {}", describe(&error));
            ExitCode::FAILURE
        }
    }
}
