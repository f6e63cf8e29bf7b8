//! The `config.json` of a made-up model, as `transformers` writes it.

use std::path::Path;

use serde_json::{Map, Value, json};
use worldpm_ort_bundle::{Error, Result, checkpoint_files::CONFIG_FILE};

use super::options::{ConfigStyle, Head, SynthOptions};
use crate::checkpoint::{Architecture, Backbone, ModelConfig};

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
        "architectures": [architecture(options).as_str()],
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
    let windows = json!({
        "max_window_layers": layers,
        "sliding_window": null,
        "use_sliding_window": false,
    });
    match options.backbone {
        Backbone::Qwen2 => set(windows),
        Backbone::Qwen3 => {
            set(windows);
            set(json!({"attention_bias": false, "head_dim": head_dim}));
        }
        Backbone::Llama => set(json!({
            "attention_bias": false,
            "mlp_bias": false,
            "pretraining_tp": 1,
        })),
        Backbone::Mistral => set(json!({"sliding_window": null})),
        Backbone::Gemma2 => set(json!({
            "attention_bias": false,
            "attn_logit_softcapping": 50.0,
            "cache_implementation": "hybrid",
            "final_logit_softcapping": 30.0,
            "head_dim": head_dim,
            "hidden_act": "gelu_pytorch_tanh",
            "hidden_activation": "gelu_pytorch_tanh",
            "query_pre_attn_scalar": head_dim,
            "sliding_window": 4096,
        })),
    }
    if options.config_style == ConfigStyle::Transformers5
        && let Some(types) = layer_types(options)
    {
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

/// The kind of each layer, for decoders whose files tell it.
fn layer_types(options: &SynthOptions) -> Option<Vec<&'static str>> {
    // The list is built before the number of layers is checked.
    let layers = 0..options.shape.num_hidden_layers.min(1 << 17);
    match options.backbone {
        Backbone::Qwen2 | Backbone::Qwen3 => Some(layers.map(|_| "full_attention").collect()),
        Backbone::Gemma2 => {
            let slides = layers.map(|layer| match layer % 2 {
                0 => "sliding_attention",
                _ => "full_attention",
            });
            Some(slides.collect())
        }
        Backbone::Llama | Backbone::Mistral => None,
    }
}

/// The model class of a decoder under a head.
fn architecture(options: &SynthOptions) -> Architecture {
    match (options.backbone, options.head) {
        (Backbone::Qwen2, Head::TwoLayer) => Architecture::Qwen2ForRewardModel,
        (Backbone::Qwen2, Head::Process) => Architecture::Qwen2ForProcessRewardModel,
        (Backbone::Qwen2, Head::OneLayer { .. }) => Architecture::Qwen2ForSequenceClassification,
        (Backbone::Qwen3, _) => Architecture::Qwen3ForSequenceClassification,
        (Backbone::Llama, _) => Architecture::LlamaForSequenceClassification,
        (Backbone::Mistral, _) => Architecture::MistralForSequenceClassification,
        (Backbone::Gemma2, _) => Architecture::Gemma2ForSequenceClassification,
    }
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
