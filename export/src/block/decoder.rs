//! The layer that most decoders are made of.

use super::{
    attention::AttentionLayer, masks::Masks, mlp::Mlp, norm::RmsNorm, packed::PackedRows,
    rope::RotaryTables, weights::Weights,
};
use crate::{
    checkpoint::ModelConfig,
    error::Result,
    graph::{GraphBuilder, Value},
    op::onnx,
};

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

/// `x + attention(norm(x))`, then `x + mlp(norm(x))`: `[T, hidden]` to `[T, hidden]`, or to `[N, hidden]`
/// when only scored tokens go on.
pub(crate) fn pre_norm_layer(
    b: &mut GraphBuilder,
    weights: &mut Weights<'_>,
    hidden_states: &Value,
    context: &LayerContext<'_>,
    attention: &AttentionLayer,
    mlp: &Mlp,
) -> Result<Value> {
    let x = context.norm(b, weights, "input_layernorm", hidden_states)?;
    let (residual, cells) = context.kept(b, hidden_states)?;
    let x = attention.apply(b, weights, &x, context, &cells)?;
    let hidden_states = onnx::add(b, "attention_residual", &residual, &x)?;
    let x = context.norm(b, weights, "post_attention_layernorm", &hidden_states)?;
    let x = mlp.apply(b, weights, &x)?;
    onnx::add(b, "mlp_residual", &hidden_states, &x)
}
