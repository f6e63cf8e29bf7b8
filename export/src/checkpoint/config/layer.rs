//! What a decoder layer computes besides its dimensions.

use crate::{
    arch::{Activation, Decoder},
    checkpoint::fields::Fields,
    error::Result,
};

/// Reads the activation, refusing any but the decoder's own.
pub(super) fn activation(fields: &Fields<'_>, decoder: &Decoder) -> Result<Activation> {
    let gate = &decoder.gate;
    match fields.text(gate.field)? {
        Some(other) if !gate.names.contains(&other) => Err(fields.unsupported(
            format!("{} `{other}`", gate.field),
            format!(
                "only `{}` is in a {}",
                gate.names.join("`, `"),
                decoder.name
            ),
        )),
        _ => Ok(gate.activation),
    }
}

/// The number whose square root the products of queries and keys are divided by, where that is not the
/// size of a head.
pub(super) fn query_scalar(
    fields: &Fields<'_>,
    decoder: &Decoder,
    head_dim: usize,
) -> Result<Option<f64>> {
    let scalar = match fields.get("query_pre_attn_scalar") {
        Some(_) => Some(fields.positive("query_pre_attn_scalar")?),
        None => decoder.query_scalar,
    };
    Ok(scalar.filter(|&scalar| scalar != head_dim as f64))
}

/// The number that the products of queries and keys are kept below, where they are.
pub(super) fn softcap(fields: &Fields<'_>, decoder: &Decoder) -> Result<Option<f64>> {
    match fields.map.get("attn_logit_softcapping") {
        None => Ok(decoder.softcap),
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
