//! Weights of a checkpoint, by name, as values of a graph.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use worldpm_ort_bundle::{
    Error as BundleError,
    float_type::FloatType,
    graph::{ExternalData, GraphBuilder, Value},
    op::{
        onnx::cast,
        quantized::{BlockWeight, ChannelWeight, dequantize_blocks},
    },
    proto::ElementType,
};

use super::{pattern::matches, quantized_rows::QuantizedRows};
use crate::{
    checkpoint::{Checkpoint, TensorEntry, adapter::Adapter},
    convert::{Allocated, Bits, Blocks, Encoding, Layout, LowRank, Source, StageFile},
    error::{Error, Result},
};

/// Where the weights of a graph are.
#[derive(Debug)]
pub(crate) enum Storage<'a> {
    /// In the checkpoint's own files, which are called so where the graph looks for them.
    InPlace(&'a [String]),
    /// Converted, in a new file.
    Converted(&'a Conversion, StageFile),
}

/// What weights are converted to.
#[derive(Clone, Debug)]
pub(crate) struct Conversion {
    /// Type of the embedding, and of linear layers that are not quantised.
    pub(crate) large: FloatType,
    /// Type of norms and biases.
    pub(crate) small: FloatType,
    /// What linear layers are quantised to.
    pub(crate) quantized: Option<Quantized>,
    /// Patterns of the linear layers that are not.
    pub(crate) keep: Vec<String>,
}

/// Integers that stand for the weights of linear layers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Quantized {
    Blocks(Blocks),
    Channels,
}

/// The weight of a linear layer, as an operator takes it.
#[derive(Debug)]
pub(crate) enum Matrix {
    /// `[out, in]` in the type that the graph computes in.
    Float(Value),
    Blocks(BlockWeight),
    Channels(ChannelWeight),
}

/// What a model uses of its checkpoint.
#[derive(Debug, Default)]
pub(crate) struct Used {
    /// Tensors, with the bytes that they take in the bundle.
    pub(crate) tensors: BTreeMap<String, u64>,
    /// Linear layers, with whether they are quantised.
    pub(crate) linear: BTreeMap<String, bool>,
}

/// Looks tensors up in a checkpoint, checks their shape and type, and remembers which were used.
#[derive(Debug)]
pub(crate) struct Weights<'a> {
    checkpoint: &'a Checkpoint,
    storage: Storage<'a>,
    adapter: Option<&'a Adapter>,
    compute: ElementType,
    used: Used,
    /// The activations that were quantised, by the name of the value that they were made of.
    rows: HashMap<String, QuantizedRows>,
}

impl<'a> Weights<'a> {
    /// Weights for a graph that computes in type `compute`.
    pub(crate) fn new(
        checkpoint: &'a Checkpoint,
        storage: Storage<'a>,
        compute: ElementType,
    ) -> Self {
        Self {
            checkpoint,
            storage,
            adapter: None,
            compute,
            used: Used::default(),
            rows: HashMap::new(),
        }
    }

    /// The same weights with `adapter` merged into them, when there is one. They have to be converted ones.
    pub(crate) fn with_adapter(self, adapter: Option<&'a Adapter>) -> Self {
        Self { adapter, ..self }
    }

    /// The type that the graph computes in.
    pub(crate) fn compute(&self) -> ElementType {
        self.compute
    }

    /// Whether the checkpoint has a tensor of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.checkpoint.tensors().contains_key(name)
    }

    /// What was asked for, and the new file when there is one.
    pub(crate) fn finish(self) -> (Used, Option<StageFile>) {
        let file = match self.storage {
            Storage::InPlace(_) => None,
            Storage::Converted(_, file) => Some(file),
        };
        (self.used, file)
    }

    /// A norm or a bias in the type that the graph computes in.
    pub(crate) fn get(&mut self, b: &mut GraphBuilder, name: &str, shape: &[u64]) -> Result<Value> {
        let stored = self.load(b, name, shape, |conversion| conversion.small)?;
        Ok(cast(b, &short_name(name, "cast"), &stored, self.compute)?)
    }

    /// The tensor in 32-bit floats. Converted weights keep it in those.
    pub(crate) fn get_float(
        &mut self,
        b: &mut GraphBuilder,
        name: &str,
        shape: &[u64],
    ) -> Result<Value> {
        let stored = self.load(b, name, shape, |_| FloatType::F32)?;
        Ok(cast(
            b,
            &short_name(name, "cast"),
            &stored,
            ElementType::Float,
        )?)
    }

    /// A large tensor in the type that it is stored in.
    pub(crate) fn stored(
        &mut self,
        b: &mut GraphBuilder,
        name: &str,
        shape: &[u64],
    ) -> Result<Value> {
        self.load(b, name, shape, |conversion| conversion.large)
    }

    /// The weight `[width, input]` of the linear layer `module`.
    pub(crate) fn matrix(
        &mut self,
        b: &mut GraphBuilder,
        module: &str,
        width: u64,
        input: u64,
    ) -> Result<Matrix> {
        let (name, shape) = (format!("{module}.weight"), [width, input]);
        let quantized = match &self.storage {
            Storage::InPlace(_) => None,
            Storage::Converted(conversion, _) => conversion.quantized.filter(|_| {
                !conversion
                    .keep
                    .iter()
                    .any(|pattern| matches(pattern, module))
            }),
        };
        self.used
            .linear
            .insert(module.to_owned(), quantized.is_some());
        match quantized {
            None => {
                let stored = self.stored(b, &name, &shape)?;
                Ok(Matrix::Float(cast(
                    b,
                    &short_name(&name, "cast"),
                    &stored,
                    self.compute,
                )?))
            }
            Some(Quantized::Blocks(blocks)) => self.in_blocks(b, &name, &shape, blocks),
            Some(Quantized::Channels) => {
                let tensors = self.allocate(self.source(&name, &shape)?, Encoding::Channels)?;
                let [integers, scales, zero_points] = tensors.as_slice() else {
                    return Err(fault(&name));
                };
                Ok(Matrix::Channels(ChannelWeight {
                    integers: weight(b, integers, ElementType::Int8, &shape)?,
                    scales: weight(b, scales, ElementType::Float, &[width])?,
                    zero_points: weight(b, zero_points, ElementType::Int8, &[width])?,
                }))
            }
        }
    }

    fn in_blocks(
        &mut self,
        b: &mut GraphBuilder,
        name: &str,
        shape: &[u64; 2],
        blocks: Blocks,
    ) -> Result<Matrix> {
        let &[width, input] = shape;
        if blocks.layout == Layout::Signed && blocks.bits == Bits::Four && input % 2 == 1 {
            return Err(Error::Unsupported {
                what: format!("int4 for `{name}`, whose rows have {input} values,"),
                hint: "standard operators take rows of an even length; keep it with --keep, or give --target ort"
                    .into(),
            });
        }
        let tensors = self.allocate(self.source(name, shape)?, Encoding::Blocks(blocks))?;
        let [integers, scales, zero_points @ ..] = tensors.as_slice() else {
            return Err(fault(name));
        };
        let counts = [width, blocks.in_row(input)];
        let float = blocks.scale.element();
        match blocks.layout {
            Layout::Filled => {
                let bytes = blocks.size * blocks.bits.count() / 8;
                let packed = [width, blocks.in_row(input), bytes];
                let integers = weight(b, integers, ElementType::Uint8, &packed)?;
                let scales = weight(b, scales, float, &counts)?;
                let zero_bytes = [width, blocks.zero_point_bytes(input)];
                let zero_points = zero_points.first();
                Ok(Matrix::Blocks(BlockWeight {
                    bits: blocks.bits.count(),
                    block_size: blocks.size,
                    integers,
                    scales,
                    zero_points: zero_points
                        .map(|zeros| weight(b, zeros, ElementType::Uint8, &zero_bytes))
                        .transpose()?,
                }))
            }
            Layout::Signed => {
                let element = match blocks.bits {
                    Bits::Four => ElementType::Int4,
                    Bits::Eight => ElementType::Int8,
                };
                let integers = weight(b, integers, element, shape)?;
                let scales = weight(b, scales, float, &counts)?;
                let node = short_name(name, "float");
                let float = dequantize_blocks(b, &node, &integers, &scales, blocks.size)?;
                Ok(Matrix::Float(float))
            }
        }
    }

    /// The rows of `x` as 8-bit integers: made once, by nodes called after `node`, for all layers that read `x`.
    pub(crate) fn quantized_rows(
        &mut self,
        b: &mut GraphBuilder,
        node: &str,
        x: &Value,
    ) -> Result<QuantizedRows> {
        if let Some(rows) = self.rows.get(x.name()) {
            return Ok(rows.clone());
        }
        let rows = QuantizedRows::new(b, &format!("{node}/rows"), x)?;
        self.rows.insert(x.name().to_owned(), rows.clone());
        Ok(rows)
    }

    /// The tensor as it is stored, or will be: converted weights have the type that `to` picks.
    fn load(
        &mut self,
        b: &mut GraphBuilder,
        name: &str,
        shape: &[u64],
        to: impl FnOnce(&Conversion) -> FloatType,
    ) -> Result<Value> {
        match &self.storage {
            Storage::InPlace(locations) => {
                let (float, entry) = self.find(name, shape)?;
                let data = ExternalData {
                    location: match locations.get(entry.file) {
                        Some(location) => location.clone(),
                        None => self.file_name(entry.file),
                    },
                    offset: entry.offset,
                    length: entry.bytes,
                };
                self.used.tensors.insert(name.to_owned(), data.length);
                Ok(b.weight(name, float.element(), shape, data)?)
            }
            Storage::Converted(conversion, _) => {
                let to = to(conversion);
                let source = self.source(name, shape)?;
                let encoding = match source.float == to && source.update.is_none() {
                    true => Encoding::Copy,
                    false => Encoding::Float(to),
                };
                match self.allocate(source, encoding)?.as_slice() {
                    [tensor] => weight(b, tensor, to.element(), shape),
                    _ => Err(fault(name)),
                }
            }
        }
    }

    /// Places in the new file for what `encoding` makes of a tensor.
    fn allocate(&mut self, source: Source, encoding: Encoding) -> Result<Vec<Allocated>> {
        let name = source.tensor.clone();
        let Storage::Converted(_, file) = &mut self.storage else {
            return Err(fault(&name));
        };
        let tensors = file.allocate(source, encoding);
        let bytes = tensors.iter().map(|tensor| tensor.data.length).sum();
        self.used.tensors.insert(name, bytes);
        Ok(tensors)
    }

    fn source(&self, name: &str, shape: &[u64]) -> Result<Source> {
        let (float, entry) = self.find(name, shape)?;
        let mut source = Source {
            tensor: name.to_owned(),
            file: entry.file,
            offset: entry.offset,
            float,
            shape: shape.to_vec(),
            update: None,
        };
        let Some((adapter, change)) = self.adapter.and_then(|a| Some((a, a.change(name)?))) else {
            return Ok(source);
        };
        if let Some(tensor) = &change.replacement {
            // The adapter's file comes after the checkpoint's.
            source.file = self.checkpoint.files().len();
            source.offset = tensor.offset;
            source.float = FloatType::of(tensor.dtype).ok_or_else(|| fault(name))?;
        }
        if let Some(update) = &change.update {
            source.update = Some(Arc::new(LowRank::new(&adapter.weights(), update)));
        }
        Ok(source)
    }

    fn find(&self, name: &str, shape: &[u64]) -> Result<(FloatType, &'a TensorEntry)> {
        let entry = self.checkpoint.tensor(name, shape)?;
        match FloatType::of(entry.dtype) {
            Some(float) => Ok((float, entry)),
            None => Err(Error::Tensor {
                tensor: name.to_owned(),
                file: self.file_name(entry.file),
                problem: format!("has type {}; expected BF16, F16 or F32", entry.dtype),
            }),
        }
    }

    fn file_name(&self, file: usize) -> String {
        self.checkpoint
            .files()
            .get(file)
            .map(|file| file.name.clone())
            .unwrap_or_default()
    }
}

fn weight(
    b: &mut GraphBuilder,
    tensor: &Allocated,
    element: ElementType,
    shape: &[u64],
) -> Result<Value> {
    Ok(b.weight(&tensor.name, element, shape, tensor.data.clone())?)
}

fn fault(name: &str) -> Error {
    Error::Bundle(BundleError::Graph {
        node: name.to_owned(),
        problem: "no place was made for this weight".into(),
    })
}

/// `model.layers.3.mlp.up_proj.weight` → `up_proj.weight/cast`: the scope says the rest.
fn short_name(tensor: &str, suffix: &str) -> String {
    let mut parts = tensor.rsplitn(3, '.');
    let leaf = parts.next().unwrap_or(tensor);
    match parts.next() {
        Some(owner) => format!("{owner}.{leaf}/{suffix}"),
        None => format!("{leaf}/{suffix}"),
    }
}
