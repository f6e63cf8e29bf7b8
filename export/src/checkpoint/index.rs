//! Which weight files a checkpoint has, and what its index says about them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use super::header::{self, UniqueMap};
use super::{DataFile, TensorEntry, read_text};
use crate::error::{Error, Result};

/// The name of the index of a sharded checkpoint.
pub const INDEX_FILE: &str = "model.safetensors.index.json";
/// The name of the weight file of an unsharded checkpoint.
pub const SINGLE_FILE: &str = "model.safetensors";
/// A 72B model's index has about 80 KB.
const MAX_INDEX_BYTES: u64 = 100 << 20;

/// The weight files of a checkpoint and the tensors in them.
pub(super) struct Weights {
    pub(super) files: Vec<DataFile>,
    pub(super) tensors: BTreeMap<String, TensorEntry>,
}

#[derive(Deserialize)]
struct IndexFile {
    weight_map: UniqueMap<String>,
}

/// Finds the weight files of `dir`, reads their headers and compares them with the index.
pub(super) fn read_weights(dir: &Path) -> Result<Weights> {
    let index_path = dir.join(INDEX_FILE);
    let has_index = index_path.symlink_metadata().is_ok();
    let has_single = dir.join(SINGLE_FILE).symlink_metadata().is_ok();
    let weight_map = match (has_index, has_single) {
        (true, _) => Some(read_index(&index_path)?),
        (false, true) => None,
        (false, false) => return Err(no_weights(dir)),
    };
    let names: BTreeSet<&str> = match &weight_map {
        Some(map) => map.values().map(String::as_str).collect(),
        None => [SINGLE_FILE].into(),
    };
    if has_single && !names.contains(SINGLE_FILE) {
        return Err(Error::Index {
            path: index_path,
            problem: format!(
                "lists other files, but `{SINGLE_FILE}` is there too: remove the one that is out of date"
            ),
        });
    }

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
    if let Some(map) = &weight_map {
        compare(map, &files, &tensors, &index_path)?;
    }
    Ok(Weights { files, tensors })
}

/// The names of the weight files in an index, sorted. Each is the name of a `.safetensors` file beside the index.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read; [`Error::Index`] when it is not an index, or names other files.
pub fn indexed_files(path: &Path) -> Result<BTreeSet<String>> {
    Ok(read_index(path)?.into_values().collect())
}

fn read_index(path: &Path) -> Result<BTreeMap<String, String>> {
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

fn no_weights(dir: &Path) -> Error {
    let path = dir.to_owned();
    let pickled = ["pytorch_model.bin", "pytorch_model.bin.index.json"]
        .into_iter()
        .find(|name| dir.join(name).exists());
    match pickled {
        Some(name) => Error::Unsupported {
            what: format!("{}: `{name}`, weights as Python pickles,", path.display()),
            hint: "save the model again as safetensors, with `safe_serialization=True`".to_owned(),
        },
        None => Error::Index {
            path,
            problem: format!("has neither `{INDEX_FILE}` nor `{SINGLE_FILE}`: it holds no weights"),
        },
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
            return Err(Error::Io {
                path,
                action: "open",
                source,
            });
        }
    };
    if let Ok(target) = path.read_link() {
        return Err(Error::Safetensors {
            path,
            problem: format!(
                "is a link to `{}`, which does not exist: the download is incomplete",
                target.display()
            ),
        });
    }
    let Some(map) = weight_map else {
        return Err(Error::Io {
            path,
            action: "open",
            source,
        });
    };
    let mut lost = map.iter().filter(|(_, file)| *file == name);
    let first = lost.next().map_or("", |(tensor, _)| tensor);
    Err(Error::Index {
        path: index_path.to_owned(),
        problem: format!(
            "lists the file `{name}`, which does not exist; tensor `{first}`{} should be in it",
            and_more(lost.count())
        ),
    })
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

/// Checks that the index and the headers place every tensor in the same file.
fn compare(
    map: &BTreeMap<String, String>,
    files: &[DataFile],
    tensors: &BTreeMap<String, TensorEntry>,
    index_path: &Path,
) -> Result<()> {
    let file_of = |entry: &TensorEntry| files.get(entry.file).map_or("", |f| f.name.as_str());
    let fail = |problem| {
        Err(Error::Index {
            path: index_path.to_owned(),
            problem,
        })
    };
    for (name, file) in map {
        match tensors.get(name) {
            None => {
                return fail(format!(
                    "places tensor `{name}` in `{file}`, which lacks it"
                ));
            }
            Some(entry) if file_of(entry) != file => {
                return fail(format!(
                    "places tensor `{name}` in `{file}`, but it is in `{}`",
                    file_of(entry)
                ));
            }
            Some(_) => {}
        }
    }
    let mut unlisted = tensors.iter().filter(|(name, _)| !map.contains_key(*name));
    if let Some((name, entry)) = unlisted.next() {
        return fail(format!(
            "does not list tensor `{name}`{}, which is in `{}`",
            and_more(unlisted.count()),
            file_of(entry)
        ));
    }
    Ok(())
}

fn and_more(count: usize) -> String {
    match count {
        0 => String::new(),
        count => format!(" (and {count} more)"),
    }
}
