//! The linear layers of a decoder: the one place that knows how their weights are stored.

use super::weights::Weights;
use crate::{
    error::Result,
    graph::{GraphBuilder, Value},
    op::onnx,
};

/// `x @ weight^T (+ bias)`: `[n, in]` to `[n, width]`.
///
/// `module` is the layer's name in the checkpoint, for example `model.layers.0.mlp.up_proj`: its weight is
/// `module.weight`, `[width, in]`, and its bias, when it has one, `module.bias`. The node takes the name's
/// last part.
pub(crate) fn linear(
    b: &mut GraphBuilder,
    weights: &mut Weights<'_>,
    module: &str,
    x: &Value,
    width: u64,
    has_bias: bool,
) -> Result<Value> {
    let node = module.rsplit('.').next().unwrap_or(module);
    let input = x.width().unwrap_or(0);
    let weight = weights.get(b, &format!("{module}.weight"), &[width, input])?;
    let bias = if has_bias {
        Some(weights.get(b, &format!("{module}.bias"), &[width])?)
    } else {
        None
    };
    onnx::gemm(b, node, x, &weight, bias.as_ref())
}
