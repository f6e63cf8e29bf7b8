//! Where the records come from, and that the scores do not go there.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use anyhow::{Result, bail};

use crate::cli::common::records::input_metadata;

/// The output takes the place of what was there, which must not be what is read.
pub(crate) fn check_apart(input: &Path, output: &Path) -> Result<()> {
    if output == Path::new("-") {
        return Ok(());
    }
    let (Ok(from), Ok(to)) = (input_metadata(input), fs::metadata(output)) else {
        return Ok(());
    };
    if from.is_file() && (from.dev(), from.ino()) == (to.dev(), to.ino()) {
        bail!(
            "cannot write {}: it is the input, which would be lost; name another file",
            output.display()
        );
    }
    Ok(())
}

/// Whether reading the input never waits for someone to write it.
pub(crate) fn is_file(input: &Path) -> bool {
    input_metadata(input).is_ok_and(|input| input.is_file())
}
