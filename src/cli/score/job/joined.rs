//! The rows of the input, read again, with the results of their records.

use anyhow::{Result, bail};
use worldpm_ort_data::{Columns, DataSet, Row, Rows};
use worldpm_ort_jobs::{Index, InputFile, JobError, Numbered, record_hash};

use super::{
    copy::{Texts, unit},
    files::check_unchanged,
    found::Found,
    input::JobInput,
    plain::Read,
    summary::Summary,
};
use crate::{
    answers::Outcome,
    cli::score::{args::ScoreArgs, input::Place},
    records::{EntryError, RecordErrorKind},
};

/// The rows of the input, each of which must be the one that was scored.
pub(super) struct Joined<'a> {
    args: &'a ScoreArgs,
    input: &'a JobInput,
    /// The input as it was when this process began.
    files: &'a [InputFile],
    rows: Rows,
    unit: &'static str,
    texts: Texts,
}

impl<'a> Joined<'a> {
    /// Compares the input with the index first, where that is made of the input itself.
    pub(super) fn new(
        args: &'a ScoreArgs,
        input: &'a JobInput,
        files: &'a [InputFile],
        index: &Index,
        set: DataSet,
    ) -> Result<Self> {
        input.verify(index)?;
        Ok(Self {
            unit: unit(&set),
            rows: set.rows(|_| ()),
            texts: input.texts(),
            args,
            input,
            files,
        })
    }

    /// The next row, where it stands, and what came of it.
    pub(super) fn next(
        &mut self,
        result: &Numbered,
        summary: &mut Summary,
    ) -> Result<(Columns, Place, Outcome)> {
        let number = result.number + 1;
        let Some(Row {
            file,
            read,
            columns,
            ..
        }) = self.rows.next()
        else {
            return Err(self.changed(&format!("it has fewer than {number} records")));
        };
        let is_other = |text: &[u8]| {
            result
                .record
                .is_some_and(|known| record_hash(text) != known)
        };
        if is_other(&self.texts.of(&file, self.unit, &read)) && !is_of_columns(&read) {
            let problem = match &read {
                Ok(_) => format!("its record {number} is another"),
                Err(error) => format!("its record {number} cannot be read again: {error}"),
            };
            return Err(self.changed(&format!("{problem} ({file})")));
        }
        let is_of_columns = is_of_columns(&read);
        let unit = self.unit;
        let found = Found { read, file, unit };
        let (place, _) = found.prepare(self.args.records.allow_no_answer);
        let mut outcome: Outcome = serde_json::from_slice(&result.line)?;
        if let (Outcome::Answer(_), Err(EntryError::Record(error)), true) =
            (&outcome, place.entry.check(), is_of_columns)
        {
            let kind = error.kind.kind().as_str().to_owned();
            *summary.failures.entry(kind).or_default() += 1;
            let (line, error) = (place.entry.line, error.to_string());
            outcome = Outcome::Failure { line, error };
        }
        if let (Outcome::Failure { error, .. }, false) = (&outcome, self.args.keep_going) {
            bail!("{place}: {error}; --keep-going writes it as a row of the output");
        }
        summary.outcome(Some(&outcome));
        Ok((columns, place, outcome))
    }

    /// After the last result.
    pub(super) fn finish(mut self) -> Result<()> {
        if self.rows.next().is_some() {
            return Err(self.changed("it has more records"));
        }
        check_unchanged(self.input.files().paths(), self.files)
    }

    fn changed(&self, problem: &str) -> anyhow::Error {
        let names: Vec<_> = self.files.iter().map(|file| file.name.as_str()).collect();
        let changed = JobError::InputChanged {
            input: match names.as_slice() {
                [one] => (*one).to_owned(),
                several => format!("the input of {} files", several.len()),
            },
            problem: problem.to_owned(),
        };
        changed.into()
    }
}

/// Whether a record can be scored, and its columns cannot be kept: a key of it is there twice.
fn is_of_columns(read: &Read) -> bool {
    let error = read.as_ref().err().map(|error| &*error.kind);
    matches!(error, Some(RecordErrorKind::RepeatedKey { .. }))
}
