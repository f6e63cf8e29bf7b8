#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, path::PathBuf};

use serde_json::{Value, json};

use super::*;

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models")
}

#[test]
fn every_recipe_is_in_the_program() {
    let folders = fs::read_dir(models()).unwrap().map(|entry| entry.unwrap());
    let on_disk: BTreeSet<String> = folders
        .filter(|folder| folder.path().join("recipe.json").exists())
        .map(|folder| folder.file_name().into_string().unwrap())
        .collect();
    assert_eq!(on_disk, Recipe::names().map(str::to_owned).collect());
    for recipe in Recipe::all().unwrap() {
        let path = models().join(&recipe.name).join("recipe.json");
        assert_eq!(Recipe::read(&path).unwrap(), recipe);
    }
}

#[test]
fn recipes_are_sound() {
    for recipe in Recipe::all().unwrap() {
        let name = &recipe.name;
        let (_, model) = recipe.repository.split_once('/').unwrap();
        assert_eq!(
            *name,
            model.to_lowercase(),
            "a recipe has its repository's name"
        );
        assert!(
            !recipe.license.is_empty() && !recipe.summary.is_empty(),
            "{name}"
        );
        let revision = recipe.revision.as_deref();
        assert!(
            revision.is_none_or(|r| r.len() == 40 && r.bytes().all(|b| b.is_ascii_hexdigit())),
            "{name}"
        );

        // Each fact was read somewhere, or says that it was not.
        let stated = |field: &str| {
            recipe.sources.contains_key(field) != recipe.unverified.contains_key(field)
        };
        for field in ["repository", "license", "architecture", "shape"] {
            assert!(stated(field), "{name}: {field}");
        }
        assert_eq!(
            recipe.revision.is_none(),
            recipe.unverified.contains_key("revision"),
            "{name}"
        );
        assert_eq!(
            !recipe.published.is_empty(),
            recipe.sources.contains_key("published"),
            "{name}"
        );
        let dimensions: BTreeSet<String> = recipe
            .shape
            .fields()
            .iter()
            .map(|(field, _)| format!("shape.{field}"))
            .collect();
        let fields = [
            "repository",
            "revision",
            "license",
            "architecture",
            "shape",
            "published",
            "trained_length",
        ];
        for field in recipe.sources.keys().chain(recipe.unverified.keys()) {
            assert!(
                fields.contains(&field.as_str()) || dimensions.contains(field),
                "{name}: {field}"
            );
        }

        let Suggested {
            device,
            precision,
            stages,
        } = recipe.suggested;
        assert_eq!(
            device == Device::Cuda,
            recipe.parameters >= 3_000_000_000,
            "{name}"
        );
        assert_eq!(precision, Precision::Bf16);
        let gigabytes = recipe.weight_bytes / 1_000_000_000;
        assert_eq!(
            stages,
            if gigabytes < 80 {
                1
            } else {
                gigabytes.div_ceil(40) as usize
            },
            "{name}"
        );
    }
}

/// The published counts of base models, less their output embedding where it is a matrix of its own, and with the
/// reward head: a check of the formula against numbers from elsewhere.
#[test]
fn parameters_of_known_models() {
    let parameters = |name: &str| Recipe::named(name).unwrap().parameters;
    // Qwen3-0.6B: 596,049,920 with tied embeddings.
    assert_eq!(
        parameters("skywork-reward-v2-qwen3-0.6b"),
        596_049_920 + 1024
    );
    // Llama-3.2-1B: 1,235,814,400 with tied embeddings.
    assert_eq!(
        parameters("skywork-reward-v2-llama-3.2-1b"),
        1_235_814_400 + 2048
    );
    // Llama-3.1-8B: 8,030,261,248, of which 128,256 x 4,096 are the output embedding.
    assert_eq!(
        parameters("skywork-reward-v2-llama-3.1-8b"),
        8_030_261_248 - 128_256 * 4096 + 4096
    );
    // Gemma-2-27B: 27,227,128,320 with tied embeddings.
    assert_eq!(
        parameters("skywork-reward-gemma-2-27b-v0.2"),
        27_227_128_320 + 4608
    );
    // Mistral-7B: 7,241,732,096; one token more here.
    assert_eq!(
        parameters("rm-mistral-7b"),
        7_241_732_096 - 32_000 * 4096 + 4096 + 4096
    );
    // Qwen2.5-72B: 72,706,203,648.
    let head = 8192 * 8192 + 8192 + 8192 + 1;
    assert_eq!(
        parameters("worldpm-72b"),
        72_706_203_648 - 152_064 * 8192 + head
    );
}

/// The conversations stand in `sleep.jsonl` too, where `score` reads them.
#[test]
fn published_scores_of_worldpm() {
    let lines = |name: &str| -> Vec<Value> {
        let text = fs::read_to_string(models().join("worldpm-72b").join(name)).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let (conversations, scores) = (lines("sleep.jsonl"), lines("sleep.published.jsonl"));
    let published = Recipe::named("worldpm-72b").unwrap().published;
    assert_eq!(published.len(), conversations.len());
    for ((published, conversation), score) in published.iter().zip(conversations).zip(scores) {
        assert_eq!(
            json!({"id": published.id, "messages": published.messages}),
            conversation
        );
        assert_eq!(json!({"id": published.id, "score": published.score}), score);
        assert_eq!(published.computed_in, Precision::Fp32);
    }
}

fn config(recipe: &Recipe, change: impl FnOnce(&mut Value)) -> ModelConfig {
    let mut value = serde_json::to_value(recipe.shape).unwrap();
    value["architectures"] = json!([recipe.architecture]);
    value["max_position_embeddings"] = json!(4096);
    value["rms_norm_eps"] = json!(1e-6);
    value["rope_theta"] = json!(10_000.0);
    change(&mut value);
    ModelConfig::from_json(&value, Path::new("config.json")).unwrap()
}

type Change = fn(&mut Value);

#[test]
fn another_model_is_refused() {
    let recipe = Recipe::named("worldpm-72b").unwrap();
    assert_eq!(
        recipe.check(&config(&recipe, |_| {})).unwrap(),
        [] as [&str; 0]
    );
    // A configuration that does not state its labels does not contradict the recipe.
    let unstated = config(&recipe, |c| {
        c.as_object_mut().unwrap().remove("num_labels");
    });
    assert!(recipe.check(&unstated).unwrap().is_empty());

    let cases: &[(&str, Change)] = &[
        ("architecture", |c| {
            c["architectures"] = json!(["Qwen2ForSequenceClassification"])
        }),
        ("hidden_size", |c| c["hidden_size"] = json!(4096)),
        ("intermediate_size", |c| c["intermediate_size"] = json!(1)),
        ("num_hidden_layers", |c| c["num_hidden_layers"] = json!(79)),
        ("num_attention_heads", |c| {
            c["num_attention_heads"] = json!(32)
        }),
        ("num_key_value_heads", |c| {
            c["num_key_value_heads"] = json!(4)
        }),
        ("head_dim", |c| c["head_dim"] = json!(64)),
        ("vocab_size", |c| c["vocab_size"] = json!(151_936)),
    ];
    for (field, change) in cases {
        let error = recipe.check(&config(&recipe, change)).unwrap_err();
        let text = error.to_string();
        assert!(
            matches!(&error, Error::Recipe { field: Some(f), .. } if f == field),
            "{text}"
        );
        assert!(
            text.contains(field) && text.contains("worldpm-72b"),
            "{text}"
        );
    }
}

#[test]
fn an_unverified_field_is_a_note() {
    let mut recipe = Recipe::named("worldpm-72b").unwrap();
    recipe
        .unverified
        .insert("shape.vocab_size".into(), "a guess".into());
    let notes = recipe
        .check(&config(&recipe, |c| c["vocab_size"] = json!(152_065)))
        .unwrap();
    assert_eq!(notes.len(), 1);
    for part in ["vocab_size", "152065", "152064", "a guess"] {
        assert!(notes[0].contains(part), "{notes:?}");
    }
}

#[test]
fn files_that_are_no_recipes() {
    let good = || serde_json::to_value(Recipe::named("rm-mistral-7b").unwrap()).unwrap();
    let changed = |change: Change| {
        let mut value = good();
        change(&mut value);
        value.to_string()
    };
    let cases = [
        ("{".to_owned(), "line 1"),
        ("[]".to_owned(), "recipe"),
        (changed(|r| r["parameters"] = json!(7)), "the shape makes"),
        (changed(|r| r["weight_bytes"] = json!(7)), "twice"),
        (changed(|r| r["shape"]["head_dim"] = json!(0)), "head_dim"),
        (changed(|r| r["shape"]["head_dim"] = json!(-1)), "-1"),
        (changed(|r| r["suggested"]["stages"] = json!(0)), "stages"),
        (
            changed(|r| r["suggested"]["precision"] = json!("bf17")),
            "bf17",
        ),
        (changed(|r| r["sise"] = json!(1)), "sise"),
        (changed(|r| r["license"] = Value::Null), "null"),
        (
            changed(|r| r["shape"]["vocab_size"] = json!(u64::MAX)),
            "parameters",
        ),
    ];
    let dir = tempfile::tempdir().unwrap();
    for (text, part) in cases {
        let path = dir.path().join("recipe.json");
        fs::write(&path, &text).unwrap();
        let error = Recipe::read(&path).unwrap_err();
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    let error = Recipe::named("worldpm-73b").unwrap_err().to_string();
    assert!(
        error.contains("worldpm-73b") && error.contains("worldpm-72b-rlhflow"),
        "{error}"
    );
    assert!(matches!(
        Recipe::read(dir.path().join("none").as_path()),
        Err(Error::Bundle(worldpm_ort_bundle::Error::Io { .. }))
    ));
}

#[test]
fn every_recipe_can_be_planned_without_its_weights() {
    for recipe in Recipe::all().unwrap() {
        let checkpoint = recipe.outline().unwrap();
        let config = checkpoint.config();
        assert_eq!(config.architecture.as_str(), recipe.architecture);
        recipe.check(config).unwrap();
        let costs = crate::costs(
            &checkpoint,
            &crate::ExportOptions {
                device: Device::Cuda,
                ..crate::ExportOptions::default()
            },
            worldpm_ort_bundle::cost::TokenBudget::default().fullest(1024),
        );
        assert_eq!(
            costs.unwrap().total().stored,
            recipe.weight_bytes,
            "{}",
            recipe.name
        );
    }
    let mut unknown = Recipe::named("worldpm-72b").unwrap();
    unknown.architecture = "Qwen2ForCausalLM".to_owned();
    let error = unknown.outline().unwrap_err().to_string();
    assert!(error.contains("`Qwen2ForCausalLM` is none of"), "{error}");
}
