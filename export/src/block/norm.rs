//! Root-mean-square normalisation.

use super::weights::Weights;
use crate::{
    error::Result,
    graph::{GraphBuilder, Value},
    op::onnx,
};

/// `x / rms(x) * weight` over the last dimension of `x` `[…, n]`; the weight is called `module.weight`, and
/// the node has the module's last part as its name.
pub(crate) fn rms_norm(
    b: &mut GraphBuilder,
    weights: &mut Weights<'_>,
    module: &str,
    x: &Value,
    epsilon: f32,
) -> Result<Value> {
    let node = module.rsplit('.').next().unwrap_or(module);
    let width = x.width().unwrap_or(0);
    let scale = weights.get(b, &format!("{module}.weight"), &[width])?;
    onnx::rms_normalization(b, node, x, &scale, epsilon)
}
