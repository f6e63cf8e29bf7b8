//! What a checkpoint holds.

use std::path::Path;

use serde::Serialize;
use worldpm_ort_bundle::{
    checkpoint_files::CONFIG_FILE,
    files,
    hash::{header_sha256, sha256_hex},
    manifest::Model,
};

use super::tensors::{Tensor, TensorGroup, group};
use crate::{
    checkpoint::Checkpoint,
    error::{Error, Result},
    write::describe,
};

/// A checkpoint, without its weights' values.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CheckpointInfo {
    /// Its directory.
    pub directory: String,
    /// Architecture and dimensions.
    pub model: Model,
    /// Longest sequence, in tokens.
    pub max_position_embeddings: usize,
    /// SHA-256 of `config.json`.
    pub config_sha256: String,
    /// Number of weights.
    pub parameters: u64,
    /// Bytes of all tensors.
    pub bytes: u64,
    /// The weight files.
    pub files: Vec<CheckpointFile>,
    /// The tensors.
    pub tensors: Vec<TensorGroup>,
}

/// A weight file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckpointFile {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its header.
    pub header_sha256: String,
}

impl CheckpointInfo {
    pub(super) fn of(directory: &Path) -> Result<Self> {
        let checkpoint = Checkpoint::open(directory)?;
        let config_file = directory.join(CONFIG_FILE);
        let config_text = files::read_limited(&config_file, files::MAX_CONFIG_BYTES)
            .map_err(|e| Error::io("read", &config_file, e))?;
        let files = checkpoint
            .files()
            .iter()
            .map(|file| {
                Ok(CheckpointFile {
                    name: file.name.clone(),
                    bytes: file.bytes,
                    header_sha256: header_sha256(&file.path)?,
                })
            })
            .collect::<Result<_>>()?;
        let entries = checkpoint.tensors();
        Ok(Self {
            directory: directory.display().to_string(),
            model: describe(&checkpoint)?,
            max_position_embeddings: checkpoint.config().max_position_embeddings,
            config_sha256: sha256_hex(&config_text),
            parameters: entries
                .values()
                .map(|entry| entry.shape.iter().product::<u64>())
                .sum(),
            bytes: entries.values().map(|entry| entry.bytes).sum(),
            files,
            tensors: group(entries.iter().map(|(name, entry)| Tensor {
                name: name.clone(),
                element: entry.dtype.to_string(),
                shape: entry.shape.clone(),
                bytes: entry.bytes,
            })),
        })
    }
}
