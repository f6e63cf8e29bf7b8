//! One file: resumed, repeated and checked.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{Read, Seek, SeekFrom, Write},
    path::PathBuf,
};

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::{
    HubError,
    cache::{Cache, fault, make_parent},
    http::{Client, Fault, Passing, Response},
    meter::Meter,
};

/// Bytes read at a time.
const BLOCK: usize = 256 << 10;
/// An attempt that brings this much has got somewhere, and repeats are counted anew.
const PROGRESS: u64 = 1 << 20;
/// Names of blobs are hashes; nothing longer is a file name.
const MAX_ETAG: usize = 128;

/// A file as the hub describes it.
#[derive(Debug)]
pub(super) struct Remote {
    pub(super) file: String,
    /// Its SHA-256 for a large file, Git's hash for a small one; also its name in the cache.
    pub(super) etag: String,
    /// Bytes.
    pub(super) size: u64,
}

/// Asks the hub what a file is.
pub(super) fn describe_file(
    client: &Client<'_>,
    commit: &str,
    file: &str,
) -> Result<Remote, HubError> {
    let url = client.file_url(commit, file);
    let response = client.repeat(&url, || client.head(&url, &named(client, file)))?;
    let answer = |problem| HubError::Answer {
        url: url.clone(),
        problem,
    };
    let etag = response
        .header("x-linked-etag")
        .or_else(|| response.header("etag"))
        .ok_or_else(|| answer("the answer has no ETag".to_owned()))?;
    let etag = etag.trim_start_matches("W/").trim_matches('"');
    let is_name = etag.len() <= MAX_ETAG
        && etag.starts_with(|c: char| c.is_ascii_alphanumeric())
        && etag
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    if !is_name {
        return Err(answer(format!("the ETag `{etag}` cannot name a file")));
    }
    let size = response
        .header("x-linked-size")
        .or_else(|| response.header("content-length"))
        .and_then(|size| size.trim().parse().ok())
        .ok_or_else(|| answer("the answer does not say how large the file is".to_owned()))?;
    Ok(Remote {
        file: file.to_owned(),
        etag: etag.to_owned(),
        size,
    })
}

/// How a file is called in an error.
fn named(client: &Client<'_>, file: &str) -> String {
    format!("file `{file}` in {}", client.repository)
}

/// Brings a file into the snapshot of `commit`.
pub(super) fn fetch(
    client: &Client<'_>,
    cache: &Cache,
    commit: &str,
    remote: &Remote,
    meter: &Meter<'_>,
) -> Result<(), HubError> {
    let _lock = cache.lock(&remote.etag, &client.stop)?;
    let blob = cache.blob(&remote.etag);
    if blob.metadata().is_ok_and(|m| m.len() == remote.size) {
        meter.add(remote.size);
    } else {
        let mut partial = Partial::open(cache.incomplete(&remote.etag), remote, meter)?;
        let found = partial.bytes;
        let mut outcome = complete(client, commit, remote, &mut partial);
        // What an earlier run left may be at fault.
        if matches!(outcome, Err(HubError::Mismatch { .. })) && found > 0 {
            partial.restart()?;
            outcome = complete(client, commit, remote, &mut partial);
        }
        if matches!(outcome, Err(HubError::Mismatch { .. })) {
            let path = &partial.path;
            fs::remove_file(path).map_err(|e| fault(path, "remove it", e))?;
        }
        outcome?;
        fs::rename(&partial.path, &blob).map_err(|e| fault(&blob, "give it this name", e))?;
    }
    cache.link(commit, &remote.file, &remote.etag)?;
    meter.file_done();
    Ok(())
}

/// Downloads what is still missing and checks the whole.
fn complete(
    client: &Client<'_>,
    commit: &str,
    remote: &Remote,
    partial: &mut Partial<'_, '_>,
) -> Result<(), HubError> {
    let mismatch = |problem| HubError::Mismatch {
        file: remote.file.clone(),
        repository: client.repository.to_string(),
        problem,
    };
    let url = client.file_url(commit, &remote.file);
    if partial.bytes < remote.size {
        client.repeat(&url, || {
            let response = client.get(&url, partial.bytes, &named(client, &remote.file))?;
            let before = partial.prepare(&response, remote.size, &mismatch)?;
            let end = partial.receive(client, response, remote.size, &mismatch);
            end.map_err(|fault| match fault {
                Fault::Passing(passing) => Fault::Passing(Passing {
                    problem: format!(
                        "{} at {} of {} bytes",
                        passing.problem, partial.bytes, remote.size
                    ),
                    progress: partial.bytes - before >= PROGRESS,
                    ..passing
                }),
                other => other,
            })
        })?;
    }
    match partial.hash.finish() {
        Some(hash) if !hash.eq_ignore_ascii_case(&remote.etag) => Err(mismatch(format!(
            "its {} is {hash}, and the hub says {}",
            partial.hash.name(),
            remote.etag
        ))),
        _ => Ok(()),
    }
}

/// The part of a file that has arrived.
struct Partial<'a, 'b> {
    path: PathBuf,
    file: File,
    bytes: u64,
    size: u64,
    hash: Hash,
    meter: &'a Meter<'b>,
}

impl<'a, 'b> Partial<'a, 'b> {
    /// Opens what an earlier attempt left, or begins anew.
    fn open(path: PathBuf, remote: &Remote, meter: &'a Meter<'b>) -> Result<Self, HubError> {
        make_parent(&path)?;
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|e| fault(&path, "open it", e))?;
        let mut partial = Self {
            path,
            file,
            bytes: 0,
            size: remote.size,
            hash: Hash::of(&remote.etag, remote.size),
            meter,
        };
        partial.read_back()?;
        Ok(partial)
    }

    /// Counts and hashes what is there.
    fn read_back(&mut self) -> Result<(), HubError> {
        let there = self
            .file
            .metadata()
            .map_err(|e| fault(&self.path, "ask for its size", e))?
            .len();
        if there > self.size {
            return self.restart();
        }
        let mut block = vec![0; BLOCK];
        loop {
            let read = self
                .file
                .read(&mut block)
                .map_err(|e| fault(&self.path, "read it", e))?;
            let Some(bytes) = block.get(..read).filter(|bytes| !bytes.is_empty()) else {
                return Ok(());
            };
            self.hash.update(bytes);
            self.bytes += read as u64;
            self.meter.add(read as u64);
        }
    }

    /// Begins anew.
    fn restart(&mut self) -> Result<(), HubError> {
        self.file
            .set_len(0)
            .and_then(|()| self.file.seek(SeekFrom::Start(0)))
            .map_err(|e| fault(&self.path, "empty it", e))?;
        self.hash.restart(self.size);
        self.meter.take_back(self.bytes);
        self.bytes = 0;
        Ok(())
    }

    /// Compares the head of an answer with what was asked for. Returns the bytes that are there before it.
    fn prepare(
        &mut self,
        response: &Response,
        size: u64,
        mismatch: &impl Fn(String) -> HubError,
    ) -> Result<u64, Fault> {
        let announced =
            |what: String| mismatch(format!("the hub announced {size} bytes and {what}"));
        match response.status {
            206 => {
                let range = response.header("content-range").unwrap_or_default();
                let expected = format!("bytes {}-{}/{size}", self.bytes, size - 1);
                if range != expected {
                    return Err(announced(format!("sends `{range}`, not `{expected}`")).into());
                }
            }
            416 => {
                return Err(announced(format!("has none after {}", self.bytes)).into());
            }
            // A server without ranges sends the whole file again.
            _ if self.bytes > 0 => self.restart()?,
            _ => {}
        }
        let coming = response
            .header("content-length")
            .and_then(|length| length.trim().parse::<u64>().ok());
        match coming {
            Some(coming) if self.bytes + coming != size => {
                Err(announced(format!("sends {}", self.bytes + coming)).into())
            }
            _ => Ok(self.bytes),
        }
    }

    /// Appends an answer's bytes.
    fn receive(
        &mut self,
        client: &Client<'_>,
        response: Response,
        size: u64,
        mismatch: &impl Fn(String) -> HubError,
    ) -> Result<(), Fault> {
        let mut body = response.body.into_reader();
        let mut block = vec![0; BLOCK];
        while self.bytes < size {
            client.stop.check()?;
            let read = match body.read(&mut block) {
                Ok(read) => read,
                Err(error) => return Err(Fault::passing(client.describe(&error))),
            };
            let Some(bytes) = block.get(..read).filter(|bytes| !bytes.is_empty()) else {
                return Err(Fault::passing("the connection was cut"));
            };
            if self.bytes + read as u64 > size {
                return Err(
                    mismatch(format!("the hub announced {size} bytes and sends more")).into(),
                );
            }
            self.file
                .write_all(bytes)
                .map_err(|e| fault(&self.path, "write it", e))?;
            self.hash.update(bytes);
            self.bytes += read as u64;
            self.meter.add(read as u64);
        }
        Ok(())
    }
}

/// The hash that an ETag promises.
enum Hash {
    /// Of a large file's bytes.
    Sha256(Sha256),
    /// Git's, of a small file: SHA-1 of `blob SIZE`, a zero byte, and the bytes.
    Git(Sha1),
    /// The ETag is something else.
    Unknown,
}

impl Hash {
    fn of(etag: &str, size: u64) -> Self {
        let mut hash = match etag.len() {
            _ if !etag.bytes().all(|b| b.is_ascii_hexdigit()) => Self::Unknown,
            64 => Self::Sha256(Sha256::new()),
            40 => Self::Git(Sha1::new()),
            _ => Self::Unknown,
        };
        hash.restart(size);
        hash
    }

    fn restart(&mut self, size: u64) {
        match self {
            Self::Sha256(hash) => *hash = Sha256::new(),
            Self::Git(hash) => *hash = Sha1::new_with_prefix(format!("blob {size}\0")),
            Self::Unknown => {}
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Git(hash) => hash.update(bytes),
            Self::Unknown => {}
        }
    }

    fn finish(&self) -> Option<String> {
        match self {
            Self::Sha256(hash) => Some(hex(&hash.clone().finalize())),
            Self::Git(hash) => Some(hex(&hash.clone().finalize())),
            Self::Unknown => None,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "SHA-256",
            Self::Git(_) => "Git hash",
            Self::Unknown => "hash",
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes() {
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        // As `printf abc | git hash-object --stdin` says.
        let git = "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f";
        for expected in [sha256, git] {
            let mut hash = Hash::of(expected, 3);
            hash.update(b"abc");
            assert_eq!(hash.finish().as_deref(), Some(expected));
            hash.restart(3);
            assert_ne!(hash.finish().as_deref(), Some(expected));
        }
        assert_eq!(Hash::of("0-15", 3).finish(), None);
    }
}
