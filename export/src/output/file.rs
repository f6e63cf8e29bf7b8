//! Writing a file of an output, and the error when that fails.

use std::{fs, path::Path};

use crate::error::{Error, Result};

/// Writes a whole file of the output.
///
/// # Errors
/// [`Error::Write`], naming the file.
pub(crate) fn write_file(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    fs::write(path, content).map_err(|e| output_error(path, "write it", e))
}

/// An [`Error::Write`], with what was being done, as in "cannot *write it*".
pub(crate) fn output_error(path: &Path, action: &'static str, source: std::io::Error) -> Error {
    Error::Write {
        path: path.to_owned(),
        action,
        source,
    }
}
