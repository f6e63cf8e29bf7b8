//! The records of a job whose input is read from any place on: divided once, and read a shard at a time.

use std::{
    fs::File,
    io::{self, BufReader, Read as _, Seek, SeekFrom, Take},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use worldpm_ort_jobs::{Digested, First, Index, IndexWriter, InputFile, JobError, Stretch};

use super::{
    dividing::Look,
    found::{Found, Read},
};
use crate::{
    cli::common::{progress::InputProgress, records::RecordArgs},
    records::{ColumnNames, Layout, RecordError, RecordErrorKind, RecordReader},
};

/// Bytes after which a shard takes no more records, so that its results can be held in memory.
pub(super) const SHARD_BYTES: u64 = 16 << 20;
/// Bytes that are read at once.
const BUFFER: usize = 256 << 10;
/// Records within which one decides on the layout of all.
const LAYOUT_RECORDS: usize = 256;

type Bytes = Digested<BufReader<Take<File>>>;

/// A file of JSON Lines or a JSON list, which is read from any place on.
pub(super) struct PlainInput {
    path: PathBuf,
    max_record_bytes: usize,
    columns: ColumnNames,
    /// That of the first records, by which those of all shards are read.
    layout: Option<Layout>,
}

/// How the input is divided.
pub(super) struct Dividing<'a> {
    pub(super) shard_records: u64,
    pub(super) keep_going: bool,
    pub(super) look: Look,
    /// The file, as records name it.
    pub(super) name: &'a Arc<str>,
}

/// A part of the input: where it begins, the number of its first record, from 0, and what the index says of it.
pub(super) struct Part<'a> {
    pub(super) offset: u64,
    pub(super) first: u64,
    pub(super) stretch: &'a Stretch,
}

/// A record that was read of a file.
pub(super) fn found(read: Read, file: &Arc<str>) -> Found {
    Found {
        read,
        file: Arc::clone(file),
        unit: "line",
    }
}

/// The records of a shard, one after another.
pub(super) struct PlainRecords {
    reader: RecordReader<Bytes>,
    left: u64,
    is_checked: bool,
}

impl PlainInput {
    /// Opens an input of so many bytes.
    pub(super) fn open(path: &Path, bytes: u64, records: &RecordArgs) -> Result<Self> {
        let mut input = Self {
            path: path.to_owned(),
            max_record_bytes: usize::try_from(records.max_record_bytes.0).unwrap_or(usize::MAX),
            columns: records.columns.names(),
            layout: None,
        };
        let mut first = input.reader(input.part(0, bytes).with_context(input.cannot_read())?)?;
        for _ in 0..LAYOUT_RECORDS {
            if first.layout().is_some() || first.next().is_none() {
                break;
            }
        }
        input.layout = first.layout().cloned();
        Ok(input)
    }

    fn cannot_read(&self) -> impl FnOnce() -> String {
        let name = self.path.display().to_string();
        move || format!("cannot read {name}")
    }

    fn changed(&self, problem: &str) -> JobError {
        JobError::InputChanged {
            input: self.path.display().to_string(),
            problem: problem.to_owned(),
        }
    }

    /// The bytes from `offset` on, as many as there should be.
    fn part(&self, offset: u64, bytes: u64) -> io::Result<Bytes> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(offset))?;
        let part = BufReader::with_capacity(BUFFER, file.take(bytes));
        Ok(Digested::new(part))
    }

    fn reader(&self, part: Bytes) -> Result<RecordReader<Bytes>> {
        let reader = RecordReader::new(part)
            .with_max_record_bytes(self.max_record_bytes)
            .with_columns(&self.columns)?;
        Ok(match &self.layout {
            Some(layout) => reader.with_layout(layout.clone()),
            None => reader,
        })
    }

    /// Divides the input, which is still `begun`. With `keep_going`, what ends reading is the last record.
    pub(super) fn divide(
        &self,
        begun: &InputFile,
        dividing: &Dividing<'_>,
        index: &mut IndexWriter<'_>,
    ) -> Result<()> {
        let progress = InputProgress::new(Some(begun.bytes));
        let divided = self.divide_all(begun, dividing, index, &progress);
        match divided {
            Ok(()) => progress.finish_and_clear(),
            Err(_) => progress.abandon(),
        }
        divided
    }

    fn divide_all(
        &self,
        begun: &InputFile,
        dividing: &Dividing<'_>,
        index: &mut IndexWriter<'_>,
        progress: &InputProgress,
    ) -> Result<()> {
        let part = self.part(0, begun.bytes).with_context(self.cannot_read())?;
        let mut reader = self.reader(part)?;
        let mut place = reader.place();
        let (mut offset, mut first, mut records) = (0, 0, 0);
        loop {
            let skipped = reader.pass_over();
            let is_broken =
                dividing.keep_going && skipped.as_ref().is_err_and(|error| !is_of_system(error));
            let more = match is_broken {
                true => false,
                false => {
                    skipped.with_context(|| format!("cannot divide {}", self.path.display()))?
                }
            };
            records += u64::from(more || is_broken);
            let input = reader.input_mut();
            if !more {
                input.drain().with_context(self.cannot_read())?;
            }
            let is_full = records >= dividing.shard_records || input.taken() >= SHARD_BYTES;
            if is_full || !more && input.taken() > 0 {
                let (bytes, sha256) = input.cut();
                let stretch = Stretch {
                    records,
                    bytes,
                    sha256,
                    place: place.to_string(),
                };
                let part = Part {
                    offset,
                    first,
                    stretch: &stretch,
                };
                self.look_at(&part, dividing, index)?;
                index.push(&stretch)?;
                progress.advance(bytes);
                place = reader.place();
                (offset, first, records) = (offset + bytes, first + records, 0);
            }
            if !more {
                break;
            }
        }
        let file = File::open(&self.path).with_context(self.cannot_read())?;
        let now = InputFile::of(&begun.name, &file).with_context(self.cannot_read())?;
        if now != *begun {
            return Err(self.changed("it was written to while it was read").into());
        }
        Ok(())
    }

    /// Looks at the records of the shard that is next in the index.
    fn look_at(
        &self,
        part: &Part<'_>,
        dividing: &Dividing<'_>,
        index: &mut IndexWriter<'_>,
    ) -> Result<()> {
        if !dividing.look.is_wanted() {
            return Ok(());
        }
        let mut records = self.records(part)?;
        for record in 0.. {
            let Some(read) = records.next(self, part)? else {
                break;
            };
            let contents = dividing.look.at(found(read, dividing.name))?;
            for (number, content) in contents.into_iter().enumerate() {
                let at = First {
                    shard: index.shards(),
                    record,
                    part: number,
                };
                index.add_content(content, at)?;
            }
        }
        Ok(())
    }

    /// Compares all of the input with the index that was made of it.
    pub(super) fn verify(&self, index: &Index) -> Result<()> {
        let file = File::open(&self.path).with_context(self.cannot_read())?;
        let whole = BufReader::with_capacity(BUFFER, file);
        Ok(index.verify(&self.path.display().to_string(), whole)?)
    }

    /// The records of a shard.
    pub(super) fn records(&self, part: &Part<'_>) -> Result<PlainRecords> {
        let stretch = part.stretch;
        let place = stretch.place.parse().map_err(|error| JobError::Damaged {
            path: PathBuf::from("index.jsonl"),
            problem: format!("{:?}: {error}", stretch.place),
        })?;
        let bytes = self.part(part.offset, stretch.bytes);
        let bytes = bytes.with_context(self.cannot_read())?;
        Ok(PlainRecords {
            reader: self.reader(bytes)?.at_place(place),
            left: stretch.records,
            is_checked: false,
        })
    }

    /// Whether the bytes of a shard are those that they were.
    pub(super) fn check(&self, part: &Part<'_>) -> Result<()> {
        let bytes = self.part(part.offset, part.stretch.bytes);
        let mut bytes = bytes.with_context(self.cannot_read())?;
        self.check_rest(&mut bytes, part)
    }

    fn check_rest(&self, bytes: &mut Bytes, part: &Part<'_>) -> Result<()> {
        let stretch = part.stretch;
        bytes.drain().with_context(self.cannot_read())?;
        if bytes.cut() != (stretch.bytes, stretch.sha256.clone()) {
            let (first, last) = (part.first + 1, part.first + stretch.records);
            return Err(self
                .changed(&format!("its records {first} to {last} are others"))
                .into());
        }
        Ok(())
    }
}

impl PlainRecords {
    /// The next record; `None` after the last, when all bytes of the shard were found to be those that they were.
    pub(super) fn next(&mut self, input: &PlainInput, part: &Part<'_>) -> Result<Option<Read>> {
        let read = match self.left {
            0 => None,
            _ => self.reader.next(),
        };
        if read.is_some() {
            self.left -= 1;
        }
        match &read {
            Some(Ok(_)) => {}
            // It may be for what has become of the input.
            Some(Err(_)) => input.check(part)?,
            None if self.left > 0 => {
                input.check(part)?;
                return Err(input.changed("it has fewer records").into());
            }
            None => {}
        }
        // Before the last record is given out, so that no shard is complete without it.
        if self.left == 0 && !self.is_checked {
            self.is_checked = true;
            input.check_rest(self.reader.input_mut(), part)?;
        }
        Ok(read)
    }
}

/// Whether the system refused to read, which it may not do the next time.
pub(super) fn is_of_system(error: &RecordError) -> bool {
    matches!(&*error.kind, RecordErrorKind::Io(error) if error.raw_os_error().is_some())
}
