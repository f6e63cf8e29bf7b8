//! The head that turns a hidden state into scores.

use worldpm_ort_bundle::{
    graph::{GraphBuilder, Value},
    op::onnx,
    proto::ElementType,
};

use super::weights::Weights;
use crate::{arch::Head, error::Result};

/// Scores `[n, labels]` of normalised hidden states `[n, hidden]`.
///
/// The head is computed in 32-bit floats whatever the type of the layers: it is small, and in
/// bfloat16 scores between 1 and 2 would be 0.0078 apart, which ties answers that differ.
pub(crate) fn reward_head(
    head: Head,
    b: &mut GraphBuilder,
    weights: &mut Weights<'_>,
    x: &Value,
    labels: u64,
) -> Result<Value> {
    let float = ElementType::Float;
    let hidden = x.width().unwrap_or(0);
    b.scope("score", |b| {
        let x = onnx::cast(b, "input", x, float)?;
        match head {
            Head::TwoLayer => {
                let square = [hidden, hidden];
                let w0 = weights.get_float(b, "score.0.weight", &square)?;
                let b0 = weights.get_float(b, "score.0.bias", &[hidden])?;
                let w2 = weights.get_float(b, head.last_weight(), &[labels, hidden])?;
                let b2 = weights.get_float(b, "score.2.bias", &[labels])?;
                let x = onnx::gemm(b, "0", &x, &w0, Some(&b0))?;
                let x = onnx::relu(b, "1", &x)?;
                Ok(onnx::gemm(b, "2", &x, &w2, Some(&b2))?)
            }
            Head::OneLayer => {
                let weight = weights.get_float(b, head.last_weight(), &[labels, hidden])?;
                let bias = if weights.has("score.bias") {
                    Some(weights.get_float(b, "score.bias", &[labels])?)
                } else {
                    None
                };
                Ok(onnx::gemm(b, "linear", &x, &weight, bias.as_ref())?)
            }
        }
    })
}
