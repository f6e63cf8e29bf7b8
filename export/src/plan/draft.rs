//! A model as an export would have it, before it is divided into stages.

use worldpm_ort_bundle::{
    Device,
    cost::{Costs, RunSizes},
    manifest::Quantization,
    proto::ModelProto,
};

use super::{
    assign::{PlacedStage, assign_layers},
    format::Format,
    weights::PlannedWeight,
};
use crate::{
    block::weights::Weights,
    checkpoint::{Checkpoint, adapter::Adapter},
    error::Result,
    options::ExportOptions,
    stage::ModelGraph,
};

/// A model's graph, with what its weights are stored as. All that is planned or exported of a model comes from one of
/// these, so its graph is built once.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) format: Format,
    pub(crate) adapter: Option<Adapter>,
    pub(crate) graph: ModelGraph,
    device: Device,
}

impl Draft {
    /// The model of `checkpoint` with the adapter of `options`. Weights that stay in the checkpoint's files are looked up
    /// in `locations` by the graph, or under the files' own names where that is empty.
    ///
    /// # Errors
    /// Whatever is wrong with the checkpoint or the adapter; what [`Format::new`] refuses.
    pub(crate) fn new(
        checkpoint: &Checkpoint,
        options: &ExportOptions,
        format: Format,
        locations: &[String],
    ) -> Result<Self> {
        let adapter = match &options.adapter {
            Some(dir) => Some(Adapter::open(dir, checkpoint)?),
            None => None,
        };
        let weights = Weights::new(checkpoint, format.storage(locations), format.compute)
            .with_adapter(adapter.as_ref());
        let graph = ModelGraph::build(checkpoint, weights, options.target, options.interface)?;
        Ok(Self {
            format,
            adapter,
            graph,
            device: options.device,
        })
    }

    /// What the parts of the model cost, for a run of the sizes of each of `packs`.
    ///
    /// # Errors
    /// [`Error::Graph`](crate::Error::Graph) when the graph cannot be counted.
    pub(crate) fn costs<const N: usize>(&self, packs: [RunSizes; N]) -> Result<[Costs; N]> {
        let model: ModelProto = self.graph.graph().to_model();
        let mut costs = packs.map(|_| Costs::default());
        for (costs, pack) in costs.iter_mut().zip(packs) {
            *costs = Costs::of(&model, self.device, pack)?;
        }
        Ok(costs)
    }

    /// The stages of an export with `options`.
    ///
    /// # Errors
    /// What [`assign_layers`] returns.
    pub(crate) fn place(
        &self,
        checkpoint: &Checkpoint,
        options: &ExportOptions,
    ) -> Result<Vec<PlacedStage>> {
        let max_length = checkpoint.config().max_position_embeddings as u64;
        let [costs] = self.costs([options.budget.fullest(max_length)])?;
        assign_layers(
            &costs,
            options.stages,
            options.device,
            options.device_memory.as_ref(),
            options.budget,
        )
    }

    /// What the manifest says about quantised layers.
    ///
    /// # Errors
    /// [`Error::Option`](crate::Error::Option) for a pattern that matches none of the model's linear layers.
    pub(crate) fn quantization(&self) -> Result<Option<Quantization>> {
        self.format.quantization(self.graph.used())
    }

    /// What becomes of each weight, by name.
    pub(crate) fn weights(&self, checkpoint: &Checkpoint) -> Vec<PlannedWeight> {
        PlannedWeight::all(&self.graph, checkpoint.files().len())
    }
}

/// What the parts of the model cost when it is exported with `options`, for a run of the sizes of `pack`. Nothing is
/// written, and no weights are read.
///
/// # Errors
/// Whatever is wrong with the checkpoint, as for [`crate::export`].
pub fn costs(checkpoint: &Checkpoint, options: &ExportOptions, pack: RunSizes) -> Result<Costs> {
    let format = Format::new(checkpoint, options)?;
    let [costs] = Draft::new(checkpoint, options, format, &[])?.costs([pack])?;
    Ok(costs)
}

/// The stages that an export with `options` makes. Nothing is written, and no weights are read.
///
/// # Errors
/// Whatever is wrong with the checkpoint, as for [`crate::export`], and what [`assign_layers`] returns.
pub fn placement(checkpoint: &Checkpoint, options: &ExportOptions) -> Result<Vec<PlacedStage>> {
    let format = Format::new(checkpoint, options)?;
    Draft::new(checkpoint, options, format, &[])?.place(checkpoint, options)
}
