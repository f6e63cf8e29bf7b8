//! The `config.json` of a made-up model, as `transformers` writes it.

use std::path::Path;

use serde_json::{Map, Value, json};
use worldpm_ort_bundle::checkpoint_files::CONFIG_FILE;

use super::options::{ConfigStyle, Head, SynthOptions};
use crate::{
    checkpoint::ModelConfig,
    error::{Error, Result},
};

/// The configuration, checked by the same rules as one that is read.
///
/// # Errors
/// [`Error::Option`], naming the dimension that makes no sense.
pub(super) fn config(options: &SynthOptions) -> Result<(Value, ModelConfig)> {
    let value = json(options);
    match ModelConfig::from_json(&value, Path::new(CONFIG_FILE)) {
        Ok(config) => Ok((value, config)),
        Err(Error::Config { field, problem, .. }) => {
            // Nested fields have options of the same last name.
            let option = field.rsplit('.').next().unwrap_or(&field).to_owned();
            Err(Error::Option { option, problem })
        }
        Err(other) => Err(other),
    }
}

fn json(options: &SynthOptions) -> Value {
    let shape = &options.shape;
    let layers = shape.num_hidden_layers;
    let head_dim = shape.head_dim.unwrap_or(
        shape
            .hidden_size
            .checked_div(shape.num_attention_heads)
            .unwrap_or(0),
    );
    let mut fields = Map::new();
    let mut set = |more: Value| {
        if let Value::Object(more) = more {
            fields.extend(more);
        }
    };
    set(json!({
        "architectures": [options.class_name()],
        "attention_dropout": 0.0,
        "bos_token_id": 151643,
        "eos_token_id": 151643,
        "hidden_act": "silu",
        "hidden_size": shape.hidden_size,
        "initializer_range": 0.02,
        "intermediate_size": shape.intermediate_size,
        "max_position_embeddings": shape.max_position_embeddings,
        "model_type": options.backbone.as_str(),
        "num_attention_heads": shape.num_attention_heads,
        "num_hidden_layers": layers,
        "num_key_value_heads": shape.num_key_value_heads,
        "rms_norm_eps": shape.rms_norm_eps,
        "tie_word_embeddings": options.tie_word_embeddings,
        "use_cache": true,
        "vocab_size": shape.vocab_size,
    }));
    let names = options.label_names();
    let labels = || names.iter().enumerate();
    let id2label = labels().map(|(id, name)| (id.to_string(), json!(name)));
    let label2id = labels().map(|(id, name)| (name.clone(), json!(id)));
    set(json!({
        "id2label": id2label.collect::<Map<_, _>>(),
        "label2id": label2id.collect::<Map<_, _>>(),
    }));
    if matches!(options.head, Head::OneLayer { .. }) && names.len() > 1 {
        // What each label has is a score of its own, not a class.
        set(json!({"problem_type": "regression"}));
    }
    if let Some(head_dim) = shape.head_dim {
        set(json!({"head_dim": head_dim}));
    }
    set((options.backbone.decoder().made_up)(layers, head_dim));
    if options.config_style == ConfigStyle::Transformers5
        && !options.backbone.decoder().layer_types.is_empty()
    {
        // The list is made before the number of layers is checked.
        let types = options.backbone.decoder().layer_types.iter().cycle();
        let types: Vec<_> = types.take(layers.min(1 << 17)).collect();
        set(json!({"layer_types": types}));
    }
    match options.config_style {
        ConfigStyle::Transformers4 => {
            set(json!({
                "rope_scaling": null,
                "rope_theta": shape.rope_theta,
                "torch_dtype": "bfloat16",
                "transformers_version": "4.51.0",
            }));
            if let Some(id) = options.pad_token_id {
                set(json!({"pad_token_id": id}));
            }
        }
        ConfigStyle::Transformers5 => set(json!({
            "dtype": "bfloat16",
            "pad_token_id": options.pad_token_id,
            "rope_parameters": {"rope_theta": shape.rope_theta, "rope_type": "default"},
            "transformers_version": "5.0.0",
        })),
    }
    set(Value::Object(options.config.clone()));
    sorted(Value::Object(fields))
}

/// The keys in order, as `transformers` saves them.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.into_iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(Map::from_iter(entries))
        }
        other => other,
    }
}
