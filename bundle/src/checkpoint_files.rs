//! The files of a checkpoint, and which of them hold its weights: one rule for a directory, a snapshot in a cache and a hub's list.
//!
//! It is that of `transformers` 4 and 5: `model.safetensors`, and the index only where that is not there; a model
//! before an adapter. Variants such as `model.fp16.safetensors` are only loaded by those who ask for them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Component, Path},
};

use serde::Deserialize;

use crate::{
    error::{Error, Result},
    files,
    safetensors::header::UniqueMap,
};

/// The configuration's name in a checkpoint directory.
pub const CONFIG_FILE: &str = "config.json";
/// The name of the index of a sharded checkpoint.
pub const INDEX_FILE: &str = "model.safetensors.index.json";
/// The name of the weight file of an unsharded checkpoint.
pub const SINGLE_FILE: &str = "model.safetensors";
/// A 72B model's index has about 80 KB.
pub const MAX_INDEX_BYTES: u64 = 100 << 20;
/// Name of the configuration in an adapter's directory.
pub const ADAPTER_CONFIG: &str = "adapter_config.json";
/// Name of the weights there.
pub const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";
/// Forms of weights that are not read, by the ends of their names.
const OTHER_WEIGHTS: [&str; 7] = [".bin", ".pt", ".pth", ".gguf", ".onnx", ".h5", ".msgpack"];
const PICKLES: [&str; 2] = ["pytorch_model.bin", "pytorch_model.bin.index.json"];

/// Where the weights are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightsChoice {
    /// In [`SINGLE_FILE`].
    Single,
    /// In the files that [`INDEX_FILE`] names.
    Sharded,
    /// In an adapter's file: there is no model.
    Adapter,
}

impl WeightsChoice {
    /// The file that is opened first: the weights themselves, or their index.
    #[must_use]
    pub fn file(self) -> &'static str {
        match self {
            Self::Single => SINGLE_FILE,
            Self::Sharded => INDEX_FILE,
            Self::Adapter => ADAPTER_WEIGHTS,
        }
    }

    /// What else is in the place and is not read, in words; `None` when nothing is.
    #[must_use]
    pub fn passed_over(self, names: &BTreeSet<String>) -> Option<String> {
        let has = |name: &str| names.contains(name);
        match self {
            Self::Single if has(INDEX_FILE) => Some(format!(
                "the weights are those of `{SINGLE_FILE}`; `{INDEX_FILE}` is there too and is not read, as in \
                 `transformers`"
            )),
            Self::Single | Self::Sharded if has(ADAPTER_CONFIG) && has(ADAPTER_WEIGHTS) => {
                Some(format!(
                    "there is an adapter beside the model (`{ADAPTER_WEIGHTS}`), which is not merged unless it is \
                     named as the adapter"
                ))
            }
            _ => None,
        }
    }
}

/// Why there are no weights to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoWeights {
    /// There is neither a configuration nor an adapter.
    NoConfig,
    /// The weights are in another form: a file that shows it.
    Other(String),
    /// There are none.
    Missing,
}

impl fmt::Display for NoWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoConfig => write!(
                f,
                "it has no `{CONFIG_FILE}`: it is not a model that `transformers` saved"
            ),
            Self::Other(name) if name.ends_with(".safetensors") => write!(
                f,
                "it has neither `{SINGLE_FILE}` nor `{INDEX_FILE}`, only `{name}`: give a directory in which the \
                 weights that are meant are called `{SINGLE_FILE}`"
            ),
            Self::Other(name) => write!(
                f,
                "its weights are not safetensors (it has `{name}`); save the model again with \
                 `safe_serialization=True` and give that directory"
            ),
            Self::Missing => write!(
                f,
                "it has neither `{SINGLE_FILE}` nor `{INDEX_FILE}`: it holds no weights"
            ),
        }
    }
}

/// Where the weights are, among files with these names.
///
/// # Errors
/// [`NoWeights`] when there are none to use.
pub fn choose_weights(names: &BTreeSet<String>) -> Result<WeightsChoice, NoWeights> {
    let has = |name: &str| names.contains(name);
    if has(CONFIG_FILE) && has(SINGLE_FILE) {
        return Ok(WeightsChoice::Single);
    }
    if has(CONFIG_FILE) && has(INDEX_FILE) {
        return Ok(WeightsChoice::Sharded);
    }
    if has(ADAPTER_CONFIG) && has(ADAPTER_WEIGHTS) {
        return Ok(WeightsChoice::Adapter);
    }
    if !has(CONFIG_FILE) {
        return Err(NoWeights::NoConfig);
    }
    let is_variant = |name: &str| {
        name.starts_with("model") && name.ends_with(".safetensors") && !name.contains('/')
    };
    let pickle = PICKLES.into_iter().find(|name| has(name));
    let other = pickle.map(str::to_owned).or_else(|| {
        let ends = |name: &&String| OTHER_WEIGHTS.iter().any(|end| name.ends_with(end));
        let variant = names.iter().find(|name| is_variant(name));
        variant.or_else(|| names.iter().find(ends)).cloned()
    });
    Err(other.map_or(NoWeights::Missing, NoWeights::Other))
}

#[derive(Deserialize)]
struct IndexFile {
    weight_map: UniqueMap<String>,
}

/// The names of the weight files in an index, sorted. Each is the name of a `.safetensors` file beside the index.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read; [`Error::Index`] when it is not an index, or names other files.
pub fn indexed_files(path: &Path) -> Result<BTreeSet<String>> {
    Ok(read_index(path)?.into_values().collect())
}

/// The file of each tensor in an index, by the tensor's name, as [`indexed_files`] checks them.
///
/// # Errors
/// As [`indexed_files`].
pub fn read_index(path: &Path) -> Result<BTreeMap<String, String>> {
    let fail = |problem| Error::Index {
        path: path.to_owned(),
        problem,
    };
    let text = read_text(path, MAX_INDEX_BYTES)?;
    let index: IndexFile =
        serde_json::from_str(&text).map_err(|e| fail(format!("not a valid index: {e}")))?;
    let map: BTreeMap<_, _> = index.weight_map.0.into_iter().collect();
    if map.is_empty() {
        return Err(fail("`weight_map` is empty".to_owned()));
    }
    for (tensor, file) in &map {
        let mut parts = Path::new(file).components();
        let plain = matches!(parts.next(), Some(Component::Normal(part)) if part == file.as_str())
            && parts.next().is_none();
        if !plain {
            return Err(fail(format!(
                "places tensor `{tensor}` in `{file}`; it must be the name of a file in the same directory"
            )));
        }
        if !file.ends_with(".safetensors") {
            return Err(fail(format!(
                "places tensor `{tensor}` in `{file}`, which is not a .safetensors file"
            )));
        }
    }
    Ok(map)
}

/// Reads a text file of at most `limit` bytes.
///
/// # Errors
/// [`Error::Io`] when it cannot be read, [`Error::Tokenizer`] when it is a Git LFS pointer.
pub fn read_text(path: &Path, limit: u64) -> Result<String> {
    let text = files::read_text_limited(path, limit).map_err(|source| Error::Io {
        path: path.to_owned(),
        action: "read",
        source,
    })?;
    match files::is_lfs_pointer(text.as_bytes()) {
        true => Err(Error::Tokenizer {
            path: path.to_owned(),
            problem: files::LFS_PROBLEM.to_owned(),
        }),
        false => Ok(text),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn every_combination_has_one_answer() {
        let all = [
            CONFIG_FILE,
            SINGLE_FILE,
            INDEX_FILE,
            ADAPTER_CONFIG,
            ADAPTER_WEIGHTS,
            PICKLES[0],
        ];
        for set in 0..1_u32 << all.len() {
            let present: Vec<&str> = (0..all.len())
                .filter(|bit| set & (1 << bit) != 0)
                .map(|bit| all[bit])
                .collect();
            let has = |name: &str| present.contains(&name);
            let expected = match () {
                () if has(CONFIG_FILE) && has(SINGLE_FILE) => Ok(WeightsChoice::Single),
                () if has(CONFIG_FILE) && has(INDEX_FILE) => Ok(WeightsChoice::Sharded),
                () if has(ADAPTER_CONFIG) && has(ADAPTER_WEIGHTS) => Ok(WeightsChoice::Adapter),
                () if !has(CONFIG_FILE) => Err(NoWeights::NoConfig),
                () if has(PICKLES[0]) => Err(NoWeights::Other(PICKLES[0].to_owned())),
                () => Err(NoWeights::Missing),
            };
            assert_eq!(choose_weights(&names(&present)), expected, "{present:?}");
        }
    }

    #[test]
    fn what_is_passed_over_is_named() {
        let both = names(&[CONFIG_FILE, SINGLE_FILE, INDEX_FILE]);
        let note = WeightsChoice::Single.passed_over(&both).unwrap();
        assert!(note.contains(INDEX_FILE), "{note}");
        let one = names(&[CONFIG_FILE, SINGLE_FILE]);
        assert_eq!(WeightsChoice::Single.passed_over(&one), None);
        let adapter = names(&[CONFIG_FILE, INDEX_FILE, ADAPTER_CONFIG, ADAPTER_WEIGHTS]);
        let note = WeightsChoice::Sharded.passed_over(&adapter).unwrap();
        assert!(note.contains(ADAPTER_WEIGHTS), "{note}");
    }

    #[test]
    fn other_forms_are_named() {
        for (present, part) in [
            ("model.fp16.safetensors", "only `model.fp16.safetensors`"),
            ("pytorch_model.bin.index.json", "safe_serialization"),
            ("model-q4.gguf", "`model-q4.gguf`"),
            ("README.md", "holds no weights"),
        ] {
            let error = choose_weights(&names(&[CONFIG_FILE, present])).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
