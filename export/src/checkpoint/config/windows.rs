//! Sliding windows.

use serde_json::Value;
use worldpm_ort_bundle::json::kind;

use crate::{
    arch::{Decoder, Windows},
    checkpoint::fields::Fields,
    error::Result,
};

/// What `transformers` takes for Qwen when `max_window_layers` is absent.
const QWEN_MAX_WINDOW_LAYERS: u64 = 28;
/// What `transformers` takes when `sliding_window` is absent, which is not the same as null.
const DEFAULT_WINDOW: usize = 4096;

/// The window of each layer, in tokens, the token itself among them; `None` where a layer sees all
/// tokens, and where no sequence can outgrow the window.
pub(super) fn read(
    fields: &Fields<'_>,
    decoder: &Decoder,
    layers: usize,
    max_positions: usize,
) -> Result<Vec<Option<usize>>> {
    let slides = match decoder.windows {
        Windows::Above => above(fields, layers)?,
        Windows::None => vec![None; layers],
        Windows::All => all(fields, decoder, layers)?,
        Windows::Alternating => alternating(fields, layers)?,
    };
    Ok(slides
        .into_iter()
        .map(|window| window.filter(|&window| window < max_positions))
        .collect())
}

fn above(fields: &Fields<'_>, layers: usize) -> Result<Vec<Option<usize>>> {
    let window = match fields.flag("use_sliding_window")? {
        Some(true) => window(fields)?,
        _ => None,
    };
    if let Some(types) = fields.get("layer_types") {
        return by_type(fields, types, layers, window);
    }
    let full_layers = match fields.get("max_window_layers") {
        Some(value) => value.as_u64().ok_or_else(|| {
            fields.error("max_window_layers", "must be a whole number, 0 or more")
        })?,
        None => QWEN_MAX_WINDOW_LAYERS,
    };
    Ok((0..layers as u64)
        .map(|layer| window.filter(|_| layer >= full_layers))
        .collect())
}

/// All layers slide. The class passes over `layer_types`, so types that say otherwise are another model's.
fn all(fields: &Fields<'_>, decoder: &Decoder, layers: usize) -> Result<Vec<Option<usize>>> {
    let window = window(fields)?;
    if let Some(types) = fields.get("layer_types")
        && by_type(fields, types, layers, window)?
            .iter()
            .any(|&found| found != window)
    {
        return Err(fields.unsupported(
            format!(
                "layer_types of layers with and without a window in a {}",
                decoder.name
            ),
            "either all layers slide, or none with `sliding_window` null".to_owned(),
        ));
    }
    Ok(vec![window; layers])
}

/// Layers take turns, the first of them slides.
fn alternating(fields: &Fields<'_>, layers: usize) -> Result<Vec<Option<usize>>> {
    let window = window(fields)?;
    if let Some(types) = fields.get("layer_types") {
        return by_type(fields, types, layers, window);
    }
    if window.is_none() {
        return Err(fields.missing("sliding_window"));
    }
    Ok((0..layers)
        .map(|layer| window.filter(|_| layer.is_multiple_of(2)))
        .collect())
}

fn window(fields: &Fields<'_>) -> Result<Option<usize>> {
    match fields.map.get("sliding_window") {
        None => Ok(Some(DEFAULT_WINDOW)),
        Some(_) => fields.optional_size("sliding_window"),
    }
}

fn by_type(
    fields: &Fields<'_>,
    types: &Value,
    layers: usize,
    window: Option<usize>,
) -> Result<Vec<Option<usize>>> {
    let types = types
        .as_array()
        .ok_or_else(|| fields.error("layer_types", "must be a list of names"))?;
    if types.len() != layers {
        return Err(fields.error(
            "layer_types",
            format!("has {} entries for num_hidden_layers {layers}", types.len()),
        ));
    }
    let one = |(layer, value): (usize, &Value)| match value.as_str() {
        Some("full_attention") => Ok(None),
        Some("sliding_attention") if window.is_some() => Ok(window),
        Some("sliding_attention") => Err(fields.error(
            "layer_types",
            format!("entry {layer} is `sliding_attention`, but no `sliding_window` is in use"),
        )),
        Some(other) => Err(fields.unsupported(
            format!("layer_types[{layer}] `{other}`"),
            "`full_attention` and `sliding_attention` are".to_owned(),
        )),
        None => Err(fields.error(
            "layer_types",
            format!("entry {layer} must be a name, not {}", kind(value)),
        )),
    };
    types.iter().enumerate().map(one).collect()
}
