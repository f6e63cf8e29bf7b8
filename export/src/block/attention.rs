//! Self-attention over packed tokens.

use worldpm_ort_bundle::{
    graph::{Dim, GraphBuilder, Value},
    op::{Heads, Projections, Scores, contrib::group_query_attention, matrix::attention, onnx},
};

use super::{
    layer::LayerContext, linear::linear, masks::Masks, norm::RmsNorm, packed::TOKENS,
    softcap::soft_capped_attention, weights::Weights,
};
use crate::error::Result;

/// Where an attention layer's weights are and what its projections have.
#[derive(Clone, Debug)]
pub(crate) struct AttentionLayer {
    /// Prefix of the weight names, for example `model.layers.0.self_attn`.
    pub(crate) prefix: String,
    pub(crate) heads: Heads,
    /// Whether `q_proj`, `k_proj` and `v_proj` have a bias.
    pub(crate) qkv_bias: bool,
    /// Whether `o_proj` has a bias.
    pub(crate) output_bias: bool,
    /// What `q_norm` and `k_norm` do with each head, where the layer has them.
    pub(crate) head_norm: Option<RmsNorm>,
    pub(crate) scores: Scores,
}

impl AttentionLayer {
    /// The attention of a decoder layer, as the configuration has it.
    #[allow(clippy::cast_possible_truncation)]
    pub(crate) fn new(context: &LayerContext<'_>) -> Self {
        let config = context.config;
        let decoder = config.architecture.backbone().decoder();
        let window = config.windows.get(context.layer).copied().flatten();
        Self {
            prefix: context.module("self_attn"),
            heads: Heads {
                query: config.num_attention_heads as u64,
                key_value: config.num_key_value_heads as u64,
                size: config.head_dim as u64,
            },
            qkv_bias: config.qkv_bias,
            output_bias: config.output_bias,
            head_norm: decoder.head_norms.then(|| RmsNorm::new(config)),
            scores: Scores {
                scale: config.query_pre_attn_scalar.map(|s| s.powf(-0.5) as f32),
                softcap: config.attn_logit_softcapping.map(|cap| cap as f32),
                window: window.map(|window| window as u64),
            },
        }
    }

    /// Attention of normalised hidden states `x` `[T, hidden]`, projected back to `[n, hidden]`.
    ///
    /// `cells` picks the cells of the flattened rows that are kept: all tokens' or, in the last layer,
    /// the scored ones'. Everything after attention is computed for those alone.
    pub(crate) fn apply(
        &self,
        b: &mut GraphBuilder,
        weights: &mut Weights<'_>,
        x: &Value,
        context: &LayerContext<'_>,
        cells: &Value,
    ) -> Result<Value> {
        let heads = self.heads;
        let hidden = x.width().unwrap_or(0);
        let LayerContext { rotary, rows, .. } = context;
        b.scope("self_attn", |b| {
            let project =
                |b: &mut GraphBuilder, weights: &mut Weights<'_>, name: &str, width: u64| {
                    linear(b, weights, &self.module(name), x, width, self.qkv_bias)
                };
            let query = project(b, weights, "q_proj", heads.query_width())?;
            let key = project(b, weights, "k_proj", heads.key_value_width())?;
            let value = project(b, weights, "v_proj", heads.key_value_width())?;
            let query = self.normalise(b, weights, "q_norm", query, heads.query)?;
            let key = self.normalise(b, weights, "k_norm", key, heads.key_value)?;
            let query = rotary.rotate(b, "q_rope", &query, heads.query)?;
            let key = rotary.rotate(b, "k_rope", &key, heads.key_value)?;

            let query = onnx::gather(b, "q_rows", &query, &rows.row_tokens)?;
            let key = onnx::gather(b, "k_rows", &key, &rows.row_tokens)?;
            let value = onnx::gather(b, "v_rows", &value, &rows.row_tokens)?;
            let projections = Projections {
                query: &query,
                key: &key,
                value: &value,
                heads,
            };
            let attended = match &rows.lengths {
                Some(lengths) => {
                    group_query_attention(b, "attention", projections, lengths, self.scores)?
                }
                None => self.standard_attention(b, projections, context.masks)?,
            };
            debug_assert_eq!(attended.shape()[..2], *rows.row_tokens.shape());

            let width = heads.query_width();
            let flat = vec![Dim::Named("B*S"), Dim::Fixed(width)];
            let attended = onnx::reshape(b, "flat", &attended, &[-1, width.cast_signed()], flat)?;
            let attended = onnx::gather(b, "tokens", &attended, cells)?;
            let module = self.module("o_proj");
            linear(b, weights, &module, &attended, hidden, self.output_bias)
        })
    }

    /// Attention out of standard operators.
    fn standard_attention(
        &self,
        b: &mut GraphBuilder,
        projections: Projections<'_>,
        masks: &Masks,
    ) -> Result<Value> {
        let Scores {
            scale,
            softcap,
            window,
        } = self.scores;
        match (softcap, window) {
            (Some(cap), _) => {
                let mask = masks.get(window)?;
                Ok(soft_capped_attention(b, projections, mask, scale, cap)?)
            }
            (None, Some(_)) => {
                let mask = masks.get(window)?;
                Ok(attention(b, "attention", projections, Some(mask), scale)?)
            }
            (None, None) => Ok(attention(b, "attention", projections, None, scale)?),
        }
    }

    /// Normalises each head of `x` `[T, heads * size]`, where the layer does that.
    fn normalise(
        &self,
        b: &mut GraphBuilder,
        weights: &mut Weights<'_>,
        name: &str,
        x: Value,
        heads: u64,
    ) -> Result<Value> {
        let Some(norm) = self.head_norm else {
            return Ok(x);
        };
        let (size, width) = (self.heads.size, heads * self.heads.size);
        b.scope(name, |b| {
            let split = vec![TOKENS, Dim::Fixed(heads), Dim::Fixed(size)];
            let target = [-1, heads.cast_signed(), size.cast_signed()];
            let x = onnx::reshape(b, "heads", &x, &target, split)?;
            let x = norm.apply(b, weights, &self.module(name), &x)?;
            let flat = vec![TOKENS, Dim::Fixed(width)];
            Ok(onnx::reshape(
                b,
                "flat",
                &x,
                &[-1, width.cast_signed()],
                flat,
            )?)
        })
    }

    fn module(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }
}
