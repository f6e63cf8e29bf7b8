//! From ranked candidates to the output.

use std::time::Duration;

use anyhow::Result;
use worldpm_ort_data::{Columns, Format, WriteOptions, Writer};

use super::{
    args::RankArgs,
    group::Candidates,
    rows,
    scores::{Problem, Scores},
};
use crate::cli::common::{outcome::Status, rows_out::RowsOut};

/// The output, and what has gone there.
pub(super) struct Writing<'a> {
    args: &'a RankArgs,
    out: RowsOut,
    /// Whether the output is a table, whose rows have all columns.
    is_table: bool,
    failures: usize,
    prompts: usize,
}

impl<'a> Writing<'a> {
    /// For the candidates of an input of this format.
    pub(super) fn new(args: &'a RankArgs, mut out: RowsOut, input: Format) -> Result<Self> {
        let (format, compression) = args.files.formats.output(&args.files.output, input)?;
        let mut options = WriteOptions::new(format);
        options.compression = compression;
        out.open(Writer::of_objects(&options, rows::columns(args))?);
        Ok(Self {
            args,
            out,
            is_table: format.is_table(),
            failures: 0,
            prompts: 0,
        })
    }

    /// Adds candidates with their scores. `more` says whether the next ones are there already.
    pub(super) fn take(
        &mut self,
        candidates: &Candidates,
        scored: Result<Scores, Problem>,
        more: bool,
    ) -> Result<()> {
        let place = &candidates.first;
        match scored {
            Ok(scores) => {
                for row in rows::rows(self.args, candidates, &scores, self.is_table)? {
                    self.out.write(Columns::from(row), place)?;
                }
            }
            Err(Problem::Theirs(problem)) if self.args.keep_going => {
                self.failures += 1;
                let row = rows::failure(candidates, &problem);
                self.out.write(Columns::from(row), place)?;
            }
            Err(Problem::Theirs(problem) | Problem::Everyones(problem)) => {
                return self.out.fail(&format!("{place}: {problem}"));
            }
        }
        self.prompts += 1;
        if !more {
            self.out.flush()?;
        }
        Ok(())
    }

    /// Ends with an error.
    #[cfg(feature = "remote")]
    pub(super) fn fail(&mut self, problem: &str) -> Result<()> {
        self.out.fail(problem)
    }

    pub(super) fn report(&self, time: Duration) {
        report!(
            "{} prompts in {:.1} s: {} {}",
            self.prompts,
            time.as_secs_f64(),
            self.out.rows(),
            self.unit()
        );
    }

    fn unit(&self) -> &'static str {
        match self.is_table {
            true => "rows",
            false => "lines",
        }
    }

    /// A signal ended the work.
    pub(super) fn leave(self) -> Result<Status> {
        let prompts = self.prompts;
        self.out.leave(&format!("the first {prompts} prompts"))
    }

    /// All is ranked.
    pub(super) fn finish(self) -> Result<Status> {
        let (failures, unit) = (self.failures, self.unit());
        self.out.finish()?;
        if failures > 0 {
            alert!("{failures} prompts could not be ranked; their {unit} in the output say why");
            return Ok(Status::SomeFailed);
        }
        Ok(Status::Done)
    }
}
