//! Whether a manifest makes sense as a whole, asked once, before anything in it is used.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Component, Path},
};

use super::{Manifest, Stage, TensorInfo};
use crate::{
    files, names,
    vocabulary::{Activation, Interface, Pooling},
};

/// The field that is wrong, with dots and places in lists, and how.
pub(super) type Fault = (String, String);
type Checked = Result<(), Fault>;

/// Most of a dimension of a model, and of its layers: far beyond any model, and products of them stay within 64 bits.
const MOST_SIZE: usize = 1 << 24;
const MOST_LAYERS: usize = 1 << 16;
/// Token ids have 32 bits.
const MOST_TOKENS: usize = 1 << 32;
/// Lengths of conversations go into 32-bit integers.
const MOST_LENGTH: usize = i32::MAX as usize;
/// Most files, labels or probes that are listed.
const MOST_LISTED: usize = 1 << 20;
/// Most bytes of a file of weights, or of a stage's weights.
const MOST_BYTES: u64 = 1 << 50;
/// Most bytes of a path.
const MOST_PATH: usize = 4096;
/// Bytes of a safetensors file's length of the header.
const LEAST_BYTES: u64 = 8;

const AGAIN: &str = "export the checkpoint again";

fn fault(field: impl Into<String>, problem: impl Into<String>) -> Checked {
    Err((field.into(), problem.into()))
}

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

fn stages(manifest: &Manifest) -> Checked {
    if manifest.stages.is_empty() {
        return fault("stages", "is empty");
    }
    let mut graphs = BTreeSet::new();
    let mut next = 0;
    let last = manifest.stages.len() - 1;
    for (at, stage) in manifest.stages.iter().enumerate() {
        let field = |name: &str| format!("stages[{at}].{name}");
        path(&field("graph"), &stage.graph)?;
        if !graphs.insert(&stage.graph) {
            return fault(
                field("graph"),
                format!("is {}, which another stage has", stage.graph),
            );
        }
        if !(1..=files::MAX_GRAPH_BYTES).contains(&stage.bytes) {
            return fault(field("bytes"), format!("is {}; {AGAIN}", stage.bytes));
        }
        sha256(&field("sha256"), &stage.sha256)?;
        let (first, end) = stage.layers;
        if first != next || end <= first {
            return fault(
                field("layers"),
                format!(
                    "is [{first}, {end}], and has to begin with layer {next} and end behind it"
                ),
            );
        }
        next = end;
        if stage.weight_bytes > MOST_BYTES {
            return fault(field("weight_bytes"), format!("is {}", stage.weight_bytes));
        }
        edges(manifest, at, stage, (at == 0, at == last))?;
    }
    if next != manifest.model.num_hidden_layers {
        return fault(
            format!("stages[{last}].layers"),
            format!(
                "ends at {next}, and the model has {} layers (model.num_hidden_layers)",
                manifest.model.num_hidden_layers
            ),
        );
    }
    Ok(())
}

/// The inputs and outputs of a stage are those of its place and interface, each once.
fn edges(manifest: &Manifest, at: usize, stage: &Stage, (first, last): (bool, bool)) -> Checked {
    let hidden = manifest.model.hidden_size.to_string();
    let labels = manifest.model.labels.len().to_string();
    // All stages hand on what the first one makes.
    let element = manifest
        .stages
        .iter()
        .flat_map(|stage| &stage.outputs)
        .find(|output| output.name == names::NEXT_HIDDEN_STATES)
        .map_or("float", |output| output.element.as_str());
    let element = match element {
        "float16" | "bfloat16" => element,
        _ => "float",
    };
    let states: (&str, Vec<&str>) = (element, vec!["T", &hidden]);
    let mut inputs: BTreeMap<&str, (&str, Vec<&str>)> = BTreeMap::new();
    if !first {
        inputs.insert(names::HIDDEN_STATES, states.clone());
    }
    let scored = match manifest.interface {
        Interface::Packed => {
            inputs.insert(names::POSITION_IDS, ("int64", vec!["T"]));
            inputs.insert(names::ROW_TOKENS, ("int64", vec!["B", "S"]));
            inputs.insert(names::TOKEN_CELLS, ("int64", vec!["T"]));
            if first {
                inputs.insert(names::INPUT_IDS, ("int64", vec!["T"]));
            }
            if last {
                inputs.insert(names::SCORE_TOKENS, ("int64", vec!["N"]));
            }
            let lengths = [names::SEQLENS_K, names::TOTAL_SEQUENCE_LENGTH];
            let has = |input: &TensorInfo| lengths.contains(&input.name.as_str());
            if stage.inputs.iter().any(has) {
                inputs.insert(names::SEQLENS_K, ("int32", vec!["B"]));
                inputs.insert(names::TOTAL_SEQUENCE_LENGTH, ("int32", Vec::new()));
            }
            "N"
        }
        Interface::Padded => {
            inputs.insert(names::ATTENTION_MASK, ("int64", vec!["batch", "sequence"]));
            if first {
                inputs.insert(names::INPUT_IDS, ("int64", vec!["batch", "sequence"]));
            }
            "batch"
        }
    };
    let output = match last {
        true => (names::SCORES, ("float", vec![scored, &labels])),
        false => (names::NEXT_HIDDEN_STATES, states),
    };
    tensors(&format!("stages[{at}].inputs"), &stage.inputs, &inputs)?;
    let outputs = BTreeMap::from([output]);
    tensors(&format!("stages[{at}].outputs"), &stage.outputs, &outputs)
}

fn tensors(
    field: &str,
    tensors: &[TensorInfo],
    expected: &BTreeMap<&str, (&str, Vec<&str>)>,
) -> Checked {
    let mut found = BTreeSet::new();
    for (at, tensor) in tensors.iter().enumerate() {
        let field = format!("{field}[{at}]");
        let name = &tensor.name;
        let Some((element, shape)) = expected.get(name.as_str()) else {
            return fault(
                format!("{field}.name"),
                format!("is {name:?}, which this stage does not have; {AGAIN}"),
            );
        };
        if !found.insert(name.as_str()) {
            return fault(format!("{field}.name"), format!("is {name:?} once more"));
        }
        if tensor.element != *element {
            return fault(
                format!("{field}.type"),
                format!("is {:?}, and `{name}` is {element}", tensor.element),
            );
        }
        if tensor.shape != *shape {
            return fault(
                format!("{field}.shape"),
                format!("is {:?}, and that of `{name}` is {shape:?}", tensor.shape),
            );
        }
    }
    match expected.keys().find(|name| !found.contains(*name)) {
        Some(missing) => fault(field, format!("lacks `{missing}`; {AGAIN}")),
        None => Ok(()),
    }
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

fn within(field: &str, size: usize, least: usize, most: usize) -> Checked {
    match (least..=most).contains(&size) {
        true => Ok(()),
        false => fault(
            field,
            format!("is {size}, and must be {least} to {most}; {AGAIN}"),
        ),
    }
}

fn listed(field: &str, count: usize) -> Checked {
    match count <= MOST_LISTED {
        true => Ok(()),
        false => fault(
            field,
            format!("has {count} entries, more than {MOST_LISTED}"),
        ),
    }
}

fn sha256(field: &str, hash: &str) -> Checked {
    let is_digit = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
    match hash.len() == 64 && hash.bytes().all(is_digit) {
        true => Ok(()),
        false => fault(
            field,
            format!("is no SHA-256: it must be 64 digits of 0 to 9 and a to f; {AGAIN}"),
        ),
    }
}

/// Text that is shown to people: there, and without control characters.
fn printable(field: &str, text: &str) -> Checked {
    match text.is_empty() || text.chars().any(char::is_control) {
        true => fault(
            field,
            format!("is {text:?}, empty or with control characters"),
        ),
        false => Ok(()),
    }
}

fn no_nul(field: &str, text: &str) -> Checked {
    match text.contains('\0') || text.len() > MOST_PATH {
        true => fault(
            field,
            format!("is no path: it has a NUL, or more than {MOST_PATH} bytes"),
        ),
        false => Ok(()),
    }
}

/// A path in a folder, which leads to nothing outside of it.
fn path(field: &str, path: &str) -> Checked {
    no_nul(field, path)?;
    let parts = Path::new(path).components();
    let mut parts = parts
        .map(|part| matches!(part, Component::Normal(_)))
        .peekable();
    match parts.peek().is_some() && parts.all(|normal| normal) && !path.ends_with('/') {
        true => Ok(()),
        false => fault(
            field,
            format!("is {path:?}, and must be the path of a file inside the folder; {AGAIN}"),
        ),
    }
}
