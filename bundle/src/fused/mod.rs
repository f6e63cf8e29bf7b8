//! Graphs for the CPU in which nodes are replaced by operators that the runtime brings.
//!
//! ONNX Runtime's CPU provider multiplies no bfloat16 numbers: a graph casts each weight to floats. Its product with
//! integers in blocks makes integers of the activations too. And its attention computes every cell of every row, so the
//! queries of a shared prompt once for each row. The runtime has operators for all of these. [`fuse`] puts them in place of
//! the nodes that compute the same:
//!
//! | operator | in place of |
//! |---|---|
//! | [`LINEAR`], [`LINEAR_F16`] | `Cast` of a bfloat16 or half weight, `Gemm` |
//! | [`LINEAR_BLOCKS`] | `MatMulNBits` |
//! | [`LINEAR_ROWS`] | `QGemm` of rows made integers, `Mul` with their scales, `Add` of a bias |
//! | [`GATED`], [`GATED_F16`], [`GATED_BLOCKS`], [`GATED_ROWS`] | two of these with one input, the activation of one, `Mul` |
//! | [`MLP`], [`MLP_F16`], [`MLP_BLOCKS`], [`MLP_ROWS`] | one of these, and the linear layer that reads it |
//! | [`ATTENTION`] | three `Gather`s of rows, `GroupQueryAttention`, `Reshape`, `Gather` of cells |
//!
//! What does not have exactly that form stays as it is. A bundle always holds the plain graph.

mod attention;
mod gated;
mod linear;
mod mlp;
mod nodes;
mod operators;
mod replacement;

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

pub use self::operators::{
    ACTIVATION, ATTENTION, DOMAIN, EXACT, GATED, GATED_BLOCKS, GATED_F16, GATED_ROWS, GELU_TANH,
    LINEAR, LINEAR_BLOCKS, LINEAR_F16, LINEAR_ROWS, MLP, MLP_BLOCKS, MLP_F16, MLP_ROWS, SILU,
    ZERO_POINTS,
};
use self::{nodes::Nodes, operators::SHORT, replacement::Replacement};
use crate::{
    error::{Error, Result},
    proto::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto},
};

/// What a width of heads must be a multiple of.
const HEAD_MULTIPLE: usize = 16;
/// What is to be replaced, beside linear layers with integers, alone and gated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Linear layers with bfloat16 or half weights, alone and gated.
    pub floats: bool,
    /// [`ATTENTION`].
    pub attention: bool,
}

/// A graph with operators of the runtime.
#[derive(Clone, Debug)]
pub struct FusedGraph {
    /// The graph, as bytes of an ONNX file.
    pub bytes: Vec<u8>,
    /// How many linear layers were replaced, with those in gated ones, but for those of `rows`.
    pub products: usize,
    /// How many were that have integers with a scale for each row.
    pub rows: usize,
    /// How many attentions.
    pub attention: usize,
    /// Products that are left to ONNX Runtime.
    pub left: usize,
    /// Bytes of the weights of 16 bits that are used where they are, and not as floats.
    pub weight_bytes: u64,
}

/// Replaces what there is an operator for in the graph of the file `path`, whose bytes are given.
///
/// # Errors
/// [`Error::Model`] when it holds no ONNX graph.
pub fn fuse(bytes: &[u8], path: &Path, head_dim: usize, wanted: Wanted) -> Result<FusedGraph> {
    let mut model = ModelProto::from_bytes(bytes, path)?;
    let Some(graph) = &mut model.graph else {
        return Err(Error::Model {
            path: path.to_owned(),
            problem: "has no graph".into(),
        });
    };
    let mut products = replace(graph, linear::of_blocks);
    if wanted.floats {
        products += replace(graph, linear::of_floats);
    }
    let rows = replace(graph, linear::of_rows);
    if products + rows > 0 {
        replace(graph, gated::find);
        // What made integers of its outputs reads them, too.
        remove_unused(graph);
        replace(graph, mlp::find);
    }
    let attention = match wanted.attention && head_dim.is_multiple_of(HEAD_MULTIPLE) {
        true => replace(graph, attention::find),
        false => 0,
    };
    remove_unused(graph);
    let left = graph
        .node
        .iter()
        .filter(|node| {
            matches!(
                node.op_type.as_deref(),
                Some("Gemm" | "MatMulNBits" | "QGemm")
            )
        })
        .count();
    let weight_bytes = weight_bytes(graph);
    model.opset_import.push(OperatorSetIdProto {
        domain: Some(DOMAIN.into()),
        version: Some(1),
    });
    Ok(FusedGraph {
        bytes: model.to_bytes(),
        products,
        rows,
        attention,
        left,
        weight_bytes,
    })
}

fn weight_bytes(graph: &GraphProto) -> u64 {
    let own = graph
        .node
        .iter()
        .filter(|node| node.domain.as_deref() == Some(DOMAIN));
    let read: HashSet<&str> = own
        .flat_map(|node| &node.input)
        .map(String::as_str)
        .collect();
    let elements = |dims: &[i64]| {
        dims.iter().fold(1, |product: u64, &size| {
            product.saturating_mul(size.unsigned_abs())
        })
    };
    let read = graph
        .initializer
        .iter()
        .filter(|tensor| {
            SHORT
                .iter()
                .any(|&(element, _)| tensor.data_type == Some(element as i32))
        })
        .filter(|tensor| read.contains(tensor.name.as_deref().unwrap_or_default()));
    read.fold(0, |sum, tensor| {
        sum.saturating_add(elements(&tensor.dims).saturating_mul(2))
    })
}

/// Makes all replacements of one kind, and says how many there were.
fn replace(graph: &mut GraphProto, find: impl Fn(&Nodes<'_>) -> Vec<Replacement>) -> usize {
    let found = find(&Nodes::new(graph));
    let count = found.len();
    let mut at: HashMap<usize, NodeProto> = HashMap::new();
    let mut gone = HashSet::new();
    for Replacement { node, places } in found {
        if let Some(&last) = places.iter().max() {
            at.insert(last, node);
        }
        gone.extend(places);
    }
    let nodes = std::mem::take(&mut graph.node);
    graph.node = nodes
        .into_iter()
        .enumerate()
        .filter_map(|(place, node)| match at.remove(&place) {
            Some(new) => Some(new),
            None => (!gone.contains(&place)).then_some(node),
        })
        .collect();
    count
}

/// Nodes whose results nothing reads any more: casts of weights, and what made integers of activations.
fn remove_unused(graph: &mut GraphProto) {
    let outputs = graph.output.iter().filter_map(|output| output.name.clone());
    let mut read: HashSet<String> = outputs.collect();
    // What reads a value comes after what makes it.
    let mut kept = Vec::with_capacity(graph.node.len());
    for node in std::mem::take(&mut graph.node).into_iter().rev() {
        if node.output.iter().any(|name| read.contains(name)) {
            read.extend(node.input.iter().cloned());
            kept.push(node);
        }
    }
    kept.reverse();
    graph.node = kept;
}
