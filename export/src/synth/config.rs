//! The `config.json` of a made-up model, as `transformers` writes it.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{ConfigStyle, Head, SynthOptions};
use crate::checkpoint::{Architecture, CONFIG_FILE, ModelConfig};
use crate::error::{Error, Result};

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
    let architecture = match options.head {
        Head::TwoLayer => Architecture::Qwen2ForRewardModel,
        Head::OneLayer { .. } => Architecture::Qwen2ForSequenceClassification,
    };
    let mut fields = json!({
        "architectures": [architecture.as_str()],
        "attention_dropout": 0.0,
        "bos_token_id": 151643,
        "eos_token_id": 151643,
        "hidden_act": "silu",
        "hidden_size": shape.hidden_size,
        "initializer_range": 0.02,
        "intermediate_size": shape.intermediate_size,
        "max_position_embeddings": shape.max_position_embeddings,
        "max_window_layers": shape.num_hidden_layers,
        "model_type": "qwen2",
        "num_attention_heads": shape.num_attention_heads,
        "num_hidden_layers": shape.num_hidden_layers,
        "num_key_value_heads": shape.num_key_value_heads,
        "rms_norm_eps": shape.rms_norm_eps,
        "sliding_window": null,
        "tie_word_embeddings": options.tie_word_embeddings,
        "use_cache": true,
        "use_sliding_window": false,
        "vocab_size": shape.vocab_size,
    });
    let mut set = |name: &str, value: Value| {
        if let Some(map) = fields.as_object_mut() {
            map.insert(name.to_owned(), value);
        }
    };
    let labels = || options.labels.iter().enumerate();
    let id2label = labels().map(|(id, name)| (id.to_string(), json!(name)));
    set("id2label", id2label.collect::<Map<_, _>>().into());
    let label2id = labels().map(|(id, name)| (name.clone(), json!(id)));
    set("label2id", label2id.collect::<Map<_, _>>().into());
    if options.labels.len() > 1 {
        // What each label has is a score of its own, not a class.
        set("problem_type", json!("regression"));
    }
    if let Some(head_dim) = shape.head_dim {
        set("head_dim", json!(head_dim));
    }
    match options.config_style {
        ConfigStyle::Transformers4 => {
            set("rope_scaling", Value::Null);
            set("rope_theta", json!(shape.rope_theta));
            set("torch_dtype", json!("bfloat16"));
            set("transformers_version", json!("4.51.0"));
            if let Some(id) = options.pad_token_id {
                set("pad_token_id", json!(id));
            }
        }
        ConfigStyle::Transformers5 => {
            set("dtype", json!("bfloat16"));
            // The list is built before the number of layers is checked.
            let layers = shape.num_hidden_layers.min(1 << 17);
            set("layer_types", json!(vec!["full_attention"; layers]));
            set("pad_token_id", json!(options.pad_token_id));
            set(
                "rope_parameters",
                json!({"rope_theta": shape.rope_theta, "rope_type": "default"}),
            );
            set("transformers_version", json!("5.0.0"));
        }
    }
    sorted(fields)
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
