//! Files that results go to.

use std::{
    fs::{self, OpenOptions},
    path::Path,
};

use anyhow::{Context, Result};

/// Finds out before the model is loaded whether the output can be written. What the file holds stays until
/// there is something to put in its place.
pub(super) fn check_output(path: &Path) -> Result<()> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let opened = if path == Path::new("-") {
        Ok(())
    } else if path.exists() {
        OpenOptions::new().append(true).open(path).map(drop)
    } else {
        fs::read_dir(parent.unwrap_or(Path::new("."))).map(drop)
    };
    opened.with_context(|| format!("cannot write {}", path.display()))
}
