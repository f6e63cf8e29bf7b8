//! Configurations of every family, as its published models have them.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use serde_json::{Value, json};

use super::{Activation, Architecture, ModelConfig, RopeScaling};
use crate::error::{Error, Result};

fn parse(config: &Value) -> Result<ModelConfig> {
    ModelConfig::from_json(config, Path::new("config.json"))
}

/// `base` with these fields replaced; a JSON string "absent" removes one.
fn with(mut base: Value, changes: &Value) -> Value {
    let map = base.as_object_mut().unwrap();
    for (key, value) in changes.as_object().unwrap() {
        if value == "absent" {
            map.remove(key);
        } else {
            map.insert(key.clone(), value.clone());
        }
    }
    base
}

fn field_of(result: Result<ModelConfig>) -> String {
    match result {
        Err(Error::Config { field, .. }) => field,
        other => panic!("{other:?}"),
    }
}

fn llama31() -> Value {
    json!({
        "architectures": ["LlamaForSequenceClassification"],
        "attention_bias": false,
        "attention_dropout": 0.0,
        "bos_token_id": 128000,
        "eos_token_id": [128001, 128008, 128009],
        "hidden_act": "silu",
        "hidden_size": 4096,
        "id2label": {"0": "LABEL_0"},
        "initializer_range": 0.02,
        "intermediate_size": 14336,
        "max_position_embeddings": 131072,
        "mlp_bias": false,
        "model_type": "llama",
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "num_key_value_heads": 8,
        "pad_token_id": 128256,
        "pretraining_tp": 1,
        "rms_norm_eps": 1e-5,
        "rope_scaling": {
            "factor": 8.0,
            "high_freq_factor": 4.0,
            "low_freq_factor": 1.0,
            "original_max_position_embeddings": 8192,
            "rope_type": "llama3"
        },
        "rope_theta": 500000.0,
        "tie_word_embeddings": false,
        "torch_dtype": "bfloat16",
        "vocab_size": 128257,
    })
}

#[test]
fn llama_3_1() {
    let config = parse(&llama31()).unwrap();
    assert_eq!(
        config.architecture,
        Architecture::LlamaForSequenceClassification
    );
    assert_eq!((config.head_dim, config.num_key_value_heads), (128, 8));
    assert_eq!(config.max_position_embeddings, 131_072);
    assert_eq!(config.pad_token_id, Some(128_256));
    assert!(!config.qkv_bias && !config.output_bias && !config.mlp_bias);
    assert_eq!(config.windows, [None; 32]);
    assert_eq!(config.rope.theta, 5e5);
    assert_eq!(
        config.rope.scaling,
        RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 8192,
        }
    );
    // The same in the spelling of `transformers` 5.
    let five = with(
        llama31(),
        &json!({
            "dtype": "bfloat16",
            "head_dim": 128,
            "rope_parameters": {
                "factor": 8.0,
                "high_freq_factor": 4.0,
                "low_freq_factor": 1.0,
                "original_max_position_embeddings": 8192,
                "rope_theta": 500000.0,
                "rope_type": "llama3"
            },
            "rope_scaling": "absent",
            "rope_theta": "absent",
            "torch_dtype": "absent",
        }),
    );
    assert_eq!(parse(&five).unwrap(), config);
}

/// Their files have neither `rope_theta` nor, with as many key as query heads, `num_key_value_heads`.
#[test]
fn llama_1_and_2() {
    let config = with(
        llama31(),
        &json!({
            "attention_bias": "absent",
            "mlp_bias": "absent",
            "num_key_value_heads": "absent",
            "rope_scaling": null,
            "rope_theta": "absent",
        }),
    );
    let config = parse(&config).unwrap();
    assert_eq!(config.num_key_value_heads, 32);
    assert_eq!(config.rope.theta, 1e4);
    assert_eq!(config.rope.scaling, RopeScaling::Default);
    assert!(!config.qkv_bias && !config.output_bias && !config.mlp_bias);
}

#[test]
fn llama_with_biases_and_linear_scaling() {
    let changes = json!({
        "attention_bias": true,
        "mlp_bias": true,
        "rope_scaling": {"type": "linear", "factor": 4.0},
    });
    let config = parse(&with(llama31(), &changes)).unwrap();
    assert!(config.qkv_bias && config.output_bias && config.mlp_bias);
    assert_eq!(config.rope.scaling, RopeScaling::Linear { factor: 4.0 });
    for field in ["attention_bias", "mlp_bias"] {
        let changes = json!({field: "yes"});
        assert_eq!(field_of(parse(&with(llama31(), &changes))), field);
    }
}

fn qwen3() -> Value {
    json!({
        "architectures": ["Qwen3ForSequenceClassification"],
        "attention_bias": false,
        "attention_dropout": 0.0,
        "bos_token_id": 151643,
        "eos_token_id": 151645,
        "head_dim": 128,
        "hidden_act": "silu",
        "hidden_size": 2560,
        "id2label": {"0": "LABEL_0"},
        "initializer_range": 0.02,
        "intermediate_size": 9728,
        "max_position_embeddings": 40960,
        "max_window_layers": 36,
        "model_type": "qwen3",
        "num_attention_heads": 32,
        "num_hidden_layers": 36,
        "num_key_value_heads": 8,
        "pad_token_id": 151643,
        "rms_norm_eps": 1e-6,
        "rope_scaling": null,
        "rope_theta": 1000000,
        "sliding_window": null,
        "tie_word_embeddings": true,
        "torch_dtype": "bfloat16",
        "use_sliding_window": false,
        "vocab_size": 151936,
    })
}

#[test]
fn qwen3_4b() {
    let config = parse(&qwen3()).unwrap();
    assert_eq!((config.hidden_size, config.head_dim), (2560, 128));
    assert!(!config.qkv_bias && !config.output_bias && !config.mlp_bias);
    assert_eq!(config.windows, [None; 36]);
    let five = json!({
        "dtype": "bfloat16",
        "layer_types": vec!["full_attention"; 36],
        "rope_parameters": {"rope_theta": 1000000, "rope_type": "default"},
        "rope_scaling": "absent",
        "rope_theta": "absent",
        "torch_dtype": "absent",
    });
    assert_eq!(parse(&with(qwen3(), &five)).unwrap(), config);

    let biased = parse(&with(qwen3(), &json!({"attention_bias": true}))).unwrap();
    assert!(biased.qkv_bias && biased.output_bias && !biased.mlp_bias);
    // `transformers` would take 128, whatever the other sizes are.
    let absent = parse(&with(qwen3(), &json!({"head_dim": "absent"})));
    assert_eq!(field_of(absent), "head_dim");
}

#[test]
fn yarn() {
    let scaling = |rope: Value| {
        let config = parse(&with(qwen3(), &json!({"rope_scaling": rope}))).unwrap();
        (config.rope.scaling, config.max_position_embeddings)
    };
    let (found, reach) = scaling(json!({
        "factor": 4.0,
        "original_max_position_embeddings": 32768,
        "type": "yarn",
    }));
    let plain = RopeScaling::Yarn {
        factor: 4.0,
        attention_factor: 0.1 * 4f64.ln() + 1.0,
        beta_fast: 32.0,
        beta_slow: 1.0,
        truncate: true,
        original_max_position_embeddings: 32_768,
    };
    assert_eq!((found, reach), (plain, 131_072));
    let (found, reach) = scaling(json!({
        "attention_factor": 1.5,
        "beta_fast": 16,
        "beta_slow": 2,
        "factor": 1.0,
        "rope_type": "yarn",
        "truncate": false,
    }));
    let all_given = RopeScaling::Yarn {
        factor: 1.0,
        attention_factor: 1.5,
        beta_fast: 16.0,
        beta_slow: 2.0,
        truncate: false,
        original_max_position_embeddings: 40_960,
    };
    assert_eq!((found, reach), (all_given, 40_960));
    let (found, _) = scaling(json!({
        "factor": 40.0,
        "mscale": 0.7,
        "mscale_all_dim": 1.2,
        "rope_type": "yarn",
    }));
    let RopeScaling::Yarn {
        attention_factor, ..
    } = found
    else {
        panic!("{found:?}");
    };
    let magnitude = |weight: f64| 0.1 * weight * 40f64.ln() + 1.0;
    assert_eq!(attention_factor, magnitude(0.7) / magnitude(1.2));
}

#[test]
fn windows_of_qwen() {
    let windows = |changes: Value| parse(&with(qwen3(), &changes)).unwrap().windows;
    let slides_from = |first: usize| -> Vec<Option<usize>> {
        (0..36)
            .map(|layer| (layer >= first).then_some(4096))
            .collect()
    };
    let used = json!({"use_sliding_window": true, "sliding_window": 4096});
    let with_used = |changes: Value| windows(with(used.clone(), &changes));
    assert_eq!(with_used(json!({"max_window_layers": 30})), slides_from(30));
    assert_eq!(with_used(json!({"max_window_layers": 0})), slides_from(0));
    assert_eq!(with_used(json!({"max_window_layers": 36})), [None; 36]);
    // What `transformers` takes for absent fields.
    let absent = json!({
        "max_window_layers": "absent",
        "sliding_window": "absent",
        "use_sliding_window": true,
    });
    assert_eq!(windows(absent), slides_from(28));
    // No sequence outgrows it.
    let wide = json!({"max_window_layers": 0, "sliding_window": 40960});
    assert_eq!(with_used(wide), [None; 36]);

    let mut types = vec!["full_attention"; 36];
    types[35] = "sliding_attention";
    let types = json!({"layer_types": types, "max_window_layers": 0});
    assert_eq!(with_used(types.clone()), slides_from(35));
    assert_eq!(field_of(parse(&with(qwen3(), &types))), "layer_types");
}

fn mistral() -> Value {
    json!({
        "architectures": ["MistralForSequenceClassification"],
        "attention_dropout": 0.0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": 4096,
        "id2label": {"0": "LABEL_0"},
        "initializer_range": 0.02,
        "intermediate_size": 14336,
        "max_position_embeddings": 32768,
        "model_type": "mistral",
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "num_key_value_heads": 8,
        "pad_token_id": 2,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "sliding_window": 4096,
        "tie_word_embeddings": false,
        "torch_dtype": "bfloat16",
        "vocab_size": 32000,
    })
}

#[test]
fn mistral_7b() {
    let config = parse(&mistral()).unwrap();
    assert_eq!(
        config.architecture,
        Architecture::MistralForSequenceClassification
    );
    assert_eq!(config.windows, [Some(4096); 32]);
    assert!(!config.qkv_bias && !config.output_bias && !config.mlp_bias);
    let windows = |changes: Value| parse(&with(mistral(), &changes)).map(|config| config.windows);
    // From version 0.2 on.
    assert_eq!(
        windows(json!({"sliding_window": null})).unwrap(),
        [None; 32]
    );
    assert_eq!(
        windows(json!({"sliding_window": 32768})).unwrap(),
        [None; 32]
    );
    let absent = windows(json!({"sliding_window": "absent"})).unwrap();
    assert_eq!(absent, [Some(4096); 32]);

    let mut types = vec!["sliding_attention"; 32];
    assert_eq!(
        windows(json!({"layer_types": types})).unwrap(),
        [Some(4096); 32]
    );
    types[3] = "full_attention";
    let error = windows(json!({"layer_types": types})).unwrap_err();
    assert!(
        matches!(error, Error::UnsupportedConfig { .. }),
        "{error:?}"
    );
    // The class has no such biases; a checkpoint with them has tensors too many.
    let biased = parse(&with(mistral(), &json!({"attention_bias": true}))).unwrap();
    assert!(!biased.qkv_bias);
}

fn gemma2_27b() -> Value {
    json!({
        "architectures": ["Gemma2ForSequenceClassification"],
        "attention_bias": false,
        "attention_dropout": 0.0,
        "attn_logit_softcapping": 50.0,
        "bos_token_id": 2,
        "cache_implementation": "hybrid",
        "eos_token_id": 1,
        "final_logit_softcapping": 30.0,
        "head_dim": 128,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": 4608,
        "id2label": {"0": "LABEL_0"},
        "initializer_range": 0.02,
        "intermediate_size": 36864,
        "max_position_embeddings": 8192,
        "model_type": "gemma2",
        "num_attention_heads": 32,
        "num_hidden_layers": 46,
        "num_key_value_heads": 16,
        "pad_token_id": 0,
        "query_pre_attn_scalar": 144,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "sliding_window": 4096,
        "sliding_window_size": 4096,
        "torch_dtype": "bfloat16",
        "vocab_size": 256000,
    })
}

#[test]
fn gemma_2() {
    let config = parse(&gemma2_27b()).unwrap();
    assert_eq!(
        config.architecture,
        Architecture::Gemma2ForSequenceClassification
    );
    assert_eq!(config.activation, Activation::GeluTanh);
    assert_eq!((config.hidden_size, config.head_dim), (4608, 128));
    assert_eq!(config.query_pre_attn_scalar, Some(144.0));
    assert_eq!(config.attn_logit_softcapping, Some(50.0));
    assert_eq!(config.pad_token_id, Some(0));
    let alternate: Vec<_> = (0..46)
        .map(|layer| (layer % 2 == 0).then_some(4096))
        .collect();
    assert_eq!(config.windows, alternate);
    let types: Vec<_> = (0..46)
        .map(|layer| ["sliding_attention", "full_attention"][layer % 2])
        .collect();
    let five = json!({
        "dtype": "bfloat16",
        "layer_types": types,
        "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
        "rope_theta": "absent",
        "torch_dtype": "absent",
        "use_bidirectional_attention": null,
    });
    assert_eq!(parse(&with(gemma2_27b(), &five)).unwrap(), config);
}

/// An absent field is not the same as one that is null.
#[test]
fn fields_of_gemma_2_that_are_absent_or_null() {
    let absent = json!({
        "attn_logit_softcapping": "absent",
        "hidden_activation": "absent",
        "pad_token_id": "absent",
        "query_pre_attn_scalar": "absent",
        "sliding_window": "absent",
    });
    let config = parse(&with(gemma2_27b(), &absent)).unwrap();
    assert_eq!(config.attn_logit_softcapping, Some(50.0));
    assert_eq!(config.activation, Activation::GeluTanh);
    assert_eq!(config.pad_token_id, Some(0));
    assert_eq!(config.query_pre_attn_scalar, Some(256.0));
    assert_eq!(config.windows[..2], [Some(4096), None]);

    let null = json!({"attn_logit_softcapping": null, "pad_token_id": null});
    let config = parse(&with(gemma2_27b(), &null)).unwrap();
    assert_eq!(config.attn_logit_softcapping, None);
    assert_eq!(config.pad_token_id, None);

    let own_size = json!({"query_pre_attn_scalar": 128});
    let config = parse(&with(gemma2_27b(), &own_size)).unwrap();
    assert_eq!(config.query_pre_attn_scalar, None);
    for (changes, field) in [
        (json!({"sliding_window": null}), "sliding_window"),
        (json!({"head_dim": "absent"}), "head_dim"),
        (
            json!({"attn_logit_softcapping": 0}),
            "attn_logit_softcapping",
        ),
        (
            json!({"query_pre_attn_scalar": "x"}),
            "query_pre_attn_scalar",
        ),
        (
            json!({"use_bidirectional_attention": "no"}),
            "use_bidirectional_attention",
        ),
    ] {
        assert_eq!(field_of(parse(&with(gemma2_27b(), &changes))), field);
    }
    for (changes, text) in [
        (
            json!({"hidden_activation": "silu"}),
            "hidden_activation `silu`",
        ),
        (
            json!({"use_bidirectional_attention": true}),
            "use_bidirectional_attention",
        ),
    ] {
        let error = parse(&with(gemma2_27b(), &changes)).unwrap_err();
        assert!(
            matches!(error, Error::UnsupportedConfig { .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[test]
fn relatives_that_compute_something_else_are_refused_by_name() {
    for name in [
        "Gemma3ForSequenceClassification",
        "GemmaForSequenceClassification",
        "MixtralForSequenceClassification",
        "Phi3ForSequenceClassification",
        "Qwen3MoeForSequenceClassification",
        "LlamaForCausalLM",
    ] {
        let error = parse(&with(llama31(), &json!({"architectures": [name]}))).unwrap_err();
        assert!(
            matches!(error, Error::UnsupportedArchitecture { .. }),
            "{error:?}"
        );
        let message = error.to_string();
        assert!(message.contains(name), "{message}");
        assert!(
            message.contains("Gemma2ForSequenceClassification"),
            "{message}"
        );
    }
}
