//! The gated feed-forward layer.

use super::{linear::linear, weights::Weights};
use crate::{
    error::Result,
    graph::{GraphBuilder, Value},
    op::onnx,
};

/// `down(silu(gate(x)) * up(x))` (SwiGLU) of `x` `[n, hidden]`; `prefix` is, for example,
/// `model.layers.0.mlp`.
pub(crate) fn swiglu(
    b: &mut GraphBuilder,
    weights: &mut Weights<'_>,
    prefix: &str,
    x: &Value,
    intermediate_size: u64,
) -> Result<Value> {
    let hidden = x.width().unwrap_or(0);
    b.scope("mlp", |b| {
        let gate = format!("{prefix}.gate_proj");
        let gate = linear(b, weights, &gate, x, intermediate_size, false)?;
        let up = format!("{prefix}.up_proj");
        let up = linear(b, weights, &up, x, intermediate_size, false)?;
        let sigmoid = onnx::sigmoid(b, "sigmoid", &gate)?;
        let silu = onnx::mul(b, "silu", &gate, &sigmoid)?;
        let product = onnx::mul(b, "product", &silu, &up)?;
        let down = format!("{prefix}.down_proj");
        linear(b, weights, &down, &product, hidden, false)
    })
}
