//! Checkpoints whose configuration, names of weights or adapter are unusual score as `transformers` and PEFT score them,
//! and those that would compute something else are refused.
//!
//! The golden file is made by `tests/fixtures/config_fields/make_config_goldens.py`. Each of its cases names what is
//! done to a checkpoint of the `synth` command, which is done again here.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use worldpm_ort::{Output, Scorer, ScorerOptions};

use crate::support::{
    self, run, run_ok, stderr,
    tensors::{self, Tensor, Tensors, pattern},
};

/// Largest difference to the reference, absolute.
const TOLERANCE: f64 = 1e-4;
const WEIGHTS: &str = "model.safetensors";

#[derive(Deserialize)]
struct Goldens {
    synth: Vec<String>,
    sequences: Vec<Vec<u32>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    architecture: String,
    /// Fields that are set in `config.json`, and fields that are taken out first.
    config: Map<String, Value>,
    dropped: Vec<String>,
    /// Text after the last field.
    tail: String,
    /// What is done to the weights.
    weights: String,
    /// The adapter's configuration, and the shapes of its tensors.
    adapter: Option<Value>,
    #[serde(default)]
    tensors: BTreeMap<String, Vec<u64>>,
    /// For each sequence, the number of each label.
    scores: Vec<Vec<f64>>,
}

fn goldens() -> Goldens {
    let file = "tests/fixtures/config_fields/goldens.json";
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

/// Directories of a checkpoint and of its adapter, in one that is removed.
struct Made {
    place: TempDir,
    checkpoint: PathBuf,
}

impl Made {
    fn new(goldens: &Goldens, case: &Case) -> Self {
        let mut flags: Vec<&str> = goldens.synth.iter().map(String::as_str).collect();
        flags.extend(["--architecture", &case.architecture]);
        let place = tempfile::tempdir().unwrap();
        let checkpoint = place.path().join("checkpoint");
        fs::create_dir(&checkpoint).unwrap();
        for entry in fs::read_dir(support::checkpoint(&flags)).unwrap() {
            let entry = entry.unwrap();
            let to = checkpoint.join(entry.file_name());
            if entry.file_name() == WEIGHTS {
                fs::hard_link(entry.path(), to).unwrap();
            } else {
                fs::copy(entry.path(), to).unwrap();
            }
        }
        let made = Self { place, checkpoint };
        made.write_config(case);
        made.write_weights(&case.weights);
        if let Some(config) = &case.adapter {
            let adapter = made.adapter();
            fs::create_dir(&adapter).unwrap();
            fs::write(adapter.join("adapter_config.json"), config.to_string()).unwrap();
            let weights = adapter.join("adapter_model.safetensors");
            tensors::write(&weights, &pattern(&case.tensors));
        }
        made
    }

    fn adapter(&self) -> PathBuf {
        self.place.path().join("adapter")
    }

    fn write_config(&self, case: &Case) {
        let path = self.checkpoint.join("config.json");
        let mut config = support::read_json(&path);
        let map = config.as_object_mut().unwrap();
        for name in &case.dropped {
            map.remove(name);
        }
        map.extend(case.config.clone());
        let text = config.to_string();
        let text = text.strip_suffix('}').unwrap();
        fs::write(path, format!("{text}{}}}", case.tail)).unwrap();
    }

    fn write_weights(&self, kind: &str) {
        if kind.is_empty() {
            return;
        }
        let path = self.checkpoint.join(WEIGHTS);
        let mut all = tensors::read(&path);
        let mut header = Map::new();
        let renamed = |all: Tensors, name: fn(&str) -> String| -> Tensors {
            all.into_iter()
                .map(|(old, tensor)| (name(&old), tensor))
                .collect()
        };
        let bare = |name: &str| name.strip_prefix("model.").unwrap_or(name).to_owned();
        match kind {
            "inv_freq" => {
                for layer in [0, 1] {
                    let tensor = Tensor {
                        dtype: "F32".into(),
                        shape: vec![16],
                        data: 1_f32.to_le_bytes().repeat(16),
                    };
                    let name = format!("model.layers.{layer}.self_attn.rotary_emb.inv_freq");
                    all.insert(name, tensor);
                }
            }
            "metadata" => {
                header.insert("__metadata__".into(), Value::Null);
            }
            "bare" => all = renamed(all, bare),
            "nested" => all = renamed(all, |name| format!("model.{name}")),
            "headless" | "language" | "decoder" => {
                all.remove("score.weight").unwrap();
                if kind == "decoder" {
                    all = renamed(all, bare);
                }
                if kind == "language" {
                    let head = all["model.embed_tokens.weight"].clone();
                    all.insert("lm_head.weight".into(), head);
                }
            }
            other => panic!("{other}"),
        }
        fs::remove_file(&path).unwrap();
        tensors::write_with(&path, &all, header);
    }

    fn export(&self, with_adapter: bool) -> (std::process::Output, PathBuf) {
        let (out, adapter) = (self.place.path().join("bundle"), self.adapter());
        let mut args = vec!["export", "--checkpoint", self.checkpoint.to_str().unwrap()];
        args.extend(["--out", out.to_str().unwrap(), "--probes", "off"]);
        if with_adapter {
            args.extend([
                "--adapter",
                adapter.to_str().unwrap(),
                "--precision",
                "fp32",
            ]);
        }
        (run(&args), out)
    }

    /// What goes wrong.
    fn refused(&self, with_adapter: bool) -> String {
        let (output, out) = self.export(with_adapter);
        let problem = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{problem}");
        assert!(!out.exists() && !problem.contains("panicked"), "{problem}");
        problem
    }
}

fn numbers(output: &Output) -> Vec<f64> {
    match output {
        Output::Score(score) => vec![f64::from(*score)],
        Output::Labels(labels) => labels.iter().map(|(_, score)| f64::from(score)).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn scores_equal_the_reference() {
    let goldens = goldens();
    assert!(goldens.cases.len() >= 35, "golden cases are missing");
    let mut worst = 0.0_f64;
    for case in &goldens.cases {
        let name = &case.name;
        let made = Made::new(&goldens, case);
        let (output, out) = made.export(case.adapter.is_some());
        assert!(output.status.success(), "{name}: {}", stderr(&output));
        let scorer = Scorer::open(&out, &ScorerOptions::default()).unwrap();
        let rewards = scorer.rewards_of_ids(&goldens.sequences);
        for (found, expected) in rewards.into_iter().zip(&case.scores) {
            let found = numbers(&found.unwrap().output);
            assert_eq!(found.len(), expected.len(), "{name}");
            for (found, expected) in found.iter().zip(expected) {
                let difference = (found - expected).abs();
                assert!(difference <= TOLERANCE, "{name}: {found}, not {expected}");
                worst = worst.max(difference);
            }
        }
    }
    eprintln!("largest difference {worst:.1e}");
}

fn case(goldens: &Goldens, name: &str) -> Case {
    let case = goldens.cases.iter().find(|case| case.name == name).unwrap();
    Case {
        name: case.name.clone(),
        architecture: case.architecture.clone(),
        config: case.config.clone(),
        dropped: case.dropped.clone(),
        tail: case.tail.clone(),
        weights: case.weights.clone(),
        adapter: case.adapter.clone(),
        tensors: case.tensors.clone(),
        scores: Vec::new(),
    }
}

#[test]
fn other_mathematics_is_refused() {
    let goldens = goldens();
    for architecture in ["llama", "qwen2", "gemma2", "qwen3", "mistral"] {
        for (config, tail, part) in [
            (json!({"is_causal": false}), "", "`is_causal` false"),
            (
                json!({"per_layer_config": {"1": {"intermediate_size": 96}}}),
                "",
                "`per_layer_config`",
            ),
            (json!({"model_type": "phi3"}), "", "`model_type`"),
            (
                json!({"auto_map": {"AutoModel": "modeling.Bidirectional"}}),
                "",
                "auto_map.AutoModel",
            ),
            (json!({}), ", \"rms_norm_eps\": NaN", "NaN"),
            (
                json!({}),
                ", \"is_causal\": true, \"is_causal\": false",
                "`is_causal` false",
            ),
        ] {
            let mut case = case(&goldens, "plain");
            case.architecture = architecture.to_owned();
            case.config = config.as_object().unwrap().clone();
            case.tail = tail.to_owned();
            let problem = Made::new(&goldens, &case).refused(false);
            assert!(
                problem.contains(part) && problem.contains("config.json"),
                "{problem}"
            );
        }
    }
}

#[test]
fn unknown_fields_are_named_on_export_and_in_the_manifest() {
    let goldens = goldens();
    let mut case = case(&goldens, "plain");
    let config = json!({
        "gate_of_tomorrow": 2, "rope_scaling": {"rope_type": "default", "turn": 1}, "transformers_version": "9.0",
    });
    case.config = config.as_object().unwrap().clone();
    let (output, out) = Made::new(&goldens, &case).export_kept();
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("warning") && said.contains("gate_of_tomorrow, rope_scaling.turn"),
        "{said}"
    );
    let manifest = support::read_json(&out.path().join("bundle/manifest.json"));
    let unknown = &manifest["source"]["unknown_config_fields"];
    assert_eq!(*unknown, json!(["gate_of_tomorrow", "rope_scaling.turn"]));
    run_ok(&["inspect", out.path().join("bundle").to_str().unwrap()]);
}

impl Made {
    /// As [`Made::export`], with the directory of all of it.
    fn export_kept(self) -> (std::process::Output, TempDir) {
        let (output, _) = self.export(false);
        (output, self.place)
    }
}

/// One tensor under two names.
#[test]
fn names_that_stand_for_the_same_tensor() {
    let goldens = goldens();
    let made = Made::new(&goldens, &case(&goldens, "metadata-null"));
    let path = made.checkpoint.join(WEIGHTS);
    let mut all = tensors::read(&path);
    all.insert("norm.weight".into(), all["model.norm.weight"].clone());
    tensors::write(&path, &all);
    let problem = made.refused(false);
    assert!(
        problem.contains("`norm.weight`") && problem.contains("model.norm.weight"),
        "{problem}"
    );
}

fn edit_adapter(made: &Made, change: impl FnOnce(&mut Value)) {
    support::edit_json(&made.adapter().join("adapter_config.json"), change);
}

#[test]
fn updates_that_are_not_selected() {
    let goldens = goldens();
    let changes: [(&str, Value); 5] = [
        ("target_modules", json!(["k_proj"])),
        ("target_modules", json!(r"model\.layers\.1\..*")),
        ("exclude_modules", json!(["q_proj"])),
        ("layers_to_transform", json!([1])),
        ("modules_to_save", json!(["q_proj", "score"])),
    ];
    for (field, value) in changes {
        let made = Made::new(&goldens, &case(&goldens, "language-model"));
        edit_adapter(&made, |config| config[field] = value.clone());
        let problem = made.refused(true);
        assert!(
            problem.contains("layers.0.self_attn.q_proj.lora_A.weight"),
            "{field}: {problem}"
        );
        assert!(problem.contains("target_modules"), "{field}: {problem}");
    }
}

/// A selected layer that has no update stays as it is, which is said.
#[test]
fn selected_layers_without_an_update_are_named() {
    let goldens = goldens();
    let made = Made::new(&goldens, &case(&goldens, "language-model"));
    let (output, out) = made.export(true);
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("selects 1 modules") && said.contains("model.layers.1.self_attn.q_proj"),
        "{said}"
    );
    let manifest = support::read_json(&out.join("manifest.json"));
    let adapter = &manifest["source"]["adapter"];
    assert_eq!(
        adapter["unchanged_modules"],
        json!(["model.layers.1.self_attn.q_proj"])
    );
    assert_eq!(
        manifest["model"]["architecture"],
        "Qwen2ForSequenceClassification"
    );
    // The probes' scores are those with the head.
    let probed = made.place.path().join("probed");
    let (checkpoint, adapter) = (made.checkpoint.to_str().unwrap(), made.adapter());
    run_ok(&[
        "export",
        "--checkpoint",
        checkpoint,
        "--adapter",
        adapter.to_str().unwrap(),
        "--out",
        probed.to_str().unwrap(),
        "--probes",
        "on",
    ]);
    run_ok(&["verify", "--model", probed.to_str().unwrap()]);
    fs::remove_file(probed.join("probes.json")).unwrap();
    run_ok(&[
        "verify",
        "--record",
        "--model",
        probed.to_str().unwrap(),
        "--checkpoint",
        checkpoint,
        "--adapter",
        adapter.to_str().unwrap(),
    ]);
}

#[test]
fn heads_that_nobody_brings() {
    let goldens = goldens();
    for name in ["language-model", "headless", "decoder-alone"] {
        let made = Made::new(&goldens, &case(&goldens, name));
        let weights = made.adapter().join("adapter_model.safetensors");
        let mut all = tensors::read(&weights);
        all.remove("base_model.model.score.weight").unwrap();
        tensors::write(&weights, &all);
        let problem = made.refused(true);
        for part in ["score.weight", "adapter", "modules_to_save"] {
            assert!(problem.contains(part), "{name}: {problem}");
        }
        let alone = made.refused(false);
        let part = if name == "headless" {
            "score.weight"
        } else {
            "no reward head"
        };
        assert!(alone.contains(part), "{name}: {alone}");
    }
}

type Spoil = fn(&Path);

/// An adapter that is looked at for its head has to be sound.
#[test]
fn a_bad_adapter_under_a_base_model_without_head() {
    let goldens = goldens();
    let spoils: [(Spoil, &str); 4] = [
        (|dir| fs::remove_dir_all(dir).unwrap(), "adapter directory"),
        (
            |dir| fs::write(dir.join("adapter_config.json"), "{").unwrap(),
            "JSON",
        ),
        (
            |dir| fs::write(dir.join("adapter_model.safetensors"), "x").unwrap(),
            "truncated",
        ),
        (
            |dir| {
                let path = dir.join("adapter_model.safetensors");
                let mut all = tensors::read(&path);
                all.get_mut("base_model.model.score.weight").unwrap().shape = vec![128];
                tensors::write(&path, &all);
            },
            "score.weight",
        ),
    ];
    for (spoil, part) in spoils {
        let made = Made::new(&goldens, &case(&goldens, "language-model"));
        spoil(&made.adapter());
        let problem = made.refused(true);
        assert!(problem.contains(part), "{problem}");
    }
}
