//! The records of a job: divided once, and read a shard at a time.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use worldpm_ort_data::{Compression, DataSet, Files, Format};
use worldpm_ort_jobs::{Index, IndexWriter, InputFile, Job, Shard, Spooled};

use super::{
    copy::{self, Texts, Way},
    dividing::Look,
    files::fingerprints,
    found::Found,
    plain::{self, Dividing, Part, PlainInput, PlainRecords},
};
use crate::cli::{
    common::objects,
    score::{args::ScoreArgs, input::options, job_args::Grouping},
};

/// What a job reads.
pub(super) struct JobInput {
    files: Files,
    names: Arc<[Arc<str>]>,
    /// The input itself, where it is read from any place on and nothing is copied.
    plain: Option<PlainInput>,
    /// Whether records are brought together by their prompts.
    pub(super) is_grouped: bool,
}

impl JobInput {
    /// Opens an input, which must be files: they are read more than once.
    pub(super) fn open(args: &ScoreArgs, files: Files) -> Result<(Self, Vec<InputFile>)> {
        if files.paths().iter().any(|path| path == Path::new("-")) {
            bail!(
                "a job reads parts of its input again, which standard input does not permit: name a file with --input"
            );
        }
        let fingerprints = fingerprints(files.paths())?;
        let plain = match (
            args.job.group_prompts,
            files.paths(),
            fingerprints.as_slice(),
        ) {
            (Grouping::Always, ..) => None,
            (_, [path], [file]) if is_plain(args, &files)? => {
                Some(PlainInput::open(path, file.bytes, &args.records)?)
            }
            _ => None,
        };
        let name = |path: &PathBuf| path.display().to_string().into();
        let input = Self {
            names: files.paths().iter().map(name).collect(),
            files,
            is_grouped: match args.job.group_prompts {
                Grouping::Auto => plain.is_none(),
                Grouping::Always => true,
                Grouping::Never => false,
            },
            plain,
        };
        Ok((input, fingerprints))
    }

    pub(super) fn files(&self) -> &Files {
        &self.files
    }

    /// The texts that records are copied as.
    pub(super) fn texts(&self) -> Texts {
        Texts::new(Arc::clone(&self.names))
    }

    /// Divides the input, which is still `begun`.
    pub(super) fn divide(
        &self,
        args: &ScoreArgs,
        begun: &[InputFile],
        shard_records: u64,
        index: &mut IndexWriter<'_>,
    ) -> Result<()> {
        match (&self.plain, begun) {
            (Some(plain), [begun]) => {
                let dividing = Dividing {
                    shard_records,
                    keep_going: args.keep_going,
                    look: Look::new(args),
                    name: &self.names[0],
                };
                plain.divide(begun, &dividing, index)
            }
            _ => copy::write(
                args,
                &self.files,
                self.texts(),
                Way {
                    shard_records,
                    is_grouped: self.is_grouped,
                },
                begun,
                index,
            ),
        }
    }

    /// Compares the input with the index, where that is made of the input itself and not of a copy.
    pub(super) fn verify(&self, index: &Index) -> Result<()> {
        match &self.plain {
            Some(plain) if !index.is_of_copy() => plain.verify(index),
            _ => Ok(()),
        }
    }

    /// The records of a shard.
    pub(super) fn records(&self, job: &Job, shard: &Shard) -> Result<ShardRecords> {
        let source = match (&self.plain, job.records(shard.number)?) {
            (_, Some(copied)) => Source::Copied(copied),
            (Some(plain), None) => Source::Plain(Box::new(plain.records(&part_of(shard))?)),
            (None, None) => {
                bail!("the index is of another input: begin a new job in another directory")
            }
        };
        Ok(ShardRecords { source, given: 0 })
    }

    /// Whether the bytes of a shard are those that they were. Those of a copy are looked at when they are read.
    pub(super) fn check(&self, shard: &Shard) -> Result<()> {
        match &self.plain {
            Some(plain) => plain.check(&part_of(shard)),
            None => Ok(()),
        }
    }
}

fn part_of(shard: &Shard) -> Part<'_> {
    Part {
        offset: shard.offset,
        first: shard.first,
        stretch: &shard.stretch,
    }
}

/// The records of a shard, one after another.
pub(super) struct ShardRecords {
    source: Source,
    given: u64,
}

enum Source {
    Plain(Box<PlainRecords>),
    Copied(Spooled),
}

impl ShardRecords {
    /// How many records were given.
    pub(super) fn number(&self) -> u64 {
        self.given
    }

    /// The next record; `None` after the last, when all bytes of the shard were found to be those that they were.
    pub(super) fn next(&mut self, input: &JobInput, shard: &Shard) -> Result<Option<Found>> {
        let found = match &mut self.source {
            Source::Plain(records) => match &input.plain {
                Some(plain) => records
                    .next(plain, &part_of(shard))?
                    .map(|read| plain::found(read, &input.names[0])),
                None => None,
            },
            Source::Copied(records) => match records.next_record() {
                Some((_, text)) => Some(copy::read(text, &input.names)?),
                None => None,
            },
        };
        self.given += u64::from(found.is_some());
        Ok(found)
    }
}

/// Whether a file is JSON that is not compressed.
fn is_plain(args: &ScoreArgs, files: &Files) -> Result<bool> {
    let [path] = files.paths() else {
        return Ok(false);
    };
    if objects::url(path).is_some() || !files.parts().is_empty() {
        return Ok(false);
    }
    let mut first = Vec::new();
    let read = File::open(path).and_then(|file| file.take(4).read_to_end(&mut first));
    read.with_context(|| format!("cannot read {}", path.display()))?;
    if Compression::of_content(&first) != Compression::None {
        return Ok(false);
    }
    let set = DataSet::open(files.clone(), &options(args))?;
    Ok(matches!(set.format(), Format::JsonLines | Format::Json))
}
