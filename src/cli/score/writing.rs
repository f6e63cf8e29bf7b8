//! From answers to the output, however they were computed.

use std::cell::Cell;

use anyhow::{Result, bail};

use super::{
    ScoreArgs,
    form::{Added, Form},
    input::{Entries, Source, Taken},
};
use crate::{
    Conversation,
    answers::{Answer, Outcome},
    cli::common::{
        interrupt::Interrupt, outcome::Status, output::Results, progress::InputProgress,
    },
};

/// Printed at the first signal.
const FINISHING: &str =
    "interrupted: what is under way is finished and written; a second signal stops at once";

/// The output, and what has gone there.
pub(super) struct Writing<'a> {
    args: &'a ScoreArgs,
    output: Results,
    form: Form,
    progress: InputProgress,
    /// Whether reading the input never waits for someone to write it.
    is_complete: bool,
    lines: usize,
    failures: usize,
    left_out: usize,
}

/// Whether no more records are wanted, and why.
pub(super) struct Stopping {
    /// Whether reading the input never waits for someone to write it.
    is_complete: bool,
    /// A record cannot be scored: what comes after it would be scored for nothing.
    refused: Cell<bool>,
    /// There are no more.
    over: Cell<bool>,
    /// The process was asked to end before.
    interrupted: Cell<bool>,
}

/// Why there is no answer to a record.
pub(super) struct Unanswered {
    pub(super) problem: String,
    /// Whether no record after it can be scored either.
    pub(super) ends_all: bool,
}

impl<'a> Writing<'a> {
    pub(super) fn new(
        args: &'a ScoreArgs,
        output: Results,
        progress: InputProgress,
        is_complete: bool,
    ) -> Self {
        Self {
            args,
            output,
            form: Form::default(),
            progress,
            is_complete,
            lines: 0,
            failures: 0,
            left_out: 0,
        }
    }

    pub(super) fn begin(&mut self) -> Result<Interrupt> {
        self.output.open()?;
        let progress = self.progress.clone();
        Ok(Interrupt::watch(move || progress.report(FINISHING))?)
    }

    /// The records, and what becomes of them.
    pub(super) fn open(&mut self, source: Source) -> Result<Entries> {
        let (entries, form) = source.open(self.args, &self.progress)?;
        self.form = form;
        self.progress.begin();
        Ok(entries)
    }

    pub(super) fn stopping(&self) -> Stopping {
        Stopping {
            is_complete: self.is_complete,
            refused: Cell::default(),
            over: Cell::default(),
            interrupted: Cell::default(),
        }
    }

    pub(super) fn progress(&self) -> &InputProgress {
        &self.progress
    }

    /// Adds the answer to a record. `more` says whether the next one is there already.
    pub(super) fn take(
        &mut self,
        taken: Taken,
        answer: Result<Answer, Unanswered>,
        more: bool,
    ) -> Result<()> {
        self.progress.add_record();
        let outcome = match answer {
            Ok(answer) => Outcome::Answer(answer),
            Err(unanswered) => {
                self.failures += 1;
                let error = unanswered.problem;
                if !self.args.keep_going || unanswered.ends_all {
                    return self.fail(&format!("{}: {error}", taken.place));
                }
                Outcome::Failure {
                    line: taken.place.entry.line,
                    error,
                }
            }
        };
        let (place, columns) = taken.into_parts();
        let unread = match &outcome {
            Outcome::Failure { error, .. } if columns.is_empty() => Some(error.clone()),
            _ => None,
        };
        match self.form.add(columns, place.id(), outcome) {
            Ok(Added::Line(line)) => self.output.write_line(&line)?,
            Ok(Added::Bytes(bytes)) => self.output.write(&bytes)?,
            Ok(Added::Nothing) => {
                self.left_out += 1;
                let problem = unread.unwrap_or_default();
                self.progress.alert(&format!("error: {place}: {problem}"));
                return Ok(());
            }
            Err(problem) => return self.fail(&format!("{place}: {problem}")),
        }
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
        let more = match self.close() {
            Ok(()) => String::new(),
            Err(problem) => format!("; {problem}"),
        };
        let left = match self.output.leave()? {
            Some(left) => format!("; the results before it are in {}", left.display()),
            None => String::new(),
        };
        bail!("{problem}{more}{left}");
    }

    /// Ends what there is of the output, so that it can be read. Of no records there is nothing.
    fn close(&mut self) -> Result<()> {
        if self.lines == 0 {
            return Ok(());
        }
        let (bytes, closed) = self.form.close();
        self.output.write(&bytes)?;
        closed
    }

    /// All answers were taken.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.output.flush()?;
        self.progress.finish_and_clear();
        Ok(())
    }

    pub(super) fn finish(mut self, stopping: &Stopping) -> Result<Status> {
        if stopping.interrupted.get() {
            let lines = self.lines;
            if let Err(problem) = self.close() {
                self.fail(&problem.to_string())?;
            }
            match self.output.leave()? {
                Some(left) => alert!(
                    "interrupted: {} has the first {lines} records, and {} is as it was",
                    left.display(),
                    self.args.output.display()
                ),
                None => alert!("interrupted: the output has the first {lines} records"),
            }
            return Ok(Status::Interrupted);
        }
        let (bytes, closed) = self.form.close();
        self.output.write(&bytes)?;
        if let Err(problem) = closed {
            self.fail(&problem.to_string())?;
        }
        self.output.finish()?;
        if self.left_out > 0 {
            let left_out = self.left_out;
            alert!(
                "{left_out} parts of the input could not be read, as said above, and the output has none of their rows"
            );
        }
        if self.failures > 0 {
            let failures = self.failures;
            if failures > self.left_out {
                alert!(
                    "{} records could not be scored; their lines in the output say why",
                    failures - self.left_out
                );
            }
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
        entries: &'s mut Entries,
    ) -> impl Iterator<Item = (Taken, Vec<Conversation>)> + 's {
        std::iter::from_fn(move || {
            if self.refused.get() || self.is_interrupted(interrupt) {
                return None;
            }
            let next = entries.next();
            match &next {
                Some((taken, _)) => {
                    let problem = taken.place.entry.check();
                    self.refused.set(!args.keep_going && problem.is_err());
                    self.over.set(self.is_complete && entries.is_at_end());
                }
                None => self.over.set(true),
            }
            next
        })
    }

    /// Whether the process was asked to end before all records were taken.
    pub(super) fn is_interrupted(&self, interrupt: &Interrupt) -> bool {
        let is_under_way = !self.refused.get() && !self.over.get();
        if is_under_way && interrupt.asked() {
            self.interrupted.set(true);
        }
        self.interrupted.get()
    }
}
