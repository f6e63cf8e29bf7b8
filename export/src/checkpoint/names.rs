//! What tensors are called, and what `transformers` takes for the same.

use super::{
    adapter::files,
    tensors::{DataFile, TensorEntry},
};

use crate::error::{Error, Result};
use std::{collections::BTreeMap, path::Path};

/// What the modules of a decoder begin with, in the decoder alone.
const DECODER: [&str; 3] = ["embed_tokens.", "layers.", "norm."];
/// What the decoder is called in a model with a head.
const PREFIX: &str = "model.";
/// What the head's tensors begin with.
const HEAD: &str = "score.";

/// The name that the graph asks for. `transformers` adds the decoder's name where a file was saved from the decoder
/// alone, and drops it where it is there once too often, tensor by tensor.
fn canonical(name: &str) -> Option<String> {
    let is_of_decoder = |name: &str| DECODER.iter().any(|module| name.starts_with(module));
    if is_of_decoder(name) {
        return Some(format!("{PREFIX}{name}"));
    }
    let inner = name.strip_prefix(PREFIX)?;
    let nested = inner.strip_prefix(PREFIX).is_some_and(is_of_decoder);
    (nested || inner.starts_with(HEAD)).then(|| inner.to_owned())
}

/// Gives every tensor the name that the graph asks for.
///
/// # Errors
/// [`Error::Tensor`] when two tensors get the same.
pub(super) fn unify(
    tensors: BTreeMap<String, TensorEntry>,
    files: &[DataFile],
    dir: &Path,
) -> Result<BTreeMap<String, TensorEntry>> {
    let mut unified = BTreeMap::new();
    let mut renamed = Vec::new();
    for (name, entry) in tensors {
        match canonical(&name) {
            Some(new) => renamed.push((name, new, entry)),
            None => {
                unified.insert(name, entry);
            }
        }
    }
    for (name, new, entry) in renamed {
        let file = files.get(entry.file).map(|file| dir.join(&file.name));
        if unified.insert(new.clone(), entry).is_some() {
            return Err(Error::Tensor {
                tensor: name,
                file: file.unwrap_or_default().display().to_string(),
                problem: format!(
                    "stands for `{new}`, and another tensor does so too; keep the one that counts"
                ),
            });
        }
    }
    Ok(unified)
}

/// The head that an adapter brings for a base model without one, as tensors of the file after `files` others.
///
/// # Errors
/// Those of [`files::head`].
pub(super) fn lent_head(dir: &Path, files: usize) -> Result<BTreeMap<String, TensorEntry>> {
    let tensors = files::head(dir, HEAD)?;
    Ok(tensors
        .into_iter()
        .map(|(name, tensor)| {
            let entry = TensorEntry {
                dtype: tensor.dtype,
                shape: tensor.shape,
                file: files,
                offset: tensor.offset,
                bytes: tensor.bytes,
            };
            (name, entry)
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::canonical;

    /// Expected names are those of `rename_source_key` of `transformers` 5.
    #[test]
    fn names() {
        for (name, expected) in [
            (
                "layers.0.mlp.up_proj.weight",
                Some("model.layers.0.mlp.up_proj.weight"),
            ),
            ("embed_tokens.weight", Some("model.embed_tokens.weight")),
            ("norm.weight", Some("model.norm.weight")),
            (
                "model.model.layers.1.input_layernorm.weight",
                Some("model.layers.1.input_layernorm.weight"),
            ),
            ("model.score.weight", Some("score.weight")),
            ("model.score.2.bias", Some("score.2.bias")),
            ("model.norm.weight", None),
            ("score.weight", None),
            ("lm_head.weight", None),
            ("model.lm_head.weight", None),
            ("transformer.layers.0.x", None),
            ("normal.weight", None),
            ("model.model.score.weight", None),
            ("", None),
        ] {
            assert_eq!(canonical(name).as_deref(), expected, "{name}");
        }
    }
}
