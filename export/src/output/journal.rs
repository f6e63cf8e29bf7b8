//! The note of a process that fills a directory: which one, and what it put there.
//!
//! It is a locked file beside the directory. A process that is killed leaves it, and what it names is what the next
//! process may remove. A name alone proves nothing: the file must say that it is ours, and repeat the random number in
//! its own name and in that of the directory.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::{
        fd::AsRawFd,
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use rustix::fs::{AtFlags, CWD, OFlags, linkat};
use serde::{Deserialize, Serialize};
use worldpm_ort_bundle::files::{inside, read_text_limited};

use super::owned;

/// How the name of a journal ends.
const SUFFIX: &str = ".lock";
/// Digits of the random number.
const ID_DIGITS: usize = 32;
/// The first field of every journal.
const FORMAT: &str = "worldpm-ort-staging";
/// Most bytes of a journal: a name for each file of an output.
const MAX_BYTES: u64 = 64 << 20;

/// A line of a journal.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// The first line.
    Format { name: String, id: String },
    /// A file that is about to be made in the directory.
    New(String),
    /// A file of ours in the output that is about to be replaced.
    Old(String),
    /// A file or folder of the directory that is about to move into the output, and its inode.
    Moving(String, u64),
}

/// What a journal says.
#[derive(Debug, Default)]
struct Content {
    files: BTreeSet<PathBuf>,
    moving: Vec<(String, u64)>,
}

/// The journal of this process.
#[derive(Debug)]
pub(super) struct Journal {
    file: Mutex<File>,
    path: PathBuf,
    directory: PathBuf,
    aside: PathBuf,
    new: Mutex<BTreeSet<PathBuf>>,
}

impl Journal {
    /// Makes a locked journal in `parent` for the output `name`.
    pub(super) fn create(parent: &Path, name: &str) -> io::Result<Self> {
        let id = random_id()?;
        let path = parent.join(format!(".{name}.{id}{SUFFIX}"));
        let first = line(&Line::Format {
            name: FORMAT.to_owned(),
            id: id.clone(),
        })?;
        let file = match nameless(parent, &path, &first) {
            Some(file) => file,
            None => {
                let mut file = File::create_new(&path)?;
                lock(&file);
                file.write_all(&first)?;
                file
            }
        };
        Ok(Self {
            file: Mutex::new(file),
            path,
            directory: directory(parent, name, &id),
            aside: aside(parent, name, &id),
            new: Mutex::default(),
        })
    }

    /// The directory that it is for, which the caller makes.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where the output that is replaced waits, on a file system that cannot exchange two directories.
    pub(super) fn aside(&self) -> &Path {
        &self.aside
    }

    /// Notes a file of the directory before it is made.
    pub(super) fn note_new(&self, name: &str) -> io::Result<()> {
        let mut new = self.new.lock().unwrap_or_else(PoisonError::into_inner);
        if new.insert(PathBuf::from(name)) {
            self.append(&Line::New(name.to_owned()))?;
        }
        Ok(())
    }

    /// The files that were noted as new.
    pub(super) fn new_files(&self) -> BTreeSet<PathBuf> {
        let new = self.new.lock().unwrap_or_else(PoisonError::into_inner);
        new.clone()
    }

    /// Notes the files of an output that is about to be replaced.
    pub(super) fn note_old(&self, files: &BTreeSet<PathBuf>) -> io::Result<()> {
        let mut lines = Vec::new();
        for name in files.iter().filter_map(|file| file.to_str()) {
            lines.extend(line(&Line::Old(name.to_owned()))?);
        }
        self.write(&lines)
    }

    /// Notes an entry of the directory that is about to move into the output.
    pub(super) fn note_moving(&self, name: &str, inode: u64) -> io::Result<()> {
        self.append(&Line::Moving(name.to_owned(), inode))
    }

    fn append(&self, entry: &Line) -> io::Result<()> {
        self.write(&line(entry)?)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(bytes)
    }

    /// Makes the journal outlast a loss of power.
    pub(super) fn sync(&self) -> io::Result<()> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.sync_all()
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes what processes that are gone have left in `parent` of the output `out`, whose name is `name`; puts back a
/// bundle that one of them had set aside.
pub(super) fn clean_up(parent: &Path, name: &str, out: &Path, last: &str) {
    for id in ids_in(parent, name) {
        let path = parent.join(format!(".{name}.{id}{SUFFIX}"));
        let Some((_held, content)) = abandoned(&path, &id) else {
            continue;
        };
        let aside = aside(parent, name, &id);
        if fs::symlink_metadata(out).is_err_and(|e| e.kind() == ErrorKind::NotFound) {
            let _ = fs::rename(&aside, out);
        }
        // Without the file that comes last the output is not whole.
        if parent == out && fs::symlink_metadata(out.join(last)).is_err() {
            for (name, inode) in &content.moving {
                let path = out.join(name);
                if fs::symlink_metadata(&path).is_ok_and(|found| found.ino() == *inode) {
                    let inside = content.files.iter().filter(|file| file.starts_with(name));
                    owned::remove_files(out, inside);
                }
            }
        }
        for left in [aside, directory(parent, name, &id)] {
            owned::remove(&left, &content.files);
        }
        let _ = fs::remove_file(&path);
    }
}

/// The random numbers in the names of what may be journals.
fn ids_in(parent: &Path, name: &str) -> Vec<String> {
    let prefix = format!(".{name}.");
    let id = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let id = name.strip_prefix(&prefix)?.strip_suffix(SUFFIX)?;
        let is_id = id.len() == ID_DIGITS && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_id.then(|| id.to_owned())
    };
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    entries.filter_map(id).collect()
}

/// What the journal at `path` says, when it is one of ours and its process is gone.
fn abandoned(path: &Path, id: &str) -> Option<(File, Content)> {
    if !fs::symlink_metadata(path).ok()?.is_file() {
        return None;
    }
    let file = worldpm_ort_bundle::files::open_regular(path).ok()?;
    file.try_lock().ok()?;
    let text = read_text_limited(path, MAX_BYTES).ok()?;
    let mut lines = text.lines();
    match serde_json::from_str(lines.next()?).ok()? {
        Line::Format { name, id: said } if name == FORMAT && said == id => {}
        _ => return None,
    }
    let mut content = Content::default();
    // A loss of power may have cut the last line.
    for line in lines.map_while(|line| serde_json::from_str(line).ok()) {
        match line {
            Line::New(name) | Line::Old(name) => content.files.extend(inside(&name)),
            Line::Moving(name, inode) if inside(&name).is_some() => {
                content.moving.push((name, inode));
            }
            Line::Moving(..) | Line::Format { .. } => {}
        }
    }
    Some((file, content))
}

fn directory(parent: &Path, name: &str, id: &str) -> PathBuf {
    parent.join(format!(".{name}.{id}"))
}

fn aside(parent: &Path, name: &str, id: &str) -> PathBuf {
    parent.join(format!(".{name}.{id}.old"))
}

/// A file that has its content and its lock before it has a name, so that none is ever seen without them. `None` on
/// file systems that have no such files.
fn nameless(parent: &Path, path: &Path, content: &[u8]) -> Option<File> {
    let mut file = OpenOptions::new()
        .write(true)
        .custom_flags(OFlags::TMPFILE.bits().cast_signed())
        .open(parent)
        .ok()?;
    lock(&file);
    file.write_all(content).ok()?;
    let name = format!("/proc/self/fd/{}", file.as_raw_fd());
    linkat(CWD, name, CWD, path, AtFlags::SYMLINK_FOLLOW).ok()?;
    Some(file)
}

/// On a file system without locks nothing that was left is ever removed, and all else works.
fn lock(file: &File) {
    let _ = file.try_lock();
}

fn line(entry: &Line) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(entry)?;
    line.push(b'\n');
    Ok(line)
}

fn random_id() -> io::Result<String> {
    let mut bytes = [0_u8; ID_DIGITS / 2];
    let got = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())?;
    if got < bytes.len() {
        return Err(io::Error::other("the system gave too few random bytes"));
    }
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
