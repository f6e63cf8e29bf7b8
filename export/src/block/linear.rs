//! The linear layers of a decoder: the one place that knows how their weights are stored.

use worldpm_ort_bundle::{
    graph::{GraphBuilder, Value},
    op::{
        onnx,
        quantized::{add_repeated, matmul_nbits, mul_repeated, qgemm},
    },
    proto::ElementType,
};

use super::weights::{Matrix, Weights};
use crate::error::Result;

/// The CPU provider's `MatMulNBits` then works with 8-bit integers. Without it, 4-bit weights are made floats again
/// in every run, 8-bit ones by a single thread and all at once, and a single row takes another way of summing.
const EIGHT_BIT_ARITHMETIC: i64 = 4;

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
    let weight = weights.matrix(b, module, width, input)?;
    let bias = if has_bias {
        Some(weights.get(b, &format!("{module}.bias"), &[width])?)
    } else {
        None
    };
    Ok(match weight {
        Matrix::Float(weight) => onnx::gemm(b, node, x, &weight, bias.as_ref())?,
        Matrix::Blocks(weight) => {
            // Graphs for the CPU compute in 32-bit floats, those for CUDA in types of 16 bits.
            let level = (weights.compute() == ElementType::Float).then_some(EIGHT_BIT_ARITHMETIC);
            matmul_nbits(b, node, x, &weight, bias.as_ref(), level)?
        }
        Matrix::Channels(weight) => {
            let rows = weights.quantized_rows(b, node, x)?;
            let sums = qgemm(b, &format!("{node}/sums"), &rows.values, &weight)?;
            match bias {
                None => mul_repeated(b, node, &sums, &rows.scale)?,
                Some(bias) => {
                    let product = mul_repeated(b, &format!("{node}/scaled"), &sums, &rows.scale)?;
                    add_repeated(b, node, &product, &bias)?
                }
            }
        }
    })
}
