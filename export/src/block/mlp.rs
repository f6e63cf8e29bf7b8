//! The gated feed-forward layer.

use super::weights::Weights;
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
        let wide = [intermediate_size, hidden];
        let gate = weights.get(b, &format!("{prefix}.gate_proj.weight"), &wide)?;
        let up = weights.get(b, &format!("{prefix}.up_proj.weight"), &wide)?;
        let down = weights.get(
            b,
            &format!("{prefix}.down_proj.weight"),
            &[hidden, intermediate_size],
        )?;
        let gate = onnx::gemm(b, "gate_proj", x, &gate, None)?;
        let up = onnx::gemm(b, "up_proj", x, &up, None)?;
        let sigmoid = onnx::sigmoid(b, "sigmoid", &gate)?;
        let silu = onnx::mul(b, "silu", &gate, &sigmoid)?;
        let product = onnx::mul(b, "product", &silu, &up)?;
        onnx::gemm(b, "down_proj", &product, &down, None)
    })
}
