//! Root-mean-square normalisation.

use worldpm_ort_bundle::{
    graph::{GraphBuilder, Value},
    op::onnx,
    proto::ElementType,
};

use super::weights::Weights;
use crate::{checkpoint::ModelConfig, error::Result};

/// A model's way of normalising.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RmsNorm {
    epsilon: f32,
    /// Whether the checkpoint stores weights less one.
    less_one: bool,
}

impl RmsNorm {
    #[allow(clippy::cast_possible_truncation)]
    pub(crate) fn new(config: &ModelConfig) -> Self {
        Self {
            epsilon: config.rms_norm_eps as f32,
            less_one: config.architecture.backbone().decoder().norms_less_one,
        }
    }

    /// `x / rms(x) * weight` over the last dimension of `x` `[…, n]`; the weight is called `module.weight`,
    /// and the node has the module's last part as its name.
    pub(crate) fn apply(
        self,
        b: &mut GraphBuilder,
        weights: &mut Weights<'_>,
        module: &str,
        x: &Value,
    ) -> Result<Value> {
        let node = module.rsplit('.').next().unwrap_or(module);
        let tensor = format!("{module}.weight");
        let width = x.width().unwrap_or(0);
        if !self.less_one {
            let scale = weights.get(b, &tensor, &[width])?;
            return Ok(onnx::rms_normalization(b, node, x, &scale, self.epsilon)?);
        }
        // The product with the weight is rounded but once, as in `transformers`; in bfloat16 the one would
        // also swallow half of the weight's digits.
        let float = ElementType::Float;
        let scale = weights.get_float(b, &tensor, &[width])?;
        let scale = onnx::offset(b, &format!("{node}.weight/plus_one"), &scale, 1.0)?;
        let wide = onnx::cast(b, &format!("{node}/float"), x, float)?;
        if x.element() == float {
            return Ok(onnx::rms_normalization(
                b,
                node,
                &wide,
                &scale,
                self.epsilon,
            )?);
        }
        let name = format!("{node}/norm");
        let normed = onnx::rms_normalization(b, &name, &wide, &scale, self.epsilon)?;
        Ok(onnx::cast(b, node, &normed, x.element())?)
    }
}
