//! What of a directory is a bundle of ours, and may be replaced by another one.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use serde_json::Value;
use worldpm_ort_bundle::{
    files::{self, inside},
    manifest::{self, FORMAT},
    probes,
};

use crate::{
    checkpoint::Checkpoint,
    error::{Error, Result},
    layout,
    options::ExportOptions,
    output::OutputKind,
};

/// Bundles as outputs.
pub(super) const BUNDLE: OutputKind = OutputKind {
    last: manifest::FILE_NAME,
    durable: true,
    owned,
    hint: "it is not a bundle of ours; remove it, or choose another directory",
};

/// The files of the bundle in `dir`, of whatever version; `None` when its manifest is not one of ours. What they hold by
/// now does not matter.
fn owned(dir: &Path) -> Option<BTreeSet<PathBuf>> {
    let text = files::read_limited(&dir.join(manifest::FILE_NAME), files::MAX_CONFIG_BYTES).ok()?;
    let manifest: Value = serde_json::from_slice(&text).ok()?;
    if manifest.get("format").and_then(Value::as_str) != Some(FORMAT) {
        return None;
    }
    let names = |list: Option<&Value>, field: &str| -> Vec<String> {
        let entries = list.and_then(Value::as_array).into_iter().flatten();
        entries
            .filter_map(|entry| Some(entry.get(field)?.as_str()?.to_owned()))
            .collect()
    };
    let weights = manifest.get("weights");
    let graphs = names(manifest.get("stages"), "graph");
    let mut all = vec![manifest::FILE_NAME.to_owned(), probes::FILE_NAME.to_owned()];
    all.extend(names(
        manifest.get("text").and_then(|text| text.get("files")),
        "name",
    ));
    // Elsewhere they are the checkpoint's.
    if weights.is_some_and(|weights| weights.get("directory").is_none_or(Value::is_null)) {
        all.extend(names(
            weights.and_then(|weights| weights.get("files")),
            "name",
        ));
    }
    all.extend(layout::extra_files(&graphs));
    all.extend(graphs);
    Some(all.iter().filter_map(|name| inside(name)).collect())
}

/// Refuses an output that the weights are in which it is made of: what stands there would be replaced, and they with it.
pub(super) fn require_apart(
    checkpoint: &Checkpoint,
    options: &ExportOptions,
    out: &Path,
) -> Result<()> {
    let Ok(out) = out.canonicalize() else {
        return Ok(());
    };
    let adapter = options.adapter.as_ref().map(|dir| dir.canonicalize());
    let adapter = adapter.and_then(std::io::Result::ok);
    let sources = checkpoint.files().iter().map(|file| file.path.clone());
    match sources.chain(adapter).find(|path| path.starts_with(&out)) {
        Some(path) => Err(Error::Output {
            problem: format!(
                "holds {}, of which the bundle is made; choose another directory",
                path.display()
            ),
            path: out,
        }),
        None => Ok(()),
    }
}
