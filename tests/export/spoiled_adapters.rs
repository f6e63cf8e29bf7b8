//! Adapters that are not what they should be are refused, by file, tensor or field.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Value, json};

use crate::{
    adapter::{
        CONFIG, WEIGHTS, adapter, arguments, checkpoint, golden, read_tensors, write_tensors,
    },
    support::{run, stderr, tensors::Tensors},
};

const Q_A: &str = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
const Q_B: &str = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight";
const SCORE: &str = "base_model.model.score.weight";

type Spoil = fn(&Path);

fn config(dir: &Path, name: &str, value: Value) {
    let path = dir.join(CONFIG);
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config[name] = value;
    fs::write(path, config.to_string()).unwrap();
}

fn tensors(dir: &Path, change: impl FnOnce(&mut Tensors)) {
    let mut tensors = read_tensors(dir);
    change(&mut tensors);
    write_tensors(dir, &tensors);
}

fn rename(dir: &Path, from: &str, to: &str) {
    tensors(dir, |tensors| {
        let tensor = tensors.remove(from).unwrap();
        tensors.insert(to.into(), tensor);
    });
}

fn bytes(dir: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(dir.join(WEIGHTS)).unwrap();
    change(&mut bytes);
    fs::write(dir.join(WEIGHTS), bytes).unwrap();
}

/// What is wrong, what is done to a sound adapter, and what the error has to name.
const SPOILED: &[(&str, Spoil, &[&str])] = &[
    (
        "no directory",
        |dir| fs::remove_dir_all(dir).unwrap(),
        &["adapter directory"],
    ),
    (
        "no config",
        |dir| fs::remove_file(dir.join(CONFIG)).unwrap(),
        &[CONFIG],
    ),
    (
        "config is not JSON",
        |dir| fs::write(dir.join(CONFIG), "{").unwrap(),
        &[CONFIG, "JSON"],
    ),
    (
        "config is a list",
        |dir| fs::write(dir.join(CONFIG), "[]").unwrap(),
        &[CONFIG, "object"],
    ),
    (
        "LoHa",
        |dir| config(dir, "peft_type", json!("LOHA")),
        &[CONFIG, "LOHA"],
    ),
    (
        "IA3",
        |dir| config(dir, "peft_type", json!("IA3")),
        &[CONFIG, "IA3"],
    ),
    (
        "DoRA",
        |dir| config(dir, "use_dora", json!(true)),
        &[CONFIG, "DoRA"],
    ),
    (
        "another task",
        |dir| config(dir, "task_type", json!("CAUSAL_LM")),
        &[CONFIG, "CAUSAL_LM"],
    ),
    (
        "transposed weights",
        |dir| config(dir, "fan_in_fan_out", json!(true)),
        &[CONFIG, "fan_in_fan_out"],
    ),
    (
        "PiSSA, which changes the base model",
        |dir| config(dir, "init_lora_weights", json!("pissa")),
        &[CONFIG, "pissa"],
    ),
    (
        "another rank than the tensors",
        |dir| config(dir, "r", json!(3)),
        &["lora_A.weight", WEIGHTS, "[3, 64]"],
    ),
    (
        "a rank beyond memory",
        |dir| config(dir, "r", json!(1_u64 << 60)),
        &[CONFIG, "`r`"],
    ),
    (
        "a scale beyond floats",
        |dir| config(dir, "lora_alpha", json!(1e300)),
        &["lora_A.weight", "inf"],
    ),
    (
        "a whole module that the file lacks",
        |dir| {
            tensors(dir, |tensors| {
                tensors.remove(SCORE).unwrap();
            });
        },
        &[SCORE, WEIGHTS, "modules_to_save"],
    ),
    (
        "no weights",
        |dir| fs::remove_file(dir.join(WEIGHTS)).unwrap(),
        &[WEIGHTS],
    ),
    (
        "pickled weights",
        |dir| fs::rename(dir.join(WEIGHTS), dir.join("adapter_model.bin")).unwrap(),
        &["adapter_model.bin", "safetensors"],
    ),
    (
        "truncated weights",
        |dir| bytes(dir, |bytes| bytes.truncate(bytes.len() - 10)),
        &[WEIGHTS, "truncated"],
    ),
    (
        "weights cut inside the header",
        |dir| bytes(dir, |bytes| bytes.truncate(100)),
        &[WEIGHTS, "header"],
    ),
    (
        "empty weights",
        |dir| bytes(dir, Vec::clear),
        &[WEIGHTS, "truncated"],
    ),
    (
        "a Git LFS pointer",
        |dir| fs::write(dir.join(WEIGHTS), "version https://git-lfs").unwrap(),
        &[WEIGHTS, "LFS"],
    ),
    (
        "no tensors",
        |dir| tensors(dir, BTreeMap::clear),
        &[WEIGHTS, "no tensors"],
    ),
    (
        "A without B",
        |dir| {
            tensors(dir, |tensors| {
                tensors.remove(Q_B).unwrap();
            });
        },
        &[Q_A, WEIGHTS, "lora_B"],
    ),
    (
        "B without A",
        |dir| {
            tensors(dir, |tensors| {
                tensors.remove(Q_A).unwrap();
            });
        },
        &[Q_B, WEIGHTS, "lora_A"],
    ),
    (
        "B of an embedding",
        |dir| {
            let name = Q_B.replace("lora_B.weight", "lora_embedding_B");
            rename(dir, Q_B, &name);
        },
        &["q_proj.lora_", WEIGHTS, "no partner"],
    ),
    (
        "a wrong shape of A",
        |dir| {
            tensors(dir, |tensors| {
                tensors.get_mut(Q_A).unwrap().shape = vec![64, 4];
            });
        },
        &[Q_A, WEIGHTS, "[4, 64]", "[64, 64]"],
    ),
    (
        "a wrong shape of B",
        |dir| {
            tensors(dir, |tensors| {
                tensors.get_mut(Q_B).unwrap().shape = vec![256];
            });
        },
        &[Q_B, WEIGHTS, "[64, 4]"],
    ),
    (
        "a head of another shape",
        |dir| {
            tensors(dir, |tensors| {
                tensors.get_mut(SCORE).unwrap().shape = vec![2, 32];
            });
        },
        &[SCORE, WEIGHTS, "[1, 64]"],
    ),
    (
        "a wrong type",
        |dir| {
            tensors(dir, |tensors| {
                tensors.get_mut(Q_A).unwrap().dtype = "I32".into();
            });
        },
        &[Q_A, WEIGHTS, "I32"],
    ),
    (
        "NaN",
        |dir| {
            tensors(dir, |tensors| {
                let data = &mut tensors.get_mut(Q_B).unwrap().data;
                data[400..404].copy_from_slice(&f32::NAN.to_le_bytes());
            });
        },
        &[Q_B, WEIGHTS, "not a number"],
    ),
    (
        "infinity",
        |dir| {
            tensors(dir, |tensors| {
                let data = &mut tensors.get_mut(SCORE).unwrap().data;
                data[..4].copy_from_slice(&f32::NEG_INFINITY.to_le_bytes());
            });
        },
        &[SCORE, WEIGHTS, "infinite"],
    ),
    (
        "values whose product is infinite",
        |dir| {
            tensors(dir, |tensors| {
                for name in [Q_A, Q_B] {
                    let data = &mut tensors.get_mut(name).unwrap().data;
                    data[..4].copy_from_slice(&1e30_f32.to_le_bytes());
                }
            });
        },
        &[
            "model.layers.0.self_attn.q_proj.weight",
            WEIGHTS,
            "infinite",
        ],
    ),
    (
        "a layer that the model lacks",
        |dir| {
            for name in [Q_A, Q_B] {
                rename(dir, name, &name.replace("layers.0", "layers.7"));
            }
        },
        &["layers.7.self_attn.q_proj", WEIGHTS, "lacks"],
    ),
    (
        "a whole tensor that the model lacks",
        |dir| rename(dir, Q_A, "base_model.model.classifier.weight"),
        &["classifier.weight", WEIGHTS],
    ),
    (
        "an update of a vector",
        |dir| {
            for name in [Q_A, Q_B] {
                rename(
                    dir,
                    name,
                    &name.replace("self_attn.q_proj", "input_layernorm"),
                );
            }
        },
        &["input_layernorm", WEIGHTS, "no matrix"],
    ),
    (
        "both a whole module and an update",
        |dir| {
            tensors(dir, |tensors| {
                for (part, shape) in [("A", [4, 64]), ("B", [1, 4])] {
                    let mut tensor = tensors[Q_A].clone();
                    tensor.shape = shape.to_vec();
                    tensor.data.truncate((shape[0] * shape[1] * 4) as usize);
                    tensors.insert(format!("base_model.model.score.lora_{part}.weight"), tensor);
                }
            });
        },
        &[SCORE, WEIGHTS, "update"],
    ),
    (
        "the same tensor under two names",
        |dir| {
            tensors(dir, |tensors| {
                let tensor = tensors[SCORE].clone();
                tensors.insert(
                    "base_model.model.score.modules_to_save.weight".into(),
                    tensor,
                );
            });
        },
        &[SCORE, WEIGHTS, "same tensor"],
    ),
    (
        "a name without PEFT's prefix",
        |dir| rename(dir, SCORE, "score.weight"),
        &["score.weight", WEIGHTS, "base_model.model."],
    ),
    (
        "a part of DoRA",
        |dir| {
            rename(
                dir,
                Q_A,
                &Q_A.replace("lora_A.weight", "lora_magnitude_vector"),
            )
        },
        &["lora_magnitude_vector", WEIGHTS],
    ),
];

/// Weights that are written while they are merged: neither the old ones nor the new ones.
#[test]
fn an_adapter_that_is_written_to_during_the_export() {
    use worldpm_ort::export::{Checkpoint, Error, ExportOptions, export_then};
    let name = "linear";
    let (base, adapter) = (checkpoint(&golden(name)), adapter(name));
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("bundle");
    let options = ExportOptions {
        adapter: Some(adapter.path().to_owned()),
        ..ExportOptions::default()
    };
    let opened = Checkpoint::open_with_adapter(&base, options.adapter.as_deref()).unwrap();
    let export = |finish: &dyn Fn()| {
        export_then(&opened, &out, &options, &|_| {}, |_, _| {
            finish();
            Ok::<(), Error>(())
        })
    };
    let weights = adapter.path().join(WEIGHTS);
    let error = export(&|| {
        // Of the same size, as when a run of training saves its next step.
        let mut bytes = fs::read(&weights).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&weights, bytes).unwrap();
    })
    .unwrap_err()
    .to_string();
    for part in [
        weights.to_str().unwrap(),
        "was written to while it was read",
    ] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    export(&|| {}).unwrap();
}

#[test]
fn spoiled_adapters() {
    let checkpoint = checkpoint(&golden("linear"));
    for (what, spoil, parts) in SPOILED {
        let (adapter, place) = (adapter("linear"), tempfile::tempdir().unwrap());
        spoil(adapter.path());
        let out = place.path().join("new/out");
        let output = run(&arguments(&checkpoint, adapter.path(), &out, &[]));
        let problem = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{what}: {problem}");
        for part in *parts {
            assert!(problem.contains(part), "{what}: {part}: {problem}");
        }
        assert!(!problem.contains("panicked"), "{what}: {problem}");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "{what}");
    }
}
