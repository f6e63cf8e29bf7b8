//! Graphs in floats that round as a computation in bfloat16 does.
//!
//! ONNX Runtime's CPU provider has no bfloat16 arithmetic. How far bfloat16 moves the scores of a model can be seen on a CPU
//! all the same: every result that a program in bfloat16 stores is rounded to it, by a cast there and a cast back. What such
//! a program computes in floats before it stores anything stays as it is: sums of products, norms, the shares of attention,
//! the angles of rotary positions, and the reward head.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use crate::{
    error::{Error, Result},
    proto::{AttributeKind, AttributeProto, ElementType, GraphProto, ModelProto, NodeProto},
};

/// The operators whose first result is stored. The others move values, or their results never leave a kernel: the sigmoid
/// of a SiLU.
const STORED: [&str; 8] = [
    "Add",
    "Attention",
    "Gelu",
    "Gemm",
    "GroupQueryAttention",
    "Mul",
    "RMSNormalization",
    "RotaryEmbedding",
];
/// What the names of the reward head's nodes begin with.
const HEAD: &str = "score/";
/// What the names of its weights begin with.
const HEAD_WEIGHTS: &str = "score.";
/// `onnx.TensorProto.DataLocation`: the bytes are in another file, so it is a weight and no constant of the graph.
const EXTERNAL: i32 = 1;

/// The graph of the file `path`, whose bytes are given, with every result rounded to bfloat16 that `transformers` would store
/// as such. Weights that are stored in more digits are rounded too.
///
/// # Errors
/// [`Error::Model`] when it holds no ONNX graph.
pub fn round_to_bf16(bytes: &[u8], path: &Path) -> Result<Vec<u8>> {
    let mut model = ModelProto::from_bytes(bytes, path)?;
    let Some(graph) = &mut model.graph else {
        return Err(Error::Model {
            path: path.to_owned(),
            problem: "has no graph".into(),
        });
    };
    let rounded = rounded_nodes(graph);
    let mut nodes = round_weights(graph);
    for (mut node, is_rounded) in std::mem::take(&mut graph.node).into_iter().zip(rounded) {
        let result = node.output.first().cloned().filter(|_| is_rounded);
        let Some(result) = result else {
            nodes.push(node);
            continue;
        };
        let exact = format!("{result}/exact");
        node.output[0].clone_from(&exact);
        nodes.extend(in_steps(node, &exact));
        nodes.extend(rounding(&exact, &result));
    }
    graph.node = nodes;
    Ok(model.to_bytes())
}

/// The nodes in place of one whose first result is `exact`, with what `transformers` stores on the way rounded: of a rotation
/// the products with cosines and with sines.
fn in_steps(node: NodeProto, exact: &str) -> Vec<NodeProto> {
    let [x, cos, sin] = match node.input.as_slice() {
        [x, cos, sin] if is(&node, "RotaryEmbedding") => [x, cos, sin].map(String::clone),
        _ => return vec![node],
    };
    let zero = format!("{exact}/zero");
    let mut nodes = vec![plain("Sub", [&sin, &sin], &zero)];
    let mut parts = Vec::new();
    for (name, tables) in [("cos", [&cos, &zero]), ("sin", [&zero, &sin])] {
        let part = format!("{exact}/{name}");
        let product = format!("{part}/exact");
        nodes.push(NodeProto {
            input: vec![x.clone(), tables[0].clone(), tables[1].clone()],
            output: vec![product.clone()],
            name: Some(product.clone()),
            ..node.clone()
        });
        nodes.extend(rounding(&product, &part));
        parts.push(part);
    }
    nodes.push(plain("Add", [&parts[0], &parts[1]], exact));
    nodes
}

/// A node of the standard operators.
fn plain(operator: &str, inputs: [&str; 2], result: &str) -> NodeProto {
    NodeProto {
        input: inputs.map(str::to_owned).to_vec(),
        output: vec![result.to_owned()],
        name: Some(result.to_owned()),
        op_type: Some(operator.into()),
        ..NodeProto::default()
    }
}

/// Of each node, whether its first result is rounded.
fn rounded_nodes<'a>(graph: &'a GraphProto) -> Vec<bool> {
    let elements: HashMap<&str, i32> = graph
        .initializer
        .iter()
        .filter_map(|tensor| Some((tensor.name.as_deref()?, tensor.data_type?)))
        .collect();
    // Cosines and sines are computed in floats and stored once, as tables.
    let tables: HashSet<&str> = graph
        .node
        .iter()
        .filter(|node| is(node, "RotaryEmbedding"))
        .flat_map(|node| node.input.iter().skip(1).take(2))
        .map(String::as_str)
        .collect();
    let mut angles: HashSet<&str> = HashSet::new();
    for node in graph.node.iter().rev() {
        let made = |names: &HashSet<&str>| node.output.iter().any(|name| names.contains(&**name));
        if made(&tables) || made(&angles) {
            angles.extend(node.input.iter().map(String::as_str));
        }
    }
    // What is computed of weights alone is a weight, such as that of a norm and one.
    let mut weights: HashSet<&str> = elements.keys().copied().collect();
    let decide = |node: &'a NodeProto| {
        let first = node.input.first().map_or("", String::as_str);
        let result = node.output.first().map_or("", String::as_str);
        let stored_as = elements.get(first).copied();
        let of_weights = node.input.iter().all(|name| weights.contains(&**name));
        if of_weights {
            weights.extend(node.output.iter().map(String::as_str));
        }
        if node.name.as_deref().unwrap_or_default().starts_with(HEAD)
            || first.starts_with(HEAD_WEIGHTS)
        {
            return false;
        }
        if is(node, "Cast") {
            return stored_as == Some(ElementType::Float16 as i32);
        }
        // Rows of the embedding's table.
        if is(node, "Gather") {
            return stored_as == Some(ElementType::Float as i32);
        }
        let stored = STORED.iter().any(|operator| is(node, operator));
        tables.contains(result) || (stored && !of_weights && !angles.contains(result))
    };
    graph.node.iter().map(decide).collect()
}

/// Lets the nodes read rounded forms of weights that are stored as floats, and gives what makes those. Tables that rows are
/// taken of are left: the rows are rounded.
fn round_weights(graph: &mut GraphProto) -> Vec<NodeProto> {
    let floats: HashSet<String> = graph
        .initializer
        .iter()
        .filter(|tensor| {
            tensor.data_type == Some(ElementType::Float as i32)
                && tensor.data_location == Some(EXTERNAL)
        })
        .filter_map(|tensor| tensor.name.clone())
        .filter(|name| !name.starts_with(HEAD_WEIGHTS))
        .collect();
    let mut made = HashSet::new();
    let mut nodes = Vec::new();
    for node in graph.node.iter_mut().filter(|node| !is(node, "Gather")) {
        for name in node.input.iter_mut().filter(|name| floats.contains(*name)) {
            let rounded = format!("{name}/rounded");
            if made.insert(name.clone()) {
                nodes.extend(rounding(name, &rounded));
            }
            *name = rounded;
        }
    }
    nodes
}

/// The nodes that round `exact` to bfloat16, as floats.
fn rounding(exact: &str, rounded: &str) -> [NodeProto; 2] {
    let short = format!("{exact}/bf16");
    [
        cast(exact, &short, ElementType::BFloat16),
        cast(&short, rounded, ElementType::Float),
    ]
}

fn cast(from: &str, result: &str, element: ElementType) -> NodeProto {
    NodeProto {
        input: vec![from.to_owned()],
        output: vec![result.to_owned()],
        name: Some(format!("{result}/cast")),
        op_type: Some("Cast".into()),
        attribute: vec![AttributeProto {
            name: Some("to".into()),
            i: Some(element as i64),
            r#type: Some(AttributeKind::Int as i32),
            ..AttributeProto::default()
        }],
        domain: None,
    }
}

fn is(node: &NodeProto, operator: &str) -> bool {
    node.op_type.as_deref() == Some(operator)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::proto::TensorProto;

    fn node(operator: &str, inputs: &[&str], output: &str) -> NodeProto {
        NodeProto {
            input: inputs.iter().map(|&name| name.to_owned()).collect(),
            output: vec![output.to_owned()],
            name: Some(output.to_owned()),
            op_type: Some(operator.into()),
            ..NodeProto::default()
        }
    }

    fn weight(name: &str, element: ElementType) -> TensorProto {
        TensorProto {
            name: Some(name.into()),
            data_type: Some(element as i32),
            data_location: Some(EXTERNAL),
            ..TensorProto::default()
        }
    }

    /// Names of the values that are rounded in a graph of these nodes and weights.
    fn rounded(nodes: Vec<NodeProto>, weights: Vec<TensorProto>) -> Vec<String> {
        let model = ModelProto {
            graph: Some(GraphProto {
                node: nodes,
                initializer: weights,
                ..GraphProto::default()
            }),
            ..ModelProto::default()
        };
        let bytes = round_to_bf16(&model.to_bytes(), Path::new("stage.onnx")).unwrap();
        let graph = ModelProto::from_bytes(&bytes, Path::new("stage.onnx"))
            .unwrap()
            .graph
            .unwrap();
        let mut known: HashSet<&str> = graph
            .initializer
            .iter()
            .map(|tensor| tensor.name.as_deref().unwrap())
            .chain(["ids", "positions", "x"])
            .collect();
        for node in &graph.node {
            assert!(
                node.input.iter().all(|name| known.contains(&**name)),
                "{node:?}"
            );
            known.extend(node.output.iter().map(String::as_str));
        }
        let short = graph
            .node
            .iter()
            .filter(|node| is(node, "Cast") && node.input[0].ends_with("/bf16"));
        short.map(|node| node.output[0].clone()).collect()
    }

    #[test]
    fn what_is_stored_is_rounded_and_nothing_else() {
        let nodes = vec![
            node("Gather", &["embed.weight", "ids"], "embedded"),
            node("Mul", &["positions", "inv_freq"], "angles"),
            node("Cos", &["angles"], "cos"),
            node("Mul", &["cos", "factor"], "cos/scaled"),
            node("Cast", &["norm.weight"], "norm.weight/cast"),
            node("Add", &["norm.weight/cast", "one"], "plus_one"),
            node("RMSNormalization", &["embedded", "plus_one"], "norm"),
            node("Gemm", &["norm", "q.weight"], "q"),
            node("RotaryEmbedding", &["q", "cos/scaled", "cos/scaled"], "r"),
            node("Sigmoid", &["r"], "sigmoid"),
            node("Mul", &["r", "sigmoid"], "silu"),
            node("Gemm", &["silu", "score.weight"], "score/linear"),
        ];
        let bf16 = ElementType::BFloat16;
        let constants = ["inv_freq", "factor", "one"].map(|name| TensorProto {
            data_location: None,
            ..weight(name, ElementType::Float)
        });
        let mut weights = vec![
            weight("embed.weight", ElementType::Float),
            weight("norm.weight", bf16),
            weight("q.weight", ElementType::Float),
            weight("score.weight", ElementType::Float),
        ];
        weights.extend(constants);
        assert_eq!(
            rounded(nodes, weights),
            [
                "q.weight/rounded",
                "embedded",
                "cos/scaled",
                "norm",
                "q",
                "r/exact/cos",
                "r/exact/sin",
                "r",
                "silu"
            ]
        );
    }

    #[test]
    fn halves_of_another_kind_are_rounded() {
        let nodes = vec![
            node("Cast", &["q.weight"], "q.weight/cast"),
            node("Cast", &["score.weight"], "score/weight/cast"),
            node("Gemm", &["x", "q.weight/cast"], "q"),
        ];
        let half = ElementType::Float16;
        let weights = vec![weight("q.weight", half), weight("score.weight", half)];
        assert_eq!(rounded(nodes, weights), ["q.weight/cast", "q"]);
    }

    #[test]
    fn a_file_without_a_graph_is_refused() {
        let bytes = ModelProto::default().to_bytes();
        let error = round_to_bf16(&bytes, Path::new("stage.onnx")).unwrap_err();
        assert!(error.to_string().contains("has no graph"), "{error}");
    }
}
