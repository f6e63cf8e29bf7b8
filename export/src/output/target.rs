//! Where an output goes, and whether it can be made there: what stands there already is either ours or left alone.

use std::{
    collections::BTreeSet,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use super::{file::output_error, journal, owned, place};
use crate::error::{Error, Result};

/// What the directories of a kind have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutputKind {
    /// The file without which such a directory is not whole. It comes last where a directory cannot take its place in
    /// one step.
    pub(crate) last: &'static str,
    /// Whether a loss of power must leave a whole one.
    pub(crate) durable: bool,
    /// The files in a directory that is such an output of ours, and may be replaced; `None` for any other.
    pub(crate) owned: fn(&Path) -> Option<BTreeSet<PathBuf>>,
    /// What to do about a directory that is none.
    pub(crate) hint: &'static str,
}

/// Where an output goes.
#[derive(Debug)]
pub(super) struct Target {
    /// With an existing link resolved: renaming onto a link would fail, and `.` has no name to rename onto.
    pub(super) path: PathBuf,
    pub(super) parent: PathBuf,
    pub(super) name: String,
}

impl Target {
    pub(super) fn find(out: &Path) -> Result<Self> {
        let fault = |e| output_error(out, "open it", e);
        let path = match fs::symlink_metadata(out) {
            Err(e) if e.kind() == ErrorKind::NotFound => out.to_owned(),
            Err(e) => return Err(fault(e)),
            Ok(_) => out.canonicalize().map_err(fault)?,
        };
        let Some(name) = path.file_name() else {
            return Err(match path.parent() {
                None => Error::OutputTaken {
                    path,
                    problem: "exists and is not empty: choose a directory in it".to_owned(),
                },
                Some(_) => Error::Output {
                    path,
                    problem: "has no name that a directory could be made under".to_owned(),
                },
            });
        };
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        Ok(Self {
            parent: parent.to_owned(),
            name: name.to_string_lossy().into_owned(),
            path,
        })
    }

    /// Removes what killed processes have left.
    pub(super) fn clean_up(&self, kind: OutputKind) {
        for parent in [&self.parent, &self.path] {
            journal::clean_up(parent, &self.name, &self.path, kind.last);
        }
    }

    /// How the output can be made, when nothing is lost by it.
    pub(super) fn way(&self, out: &Path, kind: OutputKind) -> Result<Way> {
        let fault = |e| output_error(out, "open it", e);
        let taken = |problem: String| Error::OutputTaken {
            path: out.to_owned(),
            problem,
        };
        match fs::metadata(&self.path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Way::Rename),
            Err(e) => return Err(fault(e)),
            Ok(found) if !found.is_dir() => {
                return Err(taken("exists and is not a directory".to_owned()));
            }
            Ok(_) => {}
        }
        let is_volume = place::is_mount_point(&self.path);
        let entries = place::entries(&self.path, is_volume).map_err(fault)?;
        if entries.is_empty() {
            return Ok(if is_volume { Way::Fill } else { Way::Rename });
        }
        let Some(files) = (kind.owned)(&self.path) else {
            return Err(not_ours(out, None, kind));
        };
        if is_volume {
            return Err(taken(format!(
                "is the root of a volume, where nothing can take the place of what stands there in one step; remove that \
                 first, or give a directory in it, such as {}",
                out.join("bundle").display()
            )));
        }
        match owned::foreign(&self.path, &files).map_err(fault)? {
            Some(path) => Err(not_ours(out, Some(&path), kind)),
            None => Ok(Way::Replace),
        }
    }

    /// Whether the output is there, and the error is only that nothing may be made beside it.
    pub(super) fn may_be_filled(&self, error: &std::io::Error) -> bool {
        use ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
        matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem) && self.path.is_dir()
    }
}

/// How the directory gets its final name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It is renamed: nothing is there, or an empty directory.
    Rename,
    /// It changes places with an output of ours.
    Replace,
    /// Its files are renamed into the output, which is empty and cannot be renamed: the root of a volume, or a directory
    /// beside which nothing can be made.
    Fill,
}

pub(super) fn not_ours(out: &Path, path: Option<&Path>, kind: OutputKind) -> Error {
    let problem = match path {
        Some(path) => format!(
            "holds `{}`, which is not part of what stands there and would be lost; move it away, or choose another \
             directory",
            path.display()
        ),
        None => format!("exists and is not empty: {}", kind.hint),
    };
    Error::OutputTaken {
        path: out.to_owned(),
        problem,
    }
}
