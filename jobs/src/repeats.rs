//! Which contents of records were in a shard before, so that they are computed once however far apart they are, and by
//! whichever process.
//!
//! The file has an entry of [`ENTRY_BYTES`] for each content of a shard that an earlier shard has, sorted by content, then a
//! hash of them; one shard behind the other. Behind them stands, for each shard, where its entries end.

use std::{
    io::{BufWriter, Read, Write},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    error::{JobError, Result},
    fs::{FileSystem, NewFile},
    sort::{Key, Sort},
};

/// Bytes of memory that it takes to sort contents.
const SORT_BYTES: usize = 32 << 20;
/// A content, then where it was first: shard, record of it, and part of the record.
const ENTRY_BYTES: usize = 16 + PLACE_BYTES;
const PLACE_BYTES: usize = 3 * 4;
const HASH_BYTES: usize = 8;
const END_BYTES: u64 = 8;

/// Where a content was first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct First {
    /// The shard.
    pub shard: usize,
    /// The number of the record in the shard, from 0.
    pub record: u64,
    /// Which part of the record, from 0.
    pub part: usize,
}

/// The file, as the index knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RepeatsFile {
    pub(crate) file: String,
    /// Where the ends are in it.
    ends: u64,
}

/// The name of a file by this process.
pub(crate) fn file(token: &str) -> String {
    format!("repeats.{token}.bin")
}

/// Whether a name is that of such a file.
pub(crate) fn is_file(name: &str) -> bool {
    name.starts_with("repeats.") && name.ends_with(".bin")
}

/// Takes the contents of all records, in their order in the shards.
pub(crate) struct RepeatsWriter<'a> {
    fs: &'a dyn FileSystem,
    sort: Sort<'a>,
    contents: u64,
}

impl<'a> RepeatsWriter<'a> {
    pub(crate) fn new(fs: &'a dyn FileSystem) -> Self {
        Self {
            fs,
            sort: Sort::new(fs, SORT_BYTES),
            contents: 0,
        }
    }

    pub(crate) fn add(&mut self, content: Key, at: First) -> Result<()> {
        self.contents += 1;
        self.sort.add(content, self.contents, &encode(at))
    }

    /// Writes what is in more than one of `shards`, so that it outlasts a loss of power. `None` where nothing is.
    pub(crate) fn finish(self, shards: u64, token: &str) -> Result<Option<RepeatsFile>> {
        let mut sorted = self.sort.finish()?;
        let mut by_shard = Sort::new(self.fs, SORT_BYTES);
        let mut before: Option<(Key, First, usize)> = None;
        let mut repeats = 0;
        while let Some((content, _, place)) = sorted.next()? {
            let at = decode(&place);
            match &mut before {
                Some((same, first, last)) if *same == content => {
                    // Each once in a shard, and not in that of the first.
                    if *last != at.shard {
                        *last = at.shard;
                        repeats += 1;
                        let entry = [&content[..], &encode(*first)].concat();
                        by_shard.add(shard_key(at.shard), repeats, &entry)?;
                    }
                }
                _ => before = Some((content, at, at.shard)),
            }
        }
        drop(sorted);
        if repeats == 0 {
            return Ok(None);
        }
        let name = file(token);
        let path = self.fs.locate(&name);
        let failed = || JobError::io("write", path.clone());
        // Of a try that failed.
        let _ = self.fs.remove(&name);
        let made = self.fs.create_new(&name).map_err(failed())?;
        let mut written = Written {
            file: BufWriter::new(made),
            path: path.clone(),
            at: 0,
        };
        let mut entries = by_shard.finish()?;
        let mut next = entries.next()?;
        let mut ends = Vec::new();
        for shard in 0..shards {
            let mut all = Vec::new();
            while let Some((_, _, entry)) =
                next.take_if(|(key, ..)| *key == shard_key(shard as usize))
            {
                all.extend(entry);
                next = entries.next()?;
            }
            if !all.is_empty() {
                all.extend_from_slice(&hash(&all));
                written.write(&all)?;
            }
            ends.extend(written.at.to_le_bytes());
        }
        let at = written.at;
        written.write(&ends)?;
        written.sync()?;
        self.fs.sync_dir("").map_err(failed())?;
        Ok(Some(RepeatsFile {
            file: name,
            ends: at,
        }))
    }
}

struct Written {
    file: BufWriter<Box<dyn NewFile>>,
    path: PathBuf,
    at: u64,
}

impl Written {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.at += bytes.len() as u64;
        self.file
            .write_all(bytes)
            .map_err(JobError::io("write", self.path.clone()))
    }

    fn sync(&mut self) -> Result<()> {
        let synced = self.file.flush().and_then(|()| self.file.get_mut().sync());
        synced.map_err(JobError::io("write", self.path.clone()))
    }
}

/// Sorts as the numbers do.
fn shard_key(shard: usize) -> Key {
    (shard as u128).to_be_bytes()
}

fn hash(entries: &[u8]) -> [u8; HASH_BYTES] {
    let digest = Sha256::digest(entries);
    std::array::from_fn(|index| digest[index])
}

/// Numbers that do not fit are far beyond what a job has.
fn encode(at: First) -> [u8; PLACE_BYTES] {
    let mut bytes = [0; PLACE_BYTES];
    let numbers = [at.shard as u64, at.record, at.part as u64];
    for (bytes, number) in bytes.chunks_exact_mut(4).zip(numbers) {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        bytes.copy_from_slice(&number.to_le_bytes());
    }
    bytes
}

fn decode(bytes: &[u8]) -> First {
    let number = |index: usize| {
        let bytes = bytes.get(4 * index..).and_then(<[u8]>::first_chunk);
        bytes.map_or(u32::MAX, |bytes| u32::from_le_bytes(*bytes))
    };
    First {
        shard: number(0) as usize,
        record: number(1).into(),
        part: number(2) as usize,
    }
}

/// The contents of a shard that were in another one before.
#[derive(Clone, Debug, Default)]
pub struct Repeats {
    entries: Vec<u8>,
}

impl Repeats {
    pub(crate) fn read(fs: &dyn FileSystem, of: &RepeatsFile, shard: usize) -> Result<Self> {
        let path = || fs.locate(&of.file);
        let read = |from: u64, bytes: u64| {
            let mut all = Vec::new();
            let read = fs
                .open_at(&of.file, from)
                .and_then(|file| file.take(bytes).read_to_end(&mut all));
            read.map_err(JobError::io("read", path()))?;
            Ok(all)
        };
        let damaged = || JobError::Damaged {
            path: path(),
            problem: format!(
                "what it says of shard {shard} is not what was written; remove it and the index.jsonl beside it, and both are made again"
            ),
        };
        // The end of the one before, and its own.
        let skipped = u64::from(shard > 0);
        let ends = read(
            of.ends + END_BYTES * (shard as u64 - skipped),
            END_BYTES * (1 + skipped),
        )?;
        let mut ends = ends.chunks_exact(END_BYTES as usize).map(|end| {
            let end = end.first_chunk().copied().unwrap_or_default();
            u64::from_le_bytes(end)
        });
        let begin = if shard > 0 { ends.next() } else { Some(0) };
        let (Some(begin), Some(end)) = (begin, ends.next()) else {
            return Err(damaged());
        };
        if begin > end || end > of.ends {
            return Err(damaged());
        }
        let mut entries = read(begin, end - begin)?;
        if entries.is_empty() && begin == end {
            return Ok(Self::default());
        }
        let length = entries.len().checked_sub(HASH_BYTES);
        let length = length.filter(|length| length.is_multiple_of(ENTRY_BYTES));
        let length = length.ok_or_else(damaged)?;
        let its_hash = entries.split_off(length);
        match its_hash == hash(&entries) {
            true => Ok(Self { entries }),
            false => Err(damaged()),
        }
    }

    /// Where a content was first, when that is another shard.
    #[must_use]
    pub fn first(&self, content: &[u8; 16]) -> Option<First> {
        let (entries, _) = self.entries.as_chunks::<ENTRY_BYTES>();
        let found = entries.binary_search_by(|entry| entry[..16].cmp(content));
        found.ok().map(|index| decode(&entries[index][16..]))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len() / ENTRY_BYTES
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
