//! From answers to the output, however they were computed.

use std::cell::Cell;

use anyhow::{Result, bail};

use super::{ScoreArgs, input::is_file};
use crate::{
    Conversation,
    answers::{Answer, AnswerLine, Outcome},
    cli::common::{
        interrupt::Interrupt,
        outcome::Status,
        output::Results,
        records::{InputProgress, place},
    },
    records::Entry,
};

/// Printed at the first signal.
const FINISHING: &str =
    "interrupted: what is under way is finished and written; a second signal stops at once";

/// The output, and what has gone there.
pub(super) struct Writing<'a> {
    args: &'a ScoreArgs,
    output: Results,
    progress: InputProgress,
    lines: usize,
    failures: usize,
}

/// Whether no more records are wanted, and why.
#[derive(Default)]
pub(super) struct Stopping {
    /// A record cannot be scored: what comes after it would be scored for nothing.
    refused: Cell<bool>,
    /// The process was asked to end.
    interrupted: Cell<bool>,
}

/// Why there is no answer to a record.
pub(super) struct Unanswered {
    pub(super) problem: String,
    /// Whether no record after it can be scored either.
    pub(super) ends_all: bool,
}

impl<'a> Writing<'a> {
    pub(super) fn new(args: &'a ScoreArgs, output: Results, progress: InputProgress) -> Self {
        Self {
            args,
            output,
            progress,
            lines: 0,
            failures: 0,
        }
    }

    pub(super) fn begin(&mut self) -> Result<Interrupt> {
        self.output.open()?;
        let progress = self.progress.clone();
        Ok(Interrupt::watch(move || progress.report(FINISHING))?)
    }

    /// Adds the answer to a record. `more` says whether the next one is there already.
    pub(super) fn take(
        &mut self,
        entry: &Entry,
        answer: Result<Answer, Unanswered>,
        more: bool,
    ) -> Result<()> {
        let outcome = match answer {
            Ok(answer) => Outcome::Answer(answer),
            Err(unanswered) => {
                self.failures += 1;
                let error = unanswered.problem;
                if !self.args.keep_going || unanswered.ends_all {
                    return self.fail(&format!("{}: {error}", place(entry, &self.args.input)));
                }
                Outcome::Failure {
                    line: entry.line,
                    error,
                }
            }
        };
        let id = entry.id.as_ref();
        let line = serde_json::to_vec(&AnswerLine { id, outcome })?;
        self.output.write_line(&line)?;
        self.lines += 1;
        if !more {
            // What comes next may take long.
            self.output.flush()?;
        }
        Ok(())
    }

    /// Ends with an error, and says where the results are that there are.
    pub(super) fn fail(&mut self, problem: &str) -> Result<()> {
        self.progress.abandon();
        let left = match self.output.leave()? {
            Some(left) => format!("; the results before it are in {}", left.display()),
            None => String::new(),
        };
        bail!("{problem}{left}");
    }

    /// All answers were taken.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.output.flush()?;
        self.progress.finish_and_clear();
        Ok(())
    }

    /// `left`: the records that are left, which a signal may have come before the end of was seen.
    pub(super) fn finish(mut self, stopping: &Stopping, mut left: impl Iterator) -> Result<Status> {
        let mut complete = || is_file(&self.args.input) && left.next().is_none();
        if stopping.interrupted.get() && !complete() {
            let lines = self.lines;
            match self.output.leave()? {
                Some(left) => report!(
                    "interrupted: {} has the first {lines} records, and {} is as it was",
                    left.display(),
                    self.args.output.display()
                ),
                None => report!("interrupted: the output has the first {lines} records"),
            }
            return Ok(Status::Interrupted);
        }
        self.output.finish()?;
        if self.failures > 0 {
            let failures = self.failures;
            report!("{failures} records could not be scored; their lines in the output say why");
            return Ok(Status::SomeFailed);
        }
        Ok(Status::Done)
    }
}

impl Stopping {
    /// The records that are to be scored.
    pub(super) fn wanted<'s>(
        &'s self,
        args: &'s ScoreArgs,
        interrupt: &'s Interrupt,
        entries: &'s mut impl Iterator<Item = (Entry, Vec<Conversation>)>,
    ) -> impl Iterator<Item = (Entry, Vec<Conversation>)> + 's {
        std::iter::from_fn(move || {
            let refused = self.refused.get();
            self.interrupted.set(!refused && interrupt.asked());
            if refused || self.interrupted.get() {
                return None;
            }
            let (entry, conversations) = entries.next()?;
            self.refused.set(!args.keep_going && entry.check().is_err());
            Some((entry, conversations))
        })
    }
}
