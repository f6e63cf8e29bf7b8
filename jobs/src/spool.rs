//! A copy of what is scored of the records, for inputs that cannot be read from any place on, or whose records are brought
//! together by their prompts. Each shard is a part of it: its records, one a line behind their numbers, as one frame of
//! Zstandard.

use std::{
    io::{self, BufWriter, Read, Write},
    path::PathBuf,
};

use sha2::{Digest, Sha256};
use zstd::bulk::Compressor;

use crate::{
    error::{JobError, Result},
    fs::{FileSystem, NewFile},
    index::{Index, IndexWriter, Stretch},
    input::hex,
    repeats::First,
    sort::{Key, Sort},
};

const LEVEL: i32 = 1;
/// What stands in the index for the place in the input.
const PLACE: &str = "copy";

/// How the records are divided into shards.
#[derive(Clone, Copy, Debug)]
pub struct SpoolOptions {
    /// Most records of a shard.
    pub shard_records: u64,
    /// Bytes after which a shard takes no more records.
    pub shard_bytes: usize,
    /// Whether records with equal keys come together, and how many bytes of memory it takes to sort them. They stay in the
    /// order of the input otherwise.
    pub sort_bytes: Option<usize>,
}

/// Copies records, in the order of the input, and makes the index of them.
pub struct SpoolWriter<'w, 'a> {
    shards: Shards<'w, 'a>,
    sort: Option<Sort<'a>>,
    /// What is sorted of the last record.
    packed: Vec<u8>,
    records: u64,
}

struct Shards<'w, 'a> {
    index: &'w mut IndexWriter<'a>,
    options: SpoolOptions,
    file: BufWriter<Box<dyn NewFile>>,
    path: PathBuf,
    compressor: Compressor<'static>,
    frame: Vec<u8>,
    records: u64,
}

/// The name of a copy by this process.
pub(crate) fn file(token: &str) -> String {
    format!("records.{token}.zst")
}

/// Whether a name is that of a copy.
pub(crate) fn is_file(name: &str) -> bool {
    name.starts_with("records.") && name.ends_with(".zst")
}

impl<'w, 'a> SpoolWriter<'w, 'a> {
    /// Begins a copy of the input that `index` is made of.
    ///
    /// # Errors
    /// [`JobError::Io`]
    pub fn new(index: &'w mut IndexWriter<'a>, options: SpoolOptions) -> Result<Self> {
        let fs = index.file_system();
        let name = file(index.token());
        let path = fs.locate(&name);
        // Of a try that failed.
        let _ = fs.remove(&name);
        let file = fs
            .create_new(&name)
            .map_err(JobError::io("write", path.clone()))?;
        let compressor = Compressor::new(LEVEL).map_err(JobError::io("compress", path.clone()))?;
        Ok(Self {
            sort: options.sort_bytes.map(|bytes| Sort::new(fs, bytes)),
            shards: Shards {
                index,
                options,
                file: BufWriter::new(file),
                path,
                compressor,
                frame: Vec::new(),
                records: 0,
            },
            packed: Vec::new(),
            records: 0,
        })
    }

    /// Adds the next record of the input, a text without line breaks, and the `contents` of its parts
    /// ([`IndexWriter::add_content`]). Those of one `key` come together, where that is asked for.
    ///
    /// # Errors
    /// [`JobError::Io`]
    pub fn add(&mut self, key: [u8; 16], text: &[u8], contents: &[[u8; 16]]) -> Result<()> {
        let number = self.records;
        self.records += 1;
        match &mut self.sort {
            Some(sort) => {
                self.packed.clear();
                pack(&mut self.packed, contents, text);
                sort.add(key, number, &self.packed)
            }
            None => self.shards.add(number, text, contents),
        }
    }

    /// Ends the copy, which outlasts a loss of power then. The index names it.
    ///
    /// # Errors
    /// [`JobError::Io`]
    pub fn finish(self) -> Result<()> {
        let Self {
            mut shards, sort, ..
        } = self;
        let is_grouped = sort.is_some();
        if let Some(sort) = sort {
            let mut sorted = sort.finish()?;
            while let Some((_, number, packed)) = sorted.next()? {
                let (contents, text) = unpack(&packed).ok_or_else(|| shards.not_as_written())?;
                shards.add(number, text, contents)?;
            }
        }
        shards.finish(is_grouped)
    }
}

/// How many contents there are, these, and the text.
fn pack(packed: &mut Vec<u8>, contents: &[Key], text: &[u8]) {
    packed.extend((contents.len() as u64).to_le_bytes());
    packed.extend(contents.as_flattened());
    packed.extend(text);
}

fn unpack(packed: &[u8]) -> Option<(&[Key], &[u8])> {
    let (count, rest) = packed.split_first_chunk()?;
    let count = usize::try_from(u64::from_le_bytes(*count)).ok()?;
    let (contents, text) = rest.split_at_checked(count.checked_mul(size_of::<Key>())?)?;
    Some((contents.as_chunks().0, text))
}

impl Shards<'_, '_> {
    fn not_as_written(&self) -> JobError {
        let problem = io::Error::new(io::ErrorKind::InvalidData, "it is not what was written");
        JobError::io(
            "read a file to sort with in",
            self.index.file_system().locate(""),
        )(problem)
    }

    fn add(&mut self, number: u64, text: &[u8], contents: &[Key]) -> Result<()> {
        for (part, content) in contents.iter().enumerate() {
            let at = First {
                shard: self.index.shards(),
                record: self.records,
                part,
            };
            self.index.add_content(*content, at)?;
        }
        self.frame.extend_from_slice(number.to_string().as_bytes());
        self.frame.push(b' ');
        self.frame.extend_from_slice(text);
        self.frame.push(b'\n');
        self.records += 1;
        let options = &self.options;
        match self.records >= options.shard_records || self.frame.len() >= options.shard_bytes {
            true => self.cut(),
            false => Ok(()),
        }
    }

    /// Ends a shard.
    fn cut(&mut self) -> Result<()> {
        let frame = self.compressor.compress(&self.frame);
        let frame = frame.map_err(JobError::io("compress", self.path.clone()))?;
        self.file
            .write_all(&frame)
            .map_err(JobError::io("write", self.path.clone()))?;
        self.index.push(&Stretch {
            records: self.records,
            bytes: frame.len() as u64,
            sha256: hash(&frame),
            place: PLACE.to_owned(),
        })?;
        self.frame.clear();
        self.records = 0;
        Ok(())
    }

    fn finish(mut self, is_grouped: bool) -> Result<()> {
        if self.records > 0 {
            self.cut()?;
        }
        let mut put = || {
            self.file.flush()?;
            self.file.get_mut().sync()?;
            self.index.file_system().sync_dir("")
        };
        put().map_err(JobError::io("write", self.path.clone()))?;
        let name = file(self.index.token());
        self.index.of_copy(name, is_grouped);
        Ok(())
    }
}

fn hash(frame: &[u8]) -> String {
    hex(&Sha256::digest(frame)[..16])
}

/// The records of a shard, from a copy.
#[derive(Clone, Debug)]
pub struct Spooled {
    text: Vec<u8>,
    at: usize,
}

impl Spooled {
    /// Reads those of a shard; `None` where the job has no copy of its records.
    pub(crate) fn read(fs: &dyn FileSystem, index: &Index, shard: usize) -> Result<Option<Self>> {
        let (Some(name), Some((offset, _, stretch))) = (index.copy(), index.get(shard)) else {
            return Ok(None);
        };
        let path = || fs.locate(name);
        let damaged = || JobError::Damaged {
            path: path(),
            problem: format!(
                "the records of shard {shard} are not those that were written; remove it and {}, and both are made again",
                fs.locate(crate::index::FILE).display()
            ),
        };
        let mut frame = Vec::new();
        let read = fs
            .open_at(name, offset)
            .and_then(|file| file.take(stretch.bytes).read_to_end(&mut frame));
        read.map_err(JobError::io("read", path()))?;
        if hash(&frame) != stretch.sha256 {
            return Err(damaged());
        }
        let text = zstd::stream::decode_all(&frame[..]).map_err(|_| damaged())?;
        let lines = text.iter().filter(|&&byte| byte == b'\n').count();
        match lines as u64 == stretch.records {
            true => Ok(Some(Self { text, at: 0 })),
            false => Err(damaged()),
        }
    }

    /// The next record: its number in the input, from 0, and its text; `None` after the last.
    pub fn next_record(&mut self) -> Option<(u64, &[u8])> {
        let rest = &self.text[self.at..];
        let end = rest.iter().position(|&byte| byte == b'\n')?;
        self.at += end + 1;
        let line = &rest[..end];
        let space = line.iter().position(|&byte| byte == b' ')?;
        let number = std::str::from_utf8(&line[..space]).ok()?.parse().ok()?;
        Some((number, &line[space + 1..]))
    }
}

/// A short hash of the text of a record, by which it is known again.
#[must_use]
pub fn record_hash(text: &[u8]) -> [u8; 8] {
    let digest = Sha256::digest(text);
    std::array::from_fn(|index| digest[index])
}

/// The key of a text, as [`SpoolWriter::add`] takes it: those that begin alike come together, then those that are the same.
#[must_use]
pub fn prompt_key(beginning: &[u8], whole: &[u8]) -> Key {
    let halves = [record_hash(beginning), record_hash(whole)];
    std::array::from_fn(|index| halves[index / 8][index % 8])
}
