//! An ONNX model for looking at: nodes with the type, shape and source of every operand.

use std::collections::HashMap;

use super::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use crate::error::{Error, Result};

/// A model whose values are looked up by name.
#[derive(Debug)]
pub(crate) struct View<'a> {
    graph: &'a GraphProto,
    values: HashMap<&'a str, Value<'a>>,
    opset: i64,
}

/// What is known of a value.
#[derive(Clone, Debug)]
pub(crate) struct Value<'a> {
    /// Name of the element type, for example `bfloat16`.
    pub(crate) element: &'static str,
    /// Shape, when the model says.
    pub(crate) shape: Option<Vec<Size<'a>>>,
    pub(crate) source: Source,
}

impl Value<'_> {
    /// Number of dimensions, when the model says.
    pub(crate) fn rank(&self) -> Option<usize> {
        self.shape.as_ref().map(Vec::len)
    }
}

/// One dimension of a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size<'a> {
    Fixed(u64),
    /// Known at run time; the name says which sizes are the same.
    Named(&'a str),
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// It is fed at run time.
    Input,
    /// It is stored, with this many elements.
    Constant(u64),
    /// A node computes it.
    Node,
}

impl<'a> View<'a> {
    pub(crate) fn new(model: &'a ModelProto) -> Result<Self> {
        let graph = model.graph.as_ref().ok_or_else(|| Error::Graph {
            node: "(model)".into(),
            problem: "the model has no graph".into(),
        })?;
        let mut values = HashMap::new();
        for (infos, source) in [
            (&graph.value_info, Source::Node),
            (&graph.output, Source::Node),
            (&graph.input, Source::Input),
        ] {
            for info in infos {
                values.insert(name(info), described(info, source));
            }
        }
        for tensor in &graph.initializer {
            let value = Value {
                element: element_name(tensor.data_type.unwrap_or_default()),
                shape: Some(tensor.dims.iter().map(|&size| fixed(size)).collect()),
                source: Source::Constant(elements(tensor)),
            };
            values.insert(tensor.name.as_deref().unwrap_or_default(), value);
        }
        let opset = model
            .opset_import
            .iter()
            .find(|set| set.domain.as_deref().unwrap_or_default().is_empty())
            .and_then(|set| set.version)
            .unwrap_or_default();
        Ok(Self {
            graph,
            values,
            opset,
        })
    }

    pub(crate) fn nodes(&self) -> &'a [NodeProto] {
        &self.graph.node
    }

    /// Version of the standard operators.
    pub(crate) fn opset(&self) -> i64 {
        self.opset
    }

    pub(crate) fn graph(&self) -> &'a GraphProto {
        self.graph
    }

    pub(crate) fn value(&self, name: &str) -> Option<&Value<'a>> {
        self.values.get(name)
    }

    /// The bytes of a constant that is stored in the model.
    pub(crate) fn stored(&self, name: &str) -> Option<&'a [u8]> {
        self.graph
            .initializer
            .iter()
            .find(|tensor| tensor.name.as_deref() == Some(name))
            .and_then(|tensor| tensor.raw_data.as_deref())
    }

    /// Bytes of the constants that are stored in the model.
    pub(crate) fn inline_bytes(&self) -> u64 {
        self.graph
            .initializer
            .iter()
            .filter_map(|tensor| tensor.raw_data.as_ref())
            .map(|bytes| bytes.len() as u64)
            .sum()
    }
}

/// An attribute that is a whole number.
pub(crate) fn int(node: &NodeProto, name: &str) -> Option<i64> {
    attribute(node, name).and_then(|attribute| attribute.i)
}

/// An attribute that is a number.
pub(crate) fn float(node: &NodeProto, name: &str) -> Option<f32> {
    attribute(node, name).and_then(|attribute| attribute.f)
}

pub(crate) fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute
        .iter()
        .find(|attribute| attribute.name.as_deref() == Some(name))
}

/// `Gather`, or `com.microsoft.MatMulNBits`.
pub(crate) fn operator(node: &NodeProto) -> String {
    let op_type = node.op_type.as_deref().unwrap_or_default();
    match node.domain.as_deref().unwrap_or_default() {
        "" => op_type.to_owned(),
        domain => format!("{domain}.{op_type}"),
    }
}

fn name(info: &ValueInfoProto) -> &str {
    info.name.as_deref().unwrap_or_default()
}

fn described(info: &ValueInfoProto, source: Source) -> Value<'_> {
    let tensor = info.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
    let shape = tensor.and_then(|t| t.shape.as_ref()).map(|shape| {
        let sizes = shape.dim.iter().map(|dim| match dim.dim_value {
            Some(size) => fixed(size),
            None => Size::Named(dim.dim_param.as_deref().unwrap_or_default()),
        });
        sizes.collect()
    });
    Value {
        element: element_name(tensor.and_then(|t| t.elem_type).unwrap_or_default()),
        shape,
        source,
    }
}

fn fixed(size: i64) -> Size<'static> {
    Size::Fixed(size.max(0).unsigned_abs())
}

fn elements(tensor: &TensorProto) -> u64 {
    tensor.dims.iter().fold(1, |n: u64, &size| {
        n.saturating_mul(size.max(0).unsigned_abs())
    })
}

/// Bits of one element of a type.
pub(crate) fn element_bits(element: &str) -> u64 {
    match element {
        "double" | "int64" | "uint64" | "complex64" => 64,
        "float" | "int32" | "uint32" => 32,
        "float16" | "bfloat16" | "int16" | "uint16" => 16,
        "int4" | "uint4" | "float4e2m1" => 4,
        "complex128" => 128,
        _ => 8,
    }
}

/// The name of an `onnx.TensorProto.DataType`.
#[must_use]
pub fn element_name(code: i32) -> &'static str {
    const NAMES: [&str; 24] = [
        "undefined",
        "float",
        "uint8",
        "int8",
        "uint16",
        "int16",
        "int32",
        "int64",
        "string",
        "bool",
        "float16",
        "double",
        "uint32",
        "uint64",
        "complex64",
        "complex128",
        "bfloat16",
        "float8e4m3fn",
        "float8e4m3fnuz",
        "float8e5m2",
        "float8e5m2fnuz",
        "uint4",
        "int4",
        "float4e2m1",
    ];
    usize::try_from(code)
        .ok()
        .and_then(|index| NAMES.get(index).copied())
        .unwrap_or("undefined")
}
