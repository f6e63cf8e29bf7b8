//! Results of a shard that is not complete: of one that was given back, or whose records are tried one by one.
//!
//! Each line begins with a hash of the rest, so that of a file whose end was lost, or was never written, what is whole is
//! used and nothing else:
//!
//! ```text
//! 5f0e4cd21b3a7e88 try 12
//! 0a77c1d3f9e2b655 done 12 - {"id":13,"score":0.25,"tokens":9}
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, BufRead, BufReader, Write},
};

use sha2::{Digest, Sha256};

use crate::{
    error::{JobError, Result},
    fs::{FileSystem, NewFile},
    input::hex,
    results::{self, Line},
};

const NO_FAILURE: &str = "-";

/// An empty journal that a shard has once it was given back with results: whoever looked at the directory before does not know
/// the others.
pub(crate) fn left(shard: usize) -> String {
    format!("{}/{shard:06}.left.part", results::DIR)
}

/// The file that the results of records go to one by one.
pub struct Journal {
    file: Box<dyn NewFile>,
    path: std::path::PathBuf,
}

/// What the journals of a shard say.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Results, by the number of the record in its shard.
    pub(crate) lines: BTreeMap<u64, Line>,
    /// How often whoever tried a record did not come to its result.
    pub(crate) deaths: BTreeMap<u64, u32>,
}

impl Journal {
    pub(crate) fn new(fs: &dyn FileSystem, name: &str) -> Result<Self> {
        let path = fs.locate(name);
        let file = fs
            .create_new(name)
            .map_err(JobError::io("write", path.clone()))?;
        Ok(Self { file, path })
    }

    /// Notes that a record is about to be tried; the note outlasts what may come of it. `record` is its number in the
    /// shard, from 0.
    ///
    /// # Errors
    /// [`JobError::Io`]
    pub fn begin(&mut self, record: u64) -> Result<()> {
        self.write(format!("try {record}").as_bytes())?;
        self.sync()
    }

    /// Adds the result of a record.
    ///
    /// # Errors
    /// [`JobError::Io`]
    pub fn done(&mut self, record: u64, line: &Line) -> Result<()> {
        let failure = line.failure.as_deref().unwrap_or(NO_FAILURE);
        let mut text = format!("done {record} {failure} ").into_bytes();
        text.extend_from_slice(&line.bytes);
        self.write(&text)
    }

    pub(crate) fn sync(&mut self) -> Result<()> {
        self.file
            .sync()
            .map_err(JobError::io("write", self.path.clone()))
    }

    fn write(&mut self, text: &[u8]) -> Result<()> {
        let mut line = check(text).into_bytes();
        line.push(b' ');
        line.extend_from_slice(text);
        line.push(b'\n');
        self.file
            .write_all(&line)
            .map_err(JobError::io("write", self.path.clone()))
    }
}

fn check(text: &[u8]) -> String {
    hex(&Sha256::digest(text)[..8])
}

impl Known {
    /// Adds what a journal says. One that is gone says nothing: the shard is committed.
    pub(crate) fn read(&mut self, fs: &dyn FileSystem, name: &str) -> Result<()> {
        let path = || fs.locate(name);
        let file = match fs.open(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened.map_err(JobError::io("read", path()))?,
        };
        let mut tried = BTreeSet::new();
        for line in BufReader::new(file).split(b'\n') {
            let line = line.map_err(JobError::io("read", path()))?;
            match parse(&line) {
                Some(Entry::Try(record)) => {
                    tried.insert(record);
                }
                Some(Entry::Done(record, line)) => {
                    tried.remove(&record);
                    self.lines.entry(record).or_insert(line);
                }
                None => {}
            }
        }
        for record in tried {
            *self.deaths.entry(record).or_default() += 1;
        }
        Ok(())
    }
}

enum Entry {
    Try(u64),
    Done(u64, Line),
}

fn parse(line: &[u8]) -> Option<Entry> {
    let (hash, text) = (line.get(..16)?, line.get(17..)?);
    if check(text).as_bytes() != hash {
        return None;
    }
    let mut words = text.splitn(4, |&byte| byte == b' ');
    let verb = words.next()?;
    let record = std::str::from_utf8(words.next()?).ok()?.parse().ok()?;
    match verb {
        b"try" => Some(Entry::Try(record)),
        b"done" => {
            let failure = std::str::from_utf8(words.next()?).ok()?;
            let bytes = words.next()?.to_vec();
            let failure = (failure != NO_FAILURE).then(|| failure.to_owned());
            Some(Entry::Done(record, Line { bytes, failure }))
        }
        _ => None,
    }
}
