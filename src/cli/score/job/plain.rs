//! The records of a job whose input is read from any place on: divided once, and read a shard at a time.

use std::{
    fs::File,
    io::{self, BufReader, Read as _, Seek, SeekFrom, Take},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use worldpm_ort_jobs::{Digested, Index, IndexWriter, InputFile, JobError, Shard, Stretch};

use crate::{
    cli::common::records::RecordArgs,
    records::{ColumnNames, Layout, Record, RecordError, RecordErrorKind, RecordReader},
};

/// Bytes after which a shard takes no more records, so that its results can be held in memory.
pub(super) const SHARD_BYTES: u64 = 16 << 20;
/// Bytes that are read at once.
const BUFFER: usize = 256 << 10;
/// Records within which one decides on the layout of all.
const LAYOUT_RECORDS: usize = 256;

/// What was read as one record.
pub(super) type Read = std::result::Result<(usize, Record), RecordError>;

type Part = Digested<BufReader<Take<File>>>;

/// A file of JSON Lines or a JSON list, which is read from any place on.
pub(super) struct PlainInput {
    path: PathBuf,
    max_record_bytes: usize,
    columns: ColumnNames,
    /// That of the first records, by which those of all shards are read.
    layout: Option<Layout>,
}

/// The records of a shard, one after another.
pub(super) struct PlainRecords {
    reader: RecordReader<Part>,
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
    fn part(&self, offset: u64, bytes: u64) -> io::Result<Part> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(offset))?;
        let part = BufReader::with_capacity(BUFFER, file.take(bytes));
        Ok(Digested::new(part))
    }

    fn reader(&self, part: Part) -> Result<RecordReader<Part>> {
        let reader = RecordReader::new(part)
            .with_max_record_bytes(self.max_record_bytes)
            .with_columns(&self.columns)?;
        Ok(match &self.layout {
            Some(layout) => reader.with_layout(layout.clone()),
            None => reader,
        })
    }

    /// Divides the input, which is still `begun`. Lines are not parsed, so what is wrong with one is found when it is scored.
    /// With `keep_going`, what ends reading is the last record.
    pub(super) fn divide(
        &self,
        begun: &InputFile,
        shard_records: u64,
        keep_going: bool,
        index: &mut IndexWriter<'_>,
    ) -> Result<()> {
        let part = self.part(0, begun.bytes).with_context(self.cannot_read())?;
        let mut reader = self.reader(part)?;
        let mut place = reader.place();
        let mut records = 0;
        loop {
            let skipped = reader.pass_over();
            let is_broken = keep_going && skipped.as_ref().is_err_and(|error| !is_of_system(error));
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
            let is_full = records >= shard_records || input.taken() >= SHARD_BYTES;
            if is_full || !more && input.taken() > 0 {
                let (bytes, sha256) = input.cut();
                index.push(&Stretch {
                    records,
                    bytes,
                    sha256,
                    place: place.to_string(),
                })?;
                place = reader.place();
                records = 0;
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

    /// Compares all of the input with the index that was made of it.
    pub(super) fn verify(&self, index: &Index) -> Result<()> {
        let file = File::open(&self.path).with_context(self.cannot_read())?;
        let whole = BufReader::with_capacity(BUFFER, file);
        Ok(index.verify(&self.path.display().to_string(), whole)?)
    }

    /// The records of a shard.
    pub(super) fn records(&self, shard: &Shard) -> Result<PlainRecords> {
        let stretch = &shard.stretch;
        let place = stretch.place.parse().map_err(|error| JobError::Damaged {
            path: PathBuf::from("index.jsonl"),
            problem: format!("{:?}: {error}", stretch.place),
        })?;
        let part = self.part(shard.offset, stretch.bytes);
        let part = part.with_context(self.cannot_read())?;
        Ok(PlainRecords {
            reader: self.reader(part)?.at_place(place),
            left: stretch.records,
            is_checked: false,
        })
    }

    /// Whether the bytes of a shard are those that they were.
    pub(super) fn check(&self, shard: &Shard) -> Result<()> {
        let part = self.part(shard.offset, shard.stretch.bytes);
        let mut part = part.with_context(self.cannot_read())?;
        self.check_rest(&mut part, shard)
    }

    fn check_rest(&self, part: &mut Part, shard: &Shard) -> Result<()> {
        let stretch = &shard.stretch;
        part.drain().with_context(self.cannot_read())?;
        if part.cut() != (stretch.bytes, stretch.sha256.clone()) {
            let (first, last) = (shard.first + 1, shard.first + stretch.records);
            return Err(self
                .changed(&format!("its records {first} to {last} are others"))
                .into());
        }
        Ok(())
    }
}

impl PlainRecords {
    /// The next record; `None` after the last, when all bytes of the shard were found to be those that they were.
    pub(super) fn next(&mut self, input: &PlainInput, shard: &Shard) -> Result<Option<Read>> {
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
            Some(Err(_)) => input.check(shard)?,
            None if self.left > 0 => {
                input.check(shard)?;
                return Err(input.changed("it has fewer records").into());
            }
            None => {}
        }
        // Before the last record is given out, so that no shard is complete without it.
        if self.left == 0 && !self.is_checked {
            self.is_checked = true;
            input.check_rest(self.reader.input_mut(), shard)?;
        }
        Ok(read)
    }
}

/// Whether the system refused to read, which it may not do the next time.
pub(super) fn is_of_system(error: &RecordError) -> bool {
    matches!(&*error.kind, RecordErrorKind::Io(error) if error.raw_os_error().is_some())
}
