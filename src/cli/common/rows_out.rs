//! Rows on their way to an output that takes the place of what was there.

use std::fmt::Display;

use anyhow::{Result, bail};
use worldpm_ort_data::{AddedColumns, Columns, DataError, Writer};

use super::{interrupt::Interrupt, outcome::Status, output::Results, progress::InputProgress};
use crate::json::Json;

/// Said when the first signal comes.
const FINISHING: &str =
    "interrupted: what is under way is finished and written; a second signal stops at once";

/// An output, and what makes its bytes of rows.
pub(crate) struct RowsOut {
    output: Results,
    writer: Option<Writer>,
    progress: InputProgress,
    rows: usize,
}

impl RowsOut {
    pub(crate) fn new(output: Results, progress: &InputProgress) -> Self {
        Self {
            output,
            writer: None,
            progress: progress.clone(),
            rows: 0,
        }
    }

    /// Opens the output, where it is written as it is, and looks out for signals.
    pub(crate) fn begin(&mut self) -> Result<Interrupt> {
        self.output.open()?;
        let progress = self.progress.clone();
        Ok(Interrupt::watch(move || progress.report(FINISHING))?)
    }

    /// Sets what makes bytes of rows.
    pub(crate) fn open(&mut self, writer: Writer) {
        self.writer = Some(writer);
    }

    /// Rows written so far.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Adds a row, which comes from `place`.
    pub(crate) fn write(&mut self, row: Columns, place: &dyn Display) -> Result<()> {
        self.put(place, |writer| writer.copy(row).map(|()| true))
            .map(drop)
    }

    /// Adds a row with what came of it, as [`Writer::write`] does.
    pub(crate) fn write_scored(
        &mut self,
        row: Columns,
        id: Option<&Json>,
        came: AddedColumns,
        place: &dyn Display,
    ) -> Result<bool> {
        self.put(place, |writer| writer.write(row, id, came))
    }

    /// Says of a row that may not be written, as [`Writer::expect`] does.
    pub(crate) fn expect(&mut self, row: &Columns, came: &AddedColumns) {
        if let Some(writer) = &mut self.writer {
            writer.expect(row, came);
        }
    }

    /// Says whether the row was written.
    fn put(
        &mut self,
        place: &dyn Display,
        write: impl FnOnce(&mut Writer) -> Result<bool, DataError>,
    ) -> Result<bool> {
        let Some(writer) = &mut self.writer else {
            return Ok(false);
        };
        let is_written = match write(writer) {
            Ok(is_written) => is_written,
            Err(problem) => return self.fail(&format!("{place}: {problem}")).map(|()| false),
        };
        let bytes = writer.take();
        self.rows += usize::from(is_written);
        self.output.write(&bytes)?;
        Ok(is_written)
    }

    /// Hands over what there is.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.output.flush()
    }

    /// Ends with an error, and says where the results are that there are.
    pub(crate) fn fail(&mut self, problem: &str) -> Result<()> {
        self.progress.abandon();
        let more = match self.close() {
            Ok(()) => String::new(),
            Err(problem) => format!("; {problem}"),
        };
        match self.output.leave()? {
            Some(left) => bail!(
                "{problem}{more}; the results before it are in {}",
                left.display()
            ),
            None => bail!("{problem}{more}"),
        }
    }

    /// Ends what there is of the output, so that it can be read. Of no rows there is nothing.
    fn close(&mut self) -> Result<()> {
        match self.rows {
            0 => Ok(()),
            _ => self.close_whole(),
        }
    }

    fn close_whole(&mut self) -> Result<()> {
        let Some(writer) = &mut self.writer else {
            return Ok(());
        };
        let closed = writer.close();
        let bytes = writer.take();
        self.output.write(&bytes)?;
        Ok(closed?)
    }

    /// A signal ended the work: says what the output has.
    pub(crate) fn leave(mut self, what: &str) -> Result<Status> {
        if let Err(problem) = self.close() {
            self.fail(&problem.to_string())?;
        }
        match self.output.leave()? {
            Some(left) => alert!("interrupted: {} has {what}", left.display()),
            None => alert!("interrupted: the output has {what}"),
        }
        Ok(Status::Interrupted)
    }

    /// All rows are there.
    pub(crate) fn finish(mut self) -> Result<()> {
        if let Err(problem) = self.close_whole() {
            self.fail(&problem.to_string())?;
        }
        self.output.finish()
    }
}
