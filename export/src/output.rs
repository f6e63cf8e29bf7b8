//! An output directory that appears whole or not at all.
//!
//! It is filled under a temporary name beside its final one and renamed when it is complete.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempDir};

use crate::error::{Error, Result};

/// How the name of a file ends that stands beside a directory being filled, whose name begins as the file's. Its
/// process holds a lock on it.
const LOCK_SUFFIX: &str = ".lock";

/// A directory being filled under a temporary name beside its final one.
///
/// Dropped before [`commit`](Self::commit), it leaves nothing behind. What a killed process left is removed
/// when the same directory is made again.
#[derive(Debug)]
pub(crate) struct StagedDir {
    temp: TempDir,
    /// Removed after the directory.
    _lock: NamedTempFile,
    out: PathBuf,
    parents: CreatedParents,
    /// Whether something of ours stands at `out` that the new directory takes the place of.
    replaces: bool,
}

impl StagedDir {
    /// Begins to fill `out`, which must not exist, or be an empty directory.
    /// Missing parents are made.
    ///
    /// # Errors
    /// [`Error::Output`] when `out` is taken, or its parent cannot be written.
    pub(crate) fn new(out: &Path) -> Result<Self> {
        Self::new_or_replacing(out, |_| false, "remove it, or choose another directory")
    }

    /// As [`StagedDir::new`], but a directory that `is_ours` is replaced when the new one is complete. `hint` says what
    /// to do about any other.
    ///
    /// # Errors
    /// [`Error::Output`] when `out` is taken, or its parent cannot be written.
    pub(crate) fn new_or_replacing(
        out: &Path,
        is_ours: impl Fn(&Path) -> bool,
        hint: &str,
    ) -> Result<Self> {
        let (out, replaces) = free_path(out, is_ours, hint)?;
        let (Some(name), Some(parent)) = (out.file_name(), out.parent()) else {
            return Err(Error::Output {
                path: out,
                problem: "has no name that a directory could be made under".to_owned(),
            });
        };
        let parent = match parent {
            empty if empty.as_os_str().is_empty() => Path::new("."),
            parent => parent,
        };
        let parents = CreatedParents::make(parent)?;
        let prefix = format!(".{}.", name.to_string_lossy());
        remove_abandoned(parent, &prefix);
        let fault = |e| output_error(parent, "make a directory in it", &e);
        let lock = lock(parent, &prefix).map_err(fault)?;
        let mut builder = tempfile::Builder::new();
        let prefix = stem(
            &lock
                .path()
                .file_name()
                .unwrap_or_default()
                .to_string_lossy(),
        );
        builder.prefix(&prefix);
        // The default is a directory that only its owner can read.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
        let temp = builder.tempdir_in(parent).map_err(fault)?;
        Ok(Self {
            temp,
            _lock: lock,
            out,
            parents,
            replaces,
        })
    }

    /// Where to write.
    pub(crate) fn path(&self) -> &Path {
        self.temp.path()
    }

    /// Gives the directory its final name.
    ///
    /// # Errors
    /// [`Error::Output`] when that name was taken in the meantime.
    pub(crate) fn commit(self) -> Result<()> {
        let fault = |e| output_error(&self.out, "give the finished directory this name", &e);
        if self.replaces {
            replace(self.temp.path(), &self.out).map_err(fault)?;
        } else {
            fs::rename(self.temp.path(), &self.out).map_err(fault)?;
        }
        // Its old name is gone, so there is nothing left to remove.
        let _ = self.temp.keep();
        self.parents.keep();
        Ok(())
    }
}

/// Makes a locked file under `parent`. It exists before the directory that it is for, so whenever the process is
/// killed, what it has made can be found by it.
fn lock(parent: &Path, prefix: &str) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    let file = builder
        .prefix(prefix)
        .suffix(LOCK_SUFFIX)
        .tempfile_in(parent)?;
    // A file system without locks has no abandoned directories removed, and works otherwise.
    let _ = file.as_file().try_lock();
    Ok(file)
}

/// What the name of the directory begins with that a lock file is for.
fn stem(lock: &str) -> String {
    format!("{}.", lock.strip_suffix(LOCK_SUFFIX).unwrap_or(lock))
}

/// Removes what processes that are gone have left under `parent`: lock files that begin with `prefix` and that
/// nobody locks, with their directories.
fn remove_abandoned(parent: &Path, prefix: &str) {
    let names: Vec<String> = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with(prefix))
        .collect();
    for lock in names.iter().filter(|name| name.ends_with(LOCK_SUFFIX)) {
        let Ok(file) = File::open(parent.join(lock)) else {
            continue;
        };
        if file.try_lock().is_err() {
            continue;
        }
        let stem = stem(lock);
        for left in names
            .iter()
            .filter(|name| *name != lock && name.starts_with(&stem))
        {
            let _ = fs::remove_dir_all(parent.join(left));
        }
        let _ = fs::remove_file(parent.join(lock));
    }
}

/// Puts `new` in the place of `old`. When that fails, `old` is back where it was.
fn replace(new: &Path, old: &Path) -> std::io::Result<()> {
    let beside = tempfile::Builder::new()
        .prefix(".replaced-")
        .tempdir_in(old.parent().unwrap_or(Path::new(".")))?;
    let aside = beside.path().join("old");
    fs::rename(old, &aside)?;
    fs::rename(new, old).or_else(|error| {
        fs::rename(&aside, old)?;
        Err(error)
    })
}

/// Writes a whole file of the output.
///
/// # Errors
/// [`Error::Output`], naming the file.
pub(crate) fn write_file(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    fs::write(path, content).map_err(|e| output_error(path, "write it", &e))
}

/// An [`Error::Output`] from the operating system's reason.
pub(crate) fn output_error(path: &Path, action: &str, error: &std::io::Error) -> Error {
    let hint = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "; free some space, or choose a directory on another disk"
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "; choose a directory that you may write"
        }
        _ => "",
    };
    Error::Output {
        path: path.to_owned(),
        problem: format!("cannot {action}: {error}{hint}"),
    }
}

/// `out` with an existing link resolved, when nothing of value is there; and whether what is there is replaced.
fn free_path(out: &Path, is_ours: impl Fn(&Path) -> bool, hint: &str) -> Result<(PathBuf, bool)> {
    let taken = |problem: String| {
        Err(Error::Output {
            path: out.to_owned(),
            problem,
        })
    };
    if fs::symlink_metadata(out).is_err_and(|e| e.kind() == ErrorKind::NotFound) {
        return Ok((out.to_owned(), false));
    }
    match fs::metadata(out) {
        Ok(metadata) if !metadata.is_dir() => {
            return taken("exists and is not a directory".to_owned());
        }
        Ok(_) => {}
        Err(e) => return Err(output_error(out, "open it", &e)),
    }
    let mut entries = fs::read_dir(out).map_err(|e| output_error(out, "open it", &e))?;
    let replaces = entries.next().is_some();
    if replaces && !is_ours(out) {
        return taken(format!("exists and is not empty: {hint}"));
    }
    // Renaming onto a link would fail, and `.` has no name to rename onto.
    let path = out
        .canonicalize()
        .map_err(|e| output_error(out, "open it", &e))?;
    Ok((path, replaces))
}

/// The parent directories that were made for an output; removed again unless kept.
#[derive(Debug, Default)]
struct CreatedParents(Vec<PathBuf>);

impl CreatedParents {
    fn make(parent: &Path) -> Result<Self> {
        let missing: Vec<&Path> = parent
            .ancestors()
            .take_while(|path| !path.as_os_str().is_empty() && !path.exists())
            .collect();
        let mut created = Self::default();
        for path in missing.into_iter().rev() {
            fs::create_dir(path).map_err(|e| output_error(path, "make this directory", &e))?;
            created.0.push(path.to_owned());
        }
        Ok(created)
    }

    fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for CreatedParents {
    fn drop(&mut self) {
        // Deepest first; one that someone else uses by now is not empty and stays.
        for path in self.0.iter().rev() {
            let _ = fs::remove_dir(path);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn commit_makes_exactly_the_output() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("a/b/out");
        let staged = StagedDir::new(&out).unwrap();
        write_file(&staged.path().join("file"), "text").unwrap();
        assert!(!out.exists());
        staged.commit().unwrap();
        assert_eq!(names(out.parent().unwrap()), ["out"]);
        assert_eq!(fs::read_to_string(out.join("file")).unwrap(), "text");
    }

    #[test]
    fn dropping_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let staged = StagedDir::new(&root.path().join("a/b/out")).unwrap();
        write_file(&staged.path().join("file"), "text").unwrap();
        drop(staged);
        assert!(names(root.path()).is_empty());
    }

    #[test]
    fn what_a_killed_process_left_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let path = root.path().join(format!("{name}.dir"));
            fs::create_dir(&path).unwrap();
            fs::write(path.join("file"), "half").unwrap();
            File::create(root.path().join(format!("{name}.lock"))).unwrap()
        };
        drop(make(".out.dead"));
        drop(make(".other.dead"));
        // Killed before it made its directory.
        File::create(root.path().join(".out.early.lock")).unwrap();
        let alive = make(".out.alive");
        alive.lock().unwrap();
        fs::create_dir(root.path().join(".out.foreign")).unwrap();

        StagedDir::new(&root.path().join("out"))
            .unwrap()
            .commit()
            .unwrap();
        let mut left = names(root.path());
        left.sort();
        assert_eq!(
            left,
            [
                ".other.dead.dir",
                ".other.dead.lock",
                ".out.alive.dir",
                ".out.alive.lock",
                ".out.foreign",
                "out"
            ]
        );
        assert!(names(&root.path().join("out")).is_empty());
    }

    #[test]
    fn an_empty_directory_may_be_filled() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("out");
        fs::create_dir(&out).unwrap();
        StagedDir::new(&out.join(".")).unwrap().commit().unwrap();
        assert_eq!(names(root.path()), ["out"]);
    }

    #[test]
    fn ours_is_replaced_only_by_a_whole_one() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("out");
        fs::create_dir(&out).unwrap();
        fs::write(out.join("ours"), "old").unwrap();
        let ours = |path: &Path| path.join("ours").exists();
        let stage = || StagedDir::new_or_replacing(&out, ours, "").unwrap();

        drop(stage());
        assert_eq!(fs::read_to_string(out.join("ours")).unwrap(), "old");

        let staged = stage();
        write_file(&staged.path().join("new"), "text").unwrap();
        staged.commit().unwrap();
        assert_eq!(names(&out), ["new"]);
        assert_eq!(names(root.path()), ["out"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_an_empty_directory_may_be_filled() {
        let root = tempfile::tempdir().unwrap();
        let (real, link) = (root.path().join("real"), root.path().join("link"));
        fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let staged = StagedDir::new(&link).unwrap();
        write_file(&staged.path().join("file"), "text").unwrap();
        staged.commit().unwrap();
        assert_eq!(names(&real), ["file"]);
    }

    #[cfg(unix)]
    #[test]
    fn others_may_read_the_output() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let (plain, out) = (root.path().join("plain"), root.path().join("out"));
        fs::create_dir(&plain).unwrap();
        StagedDir::new(&out).unwrap().commit().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&out), mode(&plain));
    }

    #[test]
    fn taken_and_impossible_places() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        let full = root.path().join("full");
        fs::create_dir(&full).unwrap();
        fs::write(full.join("mine"), "").unwrap();
        let cases = [
            (file.clone(), "not a directory"),
            (full.clone(), "not empty"),
            (file.join("below"), "cannot"),
            (PathBuf::from("/"), "not empty"),
            (root.path().join("new/.."), "has no name"),
        ];
        for (out, part) in cases {
            let error = StagedDir::new(&out).unwrap_err();
            assert!(matches!(error, Error::Output { .. }), "{error:?}");
            assert!(error.to_string().contains(part), "{out:?}: {error}");
        }
        assert_eq!(names(&full), ["mine"]);
        assert_eq!(names(root.path()).len(), 2);
    }

    /// Not even root can make a directory in `/proc`.
    #[cfg(target_os = "linux")]
    #[test]
    fn parent_that_cannot_be_written() {
        let error = StagedDir::new(Path::new("/proc/out")).unwrap_err();
        assert!(matches!(&error, Error::Output { path, .. } if path == Path::new("/proc")));
    }
}
