//! A Hugging Face checkpoint directory: its configuration, and where every
//! tensor's bytes lie. Only headers are read, never tensor data, so opening
//! 145 GB takes milliseconds.

pub(crate) mod adapter;
mod config;
mod fields;
mod index;
mod names;
mod python_json;
mod tensors;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use worldpm_ort_bundle::{
    Error as BundleError,
    checkpoint_files::{CONFIG_FILE, INDEX_FILE},
    fingerprint::FileIdentity,
};

pub use crate::arch::{Activation, Architecture, Backbone};
use crate::error::{Error, Result};
pub use config::{ModelConfig, Rope, RopeScaling};
pub use tensors::{DataFile, TensorEntry};
use tensors::{identity, require_unwritten};
pub use worldpm_ort_bundle::safetensors::Dtype;

/// An opened checkpoint.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    dir: PathBuf,
    config: ModelConfig,
    files: Vec<DataFile>,
    /// Those of the files, as they were when their headers had been read.
    identities: Vec<FileIdentity>,
    tensors: BTreeMap<String, TensorEntry>,
    unknown_fields: Vec<String>,
    head_from: Option<PathBuf>,
    /// Tensors that the index places in a file which lacks them.
    absent: BTreeMap<String, String>,
    notes: Vec<String>,
}

impl Checkpoint {
    /// Opens a checkpoint directory: reads `config.json`, the index of a sharded
    /// checkpoint, and the header of every weight file.
    ///
    /// Afterwards every [`TensorEntry`] lies within its file, and no two overlap.
    ///
    /// # Errors
    /// Those of [`ModelConfig::read`]; [`Error::Bundle`] when a file cannot be read or is missing, when there are no
    /// weights, for a broken weight file, or a link to nowhere; [`Error::Unsupported`] for weights in another format;
    /// [`Error::Tensor`] for a tensor that is in two files.
    pub fn open(dir: &Path) -> Result<Self> {
        Self::open_with_adapter(dir, None)
    }

    /// As [`Checkpoint::open`], for the base model of the adapter in the directory `adapter`.
    ///
    /// A base model without a reward head has the one that the adapter brings: a language model
    /// (`Qwen2ForCausalLM`), a decoder alone (`Qwen2Model`), or a model for sequence classification that was saved
    /// without its head. The first two are then of the class with one linear head, as they are for `transformers`
    /// when `AutoModelForSequenceClassification` loads them, with as many labels as the head has. The adapter is only
    /// looked at when a head is missing; to merge it, name it in
    /// [`ExportOptions::adapter`](crate::ExportOptions::adapter) too.
    ///
    /// # Errors
    /// As for [`Checkpoint::open`], and those of a bad adapter; [`Error::MissingTensor`] when neither has a head.
    pub fn open_with_adapter(dir: &Path, adapter: Option<&Path>) -> Result<Self> {
        // Said first, since every later message would blame a file in it.
        std::fs::read_dir(dir).map_err(|source| {
            Error::Bundle(BundleError::Io {
                path: dir.to_owned(),
                action: "open the checkpoint directory",
                source,
            })
        })?;
        let config::Found { config, unknown } =
            config::read(&dir.join(CONFIG_FILE), adapter.is_some())?;
        let weights = index::read_weights(dir)?;
        let identity = |file: &DataFile| identity(&file.path);
        let identities = weights.files.iter().map(identity).collect::<Result<_>>()?;
        let mut checkpoint = Self {
            identities,
            dir: dir.to_owned(),
            config,
            tensors: names::unify(weights.tensors, &weights.files, dir)?,
            files: weights.files,
            unknown_fields: unknown,
            head_from: None,
            absent: weights.absent,
            notes: weights.passed_over.into_iter().collect(),
        };
        if let Some(adapter) = adapter {
            checkpoint.borrow_head(adapter)?;
        }
        Ok(checkpoint)
    }

    /// Takes the adapter's reward head, where there is none.
    fn borrow_head(&mut self, adapter: &Path) -> Result<()> {
        let last = self.config.architecture.class().head.last_weight();
        if self.tensors.contains_key(last) {
            return Ok(());
        }
        let head = names::lent_head(adapter, self.files.len())?;
        let Some(weight) = head.get(last) else {
            return Err(Error::MissingTensor {
                tensor: last.to_owned(),
                place: self.dir.display().to_string(),
                problem: format!(
                    "is missing, and the adapter {} does not bring it: its head was not saved with it \
                     (`modules_to_save`); take a base model with its reward head",
                    adapter.display()
                ),
            });
        };
        // The number of labels is what whoever trained the adapter asked for, not what the base model says.
        let labels = weight.shape.first().copied();
        if self.config.num_labels.map(|labels| labels as u64) != labels {
            self.config.num_labels = None;
            self.config.label_names = None;
        }
        for (name, entry) in head {
            self.tensors.entry(name).or_insert(entry);
        }
        self.head_from = Some(adapter.to_owned());
        Ok(())
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
            unknown_fields: Vec::new(),
            head_from: None,
            absent: BTreeMap::new(),
            notes: Vec::new(),
        }
    }

    /// What a user should know of how the checkpoint was read, each in a sentence.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The directory, as it was given to [`Checkpoint::open`].
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The model's configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Fields of the configuration that no version of `transformers` knows for such a model, sorted, with dots for
    /// nested ones. They had no part in what is computed; whoever wrote them may have meant otherwise.
    pub fn unknown_config_fields(&self) -> &[String] {
        &self.unknown_fields
    }

    /// Directory of the adapter that the reward head is from, when [`Checkpoint::open_with_adapter`] took it there.
    pub fn head_from(&self) -> Option<&Path> {
        self.head_from.as_deref()
    }

    /// The weight files, sorted by name.
    pub fn files(&self) -> &[DataFile] {
        &self.files
    }

    /// Refuses weights that were written to since the checkpoint was opened.
    ///
    /// # Errors
    /// [`Error::Bundle`], naming the file.
    pub(crate) fn require_unwritten(&self) -> Result<()> {
        let mut files = self.files.iter().zip(&self.identities);
        files.try_for_each(|(file, before)| require_unwritten(&file.path, before))
    }

    /// Every tensor of the checkpoint, by name.
    pub fn tensors(&self) -> &BTreeMap<String, TensorEntry> {
        &self.tensors
    }

    /// The weight called `name`, which must have this shape and be stored as
    /// bf16, fp16 or fp32.
    ///
    /// # Errors
    /// [`Error::MissingTensor`], and [`Error::Tensor`] when it has another shape or type.
    pub fn tensor(&self, name: &str, shape: &[u64]) -> Result<&TensorEntry> {
        let fail = |file: &Path, problem| Error::Tensor {
            tensor: name.to_owned(),
            file: file.display().to_string(),
            problem,
        };
        let Some(entry) = self.tensors.get(name) else {
            let placed = self.absent.get(name).map_or_else(String::new, |file| {
                format!(" (`{INDEX_FILE}` places it in `{file}`, which lacks it)")
            });
            return Err(Error::MissingTensor {
                tensor: name.to_owned(),
                place: self.dir.display().to_string(),
                problem: format!("is missing{placed}; the model needs it with shape {shape:?}"),
            });
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
