//! The output directory: filled under a temporary name, renamed when complete.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{
    error::{Error, Result},
    manifest,
};

/// A directory that comes into being with [`OutputDir::commit`], or not at all.
#[derive(Debug)]
pub(crate) struct OutputDir {
    target: PathBuf,
    temporary: TempDir,
    /// Names a file whose presence shows that a directory at `target` is ours to replace.
    replaceable: bool,
}

impl OutputDir {
    /// Starts a bundle at `target`, which must not exist, be empty, or be a bundle of ours.
    pub(crate) fn create(target: &Path) -> Result<Self> {
        let replaceable = match occupied(target)? {
            Occupied::Free => false,
            Occupied::Empty => true,
            Occupied::Bundle => true,
            Occupied::Foreign => {
                return Err(Error::Output {
                    path: target.to_owned(),
                    problem: format!(
                        "exists and is not a bundle of ours (it has no {}); \
                         name another directory, or remove this one",
                        manifest::FILE_NAME
                    ),
                });
            }
        };
        Self::beside(target, replaceable)
    }

    /// Starts a directory at `target`, which must not exist or be empty.
    pub(crate) fn create_new(target: &Path) -> Result<Self> {
        match occupied(target)? {
            Occupied::Free => Self::beside(target, false),
            Occupied::Empty => Self::beside(target, true),
            Occupied::Bundle | Occupied::Foreign => Err(Error::Output {
                path: target.to_owned(),
                problem: "exists and is not empty; name another directory, or remove this one"
                    .into(),
            }),
        }
    }

    fn beside(target: &Path, replaceable: bool) -> Result<Self> {
        let fault = |problem: String| Error::Output {
            path: target.to_owned(),
            problem,
        };
        let name = target
            .file_name()
            .ok_or_else(|| fault("is not the path of a new directory".into()))?;
        let parent = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        fs::create_dir_all(parent)
            .map_err(|error| fault(format!("its parent directory cannot be made: {error}")))?;
        let prefix = format!(".{}.partial-", name.to_string_lossy());
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix);
        // A temporary directory is private to its owner; the finished one is as open as any new directory.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
        let temporary = builder
            .tempdir_in(parent)
            .map_err(|error| fault(format!("cannot write beside it: {error}")))?;
        Ok(Self {
            target: target.to_owned(),
            temporary,
            replaceable,
        })
    }

    /// The directory to write into until it is committed.
    pub(crate) fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// Writes a file of the directory.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let fill = || -> io::Result<()> {
            let mut file = File::create(self.path().join(name))?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        fill().map_err(|error| self.fault(name, &error))
    }

    /// An error in writing the file `name`.
    pub(crate) fn fault(&self, name: &str, error: &io::Error) -> Error {
        Error::Output {
            path: self.target.join(name),
            problem: format!("cannot be written: {error}; nothing was left behind"),
        }
    }

    /// Moves the directory to its place.
    pub(crate) fn commit(self) -> Result<()> {
        let fault = |error: io::Error| Error::Output {
            path: self.target.clone(),
            problem: format!("cannot be put in place: {error}"),
        };
        let built = self.temporary.path();
        if self.replaceable {
            let parent = built.parent().unwrap_or(Path::new("."));
            let old = tempfile::Builder::new()
                .prefix(".replaced-")
                .tempdir_in(parent)
                .map_err(fault)?;
            let aside = old.path().join("old");
            fs::rename(&self.target, &aside).map_err(fault)?;
            if let Err(error) = fs::rename(built, &self.target) {
                // The old directory goes back: a failure must not take away what was there.
                fs::rename(&aside, &self.target).map_err(fault)?;
                return Err(fault(error));
            }
        } else {
            fs::rename(built, &self.target).map_err(fault)?;
        }
        // It is no longer a temporary directory.
        let _ = self.temporary.keep();
        Ok(())
    }
}

enum Occupied {
    Free,
    Empty,
    Bundle,
    Foreign,
}

fn occupied(target: &Path) -> Result<Occupied> {
    match fs::read_dir(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Occupied::Free),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Err(Error::Output {
            path: target.to_owned(),
            problem: "is a file; name a directory".into(),
        }),
        Err(error) => Err(Error::io("look into", target, error)),
        Ok(mut entries) => {
            if entries.next().is_none() {
                Ok(Occupied::Empty)
            } else if is_ours(target) {
                Ok(Occupied::Bundle)
            } else {
                Ok(Occupied::Foreign)
            }
        }
    }
}

/// Whether the directory's manifest says that it is a bundle, of whatever version.
fn is_ours(target: &Path) -> bool {
    fs::read(target.join(manifest::FILE_NAME))
        .ok()
        .and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok())
        .is_some_and(|value| value.get("format").and_then(|f| f.as_str()) == Some(manifest::FORMAT))
}

/// Reads a whole file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|source| Error::io("read", path, source))
}
