//! Graphs in floats that show what goes into their linear layers.
//!
//! Weights can be rounded so that the outputs for the inputs that they meet stay as they are. [`observe_inputs`] puts a node
//! before the linear layers of the decoder, an operator of the runtime, that sees their inputs.

use std::{collections::HashMap, path::Path};

use crate::{
    error::{Error, Result},
    proto::{AttributeKind, AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto},
};

/// Domain of [`OBSERVE`].
pub const DOMAIN: &str = "worldpm_ort.observed";
/// Gives its input, `[T, width]` float, as it is. The attribute [`WEIGHTS`].
pub const OBSERVE: &str = "Observe";
/// The names of the weights that are multiplied with the input, with [`SEPARATOR`] between them.
pub const WEIGHTS: &str = "weights";
/// What is between names of [`WEIGHTS`].
pub const SEPARATOR: char = '\n';

/// What the names of the decoder's weights have.
const LAYERS: &str = "layers.";

/// The graph of the file `path`, whose bytes are given, with a node before the linear layers that read a value.
///
/// # Errors
/// [`Error::Model`] when it holds no ONNX graph.
pub fn observe_inputs(bytes: &[u8], path: &Path) -> Result<Vec<u8>> {
    let mut model = ModelProto::from_bytes(bytes, path)?;
    let Some(graph) = &mut model.graph else {
        return Err(Error::Model {
            path: path.to_owned(),
            problem: "has no graph".into(),
        });
    };
    let mut weights = read_by(graph);
    let nodes = std::mem::take(&mut graph.node);
    for mut node in nodes {
        let input = node.input.first().cloned().unwrap_or_default();
        if is(&node, "Gemm") && weights.contains_key(&input) {
            if let Some(names) = weights.get_mut(&input).map(std::mem::take)
                && !names.is_empty()
            {
                graph.node.push(observing(&input, &names));
            }
            if let Some(first) = node.input.first_mut() {
                *first = observed(&input);
            }
        }
        graph.node.push(node);
    }
    model.opset_import.push(OperatorSetIdProto {
        domain: Some(DOMAIN.into()),
        version: Some(1),
    });
    Ok(model.to_bytes())
}

/// The weights of the decoder that each value is multiplied with.
fn read_by(graph: &GraphProto) -> HashMap<String, Vec<String>> {
    let mut stored: HashMap<&str, &str> = HashMap::new();
    for name in graph
        .initializer
        .iter()
        .filter_map(|tensor| tensor.name.as_deref())
        .filter(|name| name.contains(LAYERS))
    {
        stored.insert(name, name);
    }
    let casts = graph.node.iter().filter(|node| is(node, "Cast"));
    let casts: Vec<(&str, &str)> = casts
        .filter_map(|cast| {
            let weight = *stored.get(cast.input.first()?.as_str())?;
            Some((cast.output.first()?.as_str(), weight))
        })
        .collect();
    stored.extend(casts);
    let mut found: HashMap<String, Vec<String>> = HashMap::new();
    for gemm in graph.node.iter().filter(|node| is(node, "Gemm")) {
        if let [x, weight, ..] = gemm.input.as_slice()
            && let Some(&weight) = stored.get(weight.as_str())
        {
            let weights = found.entry(x.clone()).or_default();
            weights.push(weight.to_owned());
        }
    }
    found
}

fn observing(input: &str, weights: &[String]) -> NodeProto {
    NodeProto {
        input: vec![input.to_owned()],
        output: vec![observed(input)],
        name: Some(observed(input)),
        op_type: Some(OBSERVE.into()),
        attribute: vec![AttributeProto {
            name: Some(WEIGHTS.into()),
            s: Some(weights.join(&SEPARATOR.to_string()).into_bytes()),
            r#type: Some(AttributeKind::Text as i32),
            ..AttributeProto::default()
        }],
        domain: Some(DOMAIN.into()),
    }
}

fn observed(input: &str) -> String {
    format!("{input}/observed")
}

fn is(node: &NodeProto, operator: &str) -> bool {
    node.op_type.as_deref() == Some(operator)
}
