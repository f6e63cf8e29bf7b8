//! The part of a file that has arrived. Bytes are only ever dropped when their hash is wrong.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::Instant,
};

use super::{
    HubError,
    answer::Part,
    cache::{fault, make_parent},
    fault::{Fault, describe},
    hash::{Hash, Promise},
    http::{BLOCK, Client},
    meter::Meter,
    pace::Pace,
    remote::Remote,
    response::Response,
};

pub(super) struct Partial<'a, 'b> {
    path: PathBuf,
    /// Where bytes go that may be wrong, until the whole is there.
    aside: PathBuf,
    file: File,
    pub(super) bytes: u64,
    /// The size of the whole file, as far as it is known.
    size: Option<u64>,
    promise: Promise,
    hash: Hash,
    meter: &'a Meter<'b>,
}

impl<'a, 'b> Partial<'a, 'b> {
    /// Opens what an earlier attempt left, or begins anew.
    pub(super) fn open(
        path: PathBuf,
        aside: PathBuf,
        remote: &Remote,
        meter: &'a Meter<'b>,
    ) -> Result<Self, HubError> {
        make_parent(&path)?;
        let promise = Promise::of(&remote.etag);
        let mut partial = Self {
            file: open(&path)?,
            path,
            aside,
            bytes: 0,
            size: remote.size.known(),
            promise,
            hash: Hash::new(promise, remote.size.known()),
            meter,
        };
        let there = partial.file.metadata();
        let there = there.map_err(|e| fault(&partial.path, "ask for its size", e))?;
        match remote.size.promised() {
            Some(size) if there.len() > size => partial.set_aside()?,
            _ => partial.read_back()?,
        }
        Ok(partial)
    }

    /// Counts and hashes what is there.
    fn read_back(&mut self) -> Result<(), HubError> {
        self.meter.take_back(self.bytes);
        self.bytes = 0;
        self.hash = Hash::new(self.promise, self.size);
        self.file
            .seek(SeekFrom::Start(0))
            .map_err(|e| fault(&self.path, "read it", e))?;
        let mut block = vec![0; BLOCK];
        loop {
            let read = self
                .file
                .read(&mut block)
                .map_err(|e| fault(&self.path, "read it", e))?;
            let Some(bytes) = block.get(..read).filter(|bytes| !bytes.is_empty()) else {
                return Ok(());
            };
            self.count(bytes);
        }
    }

    fn count(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        self.meter.add(bytes.len() as u64);
    }

    /// Drops everything after the first `bytes`.
    pub(super) fn truncate(&mut self, bytes: u64) -> Result<(), HubError> {
        self.file
            .set_len(bytes)
            .map_err(|e| fault(&self.path, "cut it", e))?;
        self.read_back()
    }

    /// Begins anew, and keeps what is there under another name until the whole has come.
    pub(super) fn set_aside(&mut self) -> Result<(), HubError> {
        fs::rename(&self.path, &self.aside).map_err(|e| fault(&self.path, "set it aside", e))?;
        self.file = open(&self.path)?;
        self.read_back()
    }

    /// Takes what a server says of the size in place of what was supposed.
    pub(super) fn learn_size(&mut self, size: u64) -> Result<(), HubError> {
        if self.size == Some(size) {
            return Ok(());
        }
        self.size = Some(size);
        // Git's hash begins with the size.
        match self.promise {
            Promise::Git => self.read_back(),
            _ => Ok(()),
        }
    }

    /// The size of the whole file, as far as it is known.
    pub(super) fn size(&self) -> Option<u64> {
        self.size
    }

    /// Whether a wrong byte would show.
    pub(super) fn is_promised(&self) -> bool {
        self.promise != Promise::Nothing
    }

    /// What is wrong with the hash of what is there, if anything.
    pub(super) fn wrong(&self, etag: &str) -> Result<Option<String>, HubError> {
        // Git's hash begins with the size, which may have been another than was supposed.
        let hash = match self.promise {
            Promise::Git if self.size != Some(self.bytes) => self
                .promise
                .of_file(&self.path)
                .map_err(|e| fault(&self.path, "read it", e))?,
            _ => self.hash.finish(),
        };
        Ok(hash
            .filter(|hash| !hash.eq_ignore_ascii_case(etag))
            .map(|hash| {
                let name = self.promise.name();
                format!("its {name} is {hash}, and the hub says {etag}")
            }))
    }

    /// Appends the bytes of an answer that are not here yet, up to `limit`.
    pub(super) fn receive(
        &mut self,
        client: &Client<'_>,
        response: Response,
        part: &Part,
        limit: Option<u64>,
        pace: &mut Pace,
    ) -> Result<(), Fault> {
        let mut body = response.body.into_reader();
        let mut block = vec![0; BLOCK];
        let mut at = part.start;
        while part.end.is_none_or(|end| at < end) && limit.is_none_or(|limit| self.bytes < limit) {
            client.stop.check()?;
            let start = Instant::now();
            let read = body
                .read(&mut block)
                .map_err(|error| Fault::passing(describe(&error, client.timeout())))?;
            if read == 0 && part.end.is_none() {
                return Ok(());
            }
            let all = block.get(..read).filter(|bytes| !bytes.is_empty());
            let all = all.ok_or_else(|| Fault::passing("the connection was cut"))?;
            // Those that are here already came first, and nothing after the end is of the file.
            let here = usize::try_from(self.bytes.saturating_sub(at)).unwrap_or(usize::MAX);
            let end = part.end.map_or(u64::MAX, |end| end - at);
            let end = usize::try_from(end).unwrap_or(usize::MAX).min(read);
            at += read as u64;
            if let Some(new) = all.get(here.min(end)..end) {
                self.file
                    .write_all(new)
                    .map_err(|e| fault(&self.path, "write it", e))?;
                self.count(new);
            }
            pace.took(start, read).map_err(Fault::passing)?;
        }
        Ok(())
    }

    /// Gives the whole file its name, and removes what was set aside.
    pub(super) fn finish(&self, blob: &Path, planned: u64) -> Result<(), HubError> {
        fs::rename(&self.path, blob).map_err(|e| fault(blob, "give it this name", e))?;
        self.meter.resize(planned, self.bytes);
        remove(&self.aside)
    }

    /// After a failure: leaves no empty file, and puts back what was set aside where nothing took its place.
    pub(super) fn keep(&self) -> Result<(), HubError> {
        if self.bytes > 0 {
            return Ok(());
        }
        match fs::rename(&self.aside, &self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => remove(&self.path),
            put_back => put_back.map_err(|e| fault(&self.aside, "put it back", e)),
        }
    }
}

fn open(path: &Path) -> Result<File, HubError> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|e| fault(path, "open it", e))
}

fn remove(path: &Path) -> Result<(), HubError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(fault(path, "remove it", error)),
        _ => Ok(()),
    }
}
