//! A job: shards are taken, and their results committed.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use crate::{
    error::{JobError, Result},
    fs::FileSystem,
    identity::{self, Identity},
    index::{self, Index, IndexWriter, Stretch},
    journal::{Journal, Known},
    lease::{self, Leases, Owner},
    results::{self, Line, ShardResults},
    spool::{self, Spooled},
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
    /// Whether its records are to be tried one by one, each noted in a [`Journal`] before. Its owners have died.
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
    /// Opens the job in a directory, or begins it where there is none. One of another identity that is not divided yet, which
    /// nobody who lives is about to do, has nothing to lose: it is begun anew as this one.
    ///
    /// # Errors
    /// [`JobError::NotAJob`], [`JobError::Version`] and [`JobError::Different`] for a directory of something else, and
    /// whatever the system says.
    pub fn open(
        fs: Arc<dyn FileSystem>,
        owner: Owner,
        identity: Identity,
        options: JobOptions,
    ) -> Result<Self> {
        let leases = Leases::new(Arc::clone(&fs), owner, options.expiry);
        let begin = || {
            identity.write(&*fs, leases.token())?;
            // Another process may have been faster.
            Ok(Identity::read(&*fs)?.unwrap_or(identity.clone()))
        };
        let mut found = match Identity::read(&*fs)? {
            Some(found) => found,
            None => {
                check_empty(&*fs)?;
                begin()?
            }
        };
        for dir in [SHARDS, lease::DIR] {
            fs.make_dir(dir)
                .map_err(JobError::io("make the directory", fs.locate(dir)))?;
        }
        let is_other = !found.differences(&identity).is_empty();
        if is_other && leases.take_latest(INDEX_LEASE)? {
            let begun_anew = match clear(&*fs) {
                Ok(true) => begin().map(Some),
                Ok(false) => Ok(None),
                Err(error) => Err(error),
            };
            leases.give_back(INDEX_LEASE);
            if let Some(anew) = begun_anew? {
                found = anew;
            }
        }
        check_same(&*fs, &found, &identity)?;
        fs.sync_dir("")
            .map_err(JobError::io("write", fs.locate("")))?;
        Ok(Self {
            leases,
            fs,
            identity: found,
            options,
            index: OnceLock::new(),
            state: Mutex::default(),
        })
    }

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

    /// The index of the job. One process makes it with `make`; others wait for that, and call `wait` now and then, which may
    /// end the waiting with an error.
    ///
    /// # Errors
    /// Those of `make` and `wait`, [`JobError::Damaged`], and whatever the system says.
    pub fn index<E: From<JobError>>(
        &self,
        make: impl Fn(&mut IndexWriter<'_>) -> std::result::Result<(), E>,
        mut wait: impl FnMut() -> std::result::Result<(), E>,
    ) -> std::result::Result<&Index, E> {
        loop {
            if let Some(index) = self.index.get() {
                return Ok(index);
            }
            if let Some(index) = Index::read(&*self.fs)? {
                self.leases.give_back(INDEX_LEASE);
                self.check_identity()?;
                self.state().done = vec![false; index.shards()];
                return Ok(self.index.get_or_init(|| index));
            }
            if self.take(INDEX_LEASE)? {
                if self.exists(index::FILE)? {
                    continue;
                }
                if let Err(error) = self.check_identity() {
                    self.leases.give_back(INDEX_LEASE);
                    return Err(error.into());
                }
                let mut writer = IndexWriter::new(&*self.fs, self.leases.token())?;
                let made = make(&mut writer).and_then(|()| Ok(writer.finish()?));
                match made {
                    Ok(()) => {
                        self.leases.finish(INDEX_LEASE);
                        self.remove_copies()?;
                    }
                    Err(error) => {
                        let token = self.leases.token();
                        for left in [index::temporary(token), spool::file(token)] {
                            let _ = self.fs.remove(&left);
                        }
                        self.leases.give_back(INDEX_LEASE);
                        return Err(error);
                    }
                }
            } else {
                wait()?;
            }
        }
    }

    /// Takes a shard that nobody who lives works on. One whose owners have died again and again is given out only while this
    /// process has no other.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn claim(&self) -> Result<Claim> {
        let mut state = self.state();
        if state.next.is_none() {
            self.look(&mut state)?;
            state.next = Some(0);
        }
        // At first those that nobody has begun, with no other look at the directory.
        while let Some(shard) = state.next.filter(|&next| next < state.done.len()) {
            state.next = Some(shard + 1);
            let is_free = !state.done[shard] && !state.leases.contains_key(&key(shard));
            if is_free && let Some(shard) = self.try_shard(&mut state, shard, None)? {
                return Ok(Claim::Shard(shard));
            }
        }
        self.look(&mut state)?;
        let left: Vec<usize> = (0..state.done.len())
            .filter(|&shard| !state.done[shard])
            .collect();
        if left.is_empty() {
            return Ok(Claim::Done);
        }
        let latest = |state: &State, shard| state.leases.get(&key(shard)).copied();
        let (suspect, sound): (Vec<usize>, Vec<usize>) = left
            .into_iter()
            .filter(|shard| !state.held.contains(shard))
            .partition(|&shard| {
                latest(&state, shard).is_some_and(|latest| latest + 1 >= self.options.deaths)
            });
        let suspect = match state.held.is_empty() {
            true => suspect,
            false => Vec::new(),
        };
        for shard in sound.into_iter().chain(suspect) {
            let latest = latest(&state, shard);
            if let Some(shard) = self.try_shard(&mut state, shard, latest)? {
                return Ok(Claim::Shard(shard));
            }
        }
        Ok(Claim::Wait)
    }

    /// Takes a shard, unless another has it or has committed it.
    fn try_shard(
        &self,
        state: &mut State,
        number: usize,
        latest: Option<u32>,
    ) -> Result<Option<Shard>> {
        let key = key(number);
        let Some(generation) = self.leases.take(&key, latest)? else {
            return Ok(None);
        };
        // Whoever committed it has removed its leases, so that they are free to take.
        if self.exists(&results::file(number))? {
            self.leases.finish(&key);
            state.done[number] = true;
            return Ok(None);
        }
        let mut known = Known::default();
        for journal in state.journals.get(&number).into_iter().flatten() {
            known.read(&*self.fs, journal)?;
        }
        let Some((offset, first, stretch)) = self.index.get().and_then(|all| all.get(number))
        else {
            return Ok(None);
        };
        state.held.insert(number);
        let poison = known.deaths.iter().filter(|(record, deaths)| {
            **deaths >= self.options.tries && !known.lines.contains_key(record)
        });
        Ok(Some(Shard {
            number,
            offset,
            first,
            stretch: stretch.clone(),
            poison: poison.map(|(record, deaths)| (*record, *deaths)).collect(),
            known: known.lines,
            alone: generation >= self.options.deaths,
        }))
    }

    /// Sees what is in the directory.
    fn look(&self, state: &mut State) -> Result<()> {
        state.leases = self.leases.list()?;
        let names = self
            .fs
            .list(SHARDS)
            .map_err(JobError::io("read", self.fs.locate(SHARDS)))?;
        state.journals.clear();
        // One that is gone was damaged, and removed so that it is made again.
        state.done.fill(false);
        for name in names {
            if let Some(done) = results::shard_of(&name).and_then(|shard| state.done.get_mut(shard))
            {
                *done = true;
            } else if name.ends_with(".part")
                && let Some(shard) = name.split('.').next().and_then(|shard| shard.parse().ok())
            {
                let journals: &mut Vec<String> = state.journals.entry(shard).or_default();
                journals.push(format!("{SHARDS}/{name}"));
            }
        }
        Ok(())
    }

    /// A journal for a shard whose records are tried one by one.
    ///
    /// # Errors
    /// [`JobError::Io`]
    pub fn journal(&self, shard: &Shard) -> Result<Journal> {
        let number = {
            let mut state = self.state();
            state.journals_made += 1;
            state.journals_made
        };
        let token = self.leases.token();
        let name = format!("{SHARDS}/{:06}.{token}-{number}.part", shard.number);
        let journal = Journal::new(&*self.fs, &name)?;
        self.sync_shards()?;
        Ok(journal)
    }

    /// Commits the results of a shard, one for each of its records, in their order.
    ///
    /// # Errors
    /// [`JobError::Io`]: nothing is committed then, and the shard is still held.
    pub fn commit(&self, shard: &Shard, lines: &[Line]) -> Result<Committed> {
        let name = results::file(shard.number);
        let temporary = format!("{name}.{}.tmp", self.leases.token());
        let content = results::content(shard.number, lines);
        // Of a try that failed.
        let _ = self.fs.remove(&temporary);
        let put = || {
            results::write(&*self.fs, &temporary, &content)?;
            let is_first = match self.fs.publish(&temporary, &name) {
                // Removed as a left one, by whoever found all shards committed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => !self.fs.exists(&name)?,
                published => published?,
            };
            self.fs.sync_dir(SHARDS)?;
            Ok(is_first)
        };
        let is_first = put().map_err(|error| {
            let _ = self.fs.remove(&temporary);
            JobError::io("write", self.fs.locate(&name))(error)
        })?;
        let committed = if is_first {
            Committed::First
        } else {
            let _ = self.fs.remove(&temporary);
            let records = lines.len() as u64;
            let ours = results::parse(&*self.fs, shard.number, records, content)?;
            match results::read(&*self.fs, shard.number, records)? == ours {
                true => Committed::Same,
                false => Committed::Differs,
            }
        };
        let journals = {
            let mut state = self.state();
            state.held.remove(&shard.number);
            if let Some(done) = state.done.get_mut(shard.number) {
                *done = true;
            }
            state.journals.remove(&shard.number)
        };
        for journal in journals.into_iter().flatten() {
            let _ = self.fs.remove(&journal);
        }
        self.leases.finish(&key(shard.number));
        Ok(committed)
    }

    /// Gives a shard back with the results that there are, by the number of the record in the shard; whoever takes it next
    /// has the others to do.
    ///
    /// # Errors
    /// [`JobError::Io`] when the results could not be kept; the shard is given back nevertheless.
    pub fn give_back(&self, shard: &Shard, lines: &BTreeMap<u64, Line>) -> Result<()> {
        let keep = || {
            let mut journal = self.journal(shard)?;
            for (record, line) in lines {
                journal.done(*record, line)?;
            }
            journal.sync()
        };
        let kept = match lines.is_empty() {
            true => Ok(()),
            false => keep(),
        };
        self.state().held.remove(&shard.number);
        self.leases.give_back(&key(shard.number));
        kept
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

    /// What the records of a shard are called in messages: by their numbers, or where these are not in order by that of the
    /// shard.
    #[must_use]
    pub fn name_of(&self, shard: &Shard) -> String {
        match self.index.get().is_some_and(Index::is_grouped) {
            true => format!(
                "the {} records of shard {}",
                shard.stretch.records, shard.number
            ),
            false => {
                let (first, last) = (shard.first + 1, shard.first + shard.stretch.records);
                format!("records {first} to {last}")
            }
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

    /// Removes copies of the input that the index is not of: of processes that died, or were slower.
    fn remove_copies(&self) -> Result<()> {
        let index = match self.index.get() {
            Some(_) => None,
            None => Index::read(&*self.fs)?,
        };
        let Some(index) = self.index.get().or(index.as_ref()) else {
            return Ok(());
        };
        let names = self.fs.list("");
        for name in names.map_err(JobError::io("read", self.fs.locate("")))? {
            if spool::is_file(&name) && index.copy() != Some(name.as_str()) {
                let _ = self.fs.remove(&name);
            }
        }
        Ok(())
    }

    fn take(&self, key: &str) -> Result<bool> {
        self.leases.take_latest(key)
    }

    /// Refuses a job that was begun anew as another one since it was opened. With the lease of the index, or once there is an
    /// index, none is.
    fn check_identity(&self) -> Result<()> {
        match Identity::read(&*self.fs)? {
            Some(now) => check_same(&*self.fs, &now, &self.identity),
            None => Ok(()),
        }
    }

    fn exists(&self, path: &str) -> Result<bool> {
        self.fs
            .exists(path)
            .map_err(JobError::io("read", self.fs.locate(path)))
    }

    fn sync_shards(&self) -> Result<()> {
        self.fs
            .sync_dir(SHARDS)
            .map_err(JobError::io("write", self.fs.locate(SHARDS)))
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

/// Refuses a job that was begun with other settings.
fn check_same(fs: &dyn FileSystem, begun: &Identity, now: &Identity) -> Result<()> {
    let differences = begun.differences(now);
    match differences.is_empty() {
        true => Ok(()),
        false => Err(JobError::Different {
            path: fs.locate(""),
            differences,
        }),
    }
}

/// Removes what there is of a job that has neither an index nor results. Says whether it has not.
fn clear(fs: &dyn FileSystem) -> Result<bool> {
    let names = |dir: &str| fs.list(dir).map_err(JobError::io("read", fs.locate(dir)));
    if Job::is_divided(fs)? || !names(SHARDS)?.is_empty() {
        return Ok(false);
    }
    let is_left = |name: &String| spool::is_file(name) || index::is_temporary(name);
    for left in names("")?.iter().filter(|name| is_left(name)) {
        let _ = fs.remove(left);
    }
    match fs.remove(identity::FILE) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(JobError::io("remove", fs.locate(identity::FILE))(error))
        }
        _ => Ok(true),
    }
}

fn key(shard: usize) -> String {
    format!("{shard:06}")
}

/// A job is begun in a directory that holds nothing but what one that was ended at once has left.
fn check_empty(fs: &dyn FileSystem) -> Result<()> {
    let names = fs.list("").map_err(JobError::io("read", fs.locate("")))?;
    let is_ours = |name: &str| {
        [SHARDS, lease::DIR, identity::FILE].contains(&name)
            || name.starts_with("job.") && name.ends_with(".tmp")
    };
    match names.into_iter().find(|name| !is_ours(name)) {
        None => Ok(()),
        Some(found) => Err(JobError::NotAJob {
            path: fs.locate(""),
            found,
        }),
    }
}
