//! What the ONNX parser of TensorRT 10.15 takes.
//!
//! Types and restrictions are those of `docs/operators.md` of onnx-tensorrt at that release, with two differences that
//! its sources show (`onnxOpImporters.cpp`, `AttentionHelpers.cpp`): `Attention` also takes operands of three
//! dimensions when it names its head counts, and an `is_causal` attention may not have a mask besides
//! (`INetworkDefinition::addAttention`).

use super::assignment::violation;
use crate::{
    proto::{
        NodeProto,
        view::{Source, View, attribute, float, int},
    },
    violation::Violation,
    vocabulary::Device,
};

pub(super) const ORIGIN: &str =
    "docs/operators.md of onnx-tensorrt, TensorRT 10.15, and its Attention importer";

const FLOATS: &[&str] = &["float", "float16", "bfloat16"];
const NUMBERS: &[&str] = &["float", "float16", "bfloat16", "int32", "int64"];
const ALL: &[&str] = &["float", "float16", "bfloat16", "int32", "int64", "bool"];
const QUANTIZED: &[&str] = &["int8", "int4", "float8e4m3fn", "float4e2m1"];
const BOOL: &[&str] = &["bool"];
const CASTS: &[&str] = &[
    "float", "float16", "bfloat16", "int32", "int64", "uint8", "bool",
];

/// The types of an operator's first operand, and those of its other operands when they may differ.
fn types(operator: &str) -> Option<&'static [&'static str]> {
    Some(match operator {
        "Attention" | "Ceil" | "Clip" | "Cos" | "CumSum" | "Einsum" | "Erf" | "Exp" | "Floor"
        | "Gelu" | "Gemm" | "LayerNormalization" | "MatMul" | "QuantizeLinear"
        | "RMSNormalization" | "Reciprocal" | "RotaryEmbedding" | "Round" | "Sigmoid" | "Sin"
        | "Softmax" | "Sqrt" | "Tanh" => FLOATS,
        "Abs" | "Add" | "ArgMax" | "Div" | "Equal" | "Greater" | "GreaterOrEqual" | "Less"
        | "LessOrEqual" | "Max" | "Min" | "Mod" | "Mul" | "Neg" | "Pow" | "Range" | "ReduceMax"
        | "ReduceMean" | "ReduceMin" | "ReduceSum" | "Relu" | "ScatterElements" | "ScatterND"
        | "Sign" | "Sub" => NUMBERS,
        "Concat" | "ConstantOfShape" | "Expand" | "Flatten" | "Gather" | "GatherElements"
        | "GatherND" | "Identity" | "Reshape" | "Shape" | "Size" | "Slice" | "Split"
        | "Squeeze" | "Tile" | "Transpose" | "Trilu" | "Unsqueeze" | "Where" => ALL,
        "And" | "Not" | "Or" => BOOL,
        "NonZero" => &["float", "float16"],
        "DequantizeLinear" => QUANTIZED,
        "Cast" => CASTS,
        _ => return None,
    })
}

/// Everything in the graph that the parser would refuse and, for a GPU, that has no kernel afterwards.
pub(super) fn check(view: &View<'_>, device: Device) -> Vec<Violation> {
    view.nodes()
        .iter()
        .filter_map(|node| {
            let problem = fault(view, node).or_else(|| match device {
                Device::Cuda => unfused(view, node),
                Device::Cpu => None,
            })?;
            Some(violation(node, problem))
        })
        .collect()
}

/// TensorRT runs an attention by a fused kernel or not at all, unless it is marked as decomposable, which standard ONNX
/// cannot say. Building an engine showed that it has none for 32-bit floats; see `docs/readiness.md`.
fn unfused(view: &View<'_>, node: &NodeProto) -> Option<String> {
    let is_float = node.op_type.as_deref() == Some("Attention")
        && has(node, 0).and_then(|query| element(view, query)) == Some("float");
    is_float.then(|| {
        "TensorRT has no attention kernel for float; export 16-bit weights for it".to_owned()
    })
}

fn fault(view: &View<'_>, node: &NodeProto) -> Option<String> {
    let op_type = node.op_type.as_deref().unwrap_or_default();
    let domain = node.domain.as_deref().unwrap_or_default();
    let types = match types(op_type) {
        Some(types) if domain.is_empty() => types,
        _ => return Some("TensorRT's parser does not take this operator".to_owned()),
    };
    wrong_type(view, node, types).or_else(|| match op_type {
        "Attention" => attention(view, node),
        "RotaryEmbedding" => has(node, 3)
            .filter(|ids| element(view, ids) != Some("int64"))
            .map(|_| "TensorRT takes int64 position ids only".to_owned()),
        "LayerNormalization" => (node.output.len() > 1)
            .then(|| "TensorRT gives this operator's first output only".to_owned()),
        "CumSum" | "Squeeze" | "Unsqueeze" | "ReduceMax" | "ReduceMean" | "ReduceMin"
        | "ReduceSum" => has(node, 1)
            .filter(|axes| !is_constant(view, axes))
            .map(|axes| format!("TensorRT needs the axes as a constant, and `{axes}` is computed")),
        "QuantizeLinear" | "DequantizeLinear" => has(node, 2)
            .filter(|zero| !is_zero(view, zero))
            .map(|zero| {
                format!("TensorRT needs zero points of 0, and `{zero}` is not known to be")
            }),
        _ => None,
    })
}

/// Looks at every operand that is of the operator's own types: not at the indices, shapes and conditions beside them.
fn wrong_type(view: &View<'_>, node: &NodeProto, types: &[&str]) -> Option<String> {
    let op_type = node.op_type.as_deref().unwrap_or_default();
    let inputs = &node.input;
    let own = match op_type {
        "Where" => inputs.get(1..),
        "Concat" | "Max" | "Min" | "Range" | "Gemm" | "MatMul" | "Attention" | "Add" | "Div"
        | "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "Mod" | "Mul"
        | "Sub" | "RMSNormalization" | "LayerNormalization" | "And" | "Or" => inputs.get(..),
        "RotaryEmbedding" => inputs.get(..3),
        // The type of a constant is that of the output.
        "ConstantOfShape" => node.output.get(..1),
        "Cast" => inputs
            .get(..1)
            .filter(|_| cast_from(view, node))
            .or(node.output.get(..1)),
        _ => inputs.get(..1),
    };
    let wrong = own
        .unwrap_or(inputs)
        .iter()
        .filter(|name| !name.is_empty())
        .filter(|name| op_type != "Attention" || inputs.get(3) != Some(name))
        .find_map(|name| {
            let element = element(view, name)?;
            (!types.contains(&element)).then_some((name, element))
        });
    wrong.map(|(name, element)| {
        format!(
            "TensorRT's parser takes {} here, and `{name}` is {element}",
            types.join(", ")
        )
    })
}

/// Whether the type that a cast starts from is at fault.
fn cast_from(view: &View<'_>, node: &NodeProto) -> bool {
    node.input
        .first()
        .and_then(|name| element(view, name))
        .is_some_and(|element| !CASTS.contains(&element))
}

fn attention(view: &View<'_>, node: &NodeProto) -> Option<String> {
    let outputs = node.output.iter().filter(|name| !name.is_empty()).count();
    if outputs != 1 || node.output.len() != 1 {
        return Some(format!(
            "TensorRT takes an attention with exactly one output, not {}",
            node.output.len()
        ));
    }
    if let Some(cache) = [4, 5, 6].into_iter().find_map(|index| has(node, index)) {
        return Some(format!(
            "TensorRT takes no past keys, values or lengths, and `{cache}` is given"
        ));
    }
    let causal = int(node, "is_causal").unwrap_or(0) != 0;
    if let Some(mask) = has(node, 3).filter(|_| causal) {
        return Some(format!(
            "TensorRT takes a mask or `is_causal`, not both, and `{mask}` is given"
        ));
    }
    if float(node, "softcap").is_some_and(|softcap| softcap != 0.0) {
        return Some("TensorRT takes no `softcap`".to_owned());
    }
    for name in ["qk_matmul_output_mode", "softmax_precision"] {
        if attribute(node, name).is_some() {
            return Some(format!("TensorRT takes no `{name}`"));
        }
    }
    let ranks: Vec<Option<usize>> = (0..3)
        .map(|index| {
            has(node, index)
                .and_then(|name| view.value(name))
                .and_then(|value| value.rank())
        })
        .collect();
    let heads = ["q_num_heads", "kv_num_heads"].map(|name| int(node, name).unwrap_or(0));
    match ranks.as_slice() {
        [Some(4), Some(4), Some(4)] => None,
        [Some(3), Some(3), Some(3)] if heads.iter().all(|&heads| heads > 0) => None,
        [Some(3), Some(3), Some(3)] => {
            Some("operands of three dimensions need `q_num_heads` and `kv_num_heads`".to_owned())
        }
        _ => Some(
            "TensorRT needs queries, keys and values of four dimensions each, or three".to_owned(),
        ),
    }
}

fn has(node: &NodeProto, index: usize) -> Option<&str> {
    node.input
        .get(index)
        .map(String::as_str)
        .filter(|name| !name.is_empty())
}

fn element(view: &View<'_>, name: &str) -> Option<&'static str> {
    view.value(name).map(|value| value.element)
}

/// Whether the value is stored in the graph and all zeros.
fn is_zero(view: &View<'_>, name: &str) -> bool {
    view.stored(name)
        .is_some_and(|bytes| bytes.iter().all(|&byte| byte == 0))
}

fn is_constant(view: &View<'_>, name: &str) -> bool {
    view.value(name)
        .is_some_and(|value| matches!(value.source, Source::Constant(_)))
}
