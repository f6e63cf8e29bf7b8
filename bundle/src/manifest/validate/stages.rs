//! Whether the stages follow one another: their graphs, their layers, and what each takes and gives.

use std::collections::{BTreeMap, BTreeSet};

use super::field::{AGAIN, Checked, MOST_BYTES, fault, path, sha256};
use crate::{
    files,
    manifest::{Manifest, Stage, TensorInfo},
    names,
    vocabulary::Interface,
};

pub(super) fn stages(manifest: &Manifest) -> Checked {
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
