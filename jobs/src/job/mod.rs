//! A job: shards are taken, and their results committed.

mod claiming;
mod committing;
mod dividing;
mod opening;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use crate::{
    error::{JobError, Result},
    fs::FileSystem,
    identity::Identity,
    index::{self, Index, Stretch},
    lease::Leases,
    repeats::Repeats,
    results::{self, Line, ShardResults},
    spool::Spooled,
};

const SHARDS: &str = results::DIR;
const INDEX_LEASE: &str = "index";
const OUTPUT_LEASE: &str = "output";

/// How a process takes part in a job.
#[derive(Clone, Debug)]
pub struct JobOptions {
    /// How long an owner of another machine, or one that cannot be looked for, may be silent before it counts as dead. The
    /// processes of a job should have the same. Default 60 s; less than what a shared file system may hide is too little.
    pub expiry: Duration,
    /// After so many owners that died, the records of a shard are tried one by one. Default 3.
    pub deaths: u32,
    /// After so many deaths over it, a record that was tried by itself is set aside. Default 3.
    pub tries: u32,
}

impl Default for JobOptions {
    fn default() -> Self {
        Self {
            expiry: Duration::from_secs(60),
            deaths: 3,
            tries: 3,
        }
    }
}

/// A job that is open. Dropping it gives back what this process holds.
pub struct Job {
    fs: Arc<dyn FileSystem>,
    leases: Leases,
    identity: Identity,
    options: JobOptions,
    index: OnceLock<Index>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What was seen of the directory last.
    done: Vec<bool>,
    leases: BTreeMap<String, u32>,
    journals: BTreeMap<usize, Vec<String>>,
    /// The shard that is looked at next; `None` before the first look.
    next: Option<usize>,
    /// Those that this process holds.
    held: BTreeSet<usize>,
    journals_made: u64,
}

/// What there is to do.
#[derive(Debug)]
pub enum Claim {
    /// These records.
    Shard(Shard),
    /// Nothing at the moment: others work on what is left, and some of them may die.
    Wait,
    /// Nothing more: all shards are committed.
    Done,
}

/// What became of a shard that is waited for.
#[derive(Debug)]
pub enum Awaited {
    /// This process has it now.
    Shard(Shard),
    /// It is committed, or somebody has it who lives.
    UnderWay,
    /// Its owners have died again and again: a process gets it that has no other.
    Alone,
}

/// A shard that this process has.
#[derive(Clone, Debug)]
pub struct Shard {
    /// Its number, from 0.
    pub number: usize,
    /// The byte of the input where it begins.
    pub offset: u64,
    /// The number of its first record, from 0.
    pub first: u64,
    /// What it is read from.
    pub stretch: Stretch,
    /// Results that an owner before has left, by the number of the record in the shard, from 0.
    pub known: BTreeMap<u64, Line>,
    /// Records that are not to be tried any more, and how many processes died over each.
    pub poison: BTreeMap<u64, u32>,
    /// Whether its records are to be tried one by one, each noted in a [`Journal`](crate::Journal) before. Its owners have died.
    pub alone: bool,
}

/// What came of the results of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// They are in the job.
    First,
    /// Another process had committed the same.
    Same,
    /// Another process had committed others, which stay. On devices whose numbers depend on what is computed together, that
    /// may be.
    Differs,
}

impl Job {
    /// What the job in a directory is about; `None` where there is no job.
    ///
    /// # Errors
    /// [`JobError::Version`], [`JobError::Damaged`], and whatever the system says.
    pub fn identity_of(fs: &dyn FileSystem) -> Result<Option<Identity>> {
        Identity::read(fs)
    }

    /// What the job was begun with.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether the input of the job in a directory is divided.
    ///
    /// # Errors
    /// [`JobError::Io`]
    pub fn is_divided(fs: &dyn FileSystem) -> Result<bool> {
        fs.exists(index::FILE)
            .map_err(JobError::io("read", fs.locate(index::FILE)))
    }

    /// How long an owner may be silent.
    #[must_use]
    pub fn expiry(&self) -> Duration {
        self.leases.expiry()
    }

    /// How many shards are committed, with the records in them, by a look at the directory.
    ///
    /// # Errors
    /// [`JobError::Io`]
    pub fn progress(&self) -> Result<(usize, u64)> {
        let names = self
            .fs
            .list(SHARDS)
            .map_err(JobError::io("read", self.fs.locate(SHARDS)))?;
        let records = |shard| self.index.get().map_or(0, |index| index.records_of(shard));
        let done = names.iter().filter_map(|name| results::shard_of(name));
        Ok(done.fold((0, 0), |(shards, all), shard| {
            (shards + 1, all + records(shard))
        }))
    }

    /// The results of a committed shard.
    ///
    /// # Errors
    /// [`JobError::Damaged`] when they are not what was written.
    pub fn results(&self, shard: usize) -> Result<ShardResults> {
        let records = self.index.get().map_or(0, |index| index.records_of(shard));
        results::read(&*self.fs, shard, records)
    }

    /// The results of a shard, when it is committed.
    ///
    /// # Errors
    /// [`JobError::Damaged`] when they are not what was written.
    pub fn results_if_committed(&self, shard: usize) -> Result<Option<ShardResults>> {
        match self.results(shard) {
            Err(JobError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(None)
            }
            results => results.map(Some),
        }
    }

    /// What of a shard was in an earlier one.
    ///
    /// # Errors
    /// [`JobError::Damaged`] when that is not what was written, and whatever the system says.
    pub fn repeats(&self, shard: usize) -> Result<Repeats> {
        match self.index.get().and_then(Index::repeats) {
            Some(file) => Repeats::read(&*self.fs, file, shard),
            None => Ok(Repeats::default()),
        }
    }

    /// What the records of a shard are called in messages: by their numbers, or where these are not in order by that of the
    /// shard.
    #[must_use]
    pub fn name_of(&self, shard: usize) -> String {
        let index = self.index.get();
        match index.and_then(|index| Some((index.is_grouped(), index.get(shard)?))) {
            Some((false, (_, first, stretch))) => {
                format!("records {} to {}", first + 1, first + stretch.records)
            }
            Some((true, (.., stretch))) => {
                format!("the {} records of shard {shard}", stretch.records)
            }
            None => format!("the records of shard {shard}"),
        }
    }

    /// The records of a shard, where the job has a copy of them.
    ///
    /// # Errors
    /// [`JobError::Damaged`] when they are not what was written, and whatever the system says.
    pub fn records(&self, shard: usize) -> Result<Option<Spooled>> {
        match self.index.get() {
            Some(index) => Spooled::read(&*self.fs, index, shard),
            None => Ok(None),
        }
    }

    /// Takes the lease for writing the output, which one process at a time has.
    ///
    /// # Errors
    /// [`JobError::Io`]
    pub fn begin_output(&self) -> Result<bool> {
        self.take(OUTPUT_LEASE)
    }

    /// Gives that lease back.
    pub fn end_output(&self) {
        self.leases.finish(OUTPUT_LEASE);
    }

    /// A note that was left in the directory.
    ///
    /// # Errors
    /// [`JobError::Io`]
    pub fn note(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let mut text = Vec::new();
        match self.fs.open(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.and_then(|mut file| io::Read::read_to_end(&mut file, &mut text)),
        }
        .map_err(JobError::io("read", self.fs.locate(name)))?;
        Ok(Some(text))
    }

    /// Leaves a note, in place of one of that name.
    ///
    /// # Errors
    /// [`JobError::Io`]
    pub fn leave_note(&self, name: &str, text: &[u8]) -> Result<()> {
        let _ = self.fs.remove(name);
        results::write(&*self.fs, name, text).map_err(JobError::io("write", self.fs.locate(name)))
    }

    /// Removes what processes that died have left, once all shards are committed.
    ///
    /// # Errors
    /// [`JobError::Io`]
    pub fn tidy(&self) -> Result<()> {
        self.leases.tidy(OUTPUT_LEASE)?;
        self.remove_copies()?;
        for dir in ["", SHARDS] {
            let names = self.fs.list(dir);
            for name in names.map_err(JobError::io("read", self.fs.locate(dir)))? {
                if name.ends_with(".tmp") || name.ends_with(".part") {
                    let path = match dir {
                        "" => name,
                        _ => format!("{dir}/{name}"),
                    };
                    let _ = self.fs.remove(&path);
                }
            }
        }
        Ok(())
    }

    /// Says that this process lives. [`Heartbeat`](crate::Heartbeat) does that now and then.
    pub fn beat(&self) {
        self.leases.beat();
    }

    fn take(&self, key: &str) -> Result<bool> {
        self.leases.take_latest(key)
    }

    fn exists(&self, path: &str) -> Result<bool> {
        self.fs
            .exists(path)
            .map_err(JobError::io("read", self.fs.locate(path)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.leases.leave();
    }
}

fn key(shard: usize) -> String {
    format!("{shard:06}")
}
