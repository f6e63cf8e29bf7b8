//! The Qwen2 decoder: pre-norm layers, biases on q, k and v only, SwiGLU, rotary positions.

use super::epsilon;
use crate::{
    block::{
        attention::AttentionLayer, mlp::swiglu, packed::PackedRows, rope::RotaryTables,
        weights::Weights,
    },
    checkpoint::ModelConfig,
    error::Result,
    graph::{GraphBuilder, Value},
    op::{Heads, onnx},
};

pub(crate) const EMBED_TOKENS: &str = "model.embed_tokens.weight";
pub(super) const NORM: &str = "model.norm.weight";

pub(super) fn layer_prefix(layer: usize) -> String {
    format!("model.layers.{layer}.")
}

/// What every layer of a stage shares.
pub(super) struct LayerContext<'a> {
    pub(super) config: &'a ModelConfig,
    pub(super) rotary: &'a RotaryTables,
    pub(super) rows: &'a PackedRows,
    /// In the model's last layer, the only tokens that are needed after attention.
    pub(super) scored: Option<&'a Value>,
}

/// One decoder layer: `[T, hidden]` to `[T, hidden]`, or to `[N, hidden]` when only scored tokens go on.
pub(super) fn layer(
    b: &mut GraphBuilder,
    weights: &mut Weights<'_>,
    layer: usize,
    hidden_states: &Value,
    context: &LayerContext<'_>,
) -> Result<Value> {
    let LayerContext {
        config,
        rotary,
        rows,
        scored,
    } = context;
    let hidden = config.hidden_size as u64;
    let prefix = format!("model.layers.{layer}");

    let scale = weights.get(b, &format!("{prefix}.input_layernorm.weight"), &[hidden])?;
    let x = onnx::rms_normalization(b, "input_layernorm", hidden_states, &scale, epsilon(config))?;

    let (residual, cells) = match scored {
        Some(tokens) => (
            onnx::gather(b, "scored_hidden", hidden_states, tokens)?,
            onnx::gather(b, "scored_cells", &rows.token_cells, tokens)?,
        ),
        None => (hidden_states.clone(), rows.token_cells.clone()),
    };
    let attention = AttentionLayer {
        prefix: &format!("{prefix}.self_attn"),
        heads: Heads {
            query: config.num_attention_heads as u64,
            key_value: config.num_key_value_heads as u64,
            size: config.head_dim as u64,
        },
        qkv_bias: true,
    };
    let x = attention.apply(b, weights, &x, rotary, rows, &cells)?;
    let hidden_states = onnx::add(b, "attention_residual", &residual, &x)?;

    let scale = weights.get(
        b,
        &format!("{prefix}.post_attention_layernorm.weight"),
        &[hidden],
    )?;
    let x = onnx::rms_normalization(
        b,
        "post_attention_layernorm",
        &hidden_states,
        &scale,
        epsilon(config),
    )?;
    let x = swiglu(
        b,
        weights,
        &format!("{prefix}.mlp"),
        &x,
        config.intermediate_size as u64,
    )?;
    onnx::add(b, "mlp_residual", &hidden_states, &x)
}
