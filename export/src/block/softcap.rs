//! Attention with capped scores out of plain operators.
//!
//! The standard `Attention` has a `softcap`, but TensorRT's parser passes over it in silence, and ONNX
//! Runtime before 1.27 caps after masking, which lets every token see all others a little.

use worldpm_ort_bundle::{
    Result,
    graph::{Dim, GraphBuilder, Value},
    op::{
        Projections,
        index::select,
        matrix::{matmul, softmax, transpose},
        onnx::{cast, reshape, scale, tanh},
    },
    proto::ElementType,
};

/// The smallest 32-bit float: nothing is left of it after the softmax.
const MASKED: f32 = f32::MIN;

/// `softmax(cap * tanh(q · k * scale / cap)) · v` over what `mask` `[1, 1, S, S]` lets each token see, from
/// the product on in 32-bit floats; `scale` is `1 / sqrt(size)` when `None`. `[B, S, heads * size]`.
pub(crate) fn soft_capped_attention(
    b: &mut GraphBuilder,
    projections: Projections<'_>,
    mask: &Value,
    factor: Option<f32>,
    cap: f32,
) -> Result<Value> {
    let Projections {
        query,
        key,
        value,
        heads,
    } = projections;
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
    let factor = factor.unwrap_or((heads.size as f64).powf(-0.5) as f32);
    let group = heads.query / heads.key_value;
    b.scope("attention", |b| {
        // [B, S, key-value heads, queries of each, size]: a key-value head and its queries stay together.
        let query = split(b, "query", query, heads.key_value, group, heads.size)?;
        let query = transpose(b, "query/rows", &query, &[0, 2, 3, 1, 4])?;
        let key = split(b, "key", key, heads.key_value, 1, heads.size)?;
        let key = transpose(b, "key/columns", &key, &[0, 2, 3, 4, 1])?;
        let value = split(b, "value", value, heads.key_value, 1, heads.size)?;
        let value = transpose(b, "value/rows", &value, &[0, 2, 3, 1, 4])?;

        let element = query.element();
        let scores = matmul(b, "scores", &query, &key)?;
        let scores = cast(b, "scores/float", &scores, ElementType::Float)?;
        let scores = scale(b, "scaled", &scores, factor / cap)?;
        let scores = tanh(b, "tanh", &scores)?;
        let scores = scale(b, "capped", &scores, cap)?;
        let hidden = b.constant_f32("hidden", &[], &[MASKED])?;
        let scores = select(b, "masked", mask, &scores, &hidden)?;
        let shares = softmax(b, "shares", &scores)?;
        let shares = cast(b, "shares/cast", &shares, element)?;
        let attended = matmul(b, "attended", &shares, &value)?;
        let attended = transpose(b, "attended/tokens", &attended, &[0, 3, 1, 2, 4])?;
        let width = heads.query_width();
        let mut shape = attended.shape()[..2].to_vec();
        shape.push(Dim::Fixed(width));
        reshape(b, "output", &attended, &[0, 0, width.cast_signed()], shape)
    })
}

/// `x` `[B, S, outer * inner * size]` with its last dimension in three.
fn split(
    b: &mut GraphBuilder,
    name: &str,
    x: &Value,
    outer: u64,
    inner: u64,
    size: u64,
) -> Result<Value> {
    let parts = [outer, inner, size];
    let target = [0, 0, outer, inner, size].map(u64::cast_signed);
    let shape = [&x.shape()[..2], &parts.map(Dim::Fixed)].concat();
    reshape(b, &format!("{name}/split"), x, &target, shape)
}
