//! What the parts of a decoder layer have in common.

use worldpm_ort_bundle::{
    graph::{GraphBuilder, Value},
    op::onnx,
};

use super::{
    masks::Masks, norm::RmsNorm, packed::PackedRows, rope::RotaryTables, weights::Weights,
};
use crate::{checkpoint::ModelConfig, error::Result};

/// What the names of the layers' tensors begin with, in every decoder here.
const LAYERS: &str = "model.layers";

/// What a layer is built from besides its input and its weights.
pub(crate) struct LayerContext<'a> {
    /// The layer's number in the model.
    pub(crate) layer: usize,
    pub(crate) config: &'a ModelConfig,
    pub(crate) rotary: &'a RotaryTables,
    pub(crate) rows: &'a PackedRows,
    pub(crate) masks: &'a Masks,
    /// In the model's last layer, the only tokens that are needed after attention.
    pub(crate) scored: Option<&'a Value>,
}

impl LayerContext<'_> {
    /// The name of a part of the layer, for example `model.layers.0.mlp`.
    pub(crate) fn module(&self, part: &str) -> String {
        format!("{LAYERS}.{}.{part}", self.layer)
    }

    /// Normalises `x` with the layer's weight of this name.
    pub(crate) fn norm(
        &self,
        b: &mut GraphBuilder,
        weights: &mut Weights<'_>,
        name: &str,
        x: &Value,
    ) -> Result<Value> {
        RmsNorm::new(self.config).apply(b, weights, &self.module(name), x)
    }

    /// The part of the residual stream that goes on after attention, and the cells of the attention rows
    /// that it comes back from.
    pub(crate) fn kept(
        &self,
        b: &mut GraphBuilder,
        hidden_states: &Value,
    ) -> Result<(Value, Value)> {
        let cells = &self.rows.token_cells;
        match self.scored {
            Some(tokens) => Ok((
                onnx::gather(b, "scored_hidden", hidden_states, tokens)?,
                onnx::gather(b, "scored_cells", cells, tokens)?,
            )),
            None => Ok((hidden_states.clone(), cells.clone())),
        }
    }
}
