//! Weights of a checkpoint, by name, as values of a graph.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    checkpoint::{Checkpoint, TensorEntry, adapter::Adapter},
    convert::{Encoding, FloatType, LowRank, Source, StageFile},
    error::{Error, Result},
    graph::{ExternalData, GraphBuilder, Value},
    op::onnx::cast,
    proto::ElementType,
};

/// Where the weights of a stage are.
#[derive(Debug)]
pub(crate) enum Storage<'a> {
    /// In the checkpoint's own files, which are called so where the graph looks for them.
    InPlace(&'a [String]),
    /// Converted to a type, in a new file.
    Converted(FloatType, StageFile),
}

/// Looks tensors up in a checkpoint, checks their shape and type, and remembers which were used.
#[derive(Debug)]
pub(crate) struct Weights<'a> {
    checkpoint: &'a Checkpoint,
    storage: Storage<'a>,
    adapter: Option<&'a Adapter>,
    compute: ElementType,
    used: BTreeMap<String, u64>,
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
            used: BTreeMap::new(),
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

    /// The tensors asked for so far, by name, with the bytes that they take in the bundle.
    pub(crate) fn into_used(self) -> BTreeMap<String, u64> {
        self.used
    }

    /// The new file, when there is one.
    pub(crate) fn into_file(self) -> Option<StageFile> {
        match self.storage {
            Storage::InPlace(_) => None,
            Storage::Converted(_, file) => Some(file),
        }
    }

    /// The tensor in the type that the graph computes in.
    pub(crate) fn get(&mut self, b: &mut GraphBuilder, name: &str, shape: &[u64]) -> Result<Value> {
        let stored = self.stored(b, name, shape)?;
        cast(b, &short_name(name, "cast"), &stored, self.compute)
    }

    /// The tensor in 32-bit floats. Converted weights keep it in those.
    pub(crate) fn get_float(
        &mut self,
        b: &mut GraphBuilder,
        name: &str,
        shape: &[u64],
    ) -> Result<Value> {
        let stored = match &self.storage {
            Storage::InPlace(_) => self.stored(b, name, shape)?,
            Storage::Converted(..) => self.converted(b, name, shape, FloatType::F32)?,
        };
        cast(b, &short_name(name, "cast"), &stored, ElementType::Float)
    }

    /// The tensor in the type that it is stored in.
    pub(crate) fn stored(
        &mut self,
        b: &mut GraphBuilder,
        name: &str,
        shape: &[u64],
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
                self.used.insert(name.to_owned(), data.length);
                b.weight(name, float.element(), shape, data)
            }
            Storage::Converted(float, _) => {
                let float = *float;
                self.converted(b, name, shape, float)
            }
        }
    }

    fn converted(
        &mut self,
        b: &mut GraphBuilder,
        name: &str,
        shape: &[u64],
        to: FloatType,
    ) -> Result<Value> {
        let source = self.source(name, shape)?;
        let encoding = match source.float == to && source.update.is_none() {
            true => Encoding::Copy,
            false => Encoding::Float(to),
        };
        let Storage::Converted(_, file) = &mut self.storage else {
            return Err(fault(name));
        };
        let mut tensors = file.allocate(source, encoding);
        let Some(tensor) = tensors.pop() else {
            return Err(fault(name));
        };
        self.used.insert(name.to_owned(), tensor.data.length);
        b.weight(name, to.element(), shape, tensor.data)
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

fn fault(name: &str) -> Error {
    Error::Graph {
        node: name.to_owned(),
        problem: "no file was made for this weight".into(),
    }
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
