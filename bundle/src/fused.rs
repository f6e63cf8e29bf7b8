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
//! | [`GATED`], [`GATED_F16`], [`GATED_BLOCKS`] | two of these with one input, the activation of one, `Mul` |
//! | [`ATTENTION`] | three `Gather`s of rows, `GroupQueryAttention`, `Reshape`, `Gather` of cells |
//!
//! What does not have exactly that form stays as it is. A bundle always holds the plain graph.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use crate::{
    error::{Error, Result},
    proto::{
        AttributeKind, AttributeProto, ElementType, GraphProto, ModelProto, NodeProto,
        OperatorSetIdProto,
        view::{attribute, float, int},
    },
};

/// Domain of the runtime's operators.
pub const DOMAIN: &str = "worldpm_ort";
/// `x . weight + bias`: `x` `[T, inner]` float, `weight` `[width, inner]` bfloat16, `bias` `[width]` float or none. The
/// attribute [`EXACT`].
pub const LINEAR: &str = "Linear";
/// [`LINEAR`] with a half weight.
pub const LINEAR_F16: &str = "LinearF16";
/// [`LINEAR`] with a weight as `MatMulNBits` has it: `x`, integers, scales, zero points, bias or none. The attributes
/// [`EXACT`], `bits`, `block_size` and [`ZERO_POINTS`].
pub const LINEAR_BLOCKS: &str = "LinearBlocks";
/// `activation(x . gate + gate bias) * (x . up + up bias)`: `x`, `gate`, `up`, and the biases or none. The attribute
/// [`ACTIVATION`].
pub const GATED: &str = "GatedLinear";
/// [`GATED`] with half weights.
pub const GATED_F16: &str = "GatedLinearF16";
/// [`GATED`] with weights as `MatMulNBits` has them: `x`, integers and scales of `gate`, those of `up`, the zero points of
/// both, the biases of both or none. The attributes [`ACTIVATION`], `bits`, `block_size` and [`ZERO_POINTS`].
pub const GATED_BLOCKS: &str = "GatedLinearBlocks";
/// Attention: queries, keys and values `[T, heads * size]`, the packed token of each cell `[B, S]`, the cells that attend
/// `[n]`. The attributes of `GroupQueryAttention`.
pub const ATTENTION: &str = "PackedAttention";
/// Whether a product is part of the reward head, which is always computed as exactly as floats are.
pub const EXACT: &str = "exact";
/// Whether a weight has zero points. Without them the integers stand in their place, for nothing: ONNX Runtime 1.23 crashes
/// at an operator of another library that leaves an input out before one that is there.
pub const ZERO_POINTS: &str = "zero_points";
/// [`SILU`] or [`GELU_TANH`].
pub const ACTIVATION: &str = "activation";
/// `x * sigmoid(x)`.
pub const SILU: i64 = 0;
/// Gelu by its approximation with a hyperbolic tangent.
pub const GELU_TANH: i64 = 1;

/// The linear layers, and the gated form of each.
const FORMS: [(&str, &str); 3] = [
    (LINEAR, GATED),
    (LINEAR_F16, GATED_F16),
    (LINEAR_BLOCKS, GATED_BLOCKS),
];
/// What linear layers with blocks say of them.
const BLOCK_ATTRIBUTES: [&str; 3] = ["bits", "block_size", ZERO_POINTS];
/// What blocks of integers must be a multiple of.
const BLOCK_MULTIPLE: i64 = 32;
/// What a width of heads must be a multiple of.
const HEAD_MULTIPLE: usize = 16;
/// Weights of 16 bits, and their linear layer.
const SHORT: [(ElementType, &str); 2] = [
    (ElementType::BFloat16, LINEAR),
    (ElementType::Float16, LINEAR_F16),
];
/// The attributes of `GroupQueryAttention` that are known here.
const ATTENTION_ATTRIBUTES: [&str; 6] = [
    "do_rotary",
    "num_heads",
    "kv_num_heads",
    "scale",
    "softcap",
    "local_window_size",
];

/// What is to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Linear layers, alone and gated.
    pub products: bool,
    /// [`ATTENTION`].
    pub attention: bool,
}

/// A graph with operators of the runtime.
#[derive(Clone, Debug)]
pub struct FusedGraph {
    /// The graph, as bytes of an ONNX file.
    pub bytes: Vec<u8>,
    /// How many linear layers were replaced, with those in gated ones.
    pub products: usize,
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
    let mut products = 0;
    let mut attention = 0;
    if wanted.products {
        products = replace(graph, |nodes| nodes.linear());
        replace(graph, |nodes| nodes.gated());
    }
    if wanted.attention && head_dim.is_multiple_of(HEAD_MULTIPLE) {
        attention = replace(graph, |nodes| nodes.attention());
    }
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

/// A node, and the places of those that it replaces. It goes to the place of the last one.
struct Replacement {
    node: NodeProto,
    places: Vec<usize>,
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

/// Casts of weights whose result nothing reads any more.
fn remove_unused(graph: &mut GraphProto) {
    let read: HashSet<String> = graph
        .node
        .iter()
        .flat_map(|node| node.input.iter().cloned())
        .chain(graph.output.iter().filter_map(|output| output.name.clone()))
        .collect();
    graph.node.retain(|node| {
        node.op_type.as_deref() != Some("Cast")
            || node.output.iter().any(|name| read.contains(name))
    });
}

/// The nodes of a graph, by what they make and read.
struct Nodes<'a> {
    graph: &'a GraphProto,
    makers: HashMap<&'a str, usize>,
    readers: HashMap<&'a str, Vec<usize>>,
    /// Types of the constants.
    constants: HashMap<&'a str, (i32, usize)>,
    outputs: HashSet<&'a str>,
}

impl<'a> Nodes<'a> {
    fn new(graph: &'a GraphProto) -> Self {
        let mut makers = HashMap::new();
        let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
        for (place, node) in graph.node.iter().enumerate() {
            for name in node.output.iter().filter(|name| !name.is_empty()) {
                makers.insert(name.as_str(), place);
            }
            for name in node.input.iter().filter(|name| !name.is_empty()) {
                readers.entry(name).or_default().push(place);
            }
        }
        let constants = graph.initializer.iter().filter_map(|tensor| {
            let kind = (tensor.data_type?, tensor.dims.len());
            Some((tensor.name.as_deref()?, kind))
        });
        Self {
            makers,
            readers,
            constants: constants.collect(),
            outputs: graph
                .output
                .iter()
                .filter_map(|output| output.name.as_deref())
                .collect(),
            graph,
        }
    }

    /// The node that makes a value, when it is such an operator, and its place.
    fn maker(&self, name: &str, operator: &str) -> Option<(usize, &'a NodeProto)> {
        let place = *self.makers.get(name)?;
        let node = &self.graph.node[place];
        (node.op_type.as_deref() == Some(operator)).then_some((place, node))
    }

    /// The one node that reads a value, when it is such an operator.
    fn reader(&self, name: &str, operator: &str) -> Option<(usize, &'a NodeProto)> {
        let place = self.only_reader(name)?;
        let node = &self.graph.node[place];
        (node.op_type.as_deref() == Some(operator)).then_some((place, node))
    }

    fn only_reader(&self, name: &str) -> Option<usize> {
        match self.readers.get(name).map(Vec::as_slice) {
            Some(&[place]) if !self.outputs.contains(name) => Some(place),
            _ => None,
        }
    }

    /// Nodes of an operator.
    fn all(&self, operator: &str) -> impl Iterator<Item = (usize, &'a NodeProto)> {
        let nodes = self.graph.node.iter().enumerate();
        nodes.filter(move |(_, node)| node.op_type.as_deref() == Some(operator))
    }

    /// Whether a value is a constant of this type and number of dimensions.
    fn is_constant(&self, name: &str, element: ElementType, dimensions: usize) -> bool {
        self.constants.get(name) == Some(&(element as i32, dimensions))
    }

    fn linear(&self) -> Vec<Replacement> {
        let floats = self
            .all("Gemm")
            .filter_map(|(place, gemm)| self.linear_of(place, gemm));
        let blocks = self
            .all("MatMulNBits")
            .filter_map(|(place, product)| self.linear_of_blocks(place, product));
        floats.chain(blocks).collect()
    }

    fn linear_of(&self, place: usize, gemm: &NodeProto) -> Option<Replacement> {
        let plain = int(gemm, "transB") == Some(1)
            && int(gemm, "transA").unwrap_or(0) == 0
            && float(gemm, "alpha").is_none_or(|alpha| alpha == 1.0)
            && float(gemm, "beta").is_none_or(|beta| beta == 1.0);
        let (_, cast) = self.maker(gemm.input.get(1)?, "Cast")?;
        let weight = cast.input.first()?;
        let (_, operator) = SHORT
            .into_iter()
            .find(|&(element, _)| self.is_constant(weight, element, 2))?;
        if !plain || int(cast, "to") != Some(ElementType::Float as i64) {
            return None;
        }
        let mut input = vec![gemm.input.first()?.clone(), weight.clone()];
        input.extend(gemm.input.get(2).cloned());
        let exact = integer(EXACT, (!weight.contains("layers.")).into());
        Some(Replacement {
            node: node(operator, gemm, input, vec![exact]),
            places: vec![place],
        })
    }

    fn linear_of_blocks(&self, place: usize, product: &NodeProto) -> Option<Replacement> {
        let part = |at: usize| product.input.get(at).map_or("", String::as_str);
        let (bits, block_size) = (int(product, "bits")?, int(product, "block_size")?);
        let fits = self.is_constant(part(1), ElementType::Uint8, 3)
            && self.is_constant(part(2), ElementType::Float, 2)
            && (part(3).is_empty() || self.is_constant(part(3), ElementType::Uint8, 2))
            && part(4).is_empty()
            && matches!(bits, 4 | 8)
            && block_size > 0
            && block_size % BLOCK_MULTIPLE == 0;
        if !fits {
            return None;
        }
        let has_zero_points = !part(3).is_empty();
        let zero_points = if has_zero_points { 3 } else { 1 };
        let input = [0, 1, 2, zero_points, 5].map(|at| part(at).to_owned());
        let attributes = vec![
            integer(EXACT, (!part(1).contains("layers.")).into()),
            integer("bits", bits),
            integer("block_size", block_size),
            integer(ZERO_POINTS, has_zero_points.into()),
        ];
        Some(Replacement {
            node: node(LINEAR_BLOCKS, product, input.into(), attributes),
            places: vec![place],
        })
    }

    /// The linear layer that makes a value, its place, and its gated form.
    fn linear_maker(&self, name: &str) -> Option<(usize, &'a NodeProto, &'static str)> {
        FORMS.into_iter().find_map(|(linear, gated)| {
            let (place, node) = self.maker(name, linear)?;
            Some((place, node, gated))
        })
    }

    fn gated(&self) -> Vec<Replacement> {
        self.all("Mul")
            .filter_map(|(place, product)| self.gate_of(place, product))
            .collect()
    }

    fn gate_of(&self, place: usize, product: &NodeProto) -> Option<Replacement> {
        let [activated, up] = product.input.as_slice() else {
            return None;
        };
        let (up_place, up_node, operator) = self.linear_maker(up)?;
        self.only_reader(up)?;
        self.only_reader(activated)?;
        let mut places = vec![place, up_place];
        let (gate, activation) = match self.maker(activated, "Gelu") {
            Some((gelu_place, gelu)) => {
                let form = attribute(gelu, "approximate").and_then(|form| form.s.as_deref());
                if form != Some(b"tanh") {
                    return None;
                }
                places.push(gelu_place);
                let gate = gelu.input.first()?;
                self.only_reader(gate)?;
                (gate, GELU_TANH)
            }
            None => {
                let (silu_place, silu) = self.maker(activated, "Mul")?;
                let [gate, sigmoid] = silu.input.as_slice() else {
                    return None;
                };
                let (sigmoid_place, node) = self.maker(sigmoid, "Sigmoid")?;
                self.only_reader(sigmoid)?;
                let readers = self.readers.get(gate.as_str())?;
                if node.input.first() != Some(gate)
                    || readers.len() != 2
                    || self.outputs.contains(gate.as_str())
                {
                    return None;
                }
                places.extend([silu_place, sigmoid_place]);
                (gate, SILU)
            }
        };
        let (gate_place, gate_node, gate_operator) = self.linear_maker(gate)?;
        places.push(gate_place);
        let same = |name: &str| int(gate_node, name) == int(up_node, name);
        // Both have a bias, or none: no input is left out before one that is there.
        let alike = operator == gate_operator
            && BLOCK_ATTRIBUTES.into_iter().all(same)
            && gate_node.input.len() == up_node.input.len();
        // Gates of the head, were there any, would not be computed as exactly.
        let in_layers = [gate_node, up_node]
            .iter()
            .all(|node| int(node, EXACT) == Some(0));
        if gate_node.input.first() != up_node.input.first() || !alike || !in_layers {
            return None;
        }
        let both = |places: &[usize]| {
            let part =
                |node: &NodeProto, at: usize| node.input.get(at).cloned().unwrap_or_default();
            let parts = places
                .iter()
                .map(|&at| [part(gate_node, at), part(up_node, at)]);
            parts.collect::<Vec<_>>()
        };
        let mut input = vec![up_node.input.first()?.clone()];
        let mut attributes = vec![integer(ACTIVATION, activation)];
        if operator == GATED_BLOCKS {
            let [integers, scales] = <[_; 2]>::try_from(both(&[1, 2])).ok()?;
            let ([gate, up], [gate_scales, up_scales]) = (integers, scales);
            input.extend([gate, gate_scales, up, up_scales]);
            input.extend(both(&[3, 4]).into_iter().flatten());
            for name in BLOCK_ATTRIBUTES {
                attributes.push(integer(name, int(up_node, name)?));
            }
        } else {
            input.extend(both(&[1, 2]).into_iter().flatten());
        }
        Some(Replacement {
            node: node(operator, product, input, attributes),
            places,
        })
    }

    fn attention(&self) -> Vec<Replacement> {
        let found = self
            .all("GroupQueryAttention")
            .filter_map(|(place, attention)| self.attention_at(place, attention));
        found.collect()
    }

    fn attention_at(&self, place: usize, attention: &NodeProto) -> Option<Replacement> {
        let known = attention.attribute.iter().all(|attribute| {
            let name = attribute.name.as_deref().unwrap_or_default();
            ATTENTION_ATTRIBUTES.contains(&name)
        });
        let (operands, rest) = attention.input.split_at_checked(3)?;
        // Past keys and values, and what is given after the row lengths.
        let has_past = rest.iter().take(2).any(|name| !name.is_empty());
        let has_more = rest.iter().skip(4).any(|name| !name.is_empty());
        let (out, present) = attention.output.split_first()?;
        let is_read = present
            .iter()
            .any(|name| self.readers.contains_key(name.as_str()));
        if !known
            || has_past
            || has_more
            || is_read
            || int(attention, "do_rotary").unwrap_or(0) != 0
        {
            return None;
        }
        let mut places = vec![place];
        let mut input = Vec::new();
        let mut rows = None;
        for operand in operands {
            let (place, gather) = self.maker(operand, "Gather")?;
            self.only_reader(operand)?;
            let [packed, indices] = gather.input.as_slice() else {
                return None;
            };
            if int(gather, "axis").unwrap_or(0) != 0 || *rows.get_or_insert(indices) != indices {
                return None;
            }
            places.push(place);
            input.push(packed.clone());
        }
        let (reshape_place, reshape) = self.reader(out, "Reshape")?;
        let (gather_place, gather) = self.reader(reshape.output.first()?, "Gather")?;
        let [flat, cells] = gather.input.as_slice() else {
            return None;
        };
        if int(gather, "axis").unwrap_or(0) != 0 || Some(flat) != reshape.output.first() {
            return None;
        }
        places.extend([reshape_place, gather_place]);
        input.extend([rows?.clone(), cells.clone()]);
        Some(Replacement {
            node: node(ATTENTION, gather, input, attention.attribute.clone()),
            places,
        })
    }
}

/// A node of the runtime's domain that makes what `of` made.
fn node(
    operator: &str,
    of: &NodeProto,
    mut input: Vec<String>,
    attribute: Vec<AttributeProto>,
) -> NodeProto {
    // Operands at the end that are not there are not named.
    while input.last().is_some_and(String::is_empty) {
        input.pop();
    }
    NodeProto {
        input,
        output: of.output.clone(),
        name: of.name.clone(),
        op_type: Some(operator.into()),
        attribute,
        domain: Some(DOMAIN.into()),
    }
}

fn integer(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        i: Some(value),
        r#type: Some(AttributeKind::Int as i32),
        ..AttributeProto::default()
    }
}
