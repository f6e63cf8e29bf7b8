//! A Hugging Face checkpoint directory: its configuration and where every
//! tensor's bytes lie. Only headers are read, never tensor data.

mod config;
mod dtype;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::Result;

pub use config::{Architecture, ModelConfig};
pub use dtype::Dtype;

/// An opened checkpoint.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    dir: PathBuf,
    config: ModelConfig,
    files: Vec<DataFile>,
    tensors: BTreeMap<String, TensorEntry>,
}

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
    /// Index into [`Checkpoint::files`].
    pub file: usize,
    /// First byte, counted from the start of the file.
    pub offset: u64,
    /// Length, in bytes.
    pub bytes: u64,
}

impl Checkpoint {
    /// Opens a checkpoint directory: reads the configuration, the index and all headers.
    pub fn open(dir: &Path) -> Result<Self> {
        let _ = dir;
        todo!()
    }

    /// The directory, as it was given to [`Checkpoint::open`].
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The model's configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The weight files, sorted by name.
    pub fn files(&self) -> &[DataFile] {
        &self.files
    }

    /// Every tensor of the checkpoint, by name.
    pub fn tensors(&self) -> &BTreeMap<String, TensorEntry> {
        &self.tensors
    }

    /// The weight called `name`, which must have this shape and a float type.
    pub fn tensor(&self, name: &str, shape: &[u64]) -> Result<&TensorEntry> {
        let _ = (name, shape);
        todo!()
    }
}
