//! Who works on what.
//!
//! A lease is a file `leases/KEY.G`. Whoever makes it has the lease; nobody can make it twice. The owner touches it now and
//! then. When it is not touched for long, or its process is seen to have ended, its owner is dead, and the next generation,
//! `KEY.G+1`, may be made, again by one only. A lease is never taken from its file, so there is no moment at which two could
//! have the same one, and the number of the generation says how many owners died.
//!
//! An owner that was only slow comes back to find its lease superseded. It may go on: what it commits is what the other
//! commits.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    error::{JobError, Result},
    fs::FileSystem,
    input::hex,
};

pub(crate) const DIR: &str = "leases";

/// A process that works on a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The name of its machine, for whoever reads the file.
    pub host: String,
    /// Its running system and the space of its process numbers; empty where that is not known.
    pub machine: String,
    /// Its process.
    pub pid: u32,
    /// When that was started, in ticks of its machine: the number of a process is used again.
    pub started: u64,
    /// Like no other's.
    pub token: String,
}

impl Owner {
    /// This process.
    #[must_use]
    pub fn this_process() -> Self {
        let mut token = [0; 8];
        let drawn = rustix::rand::getrandom(&mut token[..], rustix::rand::GetRandomFlags::empty());
        let pid = std::process::id();
        if drawn.is_err() {
            let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            let nanoseconds = clock.map_or(0, |time| time.as_nanos() as u64);
            token = (nanoseconds ^ u64::from(pid).rotate_left(40)).to_le_bytes();
        }
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id");
        let space = fs::read_link("/proc/self/ns/pid");
        let machine = match (boot, space) {
            (Ok(boot), Ok(space)) => format!("{} {}", boot.trim(), space.display()),
            _ => String::new(),
        };
        Self {
            host: rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            machine,
            pid,
            started: started(pid).unwrap_or_default(),
            token: hex(&token),
        }
    }

    /// Whether another is known to have ended. Of those on other machines that is not known.
    fn sees_end_of(&self, other: &Self) -> bool {
        !self.machine.is_empty()
            && self.machine == other.machine
            && started(other.pid) != Some(other.started)
    }
}

/// When a process of this machine was started; `None` of one that has ended.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?;
    // A zombie has ended.
    (!matches!(state, "Z" | "X")).then(|| fields.nth(18)?.parse().ok())?
}

pub(crate) struct Leases {
    fs: Arc<dyn FileSystem>,
    owner: Owner,
    expiry: Duration,
    /// Those of this process, with their generation.
    held: Mutex<BTreeMap<String, u32>>,
}

impl Leases {
    pub(crate) fn new(fs: Arc<dyn FileSystem>, owner: Owner, expiry: Duration) -> Self {
        Self {
            fs,
            owner,
            expiry,
            held: Mutex::default(),
        }
    }

    pub(crate) fn token(&self) -> &str {
        &self.owner.token
    }

    pub(crate) fn expiry(&self) -> Duration {
        self.expiry
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<String, u32>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The latest generation of each lease.
    pub(crate) fn list(&self) -> Result<BTreeMap<String, u32>> {
        let names = self.fs.list(DIR).map_err(self.fault("read", DIR))?;
        let mut all = BTreeMap::new();
        for name in names {
            let parsed = name
                .rsplit_once('.')
                .map(|(key, number)| (key, number.parse()));
            if let Some((key, Ok(generation))) = parsed {
                let latest: &mut u32 = all.entry(key.to_owned()).or_insert(generation);
                *latest = generation.max(*latest);
            }
        }
        Ok(all)
    }

    /// Takes a lease whose latest generation is `latest`, if nobody who lives has it. Gives the generation that is held.
    pub(crate) fn take(&self, key: &str, latest: Option<u32>) -> Result<Option<u32>> {
        let generation = match latest {
            _ if !self.is_free(key, latest)? => return Ok(None),
            None => 0,
            Some(latest) => latest + 1,
        };
        let path = path(key, generation);
        let mut file = match self.fs.create_new(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            made => made.map_err(self.fault("write", &path))?,
        };
        self.held().insert(key.to_owned(), generation);
        // Whoever finds it empty goes by its time.
        let written = file.write_all(&serde_json::to_vec(&self.owner).unwrap_or_default());
        if let Err(error) = written {
            self.give_back(key);
            return Err(self.fault("write", &path)(error));
        }
        Ok(Some(generation))
    }

    /// Whether nobody who lives has a lease whose latest generation is `latest`.
    pub(crate) fn is_free(&self, key: &str, latest: Option<u32>) -> Result<bool> {
        match latest {
            None => Ok(true),
            Some(latest) => self.is_dead(key, latest),
        }
    }

    /// Takes a lease that nobody who lives has.
    pub(crate) fn take_latest(&self, key: &str) -> Result<bool> {
        let latest = self.list()?.get(key).copied();
        Ok(self.take(key, latest)?.is_some())
    }

    /// Whether the owner of a lease is dead.
    fn is_dead(&self, key: &str, generation: u32) -> Result<bool> {
        if self.held().get(key) == Some(&generation) {
            return Ok(false);
        }
        let path = path(key, generation);
        let mut text = Vec::new();
        let read = self
            .fs
            .open(&path)
            .and_then(|mut file| file.read_to_end(&mut text));
        match read {
            // Given back meanwhile: there is another look at it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            read => read.map_err(self.fault("read", &path))?,
        };
        let owner: Option<Owner> = serde_json::from_slice(&text).ok();
        if owner.is_some_and(|owner| self.owner.sees_end_of(&owner)) {
            return Ok(true);
        }
        let touched = match self.fs.modified(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            found => found.map_err(self.fault("read", &path))?,
        };
        Ok(self.now()?.saturating_sub(touched) > self.expiry)
    }

    /// The time by the clock that the files have theirs from.
    fn now(&self) -> Result<Duration> {
        let clock = format!("{DIR}/clock.{}", self.owner.token);
        loop {
            let touched = self.fs.touch(&clock, true);
            match touched.and_then(|()| self.fs.modified(&clock)) {
                // Whoever finds all shards committed removes it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                now => return now.map_err(self.fault("write", &clock)),
            }
        }
    }

    /// Says of all leases held that their owner lives.
    pub(crate) fn beat(&self) {
        let held = self.held().clone();
        for (key, generation) in held {
            // One that is gone was committed by another, and where files cannot be written there will be a louder error.
            let _ = self.fs.touch(&path(&key, generation), false);
        }
    }

    /// Gives a lease up, as if it had not been taken.
    pub(crate) fn give_back(&self, key: &str) {
        if let Some(generation) = self.held().remove(key) {
            let _ = self.fs.remove(&path(key, generation));
        }
    }

    /// Removes all generations of a lease: what it is for is done.
    pub(crate) fn finish(&self, key: &str) {
        let own = self.held().remove(key);
        let mut generation = own.map_or(0, |own| own + 1);
        while self.fs.remove(&path(key, generation)).is_ok() {
            generation += 1;
        }
        for generation in (0..=own.unwrap_or_default()).rev() {
            let _ = self.fs.remove(&path(key, generation));
        }
    }

    /// Removes all that is here, but for the lease `kept`: there is nothing left to work on.
    pub(crate) fn tidy(&self, kept: &str) -> Result<()> {
        for name in self.fs.list(DIR).map_err(self.fault("read", DIR))? {
            if name.rsplit_once('.').is_none_or(|(key, _)| key != kept) {
                let _ = self.fs.remove(&format!("{DIR}/{name}"));
            }
        }
        Ok(())
    }

    /// Removes what this process has here for itself.
    pub(crate) fn leave(&self) {
        let held: Vec<String> = self.held().keys().cloned().collect();
        for key in held {
            self.give_back(&key);
        }
        let _ = self.fs.remove(&format!("{DIR}/clock.{}", self.owner.token));
    }

    fn fault(
        &self,
        action: &'static str,
        path: &str,
    ) -> impl FnOnce(io::Error) -> JobError + use<> {
        JobError::io(action, self.fs.locate(path))
    }
}

fn path(key: &str, generation: u32) -> String {
    format!("{DIR}/{key}.{generation}")
}
