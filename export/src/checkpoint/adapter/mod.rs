//! A LoRA adapter as PEFT saves it: `adapter_config.json` and `adapter_model.safetensors`.
//!
//! A weight `W` `[out, in]` that an adapter of rank `r` changes becomes `W + scale * B @ A`, with `A` `[r, in]`,
//! `B` `[out, r]` and `scale = lora_alpha / r`, or `lora_alpha / sqrt(r)` with `use_rslora`. An embedding
//! `[rows, width]` becomes `W + scale * (B @ A)^T`, with `A` `[r, rows]` and `B` `[width, r]`. Other tensors of an
//! adapter (the reward head, above all) take the place of the checkpoint's. See
//! <https://huggingface.co/docs/peft/developer_guides/checkpoint>.
//!
//! Which layers are changed, the configuration says (`target_modules` and what restricts it). PEFT drops an update for
//! another layer without a word; here it is an error. A layer without its update stays as it is, as in PEFT, and is
//! named by [`Adapter::unchanged`]. What becomes of each tensor of the file is worked out in [`fit`].

mod config;
mod content;
pub(super) mod files;
mod fit;
mod names;
mod select;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use worldpm_ort_bundle::{checkpoint_files::ADAPTER_WEIGHTS, fingerprint::FileIdentity};

pub(crate) use self::fit::{Change, Update};
use self::{files::Files, fit::Fit};
use super::{Checkpoint, tensors::require_unwritten};
use crate::error::{Error, Result};

/// An adapter that fits its checkpoint.
#[derive(Debug)]
pub(crate) struct Adapter {
    dir: PathBuf,
    config_sha256: String,
    weights_sha256: String,
    /// The weight file as it was before anything of it was read.
    identity: FileIdentity,
    rank: usize,
    alpha: f64,
    changes: BTreeMap<String, Change>,
    unchanged: Vec<String>,
}

impl Adapter {
    /// Opens the adapter in `dir` and checks that all of it fits `checkpoint`. Reads the weights once, for their
    /// hash and to see that every value is finite.
    ///
    /// # Errors
    /// [`Error::Bundle`] when a file cannot be read, or the weight file is broken; [`Error::Config`] for a field that makes
    /// no sense; [`Error::UnsupportedConfig`] for any adapter but plain LoRA for sequence classification;
    /// [`Error::Tensor`] for a tensor that has no counterpart, or another shape or type than it needs, or values that are
    /// not finite; [`Error::MissingTensor`] when one that the configuration lists is missing.
    pub(crate) fn open(dir: &Path, checkpoint: &Checkpoint) -> Result<Self> {
        let Files {
            config,
            config_sha256,
            path,
            identity,
            header,
        } = Files::read(dir)?;
        let fit = Fit {
            checkpoint,
            config: &config,
            path: &path,
        };
        let changes = fit.changes(&header.tensors)?;
        fit.require_saved_modules(&changes)?;
        let unchanged = fit.unchanged(&changes);
        let weights_sha256 = content::check(&path, &header)?;
        Ok(Self {
            dir: dir.to_owned(),
            config_sha256,
            weights_sha256,
            identity,
            rank: config.rank,
            alpha: config.alpha,
            changes,
            unchanged,
        })
    }

    /// Its directory, as it was given to [`Adapter::open`].
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file with its tensors.
    pub(crate) fn weights(&self) -> PathBuf {
        self.dir.join(ADAPTER_WEIGHTS)
    }

    /// Refuses weights that were written to since the adapter was opened.
    ///
    /// # Errors
    /// [`Error::Bundle`], naming the file.
    pub(crate) fn require_unwritten(&self) -> Result<()> {
        require_unwritten(&self.weights(), &self.identity)
    }

    pub(crate) fn config_sha256(&self) -> &str {
        &self.config_sha256
    }

    pub(crate) fn weights_sha256(&self) -> &str {
        &self.weights_sha256
    }

    /// The rank and `lora_alpha` of the layers that have none of their own.
    pub(crate) fn rank_and_alpha(&self) -> (usize, f64) {
        (self.rank, self.alpha)
    }

    /// What it does to the checkpoint's tensor of this name.
    pub(crate) fn change(&self, tensor: &str) -> Option<&Change> {
        self.changes.get(tensor)
    }

    /// Modules that the configuration selects and that the file has no update for.
    pub(crate) fn unchanged(&self) -> &[String] {
        &self.unchanged
    }

    /// Number of tensors that get an update, and of those that are replaced.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let count = |has: fn(&Change) -> bool| self.changes.values().filter(|c| has(c)).count();
        (
            count(|change| change.update.is_some()),
            count(|change| change.replacement.is_some()),
        )
    }

    /// Checks that every tensor that it changes is one that the model uses.
    ///
    /// # Errors
    /// [`Error::Tensor`], naming the adapter's tensor.
    pub(crate) fn require_used(&self, is_used: impl Fn(&str) -> bool) -> Result<()> {
        let Some((name, change)) = self.changes.iter().find(|(name, _)| !is_used(name)) else {
            return Ok(());
        };
        let update = change.update.as_ref().map(|update| &update.a);
        let tensor = change.replacement.as_ref().or(update);
        Err(Error::Tensor {
            tensor: tensor.map_or_else(String::new, |tensor| tensor.name.clone()),
            file: self.weights().display().to_string(),
            problem: format!(
                "changes `{name}`, which has no part in a score; the adapter is for another kind of model"
            ),
        })
    }
}
