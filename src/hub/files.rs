//! Which files of a repository a model needs.

use std::{collections::BTreeSet, path::Path};

use worldpm_ort_export::checkpoint::{CONFIG_FILE, INDEX_FILE, SINGLE_FILE, indexed_files};

const TOKENIZER: &str = "tokenizer.json";
const ADAPTER_CONFIG: &str = "adapter_config.json";
const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";
/// Small files, taken when the repository has them.
const TEXT_FILES: [&str; 8] = [
    CONFIG_FILE,
    ADAPTER_CONFIG,
    TOKENIZER,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
];
/// Weights in forms that are not read.
const OTHER_WEIGHTS: [&str; 6] = [".bin", ".pt", ".pth", ".gguf", ".onnx", ".h5"];

/// Where the names of the weight files are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Weights {
    /// In the index, which has to be read first.
    Indexed,
    /// One file.
    Single(&'static str),
}

/// The small files that a repository with these files has.
pub(super) fn text_files(listed: &BTreeSet<String>) -> Vec<String> {
    let present = TEXT_FILES.iter().filter(|name| listed.contains(**name));
    present.map(|name| (*name).to_owned()).collect()
}

/// Where the weights are in a repository with these files, or why there are none to use.
pub(super) fn weights(listed: &BTreeSet<String>) -> Result<Weights, String> {
    let has = |name: &str| listed.contains(name);
    if has(CONFIG_FILE) && has(INDEX_FILE) {
        return Ok(Weights::Indexed);
    }
    if has(CONFIG_FILE) && has(SINGLE_FILE) {
        return Ok(Weights::Single(SINGLE_FILE));
    }
    if has(ADAPTER_CONFIG) && has(ADAPTER_WEIGHTS) {
        return Ok(Weights::Single(ADAPTER_WEIGHTS));
    }
    if !has(CONFIG_FILE) {
        return Err(format!(
            "it has no `{CONFIG_FILE}`: it is not a model that `transformers` saved"
        ));
    }
    let other = listed
        .iter()
        .find(|name| OTHER_WEIGHTS.iter().any(|end| name.ends_with(end)));
    Err(match other {
        Some(other) => format!(
            "its weights are not safetensors (it has `{other}`); save the model again with \
             `safe_serialization=True` and give that directory"
        ),
        None => format!("it has neither `{INDEX_FILE}` nor `{SINGLE_FILE}`: it holds no weights"),
    })
}

/// The names in an index.
pub(super) fn indexed(snapshot: &Path) -> Result<BTreeSet<String>, String> {
    indexed_files(&snapshot.join(INDEX_FILE)).map_err(|error| error.to_string())
}

/// The first file that a snapshot lacks, when it is not a whole model.
pub(super) fn missing(snapshot: &Path) -> Result<Option<String>, String> {
    let lacks = |name: &str| !snapshot.join(name).exists();
    if !lacks(ADAPTER_CONFIG) && lacks(CONFIG_FILE) {
        return Ok(lacks(ADAPTER_WEIGHTS).then(|| ADAPTER_WEIGHTS.to_owned()));
    }
    let mut needed: BTreeSet<String> = [CONFIG_FILE, TOKENIZER].map(str::to_owned).into();
    if lacks(INDEX_FILE) {
        needed.insert(SINGLE_FILE.to_owned());
    } else {
        needed.extend(indexed(snapshot)?);
    }
    Ok(needed.into_iter().find(|name| lacks(name)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn listed(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn only_what_is_needed() {
        let listed = listed(&[
            "README.md",
            ".gitattributes",
            "config.json",
            "tokenizer.json",
            "chat_template.jinja",
            "model.safetensors",
            "pytorch_model.bin",
            "logo.png",
            "onnx/model.onnx",
            "original/consolidated.00.pth",
            "model-q4.gguf",
        ]);
        assert_eq!(
            text_files(&listed),
            ["config.json", "tokenizer.json", "chat_template.jinja"]
        );
        assert_eq!(weights(&listed), Ok(Weights::Single("model.safetensors")));
    }

    #[test]
    fn kinds_of_weights() {
        let index = listed(&[
            "config.json",
            "model.safetensors.index.json",
            "model.safetensors",
        ]);
        assert_eq!(weights(&index), Ok(Weights::Indexed));
        let adapter = listed(&["adapter_config.json", "adapter_model.safetensors"]);
        assert_eq!(
            weights(&adapter),
            Ok(Weights::Single("adapter_model.safetensors"))
        );
        let cases: &[(&[&str], &str)] = &[
            (&["config.json", "pytorch_model.bin"], "pytorch_model.bin"),
            (&["config.json", "README.md"], "holds no weights"),
            (&["model.safetensors"], "config.json"),
        ];
        for (names, part) in cases {
            assert!(
                weights(&listed(names)).unwrap_err().contains(part),
                "{names:?}"
            );
        }
    }
}
