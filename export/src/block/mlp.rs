//! The gated feed-forward layer.

use worldpm_ort_bundle::{
    graph::{GraphBuilder, Value},
    op::onnx,
};

use super::{layer::LayerContext, linear::linear, weights::Weights};
use crate::{arch::Activation, error::Result};

/// Where a feed-forward layer's weights are and what it computes.
#[derive(Clone, Debug)]
pub(crate) struct Mlp {
    /// Prefix of the weight names, for example `model.layers.0.mlp`.
    pub(crate) prefix: String,
    pub(crate) intermediate_size: u64,
    pub(crate) activation: Activation,
    /// Whether its three projections have a bias.
    pub(crate) bias: bool,
}

impl Mlp {
    /// The feed-forward part of a decoder layer, as the configuration has it.
    pub(crate) fn new(context: &LayerContext<'_>) -> Self {
        Self {
            prefix: context.module("mlp"),
            intermediate_size: context.config.intermediate_size as u64,
            activation: context.config.activation,
            bias: context.config.mlp_bias,
        }
    }

    /// `down(activation(gate(x)) * up(x))` of `x` `[n, hidden]`.
    pub(crate) fn apply(
        &self,
        b: &mut GraphBuilder,
        weights: &mut Weights<'_>,
        x: &Value,
    ) -> Result<Value> {
        let hidden = x.width().unwrap_or(0);
        let project =
            |b: &mut GraphBuilder, weights: &mut Weights<'_>, name: &str, x: &Value, width: u64| {
                let module = format!("{}.{name}", self.prefix);
                linear(b, weights, &module, x, width, self.bias)
            };
        b.scope("mlp", |b| {
            let gate = project(b, weights, "gate_proj", x, self.intermediate_size)?;
            let up = project(b, weights, "up_proj", x, self.intermediate_size)?;
            let gate = match self.activation {
                Activation::Silu => {
                    let sigmoid = onnx::sigmoid(b, "sigmoid", &gate)?;
                    onnx::mul(b, "silu", &gate, &sigmoid)?
                }
                Activation::GeluTanh => onnx::gelu_tanh(b, "gelu", &gate)?,
            };
            let product = onnx::mul(b, "product", &gate, &up)?;
            project(b, weights, "down_proj", &product, hidden)
        })
    }
}
