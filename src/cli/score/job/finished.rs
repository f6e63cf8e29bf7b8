//! The results of a job that is complete.

use std::{fs::File, io::BufReader, path::Path, path::PathBuf, sync::Arc};

use anyhow::{Context, Result, bail};
use worldpm_ort_data::{Columns, DataSet, Files, ReadOptions};
use worldpm_ort_jobs::{Directory, Finished, InOrder, InputFile, JobError, OrderOptions};

use super::{
    about,
    files::{difference, fingerprints},
    joined::{Joined, JoinedInput, JoinedRow},
};
use crate::{
    answers::Outcome,
    cli::score::input::{Place, read_options},
};

/// Bytes of an input that are read at once.
const BUFFER: usize = 256 << 10;

/// Opens the job in a directory, all of whose records have their results. [`Finished::in_order`] gives these in the order of
/// the input, in bounded memory.
pub(crate) fn open(dir: &Path) -> Result<Finished> {
    if !dir.is_dir() {
        bail!("{} is no directory of a job", dir.display());
    }
    let files = Directory::open(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    Ok(Finished::open(Arc::new(files))?)
}

/// A job that is complete, with its input, which is still what was scored.
pub(crate) struct FinishedJob {
    finished: Finished,
    files: Files,
    found: Vec<InputFile>,
    options: ReadOptions,
    allow_no_answer: bool,
}

impl FinishedJob {
    /// Opens the job in a directory, and finds its input under the names that it had when the job was begun.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let finished = open(dir)?;
        let identity = finished.identity();
        let paths: Vec<PathBuf> = identity
            .inputs
            .iter()
            .map(|file| file.name.clone().into())
            .collect();
        let found = fingerprints(&paths).with_context(|| {
            format!(
                "the columns of the rows are read from the input of {}, by the names that it was begun with, in the same \
                 working directory",
                dir.display()
            )
        })?;
        for (begun, now) in identity.inputs.iter().zip(&found) {
            if let Some(problem) = difference(begun, now) {
                let input = now.name.clone();
                return Err(JobError::InputChanged { input, problem }.into());
            }
        }
        if let (false, [path]) = (finished.index().is_of_copy(), paths.as_slice()) {
            let name = path.display().to_string();
            let file = File::open(path).with_context(|| format!("cannot open {name}"))?;
            let file = BufReader::with_capacity(BUFFER, file);
            finished.index().verify(&name, file)?;
        }
        let (formats, records) = about::reading(identity)?;
        let mut options = read_options(&formats, &records);
        options.keep_fields = true;
        Ok(Self {
            files: Files::find(&paths)?.with_parts(about::parts(identity)?),
            found,
            options,
            allow_no_answer: records.allow_no_answer,
            finished,
        })
    }

    /// The files of its input.
    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    /// Its input as a data set.
    pub(crate) fn data_set(&self) -> Result<DataSet> {
        Ok(DataSet::open(self.files.clone(), &self.options)?)
    }

    /// Whether a record has an error in place of an answer. All results are looked at.
    pub(crate) fn has_failures(&self) -> Result<bool> {
        Ok(!self.finished.failures()?.is_empty())
    }

    /// The rows of that data set with what came of them; `None` when `is_wanted` says so while results are sorted. `on_read`
    /// as in [`DataSet::rows`].
    pub(crate) fn rows(
        &self,
        set: DataSet,
        on_read: impl Fn(u64) + Send + Sync + 'static,
        is_wanted: impl Fn() -> bool,
    ) -> Result<Option<ScoredRows<'_>>> {
        let order = OrderOptions {
            with_hashes: true,
            ..OrderOptions::default()
        };
        let input = JoinedInput {
            paths: self.files.paths(),
            files: &self.found,
            allow_no_answer: self.allow_no_answer,
        };
        let results = self.finished.in_order(order, is_wanted)?;
        Ok(results.map(|results| ScoredRows {
            results,
            rows: Some(Joined::new(input, set, on_read)),
        }))
    }
}

/// Rows with what came of them, in the order of the input. After an error there are no more.
pub(crate) struct ScoredRows<'a> {
    results: InOrder<'a>,
    rows: Option<Joined<'a>>,
}

/// A row with what came of it.
pub(crate) struct ScoredRow {
    pub(crate) place: Place,
    pub(crate) columns: Columns,
    pub(crate) outcome: Outcome,
}

impl ScoredRows<'_> {
    fn read(&mut self) -> Result<Option<ScoredRow>> {
        let Some(rows) = &mut self.rows else {
            return Ok(None);
        };
        let Some(result) = self.results.next_result()? else {
            self.rows.take().map_or(Ok(()), Joined::finish)?;
            return Ok(None);
        };
        let JoinedRow {
            place,
            columns,
            outcome,
            ..
        } = rows.next(&result)?;
        Ok(Some(ScoredRow {
            place,
            columns,
            outcome,
        }))
    }
}

impl Iterator for ScoredRows<'_> {
    type Item = Result<ScoredRow>;

    fn next(&mut self) -> Option<Self::Item> {
        let read = self.read();
        if read.is_err() {
            self.rows = None;
        }
        read.transpose()
    }
}
