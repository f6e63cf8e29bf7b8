//! Which layers go to which stage, worked out before anything is written.

use worldpm_ort_bundle::{
    Precision, Result,
    cost::{Costs, Pack},
    graph::Graph,
};

use super::{
    format::Format,
    place::{PlacedStage, place},
};
use crate::{
    block::weights::{Used, Weights},
    checkpoint::Checkpoint,
    options::ExportOptions,
    stage::{self, StageSpec},
};

/// What the parts of the model cost when it is exported with `options`, for a run of the sizes of `pack`. Nothing is
/// written, and no weights are read.
///
/// # Errors
/// Whatever is wrong with the checkpoint, as for [`crate::export`].
pub fn costs(checkpoint: &Checkpoint, options: &ExportOptions, pack: Pack) -> Result<Costs> {
    let (graph, _) = whole(checkpoint, &Format::new(checkpoint, options)?, options)?;
    Costs::of(&graph.to_model(), options.device, pack)
}

/// What the weights of a bundle of `checkpoint` are stored as, when it is exported with `options`.
///
/// # Errors
/// Whatever is wrong with the checkpoint, as for [`crate::export`].
pub(super) fn precision(checkpoint: &Checkpoint, options: &ExportOptions) -> Result<Precision> {
    Ok(Format::new(checkpoint, options)?.precision)
}

/// The stages that an export with `options` makes. Nothing is written, and no weights are read.
///
/// # Errors
/// Whatever is wrong with the checkpoint, as for [`crate::export`], and what [`place`] returns.
pub fn placement(checkpoint: &Checkpoint, options: &ExportOptions) -> Result<Vec<PlacedStage>> {
    let max_length = checkpoint.config().max_position_embeddings as u64;
    let costs = costs(checkpoint, options, options.budget.fullest(max_length))?;
    place(
        &costs,
        options.stages,
        options.device,
        options.device_memory.as_ref(),
        options.budget,
    )
}

/// The graph of the model as one stage, and what it uses of the checkpoint.
pub(crate) fn whole(
    checkpoint: &Checkpoint,
    format: &Format,
    options: &ExportOptions,
) -> Result<(Graph, Used)> {
    let spec = StageSpec {
        name: "whole".into(),
        layers: 0..checkpoint.config().num_hidden_layers,
        target: options.target,
        interface: options.interface,
    };
    let mut weights = Weights::new(checkpoint, format.storage(&[], &spec), format.compute);
    let graph = stage::build_stage(checkpoint, &mut weights, &spec)?;
    Ok((graph, weights.into_used()))
}
