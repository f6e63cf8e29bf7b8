//! A finished graph, and its form as an ONNX model.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use super::value::{Dim, Value};
use crate::{
    error::{Error, Result},
    proto::{
        AttributeKind, AttributeProto, DimensionProto, GraphProto, IR_VERSION, ModelProto,
        NodeProto, OPSET, OperatorSetIdProto, StringStringEntryProto, TensorProto,
        TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
    },
};

/// Domain of the operators that ONNX Runtime adds to the standard ones.
pub const MICROSOFT_DOMAIN: &str = "com.microsoft";

/// A graph in topological order.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    pub(crate) name: String,
    pub(crate) inputs: Vec<Value>,
    pub(crate) outputs: Vec<Value>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) initializers: Vec<Initializer>,
}

/// One operation.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) op_type: &'static str,
    pub(crate) domain: &'static str,
    pub(crate) inputs: Vec<Option<Arc<str>>>,
    pub(crate) outputs: Vec<Value>,
    pub(crate) attributes: Vec<(&'static str, Attribute)>,
    /// How many initializers there were when it was added.
    pub(crate) initializers: usize,
}

/// The value of a node's attribute.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Attribute {
    Int(i64),
    Float(f32),
    Ints(&'static [i64]),
    Text(&'static str),
}

/// A weight or a constant.
#[derive(Clone, Debug)]
pub(crate) struct Initializer {
    pub(crate) value: Value,
    pub(crate) dims: Vec<u64>,
    pub(crate) data: InitializerData,
    /// Whether it was made for whichever node needs it first.
    pub(crate) shared: bool,
}

/// Where the bytes of an initializer are.
#[derive(Clone, Debug)]
pub(crate) enum InitializerData {
    /// In the graph file.
    Inline(Vec<u8>),
    /// In another file.
    External(ExternalData),
}

/// A range of bytes of a file beside the graph, or in the folder that the runtime names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalData {
    /// File name, without a folder.
    pub location: String,
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
}

impl Graph {
    /// Name of the graph.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Inputs, in order.
    #[must_use]
    pub fn inputs(&self) -> &[Value] {
        &self.inputs
    }

    /// Outputs, in order.
    #[must_use]
    pub fn outputs(&self) -> &[Value] {
        &self.outputs
    }

    /// The files that hold the graph's weights.
    #[must_use]
    pub fn data_files(&self) -> BTreeSet<&str> {
        let data = self
            .initializers
            .iter()
            .map(|initializer| &initializer.data);
        data.filter_map(|data| match data {
            InitializerData::Inline(_) => None,
            InitializerData::External(data) => Some(data.location.as_str()),
        })
        .collect()
    }

    /// Bytes of all weights that are kept in other files.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        self.initializers
            .iter()
            .map(|initializer| match &initializer.data {
                InitializerData::Inline(_) => 0,
                InitializerData::External(data) => data.length,
            })
            .sum()
    }

    /// The names of the weights that are kept in other files.
    pub fn weights(&self) -> impl Iterator<Item = &str> {
        self.initializers
            .iter()
            .filter(|initializer| matches!(initializer.data, InitializerData::External(_)))
            .map(|initializer| initializer.value.name())
    }

    /// Changes where the bytes of the weights are that are kept in other files. `change` is given the name of each.
    pub fn move_weights(&mut self, mut change: impl FnMut(&str, &mut ExternalData)) {
        for initializer in &mut self.initializers {
            if let InitializerData::External(data) = &mut initializer.data {
                change(&initializer.value.name, data);
            }
        }
    }

    /// Checks that the graph is well formed: every value is defined once and before its use, every
    /// initializer is used and has as many bytes as its shape says, and every output exists.
    ///
    /// # Errors
    /// [`Error::Graph`] names the node or the value at fault.
    pub fn check(&self) -> Result<()> {
        let fault = |node: &str, problem: String| {
            Err(Error::Graph {
                node: node.to_owned(),
                problem,
            })
        };
        let mut defined: HashSet<&str> = HashSet::new();
        let mut used: HashSet<&str> = HashSet::new();
        for initializer in &self.initializers {
            let name = initializer.value.name();
            defined.insert(name);
            let wanted = initializer
                .dims
                .iter()
                .try_fold(initializer.value.element.bits(), |n, &d| n.checked_mul(d))
                .map(|bits| bits.div_ceil(8));
            let length = match &initializer.data {
                InitializerData::Inline(bytes) => bytes.len() as u64,
                InitializerData::External(data) => data.length,
            };
            if wanted != Some(length) {
                return fault(
                    name,
                    format!("{length} bytes of data do not fill {}", initializer.value),
                );
            }
        }
        defined.extend(self.inputs.iter().map(Value::name));
        for node in &self.nodes {
            for input in node.inputs.iter().flatten() {
                if !defined.contains(&**input) {
                    return fault(
                        &node.name,
                        format!("input {input} is not defined before it"),
                    );
                }
                used.insert(input);
            }
            for output in &node.outputs {
                if !defined.insert(output.name()) {
                    return fault(
                        &node.name,
                        format!("output {} exists already", output.name()),
                    );
                }
            }
        }
        for output in &self.outputs {
            if !defined.contains(output.name()) {
                return fault(output.name(), "the output is not defined".into());
            }
            used.insert(output.name());
        }
        let idle = self
            .initializers
            .iter()
            .map(|initializer| &initializer.value)
            .chain(&self.inputs)
            .find(|value| !used.contains(value.name()));
        match idle {
            Some(value) => fault(value.name(), "nothing uses this value".into()),
            None => Ok(()),
        }
    }

    /// The bytes of the ONNX model file.
    #[must_use]
    pub fn to_onnx(&self) -> Vec<u8> {
        self.to_model().to_bytes()
    }

    /// The ONNX model, as messages.
    #[must_use]
    pub fn to_model(&self) -> ModelProto {
        let mut opset_import = vec![opset("", OPSET)];
        if self
            .nodes
            .iter()
            .any(|node| node.domain == MICROSOFT_DOMAIN)
        {
            opset_import.push(opset(MICROSOFT_DOMAIN, 1));
        }
        ModelProto {
            ir_version: Some(IR_VERSION),
            producer_name: Some("worldpm-ort".into()),
            producer_version: Some(env!("CARGO_PKG_VERSION").into()),
            graph: Some(GraphProto {
                node: self.nodes.iter().map(Node::to_proto).collect(),
                name: Some(self.name.clone()),
                initializer: self
                    .initializers
                    .iter()
                    .map(Initializer::to_proto)
                    .collect(),
                input: self.inputs.iter().map(value_info).collect(),
                output: self.outputs.iter().map(value_info).collect(),
                value_info: self.inner_values().map(value_info).collect(),
            }),
            opset_import,
            metadata_props: Vec::new(),
        }
    }

    fn inner_values(&self) -> impl Iterator<Item = &Value> {
        let outputs: HashSet<&str> = self.outputs.iter().map(Value::name).collect();
        self.nodes
            .iter()
            .flat_map(|node| &node.outputs)
            .filter(move |value| !outputs.contains(value.name()))
    }
}

impl Node {
    fn to_proto(&self) -> NodeProto {
        NodeProto {
            input: self
                .inputs
                .iter()
                .map(|input| input.as_deref().unwrap_or_default().to_owned())
                .collect(),
            output: self.outputs.iter().map(|v| v.name().to_owned()).collect(),
            name: Some(self.name.clone()),
            op_type: Some(self.op_type.into()),
            attribute: self
                .attributes
                .iter()
                .map(|(name, value)| value.to_proto(name))
                .collect(),
            domain: (!self.domain.is_empty()).then(|| self.domain.into()),
        }
    }
}

impl Attribute {
    fn to_proto(self, name: &str) -> AttributeProto {
        let mut attribute = AttributeProto {
            name: Some(name.into()),
            ..AttributeProto::default()
        };
        match self {
            Self::Int(value) => {
                attribute.set_type(AttributeKind::Int);
                attribute.i = Some(value);
            }
            Self::Float(value) => {
                attribute.set_type(AttributeKind::Float);
                attribute.f = Some(value);
            }
            Self::Ints(values) => {
                attribute.set_type(AttributeKind::Ints);
                attribute.ints = values.to_vec();
            }
            Self::Text(value) => {
                attribute.set_type(AttributeKind::Text);
                attribute.s = Some(value.into());
            }
        }
        attribute
    }
}

impl Initializer {
    fn to_proto(&self) -> TensorProto {
        let (raw_data, external_data, data_location) = match &self.data {
            InitializerData::Inline(bytes) => (Some(bytes.clone()), Vec::new(), None),
            InitializerData::External(data) => (
                None,
                vec![
                    entry("location", data.location.clone()),
                    entry("offset", data.offset.to_string()),
                    entry("length", data.length.to_string()),
                ],
                Some(1),
            ),
        };
        TensorProto {
            dims: self.dims.iter().map(|&size| size.cast_signed()).collect(),
            data_type: Some(self.value.element as i32),
            name: Some(self.value.name().to_owned()),
            raw_data,
            external_data,
            data_location,
        }
    }
}

fn opset(domain: &str, version: i64) -> OperatorSetIdProto {
    OperatorSetIdProto {
        domain: Some(domain.into()),
        version: Some(version),
    }
}

fn entry(key: &str, value: String) -> StringStringEntryProto {
    StringStringEntryProto {
        key: Some(key.into()),
        value: Some(value),
    }
}

fn value_info(value: &Value) -> ValueInfoProto {
    ValueInfoProto {
        name: Some(value.name().to_owned()),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type: Some(value.element as i32),
                shape: Some(TensorShapeProto {
                    dim: value.shape.iter().map(dimension).collect(),
                }),
            }),
        }),
    }
}

fn dimension(dim: &Dim) -> DimensionProto {
    match dim {
        Dim::Fixed(size) => DimensionProto {
            dim_value: Some(size.cast_signed()),
            dim_param: None,
        },
        Dim::Named(name) => DimensionProto {
            dim_value: None,
            dim_param: Some((*name).into()),
        },
    }
}
