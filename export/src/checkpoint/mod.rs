//! A Hugging Face checkpoint directory: its configuration, and where every
//! tensor's bytes lie. Only headers are read, never tensor data, so opening
//! 145 GB takes milliseconds.

pub(crate) mod adapter;
mod config;
mod dtype;
mod fields;
pub(crate) mod header;
pub(crate) mod index;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::fingerprint::FileIdentity;

pub use config::{Activation, Architecture, Backbone, ModelConfig, Rope, RopeScaling};
pub use dtype::Dtype;
pub use index::{INDEX_FILE, SINGLE_FILE, indexed_files};

/// The configuration's name in a checkpoint directory.
pub const CONFIG_FILE: &str = "config.json";

/// An opened checkpoint.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    dir: PathBuf,
    config: ModelConfig,
    files: Vec<DataFile>,
    /// Those of the files, as they were when their headers had been read.
    identities: Vec<FileIdentity>,
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
    /// Opens a checkpoint directory: reads `config.json`, the index of a sharded
    /// checkpoint, and the header of every weight file.
    ///
    /// Afterwards every [`TensorEntry`] lies within its file, and no two overlap.
    ///
    /// # Errors
    /// [`Error::Io`] when a file cannot be read; [`Error::Config`] and
    /// [`Error::Unsupported`] as for [`ModelConfig::read`]; [`Error::Index`] when
    /// there are no weights, a listed file is missing, or the index disagrees with
    /// the headers; [`Error::Safetensors`] for a broken weight file, or a link to
    /// nowhere; [`Error::Tensor`] for a tensor that is in two files.
    pub fn open(dir: &Path) -> Result<Self> {
        // Said first, since every later message would blame a file in it.
        std::fs::read_dir(dir).map_err(|source| Error::Io {
            path: dir.to_owned(),
            action: "open the checkpoint directory",
            source,
        })?;
        let config = ModelConfig::read(&dir.join(CONFIG_FILE))?;
        let weights = index::read_weights(dir)?;
        let identities = weights.files.iter().map(identity).collect::<Result<_>>()?;
        Ok(Self {
            identities,
            dir: dir.to_owned(),
            config,
            files: weights.files,
            tensors: weights.tensors,
        })
    }

    /// A checkpoint that has no files: bf16 tensors with these names and shapes, one after the other.
    pub(crate) fn outline(
        config: ModelConfig,
        tensors: impl IntoIterator<Item = (String, Vec<u64>)>,
    ) -> Self {
        let mut end = 0;
        let tensors = tensors
            .into_iter()
            .map(|(name, shape)| {
                let entry = TensorEntry {
                    dtype: Dtype::Bf16,
                    file: 0,
                    offset: end,
                    bytes: 2 * shape.iter().product::<u64>(),
                    shape,
                };
                end += entry.bytes;
                (name, entry)
            })
            .collect();
        let name = "(outline)".to_owned();
        Self {
            dir: PathBuf::from(&name),
            config,
            identities: Vec::new(),
            files: vec![DataFile {
                path: PathBuf::from(&name),
                name,
                bytes: end,
            }],
            tensors,
        }
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

    /// Refuses weights that were written to since the checkpoint was opened.
    ///
    /// # Errors
    /// [`Error::Safetensors`], naming the file.
    pub(crate) fn require_unwritten(&self) -> Result<()> {
        for (file, before) in self.files.iter().zip(&self.identities) {
            if !identity(file)?.is_unwritten(before) {
                return Err(Error::Safetensors {
                    path: file.path.clone(),
                    problem:
                        "was written to while it was read; export again when nothing writes to it"
                            .to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Every tensor of the checkpoint, by name.
    pub fn tensors(&self) -> &BTreeMap<String, TensorEntry> {
        &self.tensors
    }

    /// The weight called `name`, which must have this shape and be stored as
    /// bf16, fp16 or fp32.
    ///
    /// # Errors
    /// [`Error::Tensor`], naming the tensor and its file, when it is missing, or
    /// has another shape or type.
    pub fn tensor(&self, name: &str, shape: &[u64]) -> Result<&TensorEntry> {
        let fail = |file: &Path, problem| Error::Tensor {
            tensor: name.to_owned(),
            file: file.display().to_string(),
            problem,
        };
        let Some(entry) = self.tensors.get(name) else {
            return Err(fail(
                &self.dir,
                format!("is missing; the model needs it with shape {shape:?}"),
            ));
        };
        let file = || {
            self.files
                .get(entry.file)
                .map_or_else(|| self.dir.clone(), |file| self.dir.join(&file.name))
        };
        if entry.shape != shape {
            return Err(fail(
                &file(),
                format!(
                    "has shape {:?}, but `{CONFIG_FILE}` makes it {shape:?}",
                    entry.shape
                ),
            ));
        }
        if !entry.dtype.is_weight() {
            return Err(fail(
                &file(),
                format!(
                    "is stored as {}; weights must be BF16, F16 or F32",
                    entry.dtype
                ),
            ));
        }
        Ok(entry)
    }
}

fn identity(file: &DataFile) -> Result<FileIdentity> {
    FileIdentity::of(&file.path).map_err(|source| Error::io("open", &file.path, source))
}

/// Reads a text file of at most `limit` bytes.
fn read_text(path: &Path, limit: u64) -> Result<String> {
    crate::files::read_text_limited(path, limit).map_err(|source| Error::Io {
        path: path.to_owned(),
        action: "read",
        source,
    })
}
