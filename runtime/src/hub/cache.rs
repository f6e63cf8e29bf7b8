//! The cache that tools share, in the layout of `huggingface_hub`:
//!
//! ```text
//! models--OWNER--NAME/             or datasets--OWNER--NAME
//!   refs/REVISION                  the commit that a branch or tag meant
//!   blobs/ETAG                     the bytes: SHA-256 of large files, Git's hash of small ones
//!   blobs/ETAG.incomplete          what has arrived so far
//!   blobs/ETAG.aside.incomplete    what arrived before and may be wrong, until the file is whole
//!   snapshots/COMMIT/FILE          a link to ../../blobs/ETAG
//!   listings/COMMIT.json           the names of all files of a data set's commit; ours alone
//! .locks/models--OWNER--NAME/ETAG.lock
//! ```

use std::{
    collections::BTreeSet,
    fs::{self, File, TryLockError},
    io::{self, ErrorKind},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use worldpm_ort_bundle::files;

use super::{HubError, Repository, fault::Stop, repository::is_commit};

/// How often a file that another process downloads is looked at.
const LOCK_POLL: Duration = Duration::from_millis(200);

/// A repository's folder in the cache.
pub(super) struct Cache {
    folder: PathBuf,
    locks: PathBuf,
}

impl Cache {
    pub(super) fn new(root: &Path, repository: &Repository) -> Self {
        let kind = repository.kind().plural();
        let name = format!("{kind}--{}", repository.id().replace('/', "--"));
        Self {
            folder: root.join(&name),
            locks: root.join(".locks").join(name),
        }
    }

    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    pub(super) fn incomplete(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(format!("{etag}.incomplete"))
    }

    pub(super) fn aside(&self, etag: &str) -> PathBuf {
        let name = format!("{etag}.aside.incomplete");
        self.folder.join("blobs").join(name)
    }

    /// The commit that a revision meant when it was last downloaded, by whichever tool.
    pub(super) fn commit_of(&self, revision: &str) -> Result<Option<String>, HubError> {
        if is_commit(revision) {
            return Ok(Some(revision.to_owned()));
        }
        let path = self.folder.join("refs").join(revision);
        match fs::read_to_string(&path) {
            Ok(commit) => Ok(Some(commit.trim().to_owned()).filter(|c| is_commit(c))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(fault(&path, "read it", source)),
        }
    }

    /// Notes that `revision` means `commit`, unless that is known.
    pub(super) fn set_commit(&self, revision: &str, commit: &str) -> Result<(), HubError> {
        let path = self.folder.join("refs").join(revision);
        if fs::read_to_string(&path).is_ok_and(|known| known == commit) {
            return Ok(());
        }
        make_parent(&path)?;
        replace(&path, |path| fs::write(path, commit)).map_err(|e| fault(&path, "write it", e))
    }

    /// The names of all files of a commit, where they were noted.
    pub(super) fn listing(&self, commit: &str) -> Result<Option<BTreeSet<String>>, HubError> {
        let path = self.listing_path(commit);
        match fs::read(&path) {
            // What makes no sense is as good as nothing.
            Ok(text) => Ok(serde_json::from_slice(&text).ok()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(fault(&path, "read it", source)),
        }
    }

    /// Notes the names of all files of a commit, unless they are.
    pub(super) fn set_listing(
        &self,
        commit: &str,
        files: &BTreeSet<String>,
    ) -> Result<(), HubError> {
        let path = self.listing_path(commit);
        if path.exists() {
            return Ok(());
        }
        make_parent(&path)?;
        let text = serde_json::to_vec(files).unwrap_or_default();
        replace(&path, |path| fs::write(path, text)).map_err(|e| fault(&path, "write it", e))
    }

    fn listing_path(&self, commit: &str) -> PathBuf {
        self.folder.join("listings").join(format!("{commit}.json"))
    }

    /// Puts a downloaded file into a snapshot, as a link that stays right when the cache moves.
    pub(super) fn link(&self, commit: &str, file: &str, etag: &str) -> Result<(), HubError> {
        let path = self.snapshot(commit).join(file);
        make_parent(&path)?;
        // A file in a folder of the repository is that much further from the blobs.
        let folders = Path::new(file).components().skip(1).map(|_| "..");
        let target: PathBuf = folders.chain(["..", "..", "blobs", etag]).collect();
        // There may be a link to nothing, or to what the file was before.
        if fs::read_link(&path).is_ok_and(|there| there == target) {
            return Ok(());
        }
        replace(&path, |path| symlink(&target, path)).map_err(|e| fault(&path, "make this link", e))
    }

    /// Waits until no other process, Python's tools among them, downloads this blob.
    pub(super) fn lock(&self, etag: &str, stop: &Stop) -> Result<Option<File>, HubError> {
        let path = self.locks.join(format!("{etag}.lock"));
        make_parent(&path)?;
        let file = File::create(&path).map_err(|e| fault(&path, "open the lock", e))?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(file)),
                Err(TryLockError::WouldBlock) => stop.wait(LOCK_POLL)?,
                // Some network file systems have no locks. The hash check still stands.
                Err(TryLockError::Error(e)) if e.kind() == ErrorKind::Unsupported => {
                    return Ok(None);
                }
                Err(TryLockError::Error(e)) => return Err(fault(&path, "lock it", e)),
            }
        }
    }
}

/// Makes something in one step, whatever is there and whoever else makes it.
fn replace(path: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{:08x}.tmp", fastrand::u32(..)));
    let new = path.with_file_name(name);
    let made = make(&new).and_then(|()| fs::rename(&new, path));
    if made.is_err() {
        // What could not be made is not there.
        let _ = fs::remove_file(&new);
    }
    made
}

pub(super) fn make_parent(path: &Path) -> Result<(), HubError> {
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    fs::create_dir_all(parent).map_err(|e| fault(parent, "make this directory", e))
}

pub(super) fn fault(path: &Path, action: &'static str, source: io::Error) -> HubError {
    HubError::Cache {
        path: path.to_owned(),
        action,
        source,
    }
}

/// Bytes that may be written to the file system of `path`, which need not exist yet.
pub(super) fn free_bytes(path: &Path) -> Result<u64, HubError> {
    let existing = path
        .ancestors()
        .find(|p| p.exists())
        .unwrap_or(Path::new("."));
    files::free_bytes(existing).map_err(|e| fault(existing, "ask for its free space", e))
}
