//! The results of a shard, in one file.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    error::{JobError, Result},
    fs::FileSystem,
    input::hex,
};

/// The result of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its bytes, without the end of the line.
    pub bytes: Vec<u8>,
    /// What kind of error it is, one word, if it is none that is wanted.
    pub failure: Option<String>,
}

/// The results of a shard that is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardResults {
    text: Vec<u8>,
    /// How many of them are errors, by kind.
    pub failures: BTreeMap<String, u64>,
}

/// The last line of a file of results: what shows that it is whole. It depends on nothing but the results.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct End {
    shard: u64,
    records: u64,
    sha256: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    failures: BTreeMap<String, u64>,
}

impl ShardResults {
    /// The results, in the order of the records, each without the end of its line.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let text = self.text.strip_suffix(b"\n");
        let lines = text.map(|text| text.split(|&byte| byte == b'\n'));
        lines.into_iter().flatten()
    }

    /// The result of a record, by its number in the shard, from 0.
    #[must_use]
    pub fn line(&self, record: u64) -> Option<&[u8]> {
        self.lines().nth(usize::try_from(record).ok()?)
    }

    /// How many bytes they take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.text.len()
    }
}

pub(crate) const DIR: &str = "shards";

pub(crate) fn file(shard: usize) -> String {
    format!("{DIR}/{shard:06}.jsonl")
}

/// The shard whose results a name in `shards` is of.
pub(crate) fn shard_of(name: &str) -> Option<usize> {
    let number = name.strip_suffix(".jsonl")?;
    number
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| number.parse().ok())?
}

/// The content of the file.
pub(crate) fn content(shard: usize, lines: &[Line]) -> Vec<u8> {
    let mut text = Vec::with_capacity(lines.iter().map(|line| line.bytes.len() + 1).sum());
    let mut failures = BTreeMap::new();
    for line in lines {
        text.extend_from_slice(&line.bytes);
        text.push(b'\n');
        if let Some(kind) = &line.failure {
            *failures.entry(kind.clone()).or_default() += 1;
        }
    }
    let end = End {
        shard: shard as u64,
        records: lines.len() as u64,
        sha256: hex(&Sha256::digest(&text)),
        failures,
    };
    text.extend(serde_json::to_vec(&end).unwrap_or_default());
    text.push(b'\n');
    text
}

/// Writes the content of a file of results, so that it outlasts a loss of power. Its name does not yet.
pub(crate) fn write(fs: &dyn FileSystem, path: &str, content: &[u8]) -> io::Result<()> {
    let mut file = fs.create_new(path)?;
    file.write_all(content)?;
    file.sync()
}

/// Reads the results of a shard, and checks that they are whole.
pub(crate) fn read(fs: &dyn FileSystem, shard: usize, records: u64) -> Result<ShardResults> {
    let name = file(shard);
    let mut text = Vec::new();
    let read = fs
        .open(&name)
        .and_then(|mut file| file.read_to_end(&mut text));
    read.map_err(JobError::io("read", fs.locate(&name)))?;
    parse(fs, shard, records, text)
}

/// The results that the content of a file holds.
pub(crate) fn parse(
    fs: &dyn FileSystem,
    shard: usize,
    records: u64,
    mut text: Vec<u8>,
) -> Result<ShardResults> {
    let damaged = |problem: &str| JobError::Damaged {
        path: fs.locate(&file(shard)),
        problem: format!("{problem}; remove it, and its records are scored again"),
    };
    let Some(whole) = text.strip_suffix(b"\n") else {
        return Err(damaged("its last line has no end"));
    };
    let last = whole.iter().rposition(|&byte| byte == b'\n');
    let last = last.map_or(0, |end| end + 1);
    let end: End = serde_json::from_slice(&whole[last..])
        .map_err(|_| damaged("its last line does not say what it holds"))?;
    text.truncate(last);
    let is_whole = end.shard == shard as u64
        && end.records == records
        && text.iter().filter(|&&byte| byte == b'\n').count() as u64 == records
        && end.sha256 == hex(&Sha256::digest(&text));
    match is_whole {
        true => Ok(ShardResults {
            text,
            failures: end.failures,
        }),
        false => Err(damaged("its results are not those that were written")),
    }
}
