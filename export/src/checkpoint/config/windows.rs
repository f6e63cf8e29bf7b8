//! Sliding windows.

use serde_json::Value;

use crate::checkpoint::fields::Fields;
use crate::error::Result;
use crate::json::kind;

/// What `transformers` assumes for Qwen2 when `max_window_layers` is absent.
const DEFAULT_MAX_WINDOW_LAYERS: usize = 28;

/// Refuses a sliding window that some sequence could outgrow.
pub(super) fn check_windows(
    fields: &Fields<'_>,
    layers: usize,
    max_positions: usize,
) -> Result<()> {
    let window = match fields.flag("use_sliding_window")? {
        Some(true) => fields.optional_size("sliding_window")?,
        _ => None,
    };
    let slides = match fields.get("layer_types") {
        Some(types) => has_sliding_layer(fields, types, layers)?,
        None => {
            let full_layers = match fields.get("max_window_layers") {
                Some(value) => value.as_u64().ok_or_else(|| {
                    fields.error("max_window_layers", "must be a whole number, 0 or more")
                })?,
                None => DEFAULT_MAX_WINDOW_LAYERS as u64,
            };
            window.is_some() && full_layers < layers as u64
        }
    };
    if slides && window.is_none_or(|window| window < max_positions) {
        let size = window.map_or("unknown".to_owned(), |window| window.to_string());
        return Err(fields.unsupported(
            format!(
                "sliding-window attention (window {size}, max_position_embeddings {max_positions})"
            ),
            "only full attention is; if sequences stay within the window, set \
             `use_sliding_window` to false and `max_position_embeddings` to the window"
                .to_owned(),
        ));
    }
    Ok(())
}

fn has_sliding_layer(fields: &Fields<'_>, types: &Value, layers: usize) -> Result<bool> {
    let types = types
        .as_array()
        .ok_or_else(|| fields.error("layer_types", "must be a list of names"))?;
    if types.len() != layers {
        return Err(fields.error(
            "layer_types",
            format!("has {} entries for num_hidden_layers {layers}", types.len()),
        ));
    }
    let mut slides = false;
    for (layer, value) in types.iter().enumerate() {
        match value.as_str() {
            Some("full_attention") => {}
            Some("sliding_attention") => slides = true,
            Some(other) => {
                return Err(fields.unsupported(
                    format!("layer_types[{layer}] `{other}`"),
                    "only `full_attention` is".to_owned(),
                ));
            }
            None => {
                return Err(fields.error(
                    "layer_types",
                    format!("entry {layer} must be a name, not {}", kind(value)),
                ));
            }
        }
    }
    Ok(slides)
}
