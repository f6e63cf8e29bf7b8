//! Configurations as they are in the wild, and ones that must be refused.

#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;

/// A configuration as `transformers` 4 writes it.
fn style4() -> Value {
    json!({
        "architectures": ["Qwen2ForRewardModel"],
        "attention_dropout": 0.0,
        "bos_token_id": 151643,
        "eos_token_id": 151643,
        "hidden_act": "silu",
        "hidden_size": 8192,
        "intermediate_size": 29568,
        "max_position_embeddings": 131072,
        "max_window_layers": 80,
        "model_type": "qwen2",
        "num_attention_heads": 64,
        "num_hidden_layers": 80,
        "num_key_value_heads": 8,
        "rms_norm_eps": 1e-5,
        "rope_scaling": null,
        "rope_theta": 1000000.0,
        "sliding_window": null,
        "tie_word_embeddings": false,
        "torch_dtype": "bfloat16",
        "use_sliding_window": false,
        "vocab_size": 152064,
    })
}

fn style5() -> Value {
    let mut config = style4();
    let map = config.as_object_mut().unwrap();
    map.remove("rope_scaling");
    map.remove("rope_theta");
    map.remove("torch_dtype");
    map.insert("dtype".into(), "bfloat16".into());
    map.insert("pad_token_id".into(), Value::Null);
    map.insert(
        "rope_parameters".into(),
        json!({"rope_type": "default", "rope_theta": 1000000.0}),
    );
    map.insert("layer_types".into(), json!(vec!["full_attention"; 80]));
    config
}

/// `style4` with these fields replaced; a JSON string "absent" removes one.
fn with(changes: Value) -> Value {
    let mut config = style4();
    let map = config.as_object_mut().unwrap();
    for (key, value) in changes.as_object().unwrap() {
        if value == "absent" {
            map.remove(key);
        } else {
            map.insert(key.clone(), value.clone());
        }
    }
    config
}

fn parse(config: &Value) -> Result<ModelConfig> {
    ModelConfig::from_json(config, Path::new("dir/config.json"))
}

#[test]
fn both_spellings_read_the_same() {
    let four = parse(&style4()).unwrap();
    assert_eq!(
        four,
        ModelConfig {
            architecture: Architecture::Qwen2ForRewardModel,
            hidden_size: 8192,
            intermediate_size: 29568,
            num_hidden_layers: 80,
            num_attention_heads: 64,
            num_key_value_heads: 8,
            head_dim: 128,
            vocab_size: 152064,
            max_position_embeddings: 131072,
            rms_norm_eps: 1e-5,
            rope: Rope {
                theta: 1e6,
                scaling: RopeScaling::Default,
            },
            activation: Activation::Silu,
            query_pre_attn_scalar: None,
            attn_logit_softcapping: None,
            qkv_bias: true,
            output_bias: false,
            mlp_bias: false,
            windows: vec![None; 80],
            pad_token_id: None,
            tie_word_embeddings: false,
            num_labels: None,
            label_names: None,
            dtype: Some("bfloat16".into()),
        }
    );
    assert_eq!(parse(&style5()).unwrap(), four);
}

#[test]
fn accepted_variants() {
    type Check = fn(&ModelConfig) -> bool;
    let cases: Vec<(Value, Check)> = vec![
        (json!({"head_dim": 64}), |c| c.head_dim == 64),
        (json!({"head_dim": null}), |c| c.head_dim == 128),
        (json!({"num_key_value_heads": null}), |c| {
            c.num_key_value_heads == 64
        }),
        (json!({"pad_token_id": 151643}), |c| {
            c.pad_token_id == Some(151643)
        }),
        (json!({"pad_token_id": 0}), |c| c.pad_token_id == Some(0)),
        (json!({"pad_token_id": -1}), |c| c.pad_token_id.is_none()),
        (json!({"hidden_act": "absent"}), |c| c.hidden_size == 8192),
        (json!({"rope_scaling": {"type": "default"}}), |c| {
            c.rope.theta == 1e6
        }),
        (json!({"rope_theta": 10000}), |c| c.rope.theta == 10000.0),
        (
            json!({"rope_parameters": {"rope_theta": 1000000, "partial_rotary_factor": 1.0}}),
            |c| c.rope.theta == 1e6,
        ),
        (json!({"tie_word_embeddings": true}), |c| {
            c.tie_word_embeddings
        }),
        (json!({"id2label": {"0": "LABEL_0"}}), |c| {
            c.num_labels == Some(1)
        }),
        (json!({"num_labels": 3}), |c| c.num_labels == Some(3)),
        (json!({"id2label": {"1": "b", "0": "c", "2": "a"}}), |c| {
            c.label_names == Some(["c", "b", "a"].map(String::from).to_vec())
        }),
        (
            json!({"architectures": ["Qwen2ForSequenceClassification"]}),
            |c| c.architecture == Architecture::Qwen2ForSequenceClassification,
        ),
        // A window that no sequence can outgrow, or that no layer uses.
        (
            json!({"use_sliding_window": true, "sliding_window": 131072, "max_window_layers": 0}),
            |c| c.max_position_embeddings == 131072,
        ),
        (
            json!({"use_sliding_window": true, "sliding_window": 4096, "max_window_layers": 80}),
            |c| c.num_hidden_layers == 80,
        ),
        (
            json!({"use_sliding_window": false, "sliding_window": 4096, "max_window_layers": 0}),
            |c| c.num_hidden_layers == 80,
        ),
    ];
    for (changes, check) in cases {
        let config = parse(&with(changes.clone())).unwrap_or_else(|e| panic!("{changes}: {e}"));
        assert!(check(&config), "{changes}: {config:?}");
    }
}

#[test]
fn every_needed_field_is_named_when_missing() {
    for field in [
        "architectures",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "vocab_size",
        "max_position_embeddings",
        "rms_norm_eps",
        "rope_theta",
    ] {
        let error = parse(&with(json!({ field: "absent" }))).unwrap_err();
        let Error::Config {
            path,
            field: f,
            problem,
        } = &error
        else {
            panic!("{field}: {error:?}");
        };
        assert_eq!(path, Path::new("dir/config.json"));
        assert_eq!(f, field);
        assert!(problem.starts_with("is missing"), "{problem}");
    }
}

#[test]
fn senseless_values_name_their_field() {
    let cases = [
        (json!({"hidden_size": 0}), "hidden_size"),
        (json!({"hidden_size": -8}), "hidden_size"),
        (json!({"hidden_size": 8192.5}), "hidden_size"),
        (json!({"hidden_size": "8192"}), "hidden_size"),
        (json!({"hidden_size": 8200}), "hidden_size"),
        (
            json!({"hidden_size": 9223372036854775807u64}),
            "hidden_size",
        ),
        (json!({"hidden_size": 64}), "hidden_size"),
        (json!({"vocab_size": 18446744073709551615u64}), "vocab_size"),
        (json!({"intermediate_size": 0}), "intermediate_size"),
        (json!({"num_hidden_layers": 0}), "num_hidden_layers"),
        (json!({"num_hidden_layers": 100000}), "num_hidden_layers"),
        (json!({"num_attention_heads": 0}), "num_attention_heads"),
        (json!({"num_key_value_heads": 0}), "num_key_value_heads"),
        (json!({"num_key_value_heads": 7}), "num_key_value_heads"),
        (json!({"num_key_value_heads": 128}), "num_key_value_heads"),
        (json!({"head_dim": 0}), "head_dim"),
        (json!({"head_dim": 63}), "head_dim"),
        (json!({"head_dim": 268435456}), "head_dim"),
        (json!({"rms_norm_eps": 0.0}), "rms_norm_eps"),
        (json!({"rms_norm_eps": "1e-6"}), "rms_norm_eps"),
        (json!({"rope_theta": -1.0}), "rope_theta"),
        (json!({"rope_theta": [1.0]}), "rope_theta"),
        (
            json!({"rope_parameters": {"rope_theta": 5.0}}),
            "rope_parameters.rope_theta",
        ),
        (json!({"rope_parameters": 3}), "rope_parameters"),
        (json!({"rope_scaling": {"type": 3}}), "rope_scaling.type"),
        (
            json!({"rope_scaling": {"type": "linear"}}),
            "rope_scaling.factor",
        ),
        (
            json!({"rope_scaling": {"type": "linear", "factor": "4"}}),
            "rope_scaling.factor",
        ),
        (
            json!({"rope_scaling": {"type": "yarn", "original_max_position_embeddings": 32768}}),
            "rope_scaling.factor",
        ),
        (
            json!({"rope_scaling": {"type": "yarn", "factor": 4.0, "truncate": 1}}),
            "rope_scaling.truncate",
        ),
        (
            json!({"rope_theta": 1.0, "rope_scaling": {"type": "yarn", "factor": 4.0}}),
            "rope_theta",
        ),
        (
            json!({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}),
            "rope_scaling.low_freq_factor",
        ),
        (
            json!({"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0,
                "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}}),
            "rope_scaling.high_freq_factor",
        ),
        (
            json!({"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                "high_freq_factor": 4.0}}),
            "rope_scaling.original_max_position_embeddings",
        ),
        (
            json!({"rope_parameters": {"rope_type": "default"},
                "rope_scaling": {"type": "linear", "factor": 2.0}}),
            "rope_scaling",
        ),
        (json!({"pad_token_id": -2}), "pad_token_id"),
        (json!({"pad_token_id": 152064}), "pad_token_id"),
        (json!({"pad_token_id": 1.5}), "pad_token_id"),
        (json!({"pad_token_id": "<pad>"}), "pad_token_id"),
        (json!({"tie_word_embeddings": 1}), "tie_word_embeddings"),
        (json!({"architectures": []}), "architectures"),
        (
            json!({"architectures": "Qwen2ForRewardModel"}),
            "architectures",
        ),
        (json!({"layer_types": ["full_attention"]}), "layer_types"),
        (json!({"layer_types": vec![1; 80]}), "layer_types"),
        (
            json!({"layer_types": vec!["sliding_attention"; 80]}),
            "layer_types",
        ),
        (
            json!({"use_sliding_window": true, "max_window_layers": -1}),
            "max_window_layers",
        ),
        (json!({"id2label": {}}), "id2label"),
        (json!({"id2label": ["a"]}), "id2label"),
        (json!({"id2label": {"0": "a", "2": "b"}}), "id2label"),
        (json!({"id2label": {"0": "a", "01": "b"}}), "id2label"),
        (json!({"id2label": {"0": "a", "1": [1]}}), "id2label"),
        (json!({"id2label": {"0": ""}}), "id2label"),
        (json!({"id2label": {"0": "a", "1": "a"}}), "id2label"),
        (
            json!({"id2label": {"0": "a"}, "num_labels": 2}),
            "num_labels",
        ),
        (json!({"hidden_act": 1}), "hidden_act"),
        (json!({"use_sliding_window": "no"}), "use_sliding_window"),
        (
            json!({"use_sliding_window": true, "sliding_window": 0}),
            "sliding_window",
        ),
    ];
    for (changes, field) in cases {
        match parse(&with(changes.clone())) {
            Err(Error::Config { field: f, .. }) => assert_eq!(f, field, "{changes}"),
            other => panic!("{changes}: {other:?}"),
        }
    }
}

#[test]
fn unsupported_features_are_named() {
    let cases = [
        (
            json!({"architectures": ["LlamaForCausalLM"]}),
            "LlamaForCausalLM",
        ),
        (json!({"hidden_act": "gelu"}), "gelu"),
        (
            json!({"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1000000.0}}),
            "dynamic",
        ),
        (
            json!({"rope_parameters": {"full_attention": {"rope_theta": 1000000.0}}}),
            "full_attention",
        ),
        (
            json!({"rope_parameters": {"partial_rotary_factor": 0.5}}),
            "partial_rotary_factor",
        ),
        (
            json!({"partial_rotary_factor": 0.5}),
            "partial_rotary_factor",
        ),
        (
            json!({"rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]}}),
            "rope_scaling of kind `mrope`",
        ),
        (
            json!({"rope_scaling": {"rope_type": "longrope", "short_factor": []}}),
            "longrope",
        ),
        (
            json!({"layer_types": vec!["linear_attention"; 80]}),
            "layer_types[0] `linear_attention`",
        ),
        (
            json!({"quantization_config": {"quant_method": "gptq"}}),
            "gptq",
        ),
    ];
    for (changes, text) in cases {
        let error = parse(&with(changes.clone())).unwrap_err();
        assert!(
            match changes.get("architectures") {
                Some(_) => matches!(error, Error::UnsupportedArchitecture { .. }),
                None => matches!(error, Error::UnsupportedConfig { .. }),
            },
            "{changes}: {error:?}"
        );
        let message = error.to_string();
        assert!(message.contains(text), "{changes}: {message}");
        assert!(message.starts_with("dir/config.json: "), "{message}");
    }
}

#[test]
fn an_unknown_architecture_lists_the_known_ones() {
    let error = parse(&with(json!({"architectures": ["Nope"]}))).unwrap_err();
    let message = error.to_string();
    for known in Architecture::ALL {
        assert!(message.contains(known.as_str()), "{message}");
    }
}

#[test]
fn files_that_are_not_a_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    for text in ["", "{", "[]", "7", "{\"hidden_size\": NaN}"] {
        std::fs::write(&path, text).unwrap();
        let error = ModelConfig::read(&path).unwrap_err();
        assert!(matches!(error, Error::Config { .. }), "{text}: {error:?}");
    }
    std::fs::write(&path, b"{\"\xff\": 1}").unwrap();
    assert!(matches!(
        ModelConfig::read(&path).unwrap_err(),
        Error::Bundle(worldpm_ort_bundle::Error::Io { .. })
    ));
}
