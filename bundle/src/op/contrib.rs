//! Operators of ONNX Runtime's own (`com.microsoft`).

use super::{Projections, Scores, misfit};
use crate::{
    error::Result,
    graph::{Attribute, Dim, GraphBuilder, Operator, Value},
    proto::ElementType,
};

/// How many tokens each attention row holds.
#[derive(Clone, Debug)]
pub struct RowLengths {
    /// Length of each row, less one: `[batch]`, 32-bit integers.
    pub seqlens_k: Value,
    /// Length of the longest row: a scalar 32-bit integer, read on the host.
    pub total_sequence_length: Value,
}

/// Causal attention over right-padded rows with grouped key and value heads, without a cache.
///
/// The same function as [`super::matrix::attention`]; it skips the padding and needs less memory on the CPU.
/// The cells of the padding hold no useful values in the output.
///
/// ONNX Runtime before 1.24 takes one token more than the window on the CPU.
///
/// # Errors
/// [`crate::Error::Graph`] when the operands do not fit.
pub fn group_query_attention(
    b: &mut GraphBuilder,
    name: &str,
    projections: Projections<'_>,
    lengths: &RowLengths,
    scores: Scores,
) -> Result<Value> {
    projections.check(name)?;
    let Projections {
        query,
        key,
        value,
        heads,
    } = projections;
    let RowLengths {
        seqlens_k,
        total_sequence_length,
    } = lengths;
    if seqlens_k.element() != ElementType::Int32
        || seqlens_k.shape() != &query.shape()[..1]
        || total_sequence_length.element() != ElementType::Int32
        || !total_sequence_length.shape().is_empty()
    {
        return misfit(
            name,
            &[seqlens_k, total_sequence_length],
            "int32 [batch] and an int32 scalar",
        );
    }
    let cache = vec![
        query.shape()[0],
        Dim::Fixed(heads.key_value),
        query.shape()[1],
        Dim::Fixed(heads.size),
    ];
    let mut attributes = vec![
        ("do_rotary", Attribute::Int(0)),
        (
            "kv_num_heads",
            Attribute::Int(heads.key_value.cast_signed()),
        ),
        ("num_heads", Attribute::Int(heads.query.cast_signed())),
    ];
    if let Some(window) = scores.window {
        attributes.push(("local_window_size", Attribute::Int(window.cast_signed())));
    }
    if let Some(scale) = scores.scale {
        attributes.push(("scale", Attribute::Float(scale)));
    }
    // The two caches must be declared as outputs even though nothing reads them.
    if let Some(softcap) = scores.softcap {
        attributes.push(("softcap", Attribute::Float(softcap)));
    }
    let outputs = vec![
        ("", query.element(), query.shape().to_vec()),
        ("present_key", query.element(), cache.clone()),
        ("present_value", query.element(), cache),
    ];
    let inputs = [
        Some(query),
        Some(key),
        Some(value),
        None,
        None,
        Some(seqlens_k),
        Some(total_sequence_length),
    ];
    let outputs = b.node(
        name,
        Operator::microsoft("GroupQueryAttention"),
        &inputs,
        attributes,
        outputs,
    )?;
    match outputs.into_iter().next() {
        Some(output) => Ok(output),
        None => misfit(name, &[query], "an output"),
    }
}
