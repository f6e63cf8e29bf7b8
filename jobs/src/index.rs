//! Where in the input each shard begins.

use std::{
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    error::{JobError, Result},
    fs::{FileSystem, NewFile},
    input::{Digested, hex},
    repeats::{First, RepeatsFile, RepeatsWriter},
};

pub(crate) const FILE: &str = "index.jsonl";

/// The part of the input that a shard is read from. The first begins at the first byte, and each of the others where the
/// one before it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stretch {
    /// Its records.
    pub records: u64,
    /// Its bytes.
    pub bytes: u64,
    /// A hash of them, as [`Digested::cut`] gives it.
    pub sha256: String,
    /// Where its reader stands at its beginning: a word of whoever reads it.
    pub place: String,
}

/// The last line of the file, which shows that it is whole.
#[derive(Serialize, Deserialize)]
struct End {
    shards: u64,
    records: u64,
    sha256: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    copy: Option<Copied>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    repeats: Option<RepeatsFile>,
}

/// That the shards are of a copy of the records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Copied {
    file: String,
    /// Whether its records are in another order than in the input.
    is_grouped: bool,
}

/// All shards of a job. It holds about a hundred bytes for each.
#[derive(Debug)]
pub struct Index {
    stretches: Vec<(u64, u64, Stretch)>,
    records: u64,
    bytes: u64,
    copy: Option<Copied>,
    repeats: Option<RepeatsFile>,
}

impl Index {
    /// How many shards there are.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.stretches.len()
    }

    /// How many records there are.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Records of a shard; none of one that is not there.
    #[must_use]
    pub fn records_of(&self, shard: usize) -> u64 {
        self.stretches.get(shard).map_or(0, |(_, _, of)| of.records)
    }

    /// A shard: the byte of the input where it begins, the number of its first record, from 0, and the stretch.
    #[must_use]
    pub fn get(&self, shard: usize) -> Option<(u64, u64, &Stretch)> {
        let (offset, first, stretch) = self.stretches.get(shard)?;
        Some((*offset, *first, stretch))
    }

    /// Whether the shards are of a copy of the records ([`SpoolWriter`](crate::SpoolWriter)), and not of the input itself.
    #[must_use]
    pub fn is_of_copy(&self) -> bool {
        self.copy.is_some()
    }

    /// Whether the records have another order than in the input.
    #[must_use]
    pub fn is_grouped(&self) -> bool {
        self.copy.as_ref().is_some_and(|copy| copy.is_grouped)
    }

    /// The file of the copy.
    pub(crate) fn copy(&self) -> Option<&str> {
        self.copy.as_ref().map(|copy| copy.file.as_str())
    }

    /// What is in more than one shard; `None` where nothing is, or nobody looked.
    pub(crate) fn repeats(&self) -> Option<&RepeatsFile> {
        self.repeats.as_ref()
    }

    /// Whether all bytes of an input are those that the index was made of.
    ///
    /// # Errors
    /// [`JobError::InputChanged`], naming the records where it differs first.
    pub fn verify(&self, name: &str, input: impl BufRead) -> Result<()> {
        let changed = |problem: String| JobError::InputChanged {
            input: name.to_owned(),
            problem,
        };
        let mut input = Digested::new(input);
        for (_, first, stretch) in &self.stretches {
            let wanted = &mut (&mut input).take(stretch.bytes);
            io::copy(wanted, &mut io::sink())
                .map_err(|error| changed(format!("it cannot be read ({error})")))?;
            if input.cut() != (stretch.bytes, stretch.sha256.clone()) {
                let last = first + stretch.records;
                return Err(changed(format!(
                    "its records {} to {last} are others",
                    first + 1
                )));
            }
        }
        match input.fill_buf().map(<[u8]>::is_empty) {
            Ok(true) => Ok(()),
            _ => Err(changed(format!("it is longer than {} bytes", self.bytes))),
        }
    }

    /// Reads the index of a job; `None` where it is not made yet.
    pub(crate) fn read(fs: &dyn FileSystem) -> Result<Option<Self>> {
        let path = || fs.locate(FILE);
        let file = match fs.open(FILE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(JobError::io("read", path()))?,
        };
        let damaged = |problem: &str| JobError::Damaged {
            path: path(),
            problem: format!("{problem}; remove it, and it is made again"),
        };
        let mut index = Self {
            stretches: Vec::new(),
            records: 0,
            bytes: 0,
            copy: None,
            repeats: None,
        };
        let mut hasher = Sha256::new();
        for line in BufReader::new(file).lines() {
            let line = line.map_err(JobError::io("read", path()))?;
            if let Ok(stretch) = serde_json::from_str::<Stretch>(&line) {
                hasher.update(&line);
                let begins = (index.bytes, index.records);
                index.bytes += stretch.bytes;
                index.records += stretch.records;
                index.stretches.push((begins.0, begins.1, stretch));
                continue;
            }
            let end: End = serde_json::from_str(&line)
                .map_err(|_| damaged("it has a line that is neither a shard nor its end"))?;
            let is_whole = end.shards == index.stretches.len() as u64
                && end.records == index.records
                && end.sha256 == hex(&hasher.finalize());
            index.copy = end.copy;
            index.repeats = end.repeats;
            return match is_whole {
                true => Ok(Some(index)),
                false => Err(damaged("its end does not fit its shards")),
            };
        }
        Err(damaged("it has no end"))
    }
}

/// What the index is called that a process writes.
pub(crate) fn temporary(token: &str) -> String {
    format!("index.{token}.tmp")
}

pub(crate) fn is_temporary(name: &str) -> bool {
    name.starts_with("index.") && name.ends_with(".tmp")
}

/// Writes an index, a shard at a time.
pub struct IndexWriter<'a> {
    file: BufWriter<Box<dyn NewFile>>,
    path: PathBuf,
    hasher: Sha256,
    shards: u64,
    records: u64,
    fs: &'a dyn FileSystem,
    token: String,
    temporary: String,
    copy: Option<Copied>,
    contents: RepeatsWriter<'a>,
}

impl<'a> IndexWriter<'a> {
    pub(crate) fn new(fs: &'a dyn FileSystem, token: &str) -> Result<Self> {
        let temporary = temporary(token);
        let path = fs.locate(&temporary);
        // Of a try that failed.
        let _ = fs.remove(&temporary);
        let file = fs
            .create_new(&temporary)
            .map_err(JobError::io("write", path.clone()))?;
        Ok(Self {
            file: BufWriter::new(file),
            path,
            hasher: Sha256::new(),
            shards: 0,
            records: 0,
            fs,
            token: token.to_owned(),
            temporary,
            copy: None,
            contents: RepeatsWriter::new(fs),
        })
    }

    pub(crate) fn file_system(&self) -> &'a dyn FileSystem {
        self.fs
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// The shards are of this copy, which outlasts a loss of power.
    pub(crate) fn of_copy(&mut self, file: String, is_grouped: bool) {
        self.copy = Some(Copied { file, is_grouped });
    }

    /// Adds the next shard.
    ///
    /// # Errors
    /// [`JobError::Io`]
    pub fn push(&mut self, stretch: &Stretch) -> Result<()> {
        let text = serde_json::to_string(stretch).unwrap_or_default();
        self.hasher.update(&text);
        self.shards += 1;
        self.records += stretch.records;
        self.line(&text)
    }

    /// How many shards were added.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.shards as usize
    }

    /// Says what a part of a record holds, by a hash of all that its result depends on: what is in more than one shard is
    /// noted ([`Job::repeats`](crate::Job::repeats)). The contents come in the order of the shards and their records.
    ///
    /// # Errors
    /// [`JobError::Io`]
    pub fn add_content(&mut self, content: [u8; 16], at: First) -> Result<()> {
        self.contents.add(content, at)
    }

    fn line(&mut self, text: &str) -> Result<()> {
        writeln!(self.file, "{text}").map_err(JobError::io("write", self.path.clone()))
    }

    pub(crate) fn finish(mut self) -> Result<()> {
        let contents = std::mem::replace(&mut self.contents, RepeatsWriter::new(self.fs));
        let end = End {
            shards: self.shards,
            records: self.records,
            sha256: hex(&self.hasher.finalize_reset()),
            copy: self.copy.take(),
            repeats: contents.finish(self.shards, &self.token)?,
        };
        self.line(&serde_json::to_string(&end).unwrap_or_default())?;
        let mut put = || {
            self.file.flush()?;
            self.file.get_mut().sync()?;
            if !self.fs.publish(&self.temporary, FILE)? {
                self.fs.remove(&self.temporary)?;
            }
            self.fs.sync_dir("")
        };
        put().map_err(JobError::io("write", self.path.clone()))
    }
}
