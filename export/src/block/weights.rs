//! Weights of a checkpoint, by name, as values of a graph.

use std::collections::BTreeSet;

use crate::{
    checkpoint::{Checkpoint, Dtype},
    error::{Error, Result},
    graph::{ExternalData, GraphBuilder, Value},
    op::onnx::cast,
    proto::ElementType,
};

/// Looks tensors up in a checkpoint, checks their shape and type, and remembers which were used.
#[derive(Debug)]
pub(crate) struct Weights<'a> {
    checkpoint: &'a Checkpoint,
    /// What each of the checkpoint's files is called where the graph looks for it.
    locations: &'a [String],
    compute: ElementType,
    used: BTreeSet<String>,
}

impl<'a> Weights<'a> {
    pub(crate) fn new(
        checkpoint: &'a Checkpoint,
        locations: &'a [String],
        compute: ElementType,
    ) -> Self {
        Self {
            checkpoint,
            locations,
            compute,
            used: BTreeSet::new(),
        }
    }

    /// Whether the checkpoint has a tensor of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.checkpoint.tensors().contains_key(name)
    }

    /// The names of all tensors asked for so far.
    pub(crate) fn into_used(self) -> BTreeSet<String> {
        self.used
    }

    /// The tensor in the type that the graph computes in.
    pub(crate) fn get(&mut self, b: &mut GraphBuilder, name: &str, shape: &[u64]) -> Result<Value> {
        self.get_as(b, name, shape, self.compute)
    }

    /// The tensor in a given type.
    pub(crate) fn get_as(
        &mut self,
        b: &mut GraphBuilder,
        name: &str,
        shape: &[u64],
        element: ElementType,
    ) -> Result<Value> {
        let stored = self.stored(b, name, shape)?;
        cast(b, &short_name(name, "cast"), &stored, element)
    }

    /// The tensor in the type that it is stored in.
    pub(crate) fn stored(
        &mut self,
        b: &mut GraphBuilder,
        name: &str,
        shape: &[u64],
    ) -> Result<Value> {
        let entry = self.checkpoint.tensor(name, shape)?;
        let element = match entry.dtype {
            Dtype::Bf16 => ElementType::BFloat16,
            Dtype::F16 => ElementType::Float16,
            Dtype::F32 => ElementType::Float,
            other => {
                return Err(Error::Tensor {
                    tensor: name.to_owned(),
                    file: self.file_name(entry.file),
                    problem: format!("has type {other:?}; expected BF16, F16 or F32"),
                });
            }
        };
        let location = self
            .locations
            .get(entry.file)
            .cloned()
            .unwrap_or_else(|| self.file_name(entry.file));
        self.used.insert(name.to_owned());
        let data = ExternalData {
            location,
            offset: entry.offset,
            length: entry.bytes,
        };
        b.weight(name, element, shape, data)
    }

    fn file_name(&self, file: usize) -> String {
        self.checkpoint
            .files()
            .get(file)
            .map(|file| file.name.clone())
            .unwrap_or_default()
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
