//! The command line. Results go to standard output, everything else to standard error.

#[macro_use]
mod notices;

mod args;
mod bench;
mod bench_args;
mod check_text;
mod checkpoint;
mod closed;
mod doctor;
mod export;
mod heading;
mod inspect;
mod interrupt;
mod model;
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

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

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

/// As shells have it for a command that a signal has ended: 128 and the signal, here SIGINT and SIGPIPE.
const INTERRUPTED: u8 = 130;
const BROKEN_PIPE: u8 = 141;

/// Runs the command that the process was started with. Exit status: 0 done, 1 failed, 2 bad usage,
/// 130 ended by a signal, 141 the reader of the results has gone.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    crate::engine::return_large_blocks();
    sigbus::install();
    notices::show();
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
            report!("error: {}", describe(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> anyhow::Result<Status> {
    if closed::stdout() && prints(command) {
        anyhow::bail!(
            "standard output is closed, and the results would be lost: leave it open, or send it to a file"
        );
    }
    match command {
        Command::Synth(args) => synth::run(args),
        Command::Export(args) => export::run(args),
        Command::Recipes(args) => recipes::run(args),
        Command::Score(args) => score::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Plan(args) => plan::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::CheckText(args) => check_text::run(args),
    }
}

/// Whether a command has results for standard output.
fn prints(command: &Command) -> bool {
    match command {
        Command::Synth(_) | Command::Export(_) => false,
        Command::Score(args) => args.output == Path::new("-"),
        _ => true,
    }
}

/// An error with its causes. Some errors have the text of their cause in their own; it is not said twice.
fn describe(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |mut said, cause| {
        let cause = cause.to_string();
        if said.is_empty() {
            return cause;
        }
        if !said.contains(&cause) {
            said.push_str(": ");
            said.push_str(&cause);
        }
        said
    })
}

/// Whether writing results failed so; a connection that broke is within an error of its own.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let written = error.downcast_ref().map(io::Error::kind);
    let as_json = || {
        error
            .downcast_ref()
            .and_then(serde_json::Error::io_error_kind)
    };
    written.or_else(as_json) == Some(io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let missing = || io::Error::from_raw_os_error(2);
        let text = "No such file or directory (os error 2)";
        let plain = Err::<(), _>(missing())
            .context("cannot open x")
            .map_err(|e| describe(&e));
        assert_eq!(plain, Err(format!("cannot open x: {text}")));
        let said = Err::<(), _>(missing())
            .with_context(|| format!("cannot open x: {text}"))
            .context("chosen")
            .map_err(|e| describe(&e));
        assert_eq!(said, Err(format!("chosen: cannot open x: {text}")));
    }

    #[test]
    fn only_results_break_pipes_quietly() {
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        let writing = Err::<(), _>(broken()).context("cannot write");
        assert!(writing.is_err_and(|error| is_broken_pipe(&error)));
        let record = crate::records::RecordErrorKind::Io(broken());
        assert!(!is_broken_pipe(&record.into()));
    }
}
