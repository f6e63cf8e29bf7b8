//! The layer that most decoders are made of.

use worldpm_ort_bundle::{
    Result,
    graph::{GraphBuilder, Value},
    op::onnx,
};

use super::{attention::AttentionLayer, layer::LayerContext, mlp::Mlp, weights::Weights};

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
