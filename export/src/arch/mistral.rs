//! The Mistral decoder: as Llama without biases, with a sliding window in every layer where the configuration
//! has one.

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
