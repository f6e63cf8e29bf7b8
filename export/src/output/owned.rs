//! Directories of which only some files may be touched.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

/// The first entry of `dir` that is neither one of `files` (paths inside of it) nor a folder on the way to one.
pub(super) fn foreign(dir: &Path, files: &BTreeSet<PathBuf>) -> io::Result<Option<PathBuf>> {
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let mut entries: Vec<_> =
            fs::read_dir(dir.join(&folder))?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = folder.join(entry.file_name());
            if !entry.file_type()?.is_dir() {
                if !files.contains(&path) {
                    return Ok(Some(path));
                }
            } else if leads_to(&path, files) {
                folders.push(path);
            } else {
                return Ok(Some(path));
            }
        }
    }
    Ok(None)
}

fn leads_to(folder: &Path, files: &BTreeSet<PathBuf>) -> bool {
    let after = files.range(folder.to_owned()..).next();
    after.is_some_and(|file| file != folder && file.starts_with(folder))
}

/// Removes `files` of `dir`, then what is empty by that, `dir` among it. Whatever else is there stays.
pub(super) fn remove(dir: &Path, files: &BTreeSet<PathBuf>) {
    if !fs::symlink_metadata(dir).is_ok_and(|found| found.is_dir()) {
        return;
    }
    remove_files(dir, files.iter());
    let _ = fs::remove_dir(dir);
}

/// Removes `files` of `dir`, and the folders in it that are empty by that.
pub(super) fn remove_files<'a>(dir: &Path, files: impl Iterator<Item = &'a PathBuf>) {
    let mut folders = BTreeSet::new();
    for file in files {
        // A link on the way may lead anywhere.
        let parents = || file.ancestors().skip(1).filter(|p| *p != Path::new(""));
        let is_folder =
            |path: &Path| fs::symlink_metadata(dir.join(path)).is_ok_and(|found| found.is_dir());
        if parents().all(is_folder) {
            let _ = fs::remove_file(dir.join(file));
            folders.extend(parents());
        }
    }
    // The deepest come last.
    for folder in folders.into_iter().rev() {
        let _ = fs::remove_dir(dir.join(folder));
    }
}
