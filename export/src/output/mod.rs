//! An output directory that appears whole or not at all.
//!
//! It is filled under a temporary name beside its final one and takes its place in one step when it is complete. What
//! is not ours is never touched: [`journal`] says how ownership is proved, and [`target`] what may be replaced.

pub(crate) mod addition;
mod file;
mod journal;
mod owned;
mod place;
mod target;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::error::{Error, Result};
pub(crate) use file::output_error;
use file::write_file;
use journal::Journal;
use place::Exchanged;
pub(crate) use target::OutputKind;
use target::{Target, Way, not_ours};

/// A directory being filled under a temporary name.
///
/// Dropped before [`commit`](Self::commit), it leaves nothing behind. What a killed process left is removed
/// when the same directory is made again.
#[derive(Debug)]
pub(crate) struct StagedDir {
    /// Gone after the directory.
    journal: Journal,
    kind: OutputKind,
    out: PathBuf,
    parents: CreatedParents,
    way: Way,
    committed: bool,
}

impl StagedDir {
    /// Begins to fill `out`, which must not exist, be empty, or be an output of ours.
    /// Missing parents are made.
    ///
    /// # Errors
    /// [`Error::OutputTaken`], and [`Error::Write`] when its parent cannot be written.
    pub(crate) fn new(out: &Path, kind: OutputKind) -> Result<Self> {
        let target = Target::find(out)?;
        let parents = CreatedParents::make(&target.parent)?;
        target.clean_up(kind);
        // An output that had been set aside is back.
        let target = Target::find(out)?;
        let way = target.way(out, kind)?;
        let begin = |parent: &Path| {
            let journal = Journal::create(parent, &target.name)?;
            fs::create_dir(journal.directory())?;
            Ok(journal)
        };
        let beside = match way {
            Way::Fill => None,
            Way::Rename | Way::Replace => Some(begin(&target.parent)),
        };
        let (journal, way) = match beside {
            Some(Ok(journal)) => (journal, way),
            Some(Err(error)) if way == Way::Replace || !target.may_be_filled(&error) => {
                return Err(output_error(
                    &target.parent,
                    "make a directory in it",
                    error,
                ));
            }
            _ => {
                let fault = |e| output_error(&target.path, "make a directory in it", e);
                (begin(&target.path).map_err(fault)?, Way::Fill)
            }
        };
        Ok(Self {
            journal,
            kind,
            out: target.path,
            parents,
            way,
            committed: false,
        })
    }

    /// Where to write what was announced with [`file`](Self::file).
    pub(crate) fn path(&self) -> &Path {
        self.journal.directory()
    }

    /// The path of a file that is about to be made. `name` has slashes where it is in a folder.
    ///
    /// # Errors
    /// [`Error::Write`] when that cannot be noted.
    pub(crate) fn file(&self, name: &str) -> Result<PathBuf> {
        let path = self.path().join(name);
        self.journal
            .note_new(name)
            .map_err(|e| output_error(&path, "write it", e))?;
        Ok(path)
    }

    /// Writes a whole file. The one that comes last gets its name when its content is there: a process that is killed
    /// leaves no half of it.
    ///
    /// # Errors
    /// [`Error::Write`], naming the file.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<()> {
        if name != self.kind.last {
            return write_file(&self.file(name)?, content);
        }
        let (part, path) = (self.file(&format!("{name}.part"))?, self.file(name)?);
        write_file(&part, content)?;
        fs::rename(part, &path).map_err(|e| output_error(&path, "write it", e))
    }

    /// Gives the directory its final name.
    ///
    /// # Errors
    /// [`Error::OutputTaken`] when that name was taken in the meantime, or there is by now something in it that is not
    /// ours.
    pub(crate) fn commit(mut self) -> Result<()> {
        let fault = |e| output_error(&self.out, "give the finished directory this name", e);
        let new = self.journal.new_files();
        if self.kind.durable {
            place::sync_files(self.path(), &new).map_err(fault)?;
            self.journal.sync().map_err(fault)?;
        }
        match self.way {
            Way::Fill => self.fill().map_err(fault)?,
            Way::Replace => self.replace()?,
            Way::Rename => {
                if self.out.exists() {
                    place::copy_permissions(&self.out, self.path()).map_err(fault)?;
                }
                fs::rename(self.path(), &self.out).map_err(fault)?;
                // Its name may be lost with the power, and nothing stood there before.
                let _ = self.sync_parent();
            }
        }
        self.committed = true;
        self.parents.keep();
        Ok(())
    }

    /// Renames what is in the directory into the output, which is whole when the last file is there. When that fails,
    /// all of it is back where it was.
    fn fill(&self) -> std::io::Result<()> {
        let mut names = place::entries(self.path(), false)?;
        names.sort_by_key(|name| name == self.kind.last);
        let mut moved = Vec::new();
        let mut step = |name: &String| {
            if name == self.kind.last && self.kind.durable {
                place::sync_dir(&self.out)?;
            }
            let from = self.path().join(name);
            self.journal
                .note_moving(name, from.symlink_metadata()?.ino())?;
            place::rename_new(&from, &self.out.join(name))?;
            moved.push(name.clone());
            Ok(())
        };
        if let Err(error) = names.iter().try_for_each(&mut step) {
            for name in moved.iter().rev() {
                fs::rename(self.out.join(name), self.path().join(name))?;
            }
            return Err(error);
        }
        if self.kind.durable {
            place::sync_dir(&self.out)?;
        }
        fs::remove_dir(self.path())
    }

    /// Takes the place of an output of ours.
    fn replace(&mut self) -> Result<()> {
        let out = self.out.clone();
        let fault = |e| output_error(&out, "give the finished directory this name", e);
        let old = match (self.kind.owned)(&self.out) {
            Some(old) => old,
            None => return Err(self.not_ours(None)),
        };
        if let Some(path) = owned::foreign(&self.out, &old).map_err(fault)? {
            return Err(self.not_ours(Some(&path)));
        }
        self.journal.note_old(&old).map_err(fault)?;
        place::copy_permissions(&self.out, self.path()).map_err(fault)?;
        if self.kind.durable {
            self.journal.sync().map_err(fault)?;
        }
        let aside = match place::exchange(self.path(), &self.out).map_err(fault)? {
            Exchanged::Done => self.path().to_owned(),
            Exchanged::Unable => {
                let aside = self.journal.aside();
                place::step_aside(self.path(), &self.out, aside).map_err(fault)?;
                aside.to_owned()
            }
        };
        // From here on the old one is at the name that the new one had.
        self.committed = true;
        let refused = match self.sync_parent() {
            Err(error) => Some(fault(error)),
            // Something may have come between the look and the step.
            Ok(()) => match owned::foreign(&aside, &old) {
                Ok(None) => None,
                Ok(Some(path)) => Some(self.not_ours(Some(&path))),
                Err(error) => Some(fault(error)),
            },
        };
        if let Some(error) = refused {
            self.undo(&aside).map_err(fault)?;
            self.committed = false;
            return Err(error);
        }
        owned::remove(&aside, &old);
        match aside.symlink_metadata() {
            Ok(_) => Err(Error::Output {
                path: aside,
                problem: format!(
                    "is what stood at {}, and holds what came there while it was replaced; the new one is in its place",
                    self.out.display()
                ),
            }),
            Err(_) => Ok(()),
        }
    }

    /// Puts the old output, which is at `aside`, back in its place.
    fn undo(&self, aside: &Path) -> std::io::Result<()> {
        if aside != self.path() {
            fs::rename(&self.out, self.path())?;
            return fs::rename(aside, &self.out);
        }
        place::exchange(aside, &self.out).map(drop)
    }

    fn not_ours(&self, path: Option<&Path>) -> Error {
        not_ours(&self.out, path, self.kind)
    }

    fn sync_parent(&self) -> std::io::Result<()> {
        match self.out.parent() {
            Some(parent) if self.kind.durable && !parent.as_os_str().is_empty() => {
                place::sync_dir(parent)
            }
            _ if self.kind.durable => place::sync_dir(Path::new(".")),
            _ => Ok(()),
        }
    }
}

impl Drop for StagedDir {
    fn drop(&mut self) {
        if !self.committed {
            owned::remove(self.journal.directory(), &self.journal.new_files());
        }
    }
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
            fs::create_dir(path).map_err(|e| output_error(path, "make this directory", e))?;
            created.0.push(path.to_owned());
        }
        Ok(created)
    }

    fn keep(&mut self) {
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
