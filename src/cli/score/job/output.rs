//! The results of a job that is complete: put together in the order of the records, and summed up.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, absolute},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use worldpm_ort_data::DataSet;
use worldpm_ort_jobs::{InputFile, Job, OrderOptions};

use super::{
    finished,
    input::JobInput,
    joined::{Joined, JoinedInput, JoinedRow},
    summary::Summary,
};
use crate::{
    answers::Outcome,
    cli::{
        common::{interrupt::Interrupt, output::Results},
        score::{
            args::ScoreArgs,
            form::{Added, Form},
            input::options,
        },
    },
};

/// The note about the output that was written last.
const NOTE: &str = "output.json";
/// How long it is waited for whoever writes an output.
const WAIT: Duration = Duration::from_millis(200);

/// An output that was written from a job.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    path: String,
    bytes: u64,
    modified: (i64, i64),
    failures: u64,
    /// What it depends on beside the results.
    #[serde(default)]
    form: String,
}

/// What became of the output.
#[derive(Debug)]
pub(super) enum Written {
    Here(Summary),
    /// By another process of the job, with so many errors.
    Before(u64),
    Interrupted,
}

/// What the output is made of.
pub(super) struct Output<'a> {
    pub(super) args: &'a ScoreArgs,
    pub(super) dir: &'a Path,
    pub(super) job: &'a Job,
    pub(super) input: &'a JobInput,
    /// The input as it was when this process began.
    pub(super) files: &'a [InputFile],
}

impl Output<'_> {
    /// Writes the output. Of several processes with the same file, one does.
    pub(super) fn write(&self, interrupt: &Interrupt) -> Result<Written> {
        // To a pipe or a device every process writes its own.
        let path = &*self.args.output;
        let is_file = || fs::metadata(path).map_or(true, |found| found.is_file());
        let is_shared = path != Path::new("-") && is_file();
        if !is_shared {
            return self.put(interrupt);
        }
        while !self.job.begin_output()? {
            if interrupt.asked() {
                return Ok(Written::Interrupted);
            }
            thread::sleep(WAIT);
        }
        let written = match written_before(self.job, path)? {
            Some(note) if note.form == self.form() => Ok(Written::Before(note.failures)),
            _ => self.put_and_note(interrupt),
        };
        self.job.end_output();
        written
    }

    fn put_and_note(&self, interrupt: &Interrupt) -> Result<Written> {
        let written = self.put(interrupt)?;
        if let Written::Here(summary) = &written
            && let failures = summary.failures.values().sum()
            && let Some(note) = note_of(&self.args.output, failures, self.form())?
        {
            self.job.leave_note(NOTE, &serde_json::to_vec(&note)?)?;
        }
        Ok(written)
    }

    /// What the output depends on beside the results.
    fn form(&self) -> String {
        let args = self.args;
        format!("{:?}, {}", args.data, args.keep_going)
    }

    fn put(&self, interrupt: &Interrupt) -> Result<Written> {
        let mut output = Results::prepare(&self.args.output, false)?;
        output.open()?;
        let mut options = options(self.args);
        options.keep_fields = Form::may_keep(self.args);
        let set = DataSet::open(self.input.files().clone(), &options)?;
        let mut form = Form::new(self.args, &set)?;
        let finished = finished::open(self.dir)?;
        let mut rows = match form {
            Form::Lines(_) => None,
            Form::Rows(_) => {
                self.input.verify(finished.index())?;
                let input = JoinedInput {
                    paths: self.input.files().paths(),
                    files: self.files,
                    allow_no_answer: self.args.records.allow_no_answer,
                };
                Some(Joined::new(input, set, |_| ()))
            }
        };
        let order = OrderOptions {
            with_hashes: rows.is_some(),
            ..OrderOptions::default()
        };
        let Some(mut results) = finished.in_order(order, || !interrupt.asked())? else {
            return Ok(Written::Interrupted);
        };
        let mut summary = Summary::default();
        let mut left_out = 0_u64;
        while let Some(result) = results.next_result()? {
            if interrupt.asked() {
                return Ok(Written::Interrupted);
            }
            let added = match &mut rows {
                None => {
                    summary.add(&result.line);
                    form.add_line(result.line)?
                }
                Some(rows) => {
                    let JoinedRow {
                        columns,
                        place,
                        outcome,
                        unkept,
                    } = rows.next(&result)?;
                    if let Some(kind) = unkept {
                        *summary.failures.entry(kind.to_owned()).or_default() += 1;
                    }
                    if let (Outcome::Failure { error, .. }, false) =
                        (&outcome, self.args.keep_going)
                    {
                        bail!("{place}: {error}; --keep-going writes it as a row of the output");
                    }
                    summary.outcome(Some(&outcome));
                    let unread = match &outcome {
                        Outcome::Failure { error, .. } if columns.is_empty() => Some(error.clone()),
                        _ => None,
                    };
                    let added = form.add(columns, place.id(), outcome);
                    let added = added.map_err(|error| anyhow!("{place}: {error}"))?;
                    if let Added::Nothing = added {
                        report!("error: {place}: {}", unread.unwrap_or_default());
                    }
                    added
                }
            };
            match added {
                Added::Line(line) => output.write_line(&line)?,
                Added::Bytes(bytes) => output.write(&bytes)?,
                Added::Nothing => left_out += 1,
            }
        }
        let (bytes, closed) = form.close();
        output.write(&bytes)?;
        closed?;
        if let Some(rows) = rows {
            rows.finish()?;
        }
        for (kind, count) in results.failures() {
            *summary.failures.entry(kind.clone()).or_default() += count;
        }
        output.finish()?;
        if left_out > 0 {
            report!(
                "{left_out} parts of the input could not be read, as said above, and the output has none of their rows"
            );
        }
        self.job.tidy()?;
        Ok(Written::Here(summary))
    }
}

/// The note about an output that is still as it was written.
fn written_before(job: &Job, path: &Path) -> Result<Option<Note>> {
    let Some(text) = job.note(NOTE)? else {
        return Ok(None);
    };
    let Ok(note) = serde_json::from_slice::<Note>(&text) else {
        return Ok(None);
    };
    let now = note_of(path, note.failures, note.form.clone())?;
    Ok(now.filter(|now| *now == note))
}

fn note_of(path: &Path, failures: u64, form: String) -> Result<Option<Note>> {
    let Ok(found) = fs::metadata(path) else {
        return Ok(None);
    };
    let path = absolute(path).with_context(|| format!("cannot find {}", path.display()))?;
    Ok(found.is_file().then(|| Note {
        path: path.display().to_string(),
        bytes: found.len(),
        modified: (found.mtime(), found.mtime_nsec()),
        failures,
        form,
    }))
}
