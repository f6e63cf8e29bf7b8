//! The `export` command with `--adapter`: scores equal PEFT's, the same bytes when repeated, and bad adapters are
//! refused.
//!
//! The adapters and golden files are made by `tests/fixtures/adapters/make_adapter_goldens.py`. Each golden file
//! names the flags of the `synth` command that its checkpoint was made with.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::{Value, json};
use support::{
    run, run_ok, stderr,
    tensors::{self, Tensors, pattern},
};
use tempfile::TempDir;
use worldpm_ort::{Scorer, ScorerOptions};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

#[derive(Deserialize)]
struct Golden {
    synth: Vec<String>,
    /// Shapes of the adapter's tensors, by name.
    tensors: BTreeMap<String, Vec<u64>>,
    conversations: Vec<Case>,
}

/// Scores by PEFT in fp32.
#[derive(Deserialize)]
struct Case {
    input_ids: Vec<u32>,
    /// Of the checkpoint alone.
    base: f64,
    /// With the adapter beside it.
    score: f64,
    /// With the adapter merged into it.
    merged: f64,
    /// As `merged`, with every weight but those of the head rounded to bfloat16.
    merged_bf16: f64,
    /// The same, with half precision.
    merged_fp16: f64,
}

fn fixture(name: &str) -> PathBuf {
    Path::new("tests/fixtures/adapters").join(name)
}

fn golden(name: &str) -> Golden {
    serde_json::from_slice(&fs::read(fixture(name).join("golden.json")).unwrap()).unwrap()
}

fn checkpoint(golden: &Golden) -> PathBuf {
    let flags: Vec<&str> = golden.synth.iter().map(String::as_str).collect();
    support::checkpoint(&flags)
}

/// A copy of an adapter. Weights that are not kept are made as `pattern` of the script does.
fn adapter(name: &str) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    fs::copy(fixture(name).join(CONFIG), copy.path().join(CONFIG)).unwrap();
    if fixture(name).join(WEIGHTS).exists() {
        fs::copy(fixture(name).join(WEIGHTS), copy.path().join(WEIGHTS)).unwrap();
        return copy;
    }
    let made = pattern(&golden(name).tensors);
    write_tensors(copy.path(), &made);
    copy
}

fn read_tensors(dir: &Path) -> Tensors {
    tensors::read(&dir.join(WEIGHTS))
}

fn write_tensors(dir: &Path, all: &Tensors) {
    tensors::write(&dir.join(WEIGHTS), all);
}

fn arguments<'a>(
    checkpoint: &'a Path,
    adapter: &'a Path,
    out: &'a Path,
    flags: &[&'a str],
) -> Vec<&'a str> {
    let mut args = vec!["export", "--checkpoint", checkpoint.to_str().unwrap()];
    args.extend(["--adapter", adapter.to_str().unwrap()]);
    args.extend(["--out", out.to_str().unwrap()]);
    args.extend(flags);
    if !flags.contains(&"--probes") {
        args.extend(["--probes", "off"]);
    }
    args
}

fn manifest(bundle: &Path) -> Value {
    serde_json::from_slice(&fs::read(bundle.join("manifest.json")).unwrap()).unwrap()
}

fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

/// Largest difference to a golden score, absolute.
const TOLERANCE: f64 = 1e-4;

/// An adapter is merged before weights are quantised: the scores are those of the merged model, as far as 8 bits go,
/// and far from the base model's.
#[test]
fn a_merged_model_is_quantised() {
    let golden = golden("linear");
    let (checkpoint, adapter) = (checkpoint(&golden), adapter("linear"));
    let sequences: Vec<Vec<u32>> = golden
        .conversations
        .iter()
        .map(|case| case.input_ids.clone())
        .collect();
    for precision in ["int8", "w8a8"] {
        let place = tempfile::tempdir().unwrap();
        let out = place.path().join("out");
        let flags = ["--precision", precision];
        run_ok(&arguments(&checkpoint, adapter.path(), &out, &flags));
        let scorer = Scorer::open(&out, &ScorerOptions::default()).unwrap();
        let (mut merged, mut base) = (0.0_f64, 0.0_f64);
        for (case, score) in golden
            .conversations
            .iter()
            .zip(scorer.score_ids(&sequences))
        {
            let score = f64::from(score.unwrap().score);
            merged = merged.max((score - case.merged).abs());
            base = base.max((score - case.base).abs());
        }
        assert!(
            merged < 0.1 * base,
            "{precision}: {merged} from merged, {base} from base"
        );
    }
}

/// The forms of bundle that each adapter is exported to, and the golden score of each.
type Form = (&'static [&'static str], fn(&Case) -> f64);
const FORMS: [Form; 5] = [
    (&["--precision", "fp32"], |case| case.score),
    (&["--precision", "fp32"], |case| case.merged),
    (
        &["--precision", "fp32", "--target", "onnx", "--stages", "2"],
        |case| case.score,
    ),
    (&["--precision", "fp16"], |case| case.merged_fp16),
    (&[], |case| case.merged_bf16),
];

#[test]
fn scores_equal_peft() {
    for name in ["linear", "reward", "embedding"] {
        let golden = golden(name);
        let (checkpoint, adapter) = (checkpoint(&golden), adapter(name));
        let sequences: Vec<Vec<u32>> = golden
            .conversations
            .iter()
            .map(|case| case.input_ids.clone())
            .collect();
        assert!(sequences.len() >= 8);
        for (flags, expected) in FORMS {
            let place = tempfile::tempdir().unwrap();
            let out = place.path().join("out");
            run_ok(&arguments(&checkpoint, adapter.path(), &out, flags));
            let scorer = Scorer::open(&out, &ScorerOptions::default()).unwrap();
            let (mut worst, mut change) = (0.0_f64, 0.0_f64);
            for (case, score) in golden
                .conversations
                .iter()
                .zip(scorer.score_ids(&sequences))
            {
                let (score, expected) = (f64::from(score.unwrap().score), expected(case));
                change = change.max((case.base - expected).abs());
                assert!(
                    (score - expected).abs() <= TOLERANCE,
                    "{name} {flags:?}: {score}, not {expected}"
                );
                worst = worst.max((score - expected).abs());
            }
            assert!(change > 0.5, "{name} changes next to nothing");
            eprintln!("{name} {flags:?}: largest difference {worst:.1e}");
        }
    }
}

/// On any number of threads, and wherever the adapter is.
#[test]
fn the_same_input_gives_the_same_bytes() {
    let golden = golden("linear");
    let checkpoint = checkpoint(&golden);
    let place = tempfile::tempdir().unwrap();
    let bundles = ["1", "2", "5"].map(|threads| {
        let (adapter, out) = (adapter("linear"), place.path().join(threads));
        let flags = ["--stages", "2", "--checksum", "--threads", threads];
        let args = arguments(&checkpoint, adapter.path(), &out, &flags);
        let said = stderr(&run_ok(&args));
        assert!(said.contains("14 tensors merged, 1 replaced"), "{said}");
        contents(&out)
    });
    assert!(bundles.iter().all(|bundle| *bundle == bundles[0]));

    let manifest = manifest(&place.path().join("1"));
    let adapter = &manifest["source"]["adapter"];
    assert_eq!(adapter["r"], 4);
    assert_eq!(adapter["lora_alpha"], 8.0);
    assert_eq!(adapter["merged_tensors"], 14);
    assert_eq!(adapter["replaced_tensors"], 1);
    assert_eq!(adapter["repository"], Value::Null);
    for hash in ["config_sha256", "weights_sha256"] {
        assert_eq!(adapter[hash].as_str().unwrap().len(), 64);
    }
    assert_eq!(manifest["precision"], "bf16");
    assert_eq!(manifest["weights"]["mode"], "converted");
    assert_eq!(manifest["weights"]["directory"], Value::Null);
}

/// An adapter in the cache of a hub is known by its name there.
#[test]
fn an_adapter_from_a_hub_cache() {
    let checkpoint = checkpoint(&golden("linear"));
    let place = tempfile::tempdir().unwrap();
    let snapshot = "models--someone--an-adapter/snapshots/0123abc";
    let (snapshot, out) = (place.path().join(snapshot), place.path().join("out"));
    fs::create_dir_all(&snapshot).unwrap();
    for file in [CONFIG, WEIGHTS] {
        fs::copy(fixture("linear").join(file), snapshot.join(file)).unwrap();
    }
    run_ok(&arguments(&checkpoint, &snapshot, &out, &[]));
    let manifest = manifest(&out);
    assert_eq!(
        manifest["source"]["adapter"]["repository"],
        "someone/an-adapter"
    );
    assert_eq!(manifest["source"]["adapter"]["revision"], "0123abc");
}

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

/// The reference scores of the probes are those with the adapter, merged without rounding.
#[test]
fn probes_are_scored_with_the_adapter() {
    let checkpoint = checkpoint(&golden("linear"));
    let (adapter, place) = (adapter("linear"), tempfile::tempdir().unwrap());
    let [rounded, exact] = ["bf16", "fp32"].map(|precision| {
        let out = place.path().join(precision);
        let flags = ["--probes", "on", "--precision", precision];
        run_ok(&arguments(&checkpoint, adapter.path(), &out, &flags));
        run_ok(&["verify", "--model", out.to_str().unwrap()]);
        out
    });
    let probes = |bundle: &Path| fs::read(bundle.join("probes.json")).unwrap();
    let expected = probes(&rounded);
    assert!(expected == probes(&exact), "the reference is rounded");

    fs::remove_file(rounded.join("probes.json")).unwrap();
    let record = |adapter: &[&str]| {
        let mut args = vec!["verify", "--record", "--model", rounded.to_str().unwrap()];
        args.extend(["--checkpoint", checkpoint.to_str().unwrap()]);
        args.extend(adapter);
        run(&args)
    };
    for (adapter, part) in [
        (vec![], "--adapter"),
        (vec!["--adapter", "no-such-place"], "no-such-place"),
        (
            vec!["--adapter", "tests/fixtures/adapters/reward"],
            "SHA-256",
        ),
    ] {
        let output = record(&adapter);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
    }
    let output = record(&["--adapter", adapter.path().to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(expected == probes(&rounded));
}
