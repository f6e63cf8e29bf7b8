//! A file that is added to a finished output, or replaced in it.

use std::{fs, path::Path};

use super::{
    file::{output_error, write_file},
    journal::Journal,
    owned, place,
    target::{OutputKind, Target},
};
use crate::error::Result;

/// Puts a file of its own into the output `out`, in one step. What a killed process leaves is beside the output, or in
/// it where nothing can be made beside it, with a journal, and is removed when a file is put there again, or the output
/// is replaced.
///
/// # Errors
/// [`Error::Write`](crate::Error::Write), naming the file.
pub(crate) fn put(
    out: &Path,
    kind: OutputKind,
    name: &str,
    content: impl AsRef<[u8]>,
) -> Result<()> {
    let target = Target::find(out)?;
    target.clean_up(kind);
    let path = target.path.join(name);
    let fault = |e| output_error(&path, "write it", e);
    let beside = match place::is_mount_point(&target.path) {
        true => None,
        false => match Journal::create(&target.parent, &target.name) {
            Err(error) if !target.may_be_filled(&error) => return Err(fault(error)),
            beside => beside.ok(),
        },
    };
    let journal = match beside {
        Some(journal) => journal,
        None => Journal::create(&target.path, &target.name).map_err(fault)?,
    };
    let write = || {
        fs::create_dir(journal.directory()).map_err(fault)?;
        journal.note_new(name).map_err(fault)?;
        let new = journal.directory().join(name);
        write_file(&new, content)?;
        fs::rename(new, &path).map_err(fault)
    };
    let written = write();
    owned::remove(journal.directory(), &journal.new_files());
    written
}
