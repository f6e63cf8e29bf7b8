//! The weight files of a checkpoint, and the tensors in them.

use std::path::PathBuf;

use worldpm_ort_bundle::safetensors::Dtype;

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
