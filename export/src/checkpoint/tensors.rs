//! The weight files of a checkpoint, and the tensors in them.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use worldpm_ort_bundle::{Error as BundleError, fingerprint::FileIdentity, safetensors::Dtype};

/// A weight file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFile {
    /// Its name in the checkpoint directory.
    pub name: String,
    /// The real file, with every symlink resolved: in a Hugging Face cache the
    /// checkpoint holds links to `blobs/<hash>`.
    pub path: PathBuf,
    /// Its size, in bytes.
    pub bytes: u64,
}

/// Where a tensor's bytes lie, and what they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorEntry {
    /// Element type.
    pub dtype: Dtype,
    /// Dimensions, outermost first.
    pub shape: Vec<u64>,
    /// Index into [`Checkpoint::files`](super::Checkpoint::files); their number for a tensor of an adapter's file, see
    /// [`Checkpoint::open_with_adapter`](super::Checkpoint::open_with_adapter).
    pub file: usize,
    /// First byte, counted from the start of the file.
    pub offset: u64,
    /// Length, in bytes.
    pub bytes: u64,
}

/// The file as its machine knows it.
///
/// # Errors
/// [`Error::Bundle`] when it cannot be looked at.
pub(super) fn identity(file: &Path) -> Result<FileIdentity> {
    FileIdentity::of(file).map_err(|source| Error::io("open", file, source))
}

/// Refuses a weight file that was written to since it was as in `before`.
///
/// # Errors
/// [`Error::Bundle`], naming the file.
pub(super) fn require_unwritten(file: &Path, before: &FileIdentity) -> Result<()> {
    match identity(file)?.is_unwritten(before) {
        true => Ok(()),
        false => Err(Error::Bundle(BundleError::Safetensors {
            path: file.to_owned(),
            problem: "was written to while it was read; export again when nothing writes to it"
                .to_owned(),
        })),
    }
}
