//! Records that are scored: from a file to conversations, and back to the records with what came of them.

use std::{
    fs::{self, File, Metadata},
    io::{self, BufRead, Read},
    os::fd::AsFd,
    path::Path,
};

use anyhow::{Context, Result, bail};
use worldpm_ort_bundle::Bytes;

use super::{column_args::ColumnArgs, heading, progress::InputProgress};
use crate::{
    Conversation,
    records::{
        DEFAULT_MAX_RECORD_BYTES, Entry, EntryError, Layout, Record, RecordError, RecordReader,
    },
};

/// How records are read, by every command that reads them.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = heading::INPUT_OUTPUT)]
pub(crate) struct RecordArgs {
    /// Also score conversations that do not end with an assistant's message, which has no answer to judge
    #[arg(long)]
    pub(crate) allow_no_answer: bool,
    /// The longest record that is read, as in 64MiB
    #[arg(long, value_name = "SIZE", default_value_t = Bytes(DEFAULT_MAX_RECORD_BYTES as u64))]
    pub(crate) max_record_bytes: Bytes,
    #[command(flatten)]
    pub(crate) columns: ColumnArgs,
}

/// What is reported once of an input: which fields of its records are not used, and what they are read as.
pub(crate) struct Remarks {
    progress: InputProgress,
    keeps_columns: bool,
    unused_reported: bool,
    layout_reported: bool,
}

impl Remarks {
    pub(crate) fn new(progress: &InputProgress) -> Self {
        Self {
            progress: progress.clone(),
            keeps_columns: false,
            unused_reported: false,
            layout_reported: false,
        }
    }

    /// Says whether the columns are in the output.
    pub(crate) fn keeping(mut self, keeps_columns: bool) -> Self {
        self.keeps_columns = keeps_columns;
        self
    }

    /// Reports what the record that was read last shows. `layout` is what all are read as, once that is known.
    pub(crate) fn report(
        &mut self,
        read: &Result<(usize, Record), RecordError>,
        layout: Option<&Layout>,
    ) {
        if !self.unused_reported
            && let Ok((_, record)) = read
            && !record.unused.is_empty()
        {
            self.unused_reported = true;
            self.progress
                .report(&unused(&record.unused, self.keeps_columns));
        }
        if !self.layout_reported
            && let Some(layout) = layout
        {
            self.layout_reported = true;
            self.progress.report(&format!("read as {layout}"));
        }
    }
}

/// The records of an input, one after another.
pub(crate) struct Entries<R> {
    records: RecordReader<R>,
    options: RecordArgs,
    /// The first, where it has been looked at already.
    ahead: Option<(Entry, Vec<Conversation>)>,
    progress: InputProgress,
    remarks: Option<Remarks>,
}

impl<R: BufRead> Entries<R> {
    pub(crate) fn new(input: R, options: &RecordArgs, progress: &InputProgress) -> Result<Self> {
        let limit = usize::try_from(options.max_record_bytes.0).unwrap_or(usize::MAX);
        Ok(Self {
            records: RecordReader::new(input)
                .with_max_record_bytes(limit)
                .with_columns(&options.columns.names())?,
            options: options.clone(),
            ahead: None,
            progress: progress.clone(),
            remarks: Some(Remarks::new(progress)),
        })
    }

    /// Leaves it to others to say what the columns are, and which of them are not used.
    pub(crate) fn quiet(mut self) -> Self {
        self.remarks = None;
        self
    }

    /// Reads the first record, to find out whether it can be scored before a model is loaded.
    pub(crate) fn look_at_first(&mut self, input: &Path, keep_going: bool) -> Result<()> {
        self.ahead = self.read();
        if let Some((entry, _)) = &self.ahead
            && !keep_going
            && let Err(problem) = entry.check()
        {
            self.progress.abandon();
            bail!("{}: {problem}", place(entry, input));
        }
        Ok(())
    }

    fn read(&mut self) -> Option<(Entry, Vec<Conversation>)> {
        let read = self.records.next()?;
        if let Some(remarks) = &mut self.remarks {
            remarks.report(&read, self.records.layout());
        }
        Some(Entry::prepare(read, self.options.allow_no_answer))
    }
}

impl<R: BufRead> Iterator for Entries<R> {
    type Item = (Entry, Vec<Conversation>);

    fn next(&mut self) -> Option<Self::Item> {
        let ahead = self.ahead.take();
        ahead.or_else(|| self.read())
    }
}

/// Says which columns a score is not of.
fn unused(columns: &[String], are_kept: bool) -> String {
    let kept = match are_kept {
        true => ", and are kept in the output",
        false => "",
    };
    format!(
        "note: these columns do not enter the score{kept}: {}",
        columns.join(", ")
    )
}

/// Where a record stands, for errors.
pub(crate) fn place(entry: &Entry, input: &Path) -> String {
    let input = if input == Path::new("-") {
        "standard input".into()
    } else {
        input.display().to_string()
    };
    match entry.check() {
        // A reading error says its line itself.
        Err(EntryError::Record(_)) => input,
        _ => format!("{input}, line {}", entry.line),
    }
}

type Input = Box<dyn Read + Send>;

/// The input, and how far it is read.
pub(crate) fn open_input(path: &Path) -> Result<(Input, InputProgress)> {
    if path == Path::new("-") {
        return Ok((Box::new(io::stdin()), InputProgress::new(None)));
    }
    if path.is_dir() {
        bail!(
            "{} is a directory: name a file of records in it, JSON Lines or a JSON array",
            path.display()
        );
    }
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let bytes = file
        .metadata()
        .ok()
        .filter(|m| m.is_file())
        .map(|m| m.len());
    Ok((Box::new(file), InputProgress::new(bytes)))
}

/// What the system says of the input.
pub(crate) fn input_metadata(path: &Path) -> io::Result<Metadata> {
    if path == Path::new("-") {
        return File::from(io::stdin().as_fd().try_clone_to_owned()?).metadata();
    }
    fs::metadata(path)
}
