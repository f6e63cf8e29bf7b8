//! The Gemma 2 decoder: what attention and the MLP give is normalised once more before it is added, norms
//! store weights less one, embeddings are scaled, the gate is a GELU, scores of attention are capped, and
//! every other layer has a sliding window.

use worldpm_ort_bundle::{
    Result,
    graph::{GraphBuilder, Value},
    op::onnx,
};

use crate::{
    block::{attention::AttentionLayer, layer::LayerContext, mlp::Mlp, weights::Weights},
    checkpoint::ModelConfig,
};

/// What embeddings are multiplied by: the square root of their width, rounded to their type.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
pub(super) fn embedding_scale(config: &ModelConfig) -> f32 {
    (config.hidden_size as f64).sqrt() as f32
}

/// `x + norm(attention(norm(x)))`, then `x + norm(mlp(norm(x)))`: `[T, hidden]` to `[T, hidden]`, or to
/// `[N, hidden]` when only scored tokens go on.
pub(super) fn layer(
    b: &mut GraphBuilder,
    weights: &mut Weights<'_>,
    hidden_states: &Value,
    context: &LayerContext<'_>,
) -> Result<Value> {
    let x = context.norm(b, weights, "input_layernorm", hidden_states)?;
    let (residual, cells) = context.kept(b, hidden_states)?;
    let x = AttentionLayer::new(context).apply(b, weights, &x, context, &cells)?;
    let x = context.norm(b, weights, "post_attention_layernorm", &x)?;
    let hidden_states = onnx::add(b, "attention_residual", &residual, &x)?;
    let x = context.norm(b, weights, "pre_feedforward_layernorm", &hidden_states)?;
    let x = Mlp::new(context).apply(b, weights, &x)?;
    let x = context.norm(b, weights, "post_feedforward_layernorm", &x)?;
    onnx::add(b, "mlp_residual", &hidden_states, &x)
}
