//! Every field that `transformers` knows is classified, and is treated as the table says, whatever its value.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Found, ModelConfig, RopeScaling,
    check::entry,
    table::{FIELDS, ROPE_FIELDS, Rule},
};
use crate::{
    arch::{Architecture, Backbone},
    error::{Error, Result},
};

/// A file of `scripts/list-config-fields.py`.
#[derive(Deserialize)]
struct List {
    transformers: String,
    families: BTreeMap<String, BTreeMap<String, Value>>,
    handled: Vec<String>,
    class_attributes: Vec<String>,
    generation: Vec<String>,
    read: BTreeMap<String, Vec<String>>,
    rope: Vec<String>,
}

impl List {
    fn fields(&self) -> BTreeSet<&str> {
        let families = self.families.values().flat_map(BTreeMap::keys);
        let read = self.read.values().flatten();
        let others = [&self.handled, &self.class_attributes, &self.generation];
        let all = families.chain(read).chain(others.into_iter().flatten());
        all.map(String::as_str).collect()
    }
}

fn lists() -> Vec<List> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/config_fields");
    let files = std::fs::read_dir(dir)
        .unwrap()
        .map(|file| file.unwrap().path());
    let lists = files.filter(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("transformers-") && name.ends_with(".json")
    });
    lists
        .map(|path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
        .collect()
}

/// Fields of published files that no list has.
const WITHOUT_LIST: [&str; 7] = [
    "_attn_implementation_autoset",
    "cache_implementation",
    "no_rope_layers",
    "sliding_window_size",
    "unsloth_fixed",
    "unsloth_version",
    "use_mrope",
];

#[test]
fn every_field_is_classified() {
    let lists = lists();
    for major in ["4.", "5."] {
        assert!(
            lists
                .iter()
                .any(|list| list.transformers.starts_with(major))
        );
    }
    for list in &lists {
        assert_eq!(list.families.len(), Backbone::ALL.len());
        let fields = list.fields();
        assert!(fields.len() > 100 && fields.contains("is_encoder_decoder"));
        for (table, fields) in [
            (FIELDS, fields),
            (ROPE_FIELDS, list.rope.iter().map(String::as_str).collect()),
        ] {
            let missing: Vec<_> = fields
                .into_iter()
                .filter(|field| entry(table, field).is_none())
                .collect();
            assert!(
                missing.is_empty(),
                "transformers {} has fields that config/table.rs does not classify: {missing:?}",
                list.transformers
            );
        }
    }
}

#[test]
fn the_tables_are_in_order_and_hold_nothing_else() {
    let lists = lists();
    for table in [FIELDS, ROPE_FIELDS] {
        for pair in table.windows(2) {
            assert!(
                pair[0].0 < pair[1].0,
                "{} comes before {}",
                pair[0].0,
                pair[1].0
            );
        }
        for (name, (_, about)) in table {
            assert!(!about.is_empty(), "{name}");
        }
    }
    let known: BTreeSet<&str> = lists.iter().flat_map(List::fields).collect();
    for (name, _) in FIELDS {
        let is_listed = known.contains(name);
        assert_eq!(is_listed, !WITHOUT_LIST.contains(name), "{name}");
    }
}

/// A small configuration of a family, with every field that its class reads.
fn config(backbone: Backbone) -> Value {
    let architecture = Architecture::ALL
        .into_iter()
        .find(|a| a.backbone() == backbone && a.as_str().ends_with("ForSequenceClassification"));
    json!({
        "architectures": [architecture.unwrap().as_str()],
        "attention_bias": false,
        "attn_logit_softcapping": 50.0,
        "head_dim": 16,
        "hidden_size": 64,
        "id2label": {"0": "a"},
        "intermediate_size": 96,
        "max_position_embeddings": 512,
        "model_type": backbone.as_str(),
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "num_key_value_heads": 2,
        "pad_token_id": 3,
        "query_pre_attn_scalar": 16,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "sliding_window": 64,
        "vocab_size": 100,
    })
}

fn found(value: &Value) -> Result<Found> {
    Found::from_json(value, Path::new("config.json"), false)
}

fn parsed(value: &Value) -> ModelConfig {
    let found = found(value).unwrap();
    assert!(found.unknown.is_empty(), "{:?}", found.unknown);
    found.config
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2..200_i64).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop_oneof![
            Just(json!({"__float__": "NaN"})),
            Just(json!({"__float__": "Infinity"}))
        ],
        prop_oneof![".*", "[a-z_]{0,8}", Just("sliding_attention".to_owned())]
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-z0-9_]{0,6}", inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Nothing that is not read changes what is computed, and nothing that would change it is passed over.
    #[test]
    fn any_value_of_any_field(value in values(), unknown in "x_[a-z]{1,9}") {
        for backbone in Backbone::ALL {
            let base = config(backbone);
            let expected = parsed(&base);
            for (name, (rule, _)) in FIELDS {
                let mut changed = base.clone();
                changed[*name] = value.clone();
                let result = found(&changed);
                match rule {
                    rule if rule.is_read(name, backbone.decoder()) => {
                        // What sense a value makes is for other tests. An object of any names makes none.
                        if let (true, Ok(found)) = (value.is_object() && *name != "id2label", result) {
                            prop_assert_eq!(&found.config, &expected, "{}: {}", name, value);
                        }
                    }
                    Rule::Read | Rule::Own | Rule::Harmless => {
                        prop_assert_eq!(&result.unwrap().config, &expected, "{}: {}", name, value);
                    }
                    Rule::Only(_) => match result {
                        Ok(found) => prop_assert_eq!(&found.config, &expected, "{}: {}", name, value),
                        Err(Error::UnsupportedConfig { what, .. }) => {
                            prop_assert!(what.contains(&format!("`{name}`")), "{what}");
                        }
                        Err(other) => prop_assert!(false, "{name}: {other}"),
                    },
                }
            }
            let mut changed = base.clone();
            changed[unknown.as_str()] = value.clone();
            let found = found(&changed).unwrap();
            prop_assert_eq!(found.config, expected);
            prop_assert_eq!(found.unknown, [unknown.clone()]);
        }
    }

    /// Values of rotary positions are finite numbers above 0, or are refused.
    #[test]
    fn any_value_of_any_field_of_rotary_positions(value in values(), kind in "default|linear|llama3|yarn") {
        let rope = json!({
            "rope_type": kind, "factor": 4.0, "original_max_position_embeddings": 64, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "rope_theta": 10000.0,
        });
        for (name, _) in ROPE_FIELDS {
            for place in ["rope_parameters", "rope_scaling"] {
                let mut changed = config(Backbone::Llama);
                let mut rope = rope.clone();
                rope[*name] = value.clone();
                changed[place] = rope;
                let Ok(found) = found(&changed) else { continue };
                let rope = &found.config.rope;
                let numbers = match rope.scaling {
                    RopeScaling::Default => vec![],
                    RopeScaling::Linear { factor } => vec![factor],
                    RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, .. } => {
                        vec![factor, low_freq_factor, high_freq_factor]
                    }
                    RopeScaling::Yarn { factor, attention_factor, beta_fast, beta_slow, .. } => {
                        vec![factor, attention_factor, beta_fast, beta_slow]
                    }
                };
                prop_assert!(numbers.into_iter().chain([rope.theta]).all(|n| n.is_finite() && n > 0.0),
                    "{name}: {value}: {rope:?}");
            }
        }
    }
}

fn with(changes: &Value) -> Value {
    let mut value = config(Backbone::Llama);
    for (name, change) in changes.as_object().unwrap() {
        value[name] = change.clone();
    }
    value
}

#[test]
fn values_that_mean_what_is_computed_anyway() {
    let base = parsed(&with(&json!({})));
    for changes in [
        json!({"is_causal": true}),
        json!({"per_layer_config": {}, "pruned_heads": {}, "is_encoder_decoder": false}),
        json!({"attention_chunk_size": null, "no_rope_layers": []}),
        json!({"default_theta": 10000.0, "default_rope_type": "default", "attribute_map": {}}),
        json!({"rope_scaling": {}, "rope_parameters": {}}),
        json!({"rope_scaling": {"rope_type": "default", "type": "default"}}),
        json!({"rope_scaling": {"rope_type": "default", "rope_theta": 10000}}),
        json!({"rope_parameters": {"rope_type": "default"}, "rope_scaling": {"rope_theta": 10000.0}}),
        json!({"auto_map": {"AutoModelForCausalLM": "modeling_other.Other"}, "hidden_act": "swish"}),
        json!({"auto_map": {}}),
    ] {
        assert_eq!(parsed(&with(&changes)), base, "{changes}");
    }
}

#[test]
fn what_would_change_the_mathematics_is_refused() {
    for (changes, field) in [
        (json!({"is_causal": false}), "is_causal"),
        (json!({"is_causal": null}), "is_causal"),
        (json!({"is_causal": 0}), "is_causal"),
        (
            json!({"per_layer_config": {"0": {"intermediate_size": 32}}}),
            "per_layer_config",
        ),
        (json!({"model_type": "qwen2"}), "model_type"),
        (json!({"add_cross_attention": true}), "add_cross_attention"),
        (json!({"pruned_heads": {"0": [1]}}), "pruned_heads"),
        (json!({"attention_chunk_size": 64}), "attention_chunk_size"),
        (json!({"no_rope_layers": [0, 1]}), "no_rope_layers"),
        (
            json!({"attribute_map": {"hidden_act": "x"}}),
            "attribute_map",
        ),
        (
            json!({"configuration_files": ["config.5.0.0.json"]}),
            "configuration_files",
        ),
        (
            json!({"auto_map": {"AutoModelForSequenceClassification": "m.LlamaForSequenceClassification"}}),
            "auto_map",
        ),
        (
            json!({"auto_map": {"AutoModel": "m.LlamaModel"}}),
            "auto_map",
        ),
        (
            json!({"auto_map": {"AutoConfig": "c.LlamaConfig"}}),
            "auto_map",
        ),
        (
            json!({"auto_map": {"AutoTokenizer": ["t.Tokenizer", null]}}),
            "auto_map",
        ),
        (json!({"auto_map": "m.Model"}), "auto_map"),
        (
            json!({"rms_norm_eps": {"__float__": "NaN"}}),
            "rms_norm_eps",
        ),
        (
            json!({"rope_scaling": {"type": "linear", "rope_type": "default", "factor": 2.0}}),
            "rope_scaling.type",
        ),
        (
            json!({"rope_scaling": {"type": null, "factor": 2.0}}),
            "rope_scaling.type",
        ),
        (
            json!({"rope_scaling": {"rope_type": "linear", "factor": {"__float__": "NaN"}}}),
            "rope_scaling.factor",
        ),
        (
            json!({"rope_scaling": {"rope_type": "default", "rope_theta": 500.0}}),
            "rope_scaling.rope_theta",
        ),
        (
            json!({"rope_parameters": {"rope_type": "linear", "factor": 2.0},
                "rope_scaling": {"rope_type": "linear", "factor": 4.0}}),
            "rope_scaling",
        ),
        (
            json!({"original_max_position_embeddings": 32,
                "rope_scaling": {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 64}}),
            "rope_scaling.original_max_position_embeddings",
        ),
        (
            json!({"rope_scaling": {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 64.5}}),
            "rope_scaling.original_max_position_embeddings",
        ),
    ] {
        let error = found(&with(&changes)).unwrap_err().to_string();
        assert!(error.contains(&format!("`{field}")), "{changes}: {error}");
    }
    // Outside they would agree, but `transformers` takes 10000 for the one without a base.
    let mut value = with(&json!({
        "rope_parameters": {"rope_type": "default", "rope_theta": 500.0}, "rope_scaling": {"rope_type": "default"},
    }));
    value.as_object_mut().unwrap().remove("rope_theta");
    assert!(
        found(&value)
            .unwrap_err()
            .to_string()
            .contains("`rope_scaling`")
    );
    let null = with(&json!({"rope_theta": null}));
    assert!(
        found(&null)
            .unwrap_err()
            .to_string()
            .contains("`rope_theta`")
    );
}

/// Published files of the two classes that exist as code of their checkpoints alone.
#[test]
fn code_that_is_implemented_here() {
    let published = |architecture: &str, class: &str, config: &str| {
        let mut value = config_of_reward_model(architecture);
        value["auto_map"] = json!({
            "AutoConfig": format!("configuration_qwen2_rm.{config}"),
            "AutoModel": format!("Qwen/WorldPM-72B--modeling_qwen2_rm.{class}"),
        });
        found(&value)
    };
    for architecture in ["Qwen2ForRewardModel", "Qwen2ForProcessRewardModel"] {
        published(architecture, architecture, "Qwen2RMConfig").unwrap();
        for (class, config) in [
            ("Qwen2Other", "Qwen2RMConfig"),
            ("Qwen2ForSequenceClassification", "Qwen2RMConfig"),
            (architecture, "OtherConfig"),
        ] {
            let error = published(architecture, class, config)
                .unwrap_err()
                .to_string();
            assert!(error.contains("auto_map"), "{error}");
        }
    }
}

fn config_of_reward_model(architecture: &str) -> Value {
    let mut value = config(Backbone::Qwen2);
    value["architectures"] = json!([architecture]);
    value
}

#[test]
fn unknown_fields_are_named() {
    let value = with(&json!({
        "use_new_thing": 1, "another": null, "rope_scaling": {"rope_type": "default", "turn": 3, "mrope_section": [1]},
        "bos_token_id": [1], "_name_or_path": {"a": {"__float__": "NaN"}},
    }));
    let found = found(&value).unwrap();
    assert_eq!(
        found.unknown,
        ["another", "use_new_thing", "rope_scaling.turn"]
    );
}

/// Expected values are those of `ROPE_INIT_FUNCTIONS` of `transformers` 5.
#[test]
fn yarn_without_some_of_its_values() {
    let scaling = |changes: Value| {
        let mut rope =
            json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64});
        for (name, change) in changes.as_object().unwrap() {
            rope[name] = change.clone();
        }
        parsed(&with(&json!({"rope_scaling": rope}))).rope.scaling
    };
    let plain = scaling(json!({}));
    for same in [
        json!({"original_max_position_embeddings": 64.0}),
        json!({"beta_fast": 0, "beta_slow": null}),
        json!({"mscale": 0, "mscale_all_dim": 1.0}),
        json!({"attention_factor": null, "mscale": 2.0}),
        json!({"truncate": true}),
    ] {
        assert_eq!(scaling(same.clone()), plain, "{same}");
    }
    let RopeScaling::Yarn { truncate, .. } = scaling(json!({"truncate": null})) else {
        panic!();
    };
    assert!(!truncate);
    let RopeScaling::Yarn {
        factor,
        attention_factor,
        ..
    } = scaling(json!({"factor": null}))
    else {
        panic!();
    };
    assert_eq!((factor, attention_factor), (8.0, 0.1 * 8f64.ln() + 1.0));
    let outside = with(&json!({
        "original_max_position_embeddings": 64, "rope_scaling": {"rope_type": "yarn", "factor": 4.0},
    }));
    assert_eq!(parsed(&outside).rope.scaling, plain);
}

#[test]
fn names_of_labels() {
    for (labels, expected) in [
        (json!({"0": null}), vec!["LABEL_0"]),
        (
            json!({"0": "bad", "1": null, "2": 3, "3": 0.5}),
            vec!["bad", "LABEL_1", "3", "0.5"],
        ),
    ] {
        let names = parsed(&with(&json!({"id2label": labels})))
            .label_names
            .unwrap();
        assert_eq!(names, expected);
    }
    for labels in [
        json!({"0": true}),
        json!({"0": ["a"]}),
        json!({"0": null, "1": "LABEL_0"}),
    ] {
        let error = found(&with(&json!({"id2label": labels})))
            .unwrap_err()
            .to_string();
        assert!(error.contains("id2label"), "{error}");
    }
}

/// The base models of adapters that bring the head.
#[test]
fn base_models_of_adapters() {
    for (name, expected) in [
        ("LlamaForCausalLM", Some("LlamaForSequenceClassification")),
        ("LlamaModel", Some("LlamaForSequenceClassification")),
        (
            "LlamaForSequenceClassification",
            Some("LlamaForSequenceClassification"),
        ),
        ("LlamaForTokenClassification", None),
        ("Llama4ForCausalLM", None),
        ("LlamaForCausalLMOther", None),
    ] {
        let value = with(&json!({"architectures": [name]}));
        let lent = Found::from_json(&value, Path::new("config.json"), true);
        let lent = lent.map(|found| found.config.architecture.as_str()).ok();
        assert_eq!(lent, expected, "{name}");
        let alone = found(&value).is_ok();
        assert_eq!(alone, Architecture::from_name(name).is_some(), "{name}");
    }
    let error = found(&with(&json!({"architectures": ["LlamaForCausalLM"]}))).unwrap_err();
    assert!(error.to_string().contains("adapter"), "{error}");
}
