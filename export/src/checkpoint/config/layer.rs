//! What a decoder layer computes besides its dimensions.

use worldpm_ort_bundle::Result;

use super::architecture::Backbone;
use crate::checkpoint::fields::Fields;

/// What `transformers` takes for Gemma 2 when `query_pre_attn_scalar` is absent.
const GEMMA2_QUERY_SCALAR: f64 = 256.0;
/// What `transformers` takes for Gemma 2 when `attn_logit_softcapping` is absent; null means none.
const GEMMA2_SOFTCAP: f64 = 50.0;

/// What `transformers` calls [`Activation::Silu`].
const SILU_NAMES: &[&str] = &["silu", "swish"];
/// What it calls [`Activation::GeluTanh`]: the formula is one, and results differ by rounding at most.
const TANH_NAMES: &[&str] = &[
    "gelu_pytorch_tanh",
    "gelu_new",
    "gelu_fast",
    "gelu_accurate",
    "gelu_python_tanh",
];

/// The function of an MLP's gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Activation {
    /// `x * sigmoid(x)`.
    Silu,
    /// `x * Φ(x)`, with the cumulative normal distribution approximated by a hyperbolic tangent.
    GeluTanh,
}

/// Reads the activation, refusing any but the decoder's own.
pub(super) fn activation(fields: &Fields<'_>, backbone: Backbone) -> Result<Activation> {
    // Gemma 2's class passes over `hidden_act`.
    let (field, names, activation) = match backbone {
        Backbone::Gemma2 => ("hidden_activation", TANH_NAMES, Activation::GeluTanh),
        _ => ("hidden_act", SILU_NAMES, Activation::Silu),
    };
    match fields.text(field)? {
        Some(other) if !names.contains(&other) => Err(fields.unsupported(
            format!("{field} `{other}`"),
            format!(
                "only `{}` is in a {}",
                names.join("`, `"),
                backbone.as_str()
            ),
        )),
        _ => Ok(activation),
    }
}

/// The number whose square root the products of queries and keys are divided by, where that is not the
/// size of a head.
pub(super) fn query_scalar(
    fields: &Fields<'_>,
    backbone: Backbone,
    head_dim: usize,
) -> Result<Option<f64>> {
    if backbone != Backbone::Gemma2 {
        return Ok(None);
    }
    let scalar = match fields.get("query_pre_attn_scalar") {
        Some(_) => fields.positive("query_pre_attn_scalar")?,
        None => GEMMA2_QUERY_SCALAR,
    };
    Ok(Some(scalar).filter(|&scalar| scalar != head_dim as f64))
}

/// The number that the products of queries and keys are kept below, where they are.
pub(super) fn softcap(fields: &Fields<'_>, backbone: Backbone) -> Result<Option<f64>> {
    if backbone != Backbone::Gemma2 {
        return Ok(None);
    }
    match fields.map.get("attn_logit_softcapping") {
        None => Ok(Some(GEMMA2_SOFTCAP)),
        Some(value) if value.is_null() => Ok(None),
        Some(_) => fields.positive("attn_logit_softcapping").map(Some),
    }
}

/// Refuses attention to later tokens.
pub(super) fn check_direction(fields: &Fields<'_>) -> Result<()> {
    match fields.flag("use_bidirectional_attention")? {
        Some(true) => Err(fields.unsupported(
            "use_bidirectional_attention".to_owned(),
            "only attention to earlier tokens is".to_owned(),
        )),
        _ => Ok(()),
    }
}
