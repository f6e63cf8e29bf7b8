//! Graphs for the CPU whose weights are made into floats before ONNX Runtime sees them: such a graph without its casts.
//!
//! ONNX Runtime's CPU provider has no bfloat16 arithmetic, so such a graph has a `Cast` behind every weight. ONNX
//! Runtime runs the casts when it loads the graph, one after the other, on one core, and holds both forms of a weight
//! while it does. [`FloatGraph`] takes the casts out: the weights become floats that the caller hands over, made by
//! [`FloatGraph::read_weights`] on all cores straight from the weight files.
//!
//! ONNX Runtime packs the constant weights of matrix products when it loads a graph, which copies each of them, and a
//! stage that is loaded for one wave is hardly worth that. So most weights are named as inputs of the graph too: such a
//! weight may be given another value, so it is no constant. Packed weights are summed in one order whatever the product's
//! other rows; without packing that holds only for weights that are wide enough, see [`sums_alike`].

mod weights;

use std::{
    collections::{HashMap, HashSet},
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

pub use self::weights::FloatWeight;
use self::weights::{inline, read, weight};
use crate::{
    error::{Error, Result},
    float_type::FloatType,
    proto::{
        DimensionProto, ElementType, GraphProto, ModelProto, StringStringEntryProto, TensorProto,
        TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto, view,
    },
};

/// The operators that multiply by integers.
const QUANTISED: [&str; 2] = ["MatMulNBits", "QGemm"];
/// `onnx.TensorProto.DataLocation`: the bytes are in another file.
const EXTERNAL: i32 = 1;

/// A graph without casts of weights, and the weights that it wants instead.
///
/// Vectors (norms, biases) are in the graph itself, where optimisers may read them. Matrices are not: the caller
/// provides their data.
#[derive(Clone, Debug)]
pub struct FloatGraph {
    /// The graph, as bytes of an ONNX file.
    pub bytes: Vec<u8>,
    /// The matrices that were cast: the graph has an initializer of each name and shape.
    pub weights: Vec<FloatWeight>,
    /// Where their files are.
    folder: PathBuf,
}

/// Whether a product with a weight of `columns` outputs that is not packed sums every row alike, on `threads` threads.
///
/// The CPU provider's product of floats gives each thread a range of columns, in blocks of 16, and how many threads take
/// part depends on the number of rows. A range of more than 64 columns is summed over 128 elements at a time, a narrower
/// one over 256 or more, which rounds differently.
#[must_use]
pub fn sums_alike(columns: usize, threads: NonZeroUsize) -> bool {
    const BLOCK: usize = 16;
    const NARROW: usize = 64;
    let blocks = columns.div_ceil(BLOCK);
    let fewest = blocks / threads.get().min(blocks.max(1)) * BLOCK;
    // The last block may have fewer.
    fewest > NARROW + (blocks * BLOCK - columns)
}

impl FloatGraph {
    /// Takes the casts of weights out of the graph in the file `path`, whose weights are in `folder`. A graph without any
    /// is as it was. It is for a session that computes on up to `threads` threads.
    ///
    /// # Errors
    /// [`Error::Io`] when a file cannot be read, [`Error::Model`] when it holds no ONNX model or one whose weights
    /// have no place in a file.
    pub fn read(path: &Path, folder: &Path, threads: NonZeroUsize) -> Result<Self> {
        Self::of(ModelProto::read(path)?, path, folder, threads)
    }

    /// As [`read`](Self::read), for the bytes of the file.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn from_bytes(
        bytes: &[u8],
        path: &Path,
        folder: &Path,
        threads: NonZeroUsize,
    ) -> Result<Self> {
        Self::of(ModelProto::from_bytes(bytes, path)?, path, folder, threads)
    }

    fn of(
        mut model: ModelProto,
        path: &Path,
        folder: &Path,
        threads: NonZeroUsize,
    ) -> Result<Self> {
        let fault = |problem: String| Error::Model {
            path: path.to_owned(),
            problem,
        };
        let Some(graph) = &mut model.graph else {
            return Err(fault("has no graph".into()));
        };
        let quantised = graph
            .node
            .iter()
            .filter_map(|node| node.op_type.as_deref())
            .any(|operator| QUANTISED.contains(&operator));
        let is_cast = |node: &crate::proto::NodeProto| {
            node.op_type.as_deref() == Some("Cast")
                && view::int(node, "to") == Some(ElementType::Float as i64)
        };
        let mut kept: HashSet<&str> = graph
            .node
            .iter()
            .filter(|node| !is_cast(node))
            .flat_map(|node| &node.input)
            .map(String::as_str)
            .collect();
        kept.extend(
            graph
                .output
                .iter()
                .filter_map(|value| value.name.as_deref()),
        );
        let stored: HashMap<&str, (&TensorProto, FloatType)> = graph
            .initializer
            .iter()
            .filter_map(|tensor| {
                let name = tensor.name.as_deref()?;
                let movable = tensor.data_location == Some(EXTERNAL) && !kept.contains(name);
                Some((name, (tensor, half(tensor).filter(|_| movable)?)))
            })
            .collect();
        let mut weights = Vec::new();
        let mut initializers = Vec::new();
        let mut taken = HashSet::new();
        let mut casts = HashSet::new();
        for (index, node) in graph
            .node
            .iter()
            .enumerate()
            .filter(|(_, node)| is_cast(node))
        {
            let ([from], [to]) = (node.input.as_slice(), node.output.as_slice()) else {
                continue;
            };
            let Some((tensor, float)) = stored.get(from.as_str()) else {
                continue;
            };
            let weight = weight(tensor, *float, to, folder).map_err(|problem| {
                fault(format!(
                    "tensor `{from}`: {problem}; export the checkpoint again"
                ))
            })?;
            if weight.shape.len() < 2 {
                initializers.push(inline(&weight, folder)?);
            } else {
                initializers.push(as_float(tensor, to));
                weights.push(weight);
            }
            casts.insert(index);
            taken.insert(from.clone());
        }
        drop((kept, stored));
        let mut index = 0;
        graph.node.retain(|_| {
            index += 1;
            !casts.contains(&(index - 1))
        });
        graph
            .initializer
            .retain(|tensor| !taken.contains(tensor.name.as_deref().unwrap_or_default()));
        graph.initializer.extend(initializers);
        // The kernels of integers need packed weights, and such a graph has few floats besides.
        if !quantised {
            let unpacked = unpacked(graph, threads);
            for weight in &mut weights {
                weight.packed = !unpacked.contains(&weight.name);
            }
            let inputs = weights.iter().filter(|weight| !weight.packed).map(input);
            graph.input.extend(inputs);
        }
        Ok(Self {
            bytes: model.to_bytes(),
            weights,
            folder: folder.to_owned(),
        })
    }

    /// Bytes of the copies that ONNX Runtime makes of weights.
    #[must_use]
    pub fn packed_bytes(&self) -> u64 {
        let packed = self.weights.iter().filter(|weight| weight.packed);
        packed.map(|weight| weight.elements() as u64 * 4).sum()
    }

    /// The weights as floats, in the order of [`weights`](Self::weights), read and converted on `threads` threads.
    ///
    /// # Memory
    /// Besides the floats, a megabyte for each thread.
    ///
    /// # Errors
    /// [`Error::Io`] when a file cannot be opened or read.
    pub fn read_weights(&self, threads: NonZeroUsize) -> Result<Vec<Vec<f32>>> {
        read(&self.weights, &self.folder, threads)
    }
}

/// The weights of products that sum alike without packing.
fn unpacked(graph: &GraphProto, threads: NonZeroUsize) -> HashSet<String> {
    let columns: HashMap<&str, usize> = graph
        .initializer
        .iter()
        .filter_map(|tensor| {
            let columns = usize::try_from(*tensor.dims.first()?).ok()?;
            Some((tensor.name.as_deref()?, columns))
        })
        .collect();
    let mut unpacked = HashSet::new();
    let mut others = HashSet::new();
    for node in &graph.node {
        let transposed =
            node.op_type.as_deref() == Some("Gemm") && view::int(node, "transB") == Some(1);
        for (at, name) in node.input.iter().enumerate() {
            let alike = |columns: &usize| sums_alike(*columns, threads);
            let is_wide = transposed && at == 1 && columns.get(name.as_str()).is_some_and(alike);
            match is_wide {
                true => unpacked.insert(name.clone()),
                false => others.insert(name.as_str()),
            };
        }
    }
    unpacked.retain(|name| !others.contains(name.as_str()));
    unpacked
}

/// The input of a graph that a weight is named as.
fn input(weight: &FloatWeight) -> ValueInfoProto {
    let dimension = |&size: &usize| DimensionProto {
        dim_value: Some(size as i64),
        ..DimensionProto::default()
    };
    ValueInfoProto {
        name: Some(weight.name.clone()),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type: Some(ElementType::Float as i32),
                shape: Some(TensorShapeProto {
                    dim: weight.shape.iter().map(dimension).collect(),
                }),
            }),
        }),
    }
}

/// The 16-bit type of a tensor, when it has one.
fn half(tensor: &TensorProto) -> Option<FloatType> {
    [FloatType::Bf16, FloatType::F16]
        .into_iter()
        .find(|float| tensor.data_type == Some(float.element() as i32))
}

/// The initializer that stands for a cast. It refers to the stored bytes, which are never read through it.
fn as_float(tensor: &TensorProto, name: &str) -> TensorProto {
    let elements: i64 = tensor.dims.iter().product();
    let mut float = TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(ElementType::Float as i32),
        ..tensor.clone()
    };
    float
        .external_data
        .retain(|entry| entry.key.as_deref() != Some("length"));
    float.external_data.push(StringStringEntryProto {
        key: Some("length".into()),
        value: Some((elements * 4).to_string()),
    });
    float
}

#[cfg(test)]
mod tests;
