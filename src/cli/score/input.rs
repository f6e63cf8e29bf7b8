//! Where the records come from, and that the scores do not go there.

use std::{
    collections::VecDeque,
    fmt, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Result, bail};
use worldpm_ort_data::{Columns, DataSet, Files, ReadOptions, Row, RowForm, Rows};

use super::{ScoreArgs, form::Form};
use crate::{
    Conversation,
    cli::common::{
        format_args::FormatArgs,
        objects,
        progress::InputProgress,
        records::{RecordArgs, Remarks, input_metadata},
    },
    json::Json,
    records::{Entry, EntryError},
};

/// Records of a file that are looked at before anything is scored.
const LOOKED_AT: usize = 256;

/// Bytes of text after which no more records are looked at before the model is loaded.
const LOOKED_AT_BYTES: usize = 4 << 20;

/// The output takes the place of what was there, which must not be what is read.
pub(crate) fn check_apart(inputs: &[PathBuf], output: &Path) -> Result<()> {
    if output == Path::new("-") {
        return Ok(());
    }
    let is_object = objects::url(output).is_some();
    let to = fs::metadata(output).ok();
    let is_same = |input: &PathBuf| match &to {
        _ if is_object => input == output,
        None => false,
        Some(to) => input_metadata(input)
            .is_ok_and(|from| from.is_file() && (from.dev(), from.ino()) == (to.dev(), to.ino())),
    };
    if inputs.iter().any(is_same) {
        bail!(
            "cannot write {}: it is the input, which would be lost; name another file",
            output.display()
        );
    }
    Ok(())
}

/// What is read. Whatever waits for someone to write it is not opened before the model is loaded.
pub(super) enum Source {
    Open(Box<Entries>, Form),
    Later(Files),
}

impl Source {
    pub(super) fn new(args: &ScoreArgs, files: Files, progress: &InputProgress) -> Result<Self> {
        report_left_out(&files);
        if !files.are_complete() {
            return Ok(Self::Later(files));
        }
        let (mut entries, mut form) = open(args, files, progress)?;
        entries.look_at_first(args.keep_going, |columns, row| form.check(columns, row))?;
        Ok(Self::Open(Box::new(entries), form))
    }

    pub(super) fn open(
        self,
        args: &ScoreArgs,
        progress: &InputProgress,
    ) -> Result<(Entries, Form)> {
        match self {
            Self::Open(entries, form) => Ok((*entries, form)),
            Self::Later(files) => open(args, files, progress),
        }
    }
}

/// Looks at the first records: whether they can be read, and the output be written.
pub(super) fn look(
    args: &ScoreArgs,
    files: Files,
    progress: &InputProgress,
    keep_going: bool,
) -> Result<()> {
    let (mut entries, mut form) = open(args, files, progress)?;
    entries.look_at_first(keep_going, |columns, row| form.check(columns, row))
}

/// How the input is read.
pub(super) fn options(args: &ScoreArgs) -> ReadOptions {
    read_options(&args.data.formats, &args.records)
}

fn open(args: &ScoreArgs, files: Files, progress: &InputProgress) -> Result<(Entries, Form)> {
    let mut options = options(args);
    options.keep_fields = Form::may_keep(args);
    let set = DataSet::open(files, &options)?;
    let form = Form::new(args, &set)?;
    let entries = Entries::of(set, &args.records, progress).keeping(!args.data.only_scores);
    Ok((entries, form))
}

/// Says which files of folders are passed over.
pub(crate) fn report_left_out(files: &Files) {
    if !files.left_out().is_empty() {
        let names: Vec<_> = files
            .left_out()
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        report!(
            "note: not read, since their names are not those of data sets: {}",
            names.join(", ")
        );
    }
}

/// How data sets of records are read.
pub(crate) fn read_options(formats: &FormatArgs, records: &RecordArgs) -> ReadOptions {
    let mut options = ReadOptions::default();
    options.format = formats.input_format;
    options.max_record_bytes = usize::try_from(records.max_record_bytes.0).unwrap_or(usize::MAX);
    options.columns = records.columns.names();
    options
}

/// A record on its way, and what it is given back with.
pub(crate) struct Taken {
    pub(crate) place: Place,
    pub(crate) columns: Columns,
    form: Option<RowForm>,
}

/// A record, and where it stands, which is how it is displayed in errors.
pub(crate) struct Place {
    pub(crate) entry: Entry,
    pub(crate) file: Arc<str>,
    /// What its lines are counted as.
    pub(crate) unit: &'static str,
}

impl Taken {
    pub(super) fn into_parts(self) -> (Place, Columns) {
        (self.place, self.columns)
    }
}

impl AsRef<Entry> for Taken {
    fn as_ref(&self) -> &Entry {
        &self.place.entry
    }
}

impl Place {
    /// `unit` is what is counted in the file.
    pub(super) fn new(entry: Entry, file: Arc<str>, unit: &'static str) -> Self {
        Self { entry, file, unit }
    }

    pub(super) fn id(&self) -> Option<&Json> {
        self.entry.id.as_ref()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        match self.entry.check() {
            // A reading error says its line itself.
            Err(EntryError::Record(_)) => Ok(()),
            _ => write!(f, ", {} {}", self.unit, self.entry.line),
        }
    }
}

/// The records of the input, one after another.
pub(crate) struct Entries {
    rows: Rows,
    unit: &'static str,
    allow_no_answer: bool,
    /// Those that have been looked at already.
    ahead: VecDeque<(Taken, Vec<Conversation>)>,
    progress: InputProgress,
    remarks: Remarks,
}

impl Entries {
    pub(crate) fn of(set: DataSet, records: &RecordArgs, progress: &InputProgress) -> Self {
        let bar = progress.clone();
        let unit = if set.format().is_table() {
            "row"
        } else {
            "line"
        };
        Self {
            rows: set.rows(move |bytes| bar.advance(bytes)),
            unit,
            allow_no_answer: records.allow_no_answer,
            ahead: VecDeque::new(),
            progress: progress.clone(),
            remarks: Remarks::new(progress),
        }
    }

    /// Says of columns that are not scored whether the output has them.
    fn keeping(mut self, keeps_columns: bool) -> Self {
        self.remarks = self.remarks.keeping(keeps_columns);
        self
    }

    /// Reads the first records, to find out what is wrong with them before a model is loaded. `check` says whether a row,
    /// with what it asks to have scored, can be written.
    pub(crate) fn look_at_first(
        &mut self,
        keep_going: bool,
        mut check: impl FnMut(&Columns, Option<RowForm>) -> Result<()>,
    ) -> Result<()> {
        let mut bytes = 0;
        while self.ahead.len() < LOOKED_AT && bytes < LOOKED_AT_BYTES {
            let Some((taken, conversations)) = self.read() else {
                break;
            };
            let checked = taken.place.entry.check();
            if !keep_going && let Err(problem) = &checked {
                self.progress.abandon();
                bail!("{}: {problem}", taken.place);
            }
            let row = taken.form.filter(|_| checked.is_ok());
            check(&taken.columns, row)?;
            let messages = conversations.iter().flat_map(|one| &one.messages);
            bytes += messages
                .map(|message| message.content().map_or(0, str::len))
                .sum::<usize>();
            self.ahead.push_back((taken, conversations));
        }
        Ok(())
    }

    /// Whether there are no more, for which the next one is read.
    pub(super) fn is_at_end(&mut self) -> bool {
        if self.ahead.is_empty() {
            let next = self.read();
            self.ahead.extend(next);
        }
        self.ahead.is_empty()
    }

    fn read(&mut self) -> Option<(Taken, Vec<Conversation>)> {
        let Row {
            file,
            read,
            columns,
            ..
        } = self.rows.next()?;
        self.remarks.report(&read, self.rows.layout());
        let form = read
            .as_ref()
            .ok()
            .map(|(_, record)| RowForm::from(&record.body));
        let (entry, conversations) = Entry::prepare(read, self.allow_no_answer);
        let place = Place {
            entry,
            file,
            unit: self.unit,
        };
        let taken = Taken {
            place,
            columns,
            form,
        };
        Some((taken, conversations))
    }
}

impl Iterator for Entries {
    type Item = (Taken, Vec<Conversation>);

    fn next(&mut self) -> Option<Self::Item> {
        let ahead = self.ahead.pop_front();
        ahead.or_else(|| self.read())
    }
}
