//! The rows of the input, read again, with the results of their records.

use std::path::PathBuf;

use anyhow::Result;
use worldpm_ort_data::{Columns, DataSet, Row, Rows};
use worldpm_ort_jobs::{InputFile, JobError, Numbered, record_hash};

use super::{
    copy::{Texts, unit},
    files::check_unchanged,
    found::{Found, Read},
};
use crate::{
    answers::Outcome,
    cli::score::input::Place,
    records::{EntryError, RecordErrorKind},
};

/// What the rows of a job are read of.
#[derive(Clone, Copy)]
pub(super) struct JoinedInput<'a> {
    pub(super) paths: &'a [PathBuf],
    /// The files as they were when this process began.
    pub(super) files: &'a [InputFile],
    pub(super) allow_no_answer: bool,
}

/// The rows of the input, each of which must be the one that was scored.
pub(super) struct Joined<'a> {
    input: JoinedInput<'a>,
    rows: Rows,
    unit: &'static str,
    texts: Texts,
}

/// A row of the input, where it stands, and what came of it.
pub(super) struct JoinedRow {
    pub(super) columns: Columns,
    pub(super) place: Place,
    pub(super) outcome: Outcome,
    /// That it was scored, and its columns cannot be kept: the kind of error that this is.
    pub(super) unkept: Option<&'static str>,
}

impl<'a> Joined<'a> {
    /// Of an input that was compared with the index, where that is made of the input itself. `on_read` as in
    /// [`DataSet::rows`].
    pub(super) fn new(
        input: JoinedInput<'a>,
        set: DataSet,
        on_read: impl Fn(u64) + Send + Sync + 'static,
    ) -> Self {
        let names = input
            .paths
            .iter()
            .map(|path| path.display().to_string().into());
        Self {
            unit: unit(&set),
            rows: set.rows(on_read),
            texts: Texts::new(names.collect()),
            input,
        }
    }

    /// The next row with its result.
    pub(super) fn next(&mut self, result: &Numbered) -> Result<JoinedRow> {
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
        let (place, _) = found.prepare(self.input.allow_no_answer);
        let mut outcome: Outcome = serde_json::from_slice(&result.line)?;
        let mut unkept = None;
        if let (Outcome::Answer(_), Err(EntryError::Record(error)), true) =
            (&outcome, place.entry.check(), is_of_columns)
        {
            unkept = Some(error.kind.kind().as_str());
            let (line, error) = (place.entry.line, error.to_string());
            outcome = Outcome::Failure { line, error };
        }
        Ok(JoinedRow {
            columns,
            place,
            outcome,
            unkept,
        })
    }

    /// After the last result.
    pub(super) fn finish(mut self) -> Result<()> {
        if self.rows.next().is_some() {
            return Err(self.changed("it has more records"));
        }
        check_unchanged(self.input.paths, self.input.files)
    }

    fn changed(&self, problem: &str) -> anyhow::Error {
        let names: Vec<_> = self
            .input
            .files
            .iter()
            .map(|file| file.name.as_str())
            .collect();
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
