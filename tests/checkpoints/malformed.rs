//! Checkpoints that are not what they should be: `export` names the file, the tensor or the field, and leaves nothing.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::support::{
    self, SECOND_SHARD as SHARD, SMALL_SHARDED as SHAPE, copy_of, edit_json, expect_failure, run,
    second_shard as shard,
};

/// Changes `config.json`.
fn config(dir: &Path, change: impl FnOnce(&mut Value)) {
    edit_json(&dir.join("config.json"), change);
}

/// Changes the header of the second shard, keeping its data.
fn header(dir: &Path, change: impl FnOnce(&mut Value)) {
    let path = shard(dir);
    let bytes = fs::read(&path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    let data = 8 + usize::try_from(length).unwrap();
    let mut header: Value = serde_json::from_slice(&bytes[8..data]).unwrap();
    change(&mut header);
    let header = serde_json::to_vec(&header).unwrap();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend(&bytes[data..]);
    fs::write(path, file).unwrap();
}

/// Names of the first two tensors of the header, in the order of their data.
fn first_tensors(header: &Value) -> (String, String) {
    let mut names: Vec<(u64, String)> = header
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| *name != "__metadata__")
        .map(|(name, entry)| (entry["data_offsets"][0].as_u64().unwrap(), name.clone()))
        .collect();
    names.sort();
    (names[0].1.clone(), names[1].1.clone())
}

type Spoil = fn(&Path);

#[test]
fn spoiled_checkpoints() {
    let cases: &[(&str, Spoil, &[&str])] = &[
        (
            "missing shard",
            |dir| fs::remove_file(shard(dir)).unwrap(),
            &[SHARD, "index"],
        ),
        (
            "truncated shard",
            |dir| {
                let bytes = fs::read(shard(dir)).unwrap();
                fs::write(shard(dir), &bytes[..bytes.len() - 10]).unwrap();
            },
            &[SHARD],
        ),
        (
            "shard cut inside its header",
            |dir| {
                let bytes = fs::read(shard(dir)).unwrap();
                fs::write(shard(dir), &bytes[..40]).unwrap();
            },
            &[SHARD, "header"],
        ),
        (
            "header length beyond the file",
            |dir| {
                let mut bytes = fs::read(shard(dir)).unwrap();
                bytes[..8].copy_from_slice(&(1_u64 << 40).to_le_bytes());
                fs::write(shard(dir), bytes).unwrap();
            },
            &[SHARD, "header"],
        ),
        (
            "empty shard",
            |dir| fs::write(shard(dir), b"").unwrap(),
            &[SHARD],
        ),
        (
            "overlapping offsets",
            |dir| {
                header(dir, |header| {
                    let (first, second) = first_tensors(header);
                    let begin = header[&first]["data_offsets"][0].clone();
                    header[&second]["data_offsets"][0] = begin;
                });
            },
            &[SHARD],
        ),
        (
            "offsets past the end",
            |dir| {
                header(dir, |header| {
                    let (first, _) = first_tensors(header);
                    header[&first]["data_offsets"] = json!([1_u64 << 50, (1_u64 << 50) + 128]);
                });
            },
            &[SHARD],
        ),
        (
            "wrong dtype",
            |dir| {
                header(dir, |header| {
                    let (first, _) = first_tensors(header);
                    header[&first]["dtype"] = json!("I16");
                });
            },
            &[SHARD, "I16"],
        ),
        (
            "wrong shape",
            |dir| {
                header(dir, |header| {
                    let entry = &mut header["model.layers.0.mlp.down_proj.weight"];
                    entry["shape"] = json!([96, 64]);
                });
            },
            &["model.layers.0.mlp.down_proj.weight", "[64, 96]"],
        ),
        (
            "missing tensor: one layer more than there are weights",
            |dir| config(dir, |c| c["num_hidden_layers"] = json!(3)),
            &["model.layers.2."],
        ),
        (
            "extra tensors: one layer fewer",
            |dir| config(dir, |c| c["num_hidden_layers"] = json!(1)),
            &["model.layers.1.", "1 layers"],
        ),
        (
            "no config",
            |dir| fs::remove_file(dir.join("config.json")).unwrap(),
            &["config.json"],
        ),
        (
            "config is not JSON",
            |dir| fs::write(dir.join("config.json"), b"{").unwrap(),
            &["config.json"],
        ),
        (
            "config without a needed field",
            |dir| {
                config(dir, |c| {
                    c.as_object_mut().unwrap().remove("hidden_size");
                });
            },
            &["config.json", "hidden_size"],
        ),
        (
            "sliding layers without a window",
            |dir| {
                config(dir, |c| {
                    c["layer_types"] = json!(["sliding_attention", "full_attention"])
                })
            },
            &["config.json", "layer_types", "sliding_window"],
        ),
        (
            "a window of nothing",
            |dir| {
                config(dir, |c| {
                    c["use_sliding_window"] = json!(true);
                    c["sliding_window"] = json!(0);
                });
            },
            &["config.json", "sliding_window"],
        ),
        (
            "rope scaling without its numbers",
            |dir| {
                config(dir, |c| {
                    c["rope_scaling"] = json!({"rope_type": "llama3", "factor": 8.0})
                })
            },
            &["config.json", "rope_scaling.low_freq_factor"],
        ),
        (
            "partial rotation",
            |dir| config(dir, |c| c["partial_rotary_factor"] = json!(0.5)),
            &["config.json", "partial_rotary_factor"],
        ),
        (
            "unknown rope scaling",
            |dir| {
                config(dir, |c| {
                    c["rope_scaling"] = json!({"rope_type": "wobble", "factor": 2.0})
                })
            },
            &["config.json", "wobble"],
        ),
        (
            "unknown architecture",
            |dir| config(dir, |c| c["architectures"] = json!(["MysteryForReward"])),
            &["MysteryForReward", "Qwen2ForRewardModel"],
        ),
        (
            "a younger relative",
            |dir| {
                config(dir, |c| {
                    c["architectures"] = json!(["Gemma3ForSequenceClassification"])
                })
            },
            &[
                "Gemma3ForSequenceClassification",
                "Gemma2ForSequenceClassification",
            ],
        ),
        (
            "another activation",
            |dir| config(dir, |c| c["hidden_act"] = json!("relu2")),
            &["config.json", "hidden_act", "relu2"],
        ),
        (
            "attention to later tokens",
            |dir| config(dir, |c| c["use_bidirectional_attention"] = json!(true)),
            &["config.json", "use_bidirectional_attention"],
        ),
        (
            "experts",
            |dir| {
                config(dir, |c| {
                    c["architectures"] = json!(["Qwen3MoeForSequenceClassification"])
                })
            },
            &[
                "Qwen3MoeForSequenceClassification",
                "Qwen3ForSequenceClassification",
            ],
        ),
        (
            "another class than the weights are of",
            |dir| {
                config(dir, |c| {
                    c["architectures"] = json!(["LlamaForSequenceClassification"]);
                    c["model_type"] = json!("llama");
                })
            },
            &["score.weight"],
        ),
        (
            "no tokenizer",
            |dir| fs::remove_file(dir.join("tokenizer.json")).unwrap(),
            &["tokenizer.json"],
        ),
        (
            "no chat template",
            |dir| {
                fs::remove_file(dir.join("chat_template.jinja")).unwrap();
                edit_json(&dir.join("tokenizer_config.json"), |config| {
                    config.as_object_mut().unwrap().remove("chat_template");
                });
            },
            &["chat_template"],
        ),
    ];
    for (name, spoil, parts) in cases {
        let checkpoint = copy_of(&support::checkpoint(SHAPE));
        spoil(checkpoint.path());
        let place = tempfile::tempdir().unwrap();
        let out = place.path().join("bundle");
        let output = run(&[
            "export",
            "--checkpoint",
            checkpoint.path().to_str().unwrap(),
            "--out",
            out.to_str().unwrap(),
        ]);
        expect_failure(name, &output, parts);
        let left: Vec<_> = fs::read_dir(place.path()).unwrap().collect();
        assert!(left.is_empty(), "{name}: left {left:?} behind");
    }
}
