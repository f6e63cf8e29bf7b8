//! A job is opened, or begun where there is none.

use std::{
    io,
    sync::{Arc, Mutex, OnceLock},
};

use super::{INDEX_LEASE, Job, JobOptions, SHARDS};
use crate::{
    error::{JobError, Result},
    fs::FileSystem,
    identity::{self, Identity},
    index,
    lease::{self, Leases, Owner},
    repeats, spool,
};

impl Job {
    /// Opens the job in a directory, or begins it where there is none. One of another identity that is not divided yet, which
    /// nobody who lives is about to do, has nothing to lose: it is begun anew as this one.
    ///
    /// `wanted` says what the job is to be about, given what the one that is there was begun with: what the caller leaves
    /// open is as it is there, also where another process begins it at the same moment.
    ///
    /// # Errors
    /// [`JobError::NotAJob`], [`JobError::Version`] and [`JobError::Different`] for a directory of something else, and
    /// whatever the system says.
    pub fn open(
        fs: Arc<dyn FileSystem>,
        owner: Owner,
        wanted: impl Fn(Option<&Identity>) -> Identity,
        options: JobOptions,
    ) -> Result<Self> {
        let leases = Leases::new(Arc::clone(&fs), owner, options.expiry);
        let begin = || {
            let identity = wanted(None);
            identity.write(&*fs, leases.token())?;
            // Another process may have been faster.
            Ok(Identity::read(&*fs)?.unwrap_or(identity))
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
        let is_other = !found.differences(&wanted(Some(&found))).is_empty();
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
        check_same(&*fs, &found, &wanted(Some(&found)))?;
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

    /// Refuses a job that was begun anew as another one since it was opened. With the lease of the index, or once there is an
    /// index, none is.
    pub(super) fn check_identity(&self) -> Result<()> {
        match Identity::read(&*self.fs)? {
            Some(now) => check_same(&*self.fs, &now, &self.identity),
            None => Ok(()),
        }
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
    let is_left =
        |name: &String| spool::is_file(name) || repeats::is_file(name) || index::is_temporary(name);
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
