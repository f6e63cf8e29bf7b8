//! Whether a manifest makes sense as a whole, asked once, before anything in it is used: every part of it, of which the
//! stages have a file of their own.

mod field;
mod stages;

use std::{collections::BTreeSet, path::Path};

use self::{
    field::{AGAIN, Checked, MOST_BYTES, fault, listed, no_nul, path, printable, sha256, within},
    stages::stages,
};
use super::Manifest;
use crate::vocabulary::{Activation, Pooling};

/// Most of a dimension of a model, and of its layers: far beyond any model, and products of them stay within 64 bits.
const MOST_SIZE: usize = 1 << 24;
const MOST_LAYERS: usize = 1 << 16;
/// Token ids have 32 bits.
const MOST_TOKENS: usize = 1 << 32;
/// Lengths of conversations go into 32-bit integers.
const MOST_LENGTH: usize = i32::MAX as usize;
/// Bytes of a safetensors file's length of the header.
const LEAST_BYTES: u64 = 8;

/// Checks every field of a manifest, and what they say of one another.
pub(super) fn validate(manifest: &Manifest) -> Checked {
    heading(manifest)?;
    model(manifest)?;
    stages(manifest)?;
    weights(manifest)?;
    text(manifest)?;
    scoring(manifest)?;
    probes(manifest)
}

fn heading(manifest: &Manifest) -> Checked {
    printable("producer", &manifest.producer)?;
    let source = &manifest.source;
    origin("source", &source.repository, &source.revision)?;
    sha256("source.config_sha256", &source.config_sha256)?;
    if let Some(adapter) = &source.adapter {
        origin("source.adapter", &adapter.repository, &adapter.revision)?;
        sha256("source.adapter.config_sha256", &adapter.config_sha256)?;
        sha256("source.adapter.weights_sha256", &adapter.weights_sha256)?;
        within("source.adapter.r", adapter.r, 1, MOST_SIZE)?;
    }
    if let Some(quantization) = &manifest.quantization {
        printable("quantization.operator", &quantization.operator)?;
        let bits = usize::try_from(quantization.bits).unwrap_or(usize::MAX);
        within("quantization.bits", bits, 1, 16)?;
        if let Some(size) = quantization.block_size {
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            within("quantization.block_size", size, 1, MOST_SIZE)?;
        }
        for (at, name) in quantization.kept.iter().enumerate() {
            printable(&format!("quantization.kept[{at}]"), name)?;
        }
        if let Some(calibration) = &quantization.calibration {
            sha256("quantization.calibration.sha256", &calibration.sha256)?;
            let (corrected, labels) = (&calibration.correction, manifest.model.labels.len());
            if !corrected.is_empty() && corrected.len() != labels {
                return fault(
                    "quantization.calibration.correction",
                    format!(
                        "has {} numbers for {labels} labels; {AGAIN}",
                        corrected.len()
                    ),
                );
            }
        }
    }
    let version = &manifest.min_ort_version;
    let parts: Vec<Option<u32>> = version.split('.').map(|part| part.parse().ok()).collect();
    match parts.as_slice() {
        [Some(_), Some(_)] => Ok(()),
        _ => fault(
            "min_ort_version",
            format!("is {version:?}, and must be a version such as \"1.23\"; {AGAIN}"),
        ),
    }
}

fn origin(of: &str, repository: &Option<String>, revision: &Option<String>) -> Checked {
    for (name, value) in [("repository", repository), ("revision", revision)] {
        if let Some(value) = value {
            printable(&format!("{of}.{name}"), value)?;
        }
    }
    Ok(())
}

fn model(manifest: &Manifest) -> Checked {
    let model = &manifest.model;
    printable("model.architecture", &model.architecture)?;
    for (name, size, most) in [
        ("hidden_size", model.hidden_size, MOST_SIZE),
        ("intermediate_size", model.intermediate_size, MOST_SIZE),
        ("num_hidden_layers", model.num_hidden_layers, MOST_LAYERS),
        ("num_attention_heads", model.num_attention_heads, MOST_SIZE),
        ("num_key_value_heads", model.num_key_value_heads, MOST_SIZE),
        ("head_dim", model.head_dim, MOST_SIZE),
        ("vocab_size", model.vocab_size, MOST_TOKENS),
    ] {
        within(&format!("model.{name}"), size, 1, most)?;
    }
    let (heads, groups) = (model.num_attention_heads, model.num_key_value_heads);
    if heads % groups != 0 {
        return fault(
            "model.num_key_value_heads",
            format!("is {groups}, which does not divide the {heads} heads of num_attention_heads"),
        );
    }
    if model.labels.is_empty() {
        return fault("model.labels", "is empty");
    }
    listed("model.labels", model.labels.len())
}

fn weights(manifest: &Manifest) -> Checked {
    let weights = &manifest.weights;
    if let Some(directory) = &weights.directory {
        no_nul("weights.directory", directory)?;
        if !Path::new(directory).is_absolute() {
            return fault(
                "weights.directory",
                format!("is {directory:?}, and must be an absolute path"),
            );
        }
    }
    if weights.files.is_empty() {
        return fault("weights.files", format!("is empty; {AGAIN}"));
    }
    listed("weights.files", weights.files.len())?;
    let mut seen = BTreeSet::new();
    for (at, file) in weights.files.iter().enumerate() {
        let field = |name: &str| format!("weights.files[{at}].{name}");
        path(&field("name"), &file.name)?;
        if !seen.insert(&file.name) {
            return fault(field("name"), format!("is {}, listed before", file.name));
        }
        if !(LEAST_BYTES..=MOST_BYTES).contains(&file.bytes) {
            return fault(field("bytes"), format!("is {}; {AGAIN}", file.bytes));
        }
        sha256(&field("header_sha256"), &file.header_sha256)?;
        if let Some(hash) = &file.sha256 {
            sha256(&field("sha256"), hash)?;
        }
    }
    for (at, clamped) in weights.clamped.iter().enumerate() {
        printable(&format!("weights.clamped[{at}].tensor"), &clamped.tensor)?;
    }
    Ok(())
}

fn text(manifest: &Manifest) -> Checked {
    let files = &manifest.text.files;
    listed("text.files", files.len())?;
    let mut seen = BTreeSet::new();
    for (at, file) in files.iter().enumerate() {
        let field = |name: &str| format!("text.files[{at}].{name}");
        path(&field("name"), &file.name)?;
        if !seen.insert(&file.name) {
            return fault(field("name"), format!("is {}, listed before", file.name));
        }
        sha256(&field("sha256"), &file.sha256)?;
    }
    Ok(())
}

fn scoring(manifest: &Manifest) -> Checked {
    within("max_length", manifest.max_length, 1, MOST_LENGTH)?;
    let vocabulary = manifest.model.vocab_size;
    let token = |field: &str, id: u32| match (id as usize) < vocabulary {
        true => Ok(()),
        false => fault(
            field,
            format!("is {id}, outside the vocabulary of {vocabulary} tokens"),
        ),
    };
    if let Some(end) = &manifest.end_token {
        token("end_token.id", end.id)?;
    }
    match manifest.pooling {
        // Padding that is dropped need not have an embedding.
        Pooling::Last | Pooling::LastNonPad { .. } => {}
        Pooling::BeforeFirstPad { pad_token_id } => token("pooling.pad_token_id", pad_token_id)?,
        Pooling::EachToken { token_id } => token("pooling.token_id", token_id)?,
    }
    // Steps have a reward each and everything else is scored raw: no other combination has a meaning.
    let labels = manifest.model.labels.len();
    let problem = match (manifest.pooling, manifest.activation) {
        (Pooling::EachToken { .. }, Activation::Softmax { label }) if label < labels => {
            return Ok(());
        }
        (Pooling::EachToken { .. }, Activation::Softmax { label }) => {
            format!("takes label {label}, and the model has {labels}")
        }
        (Pooling::EachToken { .. }, Activation::None) => {
            "is missing for a model that is scored at each step".to_owned()
        }
        (_, Activation::None) => return Ok(()),
        (_, Activation::Softmax { .. }) => "is for models that are scored at each step".to_owned(),
    };
    fault("activation", format!("{problem}; {AGAIN}"))
}

fn probes(manifest: &Manifest) -> Checked {
    listed("probes", manifest.probes.len())?;
    let mut seen = BTreeSet::new();
    for (at, probe) in manifest.probes.iter().enumerate() {
        probe
            .check(manifest.model.vocab_size, manifest.max_length)
            .map_err(|(place, problem)| (format!("probes[{at}]{place}"), problem))?;
        if !seen.insert(&probe.name) {
            return fault(
                format!("probes[{at}].name"),
                format!("is {}, which another probe has", probe.name),
            );
        }
    }
    Ok(())
}
