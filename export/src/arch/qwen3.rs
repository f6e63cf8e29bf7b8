//! The Qwen3 decoder: as Qwen2, with every head of q and k normalised before its rotation, and no biases
//! unless `attention_bias`.

use worldpm_ort_bundle::{
    Result,
    graph::{GraphBuilder, Value},
};

use crate::block::{
    attention::AttentionLayer, decoder::pre_norm_layer, layer::LayerContext, mlp::Mlp,
    norm::RmsNorm, weights::Weights,
};

/// One decoder layer, see [`pre_norm_layer`].
pub(super) fn layer(
    b: &mut GraphBuilder,
    weights: &mut Weights<'_>,
    hidden_states: &Value,
    context: &LayerContext<'_>,
) -> Result<Value> {
    let attention = AttentionLayer {
        head_norm: Some(RmsNorm::new(context.config)),
        ..AttentionLayer::new(context)
    };
    let mlp = Mlp::new(context);
    pre_norm_layer(b, weights, hidden_states, context, &attention, &mlp)
}
