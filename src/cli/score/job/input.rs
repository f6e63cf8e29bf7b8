//! The records of a job: divided once, and read a shard at a time.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom, Take},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use worldpm_ort_jobs::{Digested, IndexWriter, InputFile, JobError, Shard, Stretch};

use crate::{
    cli::common::records::RecordArgs,
    records::{ColumnNames, Layout, Record, RecordError, RecordReader},
};

/// Bytes after which a shard takes no more records, so that its results can be held in memory.
const SHARD_BYTES: u64 = 16 << 20;
/// Bytes that are read at once.
const BUFFER: usize = 256 << 10;
/// Records within which one decides on the layout of all.
const LAYOUT_RECORDS: usize = 256;

type Part = Digested<BufReader<Take<File>>>;

/// A file of records.
pub(super) struct JobInput {
    path: PathBuf,
    max_record_bytes: usize,
    columns: ColumnNames,
    /// That of the first records, by which those of all shards are read.
    layout: Option<Layout>,
}

/// The records of a shard, one after another.
pub(super) struct ShardRecords {
    reader: RecordReader<Part>,
    given: u64,
    left: u64,
    is_checked: bool,
}

impl JobInput {
    /// Opens an input, which must be a file: parts of it are read more than once.
    pub(super) fn open(path: &Path, records: &RecordArgs) -> Result<(Self, InputFile)> {
        if path == Path::new("-") {
            bail!(
                "a job reads parts of its input again, which standard input does not permit: name a file with --input"
            );
        }
        let name = path.display().to_string();
        let file = File::open(path).with_context(|| format!("cannot open {name}"))?;
        let found = file
            .metadata()
            .with_context(|| format!("cannot read {name}"))?;
        if !found.is_file() {
            bail!(
                "{name} is {}: a job needs a regular file, parts of which it can read again",
                match found.is_dir() {
                    true => "a directory",
                    false => "no regular file",
                }
            );
        }
        let of = InputFile::of(&name, &file).with_context(|| format!("cannot read {name}"))?;
        let mut input = Self {
            path: path.to_owned(),
            max_record_bytes: usize::try_from(records.max_record_bytes.0).unwrap_or(usize::MAX),
            columns: records.columns.names(),
            layout: None,
        };
        let mut first = input.reader(input.part(0, of.bytes).with_context(input.cannot_read())?)?;
        for _ in 0..LAYOUT_RECORDS {
            if first.layout().is_some() || first.next().is_none() {
                break;
            }
        }
        input.layout = first.layout().cloned();
        Ok((input, of))
    }

    /// What the columns of the records mean, where the first ones say so.
    pub(super) fn layout(&self) -> Option<&Layout> {
        self.layout.as_ref()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
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
    pub(super) fn divide(
        &self,
        begun: &InputFile,
        shard_records: u64,
        index: &mut IndexWriter<'_>,
    ) -> Result<()> {
        let part = self.part(0, begun.bytes).with_context(self.cannot_read())?;
        let mut reader = self.reader(part)?;
        let mut place = reader.place();
        let mut records = 0;
        loop {
            let skipped = reader.pass_over();
            let more = skipped.with_context(|| format!("cannot divide {}", self.path.display()))?;
            records += u64::from(more);
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

    /// All of the input.
    pub(super) fn whole(&self) -> Result<BufReader<File>> {
        let file = File::open(&self.path).with_context(self.cannot_read())?;
        Ok(BufReader::with_capacity(BUFFER, file))
    }

    /// The records of a shard.
    pub(super) fn records(&self, shard: &Shard) -> Result<ShardRecords> {
        let stretch = &shard.stretch;
        let place = stretch.place.parse().map_err(|error| JobError::Damaged {
            path: PathBuf::from("index.jsonl"),
            problem: format!("{:?}: {error}", stretch.place),
        })?;
        let part = self.part(shard.offset, stretch.bytes);
        let part = part.with_context(self.cannot_read())?;
        Ok(ShardRecords {
            reader: self.reader(part)?.at_place(place),
            given: 0,
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

impl ShardRecords {
    /// How many records were given.
    pub(super) fn number(&self) -> u64 {
        self.given
    }

    /// The next record; `None` after the last, when all bytes of the shard were found to be those that they were.
    pub(super) fn next(
        &mut self,
        input: &JobInput,
        shard: &Shard,
    ) -> Result<Option<std::result::Result<(usize, Record), RecordError>>> {
        let read = match self.left {
            0 => None,
            _ => self.reader.next(),
        };
        if read.is_some() {
            self.left -= 1;
            self.given += 1;
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
