//! How a finished directory takes its place.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, ErrorKind},
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, RenameFlags, StatxAttributes, StatxFlags, renameat_with, statx},
    io::Errno,
};

/// What file systems have in the root of a volume, empty.
const LOST_AND_FOUND: &str = "lost+found";

/// What `exchange` came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exchanged {
    /// Both have their new names.
    Done,
    /// The file system cannot, and nothing has happened.
    Unable,
}

/// Gives two directories each other's name, in one step.
pub(super) fn exchange(one: &Path, other: &Path) -> io::Result<Exchanged> {
    match renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(Exchanged::Done),
        // NOSYS: the system; INVAL: the file system; XDEV: an overlay, for a directory of its lower layer.
        Err(Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP | Errno::XDEV) => Ok(Exchanged::Unable),
        Err(error) => Err(error.into()),
    }
}

/// Puts `new` in the place of `old` by two renames, between which nothing is there. When the second fails, `old` is
/// back where it was.
pub(super) fn step_aside(new: &Path, old: &Path, aside: &Path) -> io::Result<()> {
    fs::rename(old, aside)?;
    fs::rename(new, old).or_else(|error| {
        fs::rename(aside, old)?;
        Err(error)
    })
}

/// Renames to a name that nothing has.
pub(super) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP) => {}
        other => return Ok(other?),
    }
    if to.symlink_metadata().is_ok() {
        let problem = format!("{} exists by now", to.display());
        return Err(io::Error::new(ErrorKind::AlreadyExists, problem));
    }
    fs::rename(from, to)
}

/// Whether a file system is mounted at `path`, so that it cannot be renamed.
pub(super) fn is_mount_point(path: &Path) -> bool {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let by_attribute = statx(CWD, path, flags, StatxFlags::BASIC_STATS)
        .is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT));
    let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).ok();
    // Before Linux 5.8 there is no such attribute.
    by_attribute || device(path) != device(&path.join(".."))
}

/// The entries of `dir`, without what a file system puts into the root of a volume.
pub(super) fn entries(dir: &Path, is_volume: bool) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let own = is_volume
            && entry.file_name() == LOST_AND_FOUND
            && fs::read_dir(entry.path()).map_or_else(
                |error| error.kind() == ErrorKind::PermissionDenied,
                |mut inside| inside.next().is_none(),
            );
        if !own {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Gives `to` the permissions of `from`, and its owner where that is allowed.
pub(super) fn copy_permissions(from: &Path, to: &Path) -> io::Result<()> {
    let (wanted, found) = (fs::metadata(from)?, fs::metadata(to)?);
    if (wanted.uid(), wanted.gid()) != (found.uid(), found.gid()) {
        let _ = chown(to, Some(wanted.uid()), Some(wanted.gid()));
    }
    fs::set_permissions(to, wanted.permissions())
}

/// Makes the files of `dir`, and their names, outlast a loss of power.
pub(super) fn sync_files(dir: &Path, files: &BTreeSet<PathBuf>) -> io::Result<()> {
    let mut folders = BTreeSet::from([Path::new("")]);
    for file in files {
        match File::open(dir.join(file)) {
            Ok(opened) => opened.sync_all()?,
            // Noted, and not made after all.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        }
        folders.extend(file.ancestors().skip(1));
    }
    for folder in folders.iter().rev() {
        sync_dir(&dir.join(folder))?;
    }
    Ok(())
}

/// Makes the names in `dir` outlast a loss of power.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    match File::open(dir)?.sync_all() {
        // Some file systems, most of them remote, have no such thing.
        Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
        other => other,
    }
}
