//! What a bundle or a checkpoint holds, found without loading it.

mod bundle;
mod checkpoint;
mod tensors;

#[cfg(test)]
mod tests;

pub use bundle::{BundleInfo, FileInfo, FileKind, FileState, OperatorInfo, StageInfo};
pub use checkpoint::{CheckpointFile, CheckpointInfo};
pub use tensors::{LayerInfo, TensorGroup};

use std::path::Path;

use crate::error::{Error, Result};
use serde::Serialize;
use worldpm_ort_bundle::{checkpoint_files::CONFIG_FILE, manifest};

/// A bundle or a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Inspection {
    /// A bundle.
    Bundle(Box<BundleInfo>),
    /// A checkpoint.
    Checkpoint(Box<CheckpointInfo>),
}

/// Looks at the bundle or the checkpoint in `directory`. A directory with a manifest is a bundle.
///
/// `weights` is the folder of a bundle's weights, when it is not where the manifest says.
///
/// Only graphs, headers and small files are read.
///
/// # Errors
/// [`Error::Bundle`] for a manifest or a graph that cannot be read, the errors of
/// [`crate::Checkpoint::open`] for a checkpoint, and [`Error::Neither`].
pub fn inspect(directory: &Path, weights: Option<&Path>) -> Result<Inspection> {
    let has = |name: &str| directory.join(name).exists();
    if has(manifest::FILE_NAME) {
        let info = BundleInfo::of(directory, weights)?;
        return Ok(Inspection::Bundle(Box::new(info)));
    }
    if has(CONFIG_FILE) {
        let info = CheckpointInfo::of(directory)?;
        return Ok(Inspection::Checkpoint(Box::new(info)));
    }
    std::fs::read_dir(directory).map_err(|source| Error::io("open", directory, source))?;
    Err(Error::Neither {
        path: directory.to_owned(),
    })
}
