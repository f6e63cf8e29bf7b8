//! The layers that decoders are made of.

use worldpm_ort_bundle::{
    graph::{GraphBuilder, Value},
    op::onnx,
};

use super::{attention::AttentionLayer, layer::LayerContext, mlp::Mlp, weights::Weights};
use crate::error::Result;

/// `x + attention(norm(x))`, then `x + mlp(norm(x))`: `[T, hidden]` to `[T, hidden]`, or to `[N, hidden]`
/// when only scored tokens go on.
pub(crate) fn pre_norm_layer(
    b: &mut GraphBuilder,
    weights: &mut Weights<'_>,
    hidden_states: &Value,
    context: &LayerContext<'_>,
) -> Result<Value> {
    let x = context.norm(b, weights, "input_layernorm", hidden_states)?;
    let (residual, cells) = context.kept(b, hidden_states)?;
    let x = AttentionLayer::new(context).apply(b, weights, &x, context, &cells)?;
    let hidden_states = onnx::add(b, "attention_residual", &residual, &x)?;
    let x = context.norm(b, weights, "post_attention_layernorm", &hidden_states)?;
    let x = Mlp::new(context).apply(b, weights, &x)?;
    Ok(onnx::add(b, "mlp_residual", &hidden_states, &x)?)
}

/// `x + norm(attention(norm(x)))`, then `x + norm(mlp(norm(x)))`, of the same shapes.
pub(crate) fn sandwich_norm_layer(
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
    Ok(onnx::add(b, "mlp_residual", &hidden_states, &x)?)
}
