//! Self-attention over packed tokens.

use super::{linear::linear, packed::PackedRows, rope::RotaryTables, weights::Weights};
use crate::{
    error::Result,
    graph::{Dim, GraphBuilder, Value},
    op::{Heads, contrib::group_query_attention, onnx},
};

/// Where an attention layer's weights are and what its projections have.
#[derive(Debug)]
pub(crate) struct AttentionLayer<'a> {
    /// Prefix of the weight names, for example `model.layers.0.self_attn`.
    pub(crate) prefix: &'a str,
    pub(crate) heads: Heads,
    /// Whether `q_proj`, `k_proj` and `v_proj` have a bias.
    pub(crate) qkv_bias: bool,
}

impl AttentionLayer<'_> {
    /// Attention of normalised hidden states `x` `[T, hidden]`, projected back to `[n, hidden]`.
    ///
    /// `tokens` picks the cells of the flattened rows that are kept: all tokens' or, in the last layer,
    /// the scored ones'. Everything after attention is computed for those alone.
    pub(crate) fn apply(
        &self,
        b: &mut GraphBuilder,
        weights: &mut Weights<'_>,
        x: &Value,
        rotary: &RotaryTables,
        rows: &PackedRows,
        cells: &Value,
    ) -> Result<Value> {
        let heads = self.heads;
        let hidden = x.width().unwrap_or(0);
        b.scope("self_attn", |b| {
            let project =
                |b: &mut GraphBuilder, weights: &mut Weights<'_>, name: &str, width: u64| {
                    linear(b, weights, &self.module(name), x, width, self.qkv_bias)
                };
            let query = project(b, weights, "q_proj", heads.query_width())?;
            let key = project(b, weights, "k_proj", heads.key_value_width())?;
            let value = project(b, weights, "v_proj", heads.key_value_width())?;
            let query = rotary.rotate(b, "q_rope", &query, heads.query)?;
            let key = rotary.rotate(b, "k_rope", &key, heads.key_value)?;

            let query = onnx::gather(b, "q_rows", &query, &rows.row_tokens)?;
            let key = onnx::gather(b, "k_rows", &key, &rows.row_tokens)?;
            let value = onnx::gather(b, "v_rows", &value, &rows.row_tokens)?;
            let context = match &rows.lengths {
                Some(lengths) => {
                    group_query_attention(b, "attention", &query, &key, &value, lengths, heads)?
                }
                None => onnx::attention(b, "attention", &query, &key, &value, heads)?,
            };
            debug_assert_eq!(context.shape()[..2], *rows.row_tokens.shape());

            let width = heads.query_width();
            let flat = vec![Dim::Named("B*S"), Dim::Fixed(width)];
            let context = onnx::reshape(b, "flat", &context, &[-1, width.cast_signed()], flat)?;
            let context = onnx::gather(b, "tokens", &context, cells)?;
            linear(b, weights, &self.module("o_proj"), &context, hidden, false)
        })
    }

    fn module(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }
}
