//! The Llama decoder: pre-norm layers, no biases unless `attention_bias` or `mlp_bias`, SwiGLU, rotary
//! positions, scaled from Llama 3.1 on.

use worldpm_ort_bundle::{
    Result,
    graph::{GraphBuilder, Value},
};

use crate::block::{
    attention::AttentionLayer, decoder::pre_norm_layer, layer::LayerContext, mlp::Mlp,
    weights::Weights,
};

/// One decoder layer, see [`pre_norm_layer`].
pub(super) fn layer(
    b: &mut GraphBuilder,
    weights: &mut Weights<'_>,
    hidden_states: &Value,
    context: &LayerContext<'_>,
) -> Result<Value> {
    let attention = AttentionLayer::new(context);
    let mlp = Mlp::new(context);
    pre_norm_layer(b, weights, hidden_states, context, &attention, &mlp)
}
