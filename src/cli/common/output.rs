//! Files that results go to.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::objects;

/// Finds out before the model is loaded whether the output can be written. What the file holds stays until
/// there is something to put in its place.
pub(crate) fn check_output(path: &Path) -> Result<()> {
    if let Some(url) = objects::url(path) {
        return objects::check_upload(url);
    }
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let opened = match fs::metadata(path) {
        _ if path == Path::new("-") => Ok(()),
        // To open a pipe would wait for its reader, who would see it end.
        Ok(found) if !found.is_file() && !found.is_dir() => Ok(()),
        Ok(_) => OpenOptions::new().append(true).open(path).map(drop),
        Err(_) => fs::read_dir(parent.unwrap_or(Path::new("."))).map(drop),
    };
    opened.with_context(|| format!("cannot write {}", path.display()))
}

/// Finds out whether an output can be written, of which nothing is made until all is scored: a file is written beside its
/// place, so its folder must be one that can be written too.
pub(crate) fn check_replaceable(path: &Path) -> Result<()> {
    check_output(path)?;
    let is_in_place = match fs::metadata(path) {
        Ok(found) => !found.is_file() || is_stdout(&found),
        Err(_) => path == Path::new("-"),
    };
    if is_in_place || objects::url(path).is_some() {
        return Ok(());
    }
    let target = resolved(path);
    let folder = target.parent();
    let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
    let tried = tempfile::tempfile_in(folder.unwrap_or(Path::new("."))).map(drop);
    tried.with_context(|| format!("cannot write {}", path.display()))
}

/// What is said of an error in writing to standard output.
pub(crate) fn to_stdout(error: io::Error) -> anyhow::Error {
    anyhow::Error::new(error).context("cannot write standard output")
}

/// Bytes of lines that are held before they are written.
const HELD_BYTES: usize = 64 << 10;

/// How many left files of earlier runs are kept beside an output.
const MOST_LEFT: usize = 1000;

/// Results, and where they go. Of lines only whole ones are written.
///
/// A regular file is written beside its place, as `NAME.partial`, and put there when it is complete, so that what was there
/// stays until then. What a run has written that did not end is in the partial file. That of an object is in the working
/// directory, and is uploaded when it is complete.
pub(crate) struct Results {
    to: To,
    /// What is written, for errors.
    name: String,
    held: Vec<u8>,
    /// Whether there are results.
    is_begun: bool,
}

enum To {
    Stdout,
    /// A file that is written where it is: one to add to, or a pipe or device.
    File {
        path: PathBuf,
        append: bool,
        file: Option<File>,
    },
    Replacement(Replacement),
}

struct Replacement {
    file: File,
    partial: PathBuf,
    target: Target,
}

/// Where results go when they are complete.
enum Target {
    Path(PathBuf),
    /// An object, by its URL.
    Object(String),
}

impl Results {
    /// Finds out whether results can be written to `path`, `-` for standard output. With `append` they are added to what
    /// the file holds.
    pub(crate) fn prepare(path: &Path, append: bool) -> Result<Self> {
        let name = path.display().to_string();
        let to = if path == Path::new("-") {
            if append {
                bail!("--append adds to a file: name it with --output");
            }
            To::Stdout
        } else if let Some(url) = objects::url(path) {
            if append {
                bail!("--append adds to a file, and an object is written as a whole: name a file");
            }
            check_output(path)?;
            To::Replacement(Replacement::of_object(url)?)
        } else {
            check_output(path)?;
            match fs::metadata(path) {
                Ok(found) if is_stdout(&found) => To::Stdout,
                Ok(found) if !found.is_file() => To::file(path, append),
                Ok(_) if append => {
                    check_last_line(path)?;
                    To::file(path, append)
                }
                Err(_) if append => To::file(path, append),
                _ => To::Replacement(Replacement::beside(path)?),
            }
        };
        let name = match &to {
            To::Stdout => "standard output".to_owned(),
            To::File { .. } => name,
            To::Replacement(replacement) => replacement.partial.display().to_string(),
        };
        Ok(Self {
            to,
            name,
            held: Vec::new(),
            is_begun: false,
        })
    }

    /// Opens what is written where it is; a pipe waits for its reader.
    pub(crate) fn open(&mut self) -> Result<()> {
        if let To::File { path, append, file } = &mut self.to {
            let mut options = OpenOptions::new();
            options.create(true).write(true);
            options.append(*append).truncate(!*append);
            let opened = options.open(path);
            *file = Some(opened.with_context(|| format!("cannot write {}", self.name))?);
        }
        Ok(())
    }

    /// Adds a line, without its end.
    pub(crate) fn write_line(&mut self, line: &[u8]) -> Result<()> {
        self.held.extend_from_slice(line);
        self.held.push(b'\n');
        self.is_begun = true;
        self.flush_much()
    }

    /// Adds bytes, of which the first results are some.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.held.extend_from_slice(bytes);
        self.is_begun |= !bytes.is_empty();
        self.flush_much()
    }

    fn flush_much(&mut self) -> Result<()> {
        if self.held.len() >= HELD_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Hands over all lines so far.
    pub(crate) fn flush(&mut self) -> Result<()> {
        let held = std::mem::take(&mut self.held);
        let written = match &mut self.to {
            To::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(&held).and_then(|()| stdout.flush())
            }
            To::File { file, .. } => match file {
                Some(file) => file.write_all(&held),
                None => Ok(()),
            },
            To::Replacement(replacement) => replacement.file.write_all(&held),
        };
        written.with_context(|| format!("cannot write {}", self.name))
    }

    /// The results are complete: they take their place.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.flush()?;
        match &self.to {
            To::Replacement(replacement) => replacement.put_in_place(),
            To::Stdout | To::File { .. } => Ok(()),
        }
    }

    /// The results are not complete. Hands over the lines so far, and says where they are if not in the output itself.
    pub(crate) fn leave(&mut self) -> Result<Option<&Path>> {
        self.flush()?;
        Ok(match &self.to {
            To::Replacement(replacement) if self.is_begun => Some(&replacement.partial),
            _ => None,
        })
    }
}

impl Drop for Results {
    fn drop(&mut self) {
        // Lines that could be written help whoever goes on from them, also after an error.
        let _ = self.flush();
        if let To::Replacement(replacement) = &self.to
            && !self.is_begun
        {
            let _ = fs::remove_file(&replacement.partial);
        }
    }
}

impl To {
    fn file(path: &Path, append: bool) -> Self {
        Self::File {
            path: path.to_owned(),
            append,
            file: None,
        }
    }
}

impl Replacement {
    /// Makes the partial file of an output. One that an earlier run has left gets another name.
    fn beside(path: &Path) -> Result<Self> {
        let target = resolved(path);
        Self::at(with_suffix(&target, ".partial"), Target::Path(target))
    }

    /// Makes that of an object.
    fn of_object(url: &str) -> Result<Self> {
        let name = url.rsplit('/').next().unwrap_or(url);
        let partial = PathBuf::from(format!("{name}.partial"));
        Self::at(partial, Target::Object(url.to_owned()))
    }

    fn at(partial: PathBuf, target: Target) -> Result<Self> {
        let cannot = || format!("cannot write {}", partial.display());
        loop {
            let made = OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(&partial);
            let is_new = made.is_ok();
            let file = match made {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    let found = fs::symlink_metadata(&partial).with_context(cannot)?;
                    if !found.is_file() {
                        bail!(
                            "cannot write {}: it is not a regular file; move it away",
                            partial.display()
                        );
                    }
                    let opened = OpenOptions::new().append(true).open(&partial);
                    opened.with_context(cannot)?
                }
                made => made.with_context(cannot)?,
            };
            // Where files cannot be locked, that is no reason not to write.
            if let Err(TryLockError::WouldBlock) = file.try_lock() {
                bail!(
                    "cannot write {}: another run is writing it; wait for it, or name another --output",
                    partial.display()
                );
            }
            if is_new || file.metadata().with_context(cannot)?.len() == 0 {
                return Ok(Self {
                    file,
                    partial,
                    target,
                });
            }
            let left = (1..MOST_LEFT)
                .map(|number| with_suffix(&partial, &format!(".{number}")))
                .find(|left| fs::symlink_metadata(left).is_err());
            let left = left.with_context(|| {
                format!(
                    "cannot write {}: too many files of runs that did not end are beside it; move them away",
                    partial.display()
                )
            })?;
            fs::rename(&partial, &left).with_context(cannot)?;
            report!(
                "note: {}, the results of a run that did not end, is now {}",
                partial.display(),
                left.display()
            );
        }
    }

    fn put_in_place(&self) -> Result<()> {
        let partial = self.partial.display();
        let target = match &self.target {
            Target::Path(target) => target,
            Target::Object(url) => {
                self.file
                    .sync_all()
                    .with_context(|| format!("cannot write {partial}"))?;
                let uploaded = objects::upload(&self.partial, url);
                uploaded.with_context(|| {
                    format!(
                        "cannot write {url}, which is as it was; the results are complete in {partial}, for any tool to upload"
                    )
                })?;
                let removed = fs::remove_file(&self.partial);
                return removed.with_context(|| format!("cannot remove {partial}"));
            }
        };
        let failed = || {
            format!(
                "cannot write {}; the results are complete in {partial}",
                target.display(),
            )
        };
        if let Ok(old) = fs::metadata(target) {
            // Who may read it stays as it was. Some file systems have no such thing.
            let _ = self.file.set_permissions(old.permissions());
        }
        self.file.sync_all().with_context(failed)?;
        if fs::rename(&self.partial, target).is_err() {
            // A file that is a mount of its own, as containers have them, can be written but not replaced.
            fs::copy(&self.partial, target).with_context(failed)?;
            fs::remove_file(&self.partial).with_context(failed)?;
        }
        Ok(())
    }
}

/// The file that a path stands for, through links, be it there or not.
fn resolved(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    // As many links as Linux follows.
    for _ in 0..40 {
        if let Ok(target) = path.canonicalize() {
            return target;
        }
        let Ok(link) = fs::read_link(&path) else {
            break;
        };
        path = path
            .parent()
            .map_or(link.clone(), |parent| parent.join(&link));
    }
    path
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// Whether a file is the one that standard output goes to, as `/dev/stdout` is.
fn is_stdout(found: &fs::Metadata) -> bool {
    let stdout = io::stdout().as_fd().try_clone_to_owned().map(File::from);
    stdout
        .and_then(|stdout| stdout.metadata())
        .is_ok_and(|stdout| (stdout.dev(), stdout.ino()) == (found.dev(), found.ino()))
}

/// Refuses a file to add to whose last line has no end: the next one would become part of it.
fn check_last_line(path: &Path) -> Result<()> {
    let mut last = [b'\n'];
    let read = File::open(path).and_then(|mut file| {
        if file.metadata()?.len() > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        Ok(())
    });
    read.with_context(|| format!("cannot read {}, to add to it", path.display()))?;
    if last != [b'\n'] {
        bail!(
            "cannot add to {}: its last line has no end, so it may be cut off; remove that line, or end it",
            path.display()
        );
    }
    Ok(())
}
