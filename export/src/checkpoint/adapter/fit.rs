//! How an adapter's tensors fit those of a checkpoint: what becomes of each, or what is wrong with it.

use std::{collections::BTreeMap, path::Path};

use worldpm_ort_bundle::{
    Error as BundleError, checkpoint_files::ADAPTER_CONFIG, safetensors::HeaderTensor,
};

use super::{
    config::AdapterConfig,
    names::{self, Role, Whole},
};
use crate::{
    arch::{EMBED_TOKENS, is_harmless},
    checkpoint::{Checkpoint, tensors::TensorEntry},
    error::{Error, Result},
};

/// What an adapter does to one tensor of the checkpoint. With both, the update is added to the replacement.
#[derive(Debug, Default)]
pub(crate) struct Change {
    /// Takes the tensor's place: same shape, stored as bf16, fp16 or fp32.
    pub(crate) replacement: Option<HeaderTensor>,
    /// Is added to it.
    pub(crate) update: Option<Update>,
}

/// `scale * B @ A`, or its transpose for an embedding.
#[derive(Clone, Debug)]
pub(crate) struct Update {
    pub(crate) a: HeaderTensor,
    pub(crate) b: HeaderTensor,
    /// Whether the product is transposed: the tensor is an embedding.
    pub(crate) embedding: bool,
    pub(crate) rank: usize,
    pub(crate) scale: f32,
}

/// Fits an adapter's tensors to those of a checkpoint.
pub(super) struct Fit<'a> {
    pub(super) checkpoint: &'a Checkpoint,
    pub(super) config: &'a AdapterConfig,
    pub(super) path: &'a Path,
}

/// What the file has for one tensor of the checkpoint.
#[derive(Default)]
struct Parts<'a> {
    a: Option<(&'a HeaderTensor, Form)>,
    b: Option<(&'a HeaderTensor, Form)>,
    whole: Option<(&'a HeaderTensor, Whole)>,
    /// Stands in for `whole` where that is not in the file.
    copy: Option<&'a HeaderTensor>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Linear,
    Embedding,
}

/// The module that a weight belongs to.
fn module_of(tensor: &str) -> &str {
    tensor.strip_suffix(".weight").unwrap_or(tensor)
}

impl Fit<'_> {
    fn error(&self, tensor: &HeaderTensor, problem: impl Into<String>) -> Error {
        Error::Tensor {
            tensor: tensor.name.clone(),
            file: self.path.display().to_string(),
            problem: problem.into(),
        }
    }

    pub(super) fn changes(&self, tensors: &[HeaderTensor]) -> Result<BTreeMap<String, Change>> {
        if tensors.is_empty() {
            return Err(Error::Bundle(BundleError::Safetensors {
                path: self.path.to_owned(),
                problem: "holds no tensors".to_owned(),
            }));
        }
        let mut all: BTreeMap<String, Parts<'_>> = BTreeMap::new();
        for tensor in tensors {
            if !tensor.dtype.is_weight() {
                return Err(self.error(
                    tensor,
                    format!(
                        "is stored as {}; an adapter must be BF16, F16 or F32",
                        tensor.dtype
                    ),
                ));
            }
            let (name, role) =
                names::parse(&tensor.name).map_err(|problem| self.error(tensor, problem))?;
            let parts = all.entry(name).or_default();
            match role {
                Role::A => parts.a = Some((tensor, Form::Linear)),
                Role::B => parts.b = Some((tensor, Form::Linear)),
                Role::EmbeddingA => parts.a = Some((tensor, Form::Embedding)),
                Role::EmbeddingB => parts.b = Some((tensor, Form::Embedding)),
                Role::Original => {}
                Role::Whole(Whole::Copy) => parts.copy = Some(tensor),
                Role::Whole(form) => {
                    if let Some((first, _)) = parts.whole.replace((tensor, form)) {
                        return Err(self.error(
                            tensor,
                            format!("stands for the same tensor as `{}`", first.name),
                        ));
                    }
                }
            }
        }
        all.into_iter()
            .map(|(name, parts)| {
                let change = self.change(&name, &parts)?;
                Ok((name, change))
            })
            .collect()
    }

    fn change(&self, name: &str, parts: &Parts<'_>) -> Result<Change> {
        let update = match (parts.a, parts.b) {
            (None, None) => None,
            (Some((a, form)), Some((b, other))) if form == other => {
                Some(self.update(name, a, b, form)?)
            }
            (Some((only, _)), _) | (None, Some((only, _))) => {
                return Err(self.error(
                    only,
                    "has no partner: each layer needs lora_A and lora_B, or lora_embedding_A and lora_embedding_B",
                ));
            }
        };
        let copy = parts.copy.map(|tensor| (tensor, Whole::Copy));
        let replacement = match parts.whole.or(copy) {
            None => None,
            Some((tensor, Whole::Module | Whole::Copy)) if update.is_some() => {
                return Err(self.error(
                    tensor,
                    format!("replaces `{name}`, which the adapter has an update for too"),
                ));
            }
            Some((tensor, _)) => {
                let entry = self.base(tensor, name)?;
                self.require_shape(tensor, &entry.shape, name, &entry.shape)?;
                Some(tensor.clone())
            }
        };
        let module = module_of(name);
        if let (Some((tensor, form)), Some(_)) = (parts.a, &update)
            && !self.config.selects(module, form == Form::Linear)
        {
            return Err(self.error(
                tensor,
                format!(
                    "is for `{module}`, which `{ADAPTER_CONFIG}` does not select (`target_modules`, and what restricts \
                     it): PEFT would drop it; mend the configuration, or take the one that was saved with the weights"
                ),
            ));
        }
        Ok(Change {
            replacement,
            update,
        })
    }

    fn update(&self, name: &str, a: &HeaderTensor, b: &HeaderTensor, form: Form) -> Result<Update> {
        let shape = &self.base(a, name)?.shape;
        let [rows, columns] = shape[..] else {
            return Err(self.error(
                a,
                format!("is for `{name}`, which is no matrix: it has shape {shape:?}"),
            ));
        };
        let module = module_of(name);
        let rank = self.config.rank(module);
        let r = rank as u64;
        let embedding = form == Form::Embedding;
        let (shape_a, shape_b) = match form {
            Form::Linear => ([r, columns], [rows, r]),
            Form::Embedding => ([r, rows], [columns, r]),
        };
        self.require_shape(a, &shape_a, name, shape)?;
        self.require_shape(b, &shape_b, name, shape)?;
        #[allow(clippy::cast_possible_truncation)]
        let scale = self.config.scale(module) as f32;
        if !scale.is_finite() {
            return Err(self.error(a, format!("has the scale {scale}, from its lora_alpha")));
        }
        Ok(Update {
            a: a.clone(),
            b: b.clone(),
            embedding,
            rank,
            scale,
        })
    }

    fn base(&self, tensor: &HeaderTensor, name: &str) -> Result<&TensorEntry> {
        self.checkpoint.tensors().get(name).ok_or_else(|| {
            self.error(
                tensor,
                format!(
                    "is for `{name}`, which the checkpoint {} lacks; the adapter is for another model",
                    self.checkpoint.dir().display()
                ),
            )
        })
    }

    fn require_shape(
        &self,
        tensor: &HeaderTensor,
        expected: &[u64],
        name: &str,
        base: &[u64],
    ) -> Result<()> {
        if tensor.shape == expected {
            return Ok(());
        }
        Err(self.error(
            tensor,
            format!(
                "has shape {:?}; `{name}` of the checkpoint, {base:?}, and `{ADAPTER_CONFIG}` make it {expected:?}",
                tensor.shape
            ),
        ))
    }

    /// Modules that are selected and have no update. A language model's head is none of the model that is scored with.
    pub(super) fn unchanged(&self, changes: &BTreeMap<String, Change>) -> Vec<String> {
        let matrices = self.checkpoint.tensors().iter().filter(|(name, entry)| {
            entry.shape.len() == 2 && !is_harmless(name) && name.ends_with(".weight")
        });
        matrices
            .filter(|(name, _)| {
                let is_linear = *name != EMBED_TOKENS;
                let change = changes.get(*name);
                self.config.selects(module_of(name), is_linear)
                    && change.is_none_or(|change| change.update.is_none())
            })
            .map(|(name, _)| module_of(name).to_owned())
            .collect()
    }

    /// Checks that the file has every tensor of the modules that should be saved whole. PEFT takes a module for
    /// one of them when its name ends with the given one.
    pub(super) fn require_saved_modules(&self, changes: &BTreeMap<String, Change>) -> Result<()> {
        for saved in &self.config.modules_to_save {
            let is_part = |tensor: &str| {
                let dots = tensor.match_indices('.');
                dots.filter_map(|(at, _)| tensor.get(..at))
                    .any(|module| module.ends_with(saved.as_str()))
            };
            let is_lost = |tensor: &&String| {
                is_part(tensor)
                    && changes
                        .get(*tensor)
                        .is_none_or(|change| change.replacement.is_none())
            };
            if let Some(lost) = self.checkpoint.tensors().keys().find(is_lost) {
                return Err(Error::MissingTensor {
                    tensor: names::saved(lost),
                    place: self.path.display().to_string(),
                    problem: format!(
                        "is missing; `modules_to_save` of `{ADAPTER_CONFIG}` lists `{saved}`"
                    ),
                });
            }
        }
        Ok(())
    }
}
