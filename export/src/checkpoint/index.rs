//! Which weight files a checkpoint has, and what its index says about them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use worldpm_ort_bundle::{
    Error as BundleError,
    checkpoint_files::{
        CONFIG_FILE, INDEX_FILE, MAX_INDEX_BYTES, NoWeights, SINGLE_FILE, WeightsChoice,
        choose_weights, read_index, read_text,
    },
    safetensors::header,
};

use super::tensors::{DataFile, TensorEntry};
use crate::error::{Error, Result};

/// The weight files of a checkpoint and the tensors in them.
pub(super) struct Weights {
    pub(super) files: Vec<DataFile>,
    pub(super) tensors: BTreeMap<String, TensorEntry>,
    /// Tensors that only the index has, and the file in which it places them.
    pub(super) absent: BTreeMap<String, String>,
    /// What else is there and is not read, in words.
    pub(super) passed_over: Option<String>,
}

/// Finds the weight files of `dir` and reads their headers.
///
/// Of an index only the names of the files count, as in `transformers`: each file is read whole, and a tensor that the
/// index has and no file (an `lm_head.weight` that was dropped) is only missed by a model that needs it.
pub(super) fn read_weights(dir: &Path) -> Result<Weights> {
    let present = names_in(dir)?;
    let choice = choose_weights(&present).map_err(|reason| no_weights(dir, &reason))?;
    let index_path = dir.join(INDEX_FILE);
    let weight_map = match choice {
        WeightsChoice::Single => None,
        WeightsChoice::Sharded => Some(read_index(&index_path)?),
        WeightsChoice::Adapter => {
            return Err(Error::Bundle(BundleError::Index {
                path: dir.to_owned(),
                problem: "holds an adapter and no model: give the model that it is for as the checkpoint, and this \
                          directory as the adapter (`--adapter`)"
                    .to_owned(),
            }));
        }
    };
    refuse_other_choice(dir, choice)?;
    let names: BTreeSet<&str> = match &weight_map {
        Some(map) => map.values().map(String::as_str).collect(),
        None => [SINGLE_FILE].into(),
    };

    let mut files = Vec::with_capacity(names.len());
    for name in names {
        let path = resolve(dir, name, weight_map.as_ref(), &index_path)?;
        files.push(DataFile {
            name: name.to_owned(),
            path,
            bytes: 0,
        });
    }
    let tensors = read_headers(dir, &mut files)?;
    let mut absent = weight_map.unwrap_or_default();
    absent.retain(|name, _| !tensors.contains_key(name));
    Ok(Weights {
        files,
        tensors,
        absent,
        passed_over: choice.passed_over(&present),
    })
}

/// The names of what is in a directory.
fn names_in(dir: &Path) -> Result<BTreeSet<String>> {
    let fault = |source| Error::io("read the directory", dir, source);
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(dir).map_err(fault)? {
        names.insert(
            entry
                .map_err(fault)?
                .file_name()
                .to_string_lossy()
                .into_owned(),
        );
    }
    Ok(names)
}

/// The configuration of `transformers` 5 may name the weights; then they must be those that are chosen without it.
fn refuse_other_choice(dir: &Path, choice: WeightsChoice) -> Result<()> {
    #[derive(Deserialize)]
    struct Config {
        transformers_weights: Option<serde_json::Value>,
    }
    let path = dir.join(CONFIG_FILE);
    let text = read_text(&path, MAX_INDEX_BYTES)?;
    // What else is wrong with it is said where it is read.
    let named = serde_json::from_str::<Config>(&text)
        .ok()
        .and_then(|config| config.transformers_weights);
    match named {
        Some(named) if named.as_str() != Some(choice.file()) => Err(Error::Config {
            path,
            field: "transformers_weights".to_owned(),
            problem: format!(
                "names {named}, and the weights here are read from `{}`; take the field out, and leave only the \
                 weights that are meant",
                choice.file()
            ),
        }),
        _ => Ok(()),
    }
}

fn no_weights(dir: &Path, reason: &NoWeights) -> Error {
    match reason {
        NoWeights::Other(name) if name.starts_with("pytorch_model") => Error::Unsupported {
            what: format!("{}: `{name}`, weights as Python pickles,", dir.display()),
            hint: "save the model again as safetensors, with `safe_serialization=True`".to_owned(),
        },
        reason => Error::Bundle(BundleError::Index {
            path: dir.to_owned(),
            problem: reason.to_string(),
        }),
    }
}

/// The real path of a weight file.
fn resolve(
    dir: &Path,
    name: &str,
    weight_map: Option<&BTreeMap<String, String>>,
    index_path: &Path,
) -> Result<PathBuf> {
    let path = dir.join(name);
    let source = match path.canonicalize() {
        Ok(real) => return Ok(real),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => e,
        Err(source) => {
            return Err(Error::Bundle(BundleError::Io {
                path,
                action: "open",
                source,
            }));
        }
    };
    if let Ok(target) = path.read_link() {
        return Err(Error::Bundle(BundleError::Safetensors {
            path,
            problem: format!(
                "is a link to `{}`, which does not exist: the download is incomplete",
                target.display()
            ),
        }));
    }
    let Some(map) = weight_map else {
        return Err(Error::Bundle(BundleError::Io {
            path,
            action: "open",
            source,
        }));
    };
    let mut lost = map.iter().filter(|(_, file)| *file == name);
    let first = lost.next().map_or("", |(tensor, _)| tensor);
    Err(Error::Bundle(BundleError::Index {
        path: index_path.to_owned(),
        problem: format!(
            "lists the file `{name}`, which does not exist; tensor `{first}`{} should be in it",
            and_more(lost.count())
        ),
    }))
}

/// Reads every header; sets the sizes of `files`.
fn read_headers(dir: &Path, files: &mut [DataFile]) -> Result<BTreeMap<String, TensorEntry>> {
    let mut tensors: BTreeMap<String, TensorEntry> = BTreeMap::new();
    for index in 0..files.len() {
        let Some(file) = files.get_mut(index) else {
            break;
        };
        let shown = dir.join(&file.name);
        let header = header::read(&file.path, &shown)?;
        file.bytes = header.file_bytes;
        for tensor in header.tensors {
            let entry = TensorEntry {
                dtype: tensor.dtype,
                shape: tensor.shape,
                file: index,
                offset: tensor.offset,
                bytes: tensor.bytes,
            };
            if let Some(first) = tensors.get(&tensor.name) {
                let other = files.get(first.file).map_or("", |f| &f.name);
                return Err(Error::Tensor {
                    tensor: tensor.name,
                    file: shown.display().to_string(),
                    problem: format!("is also in `{other}`"),
                });
            }
            tensors.insert(tensor.name, entry);
        }
    }
    Ok(tensors)
}

fn and_more(count: usize) -> String {
    match count {
        0 => String::new(),
        count => format!(" (and {count} more)"),
    }
}
