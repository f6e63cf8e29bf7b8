//! Bad input gets a clear error and exit status 1 or 2: no panic, no number, nothing half-written.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use support::{copy_of, read_json, run, run_with_input, stderr};
use tempfile::TempDir;

/// A small sharded checkpoint.
const SHAPE: &[&str] = &[
    "--shape",
    "tiny",
    "--hidden-size",
    "64",
    "--intermediate-size",
    "96",
    "--num-attention-heads",
    "2",
    "--num-key-value-heads",
    "1",
    "--head-dim",
    "32",
    "--num-hidden-layers",
    "2",
    "--shard-bytes",
    "100000",
];

const SHARD: &str = "model-00002-of-";

/// A copy of the checkpoint to spoil.
fn copy_of_checkpoint() -> TempDir {
    copy_of(&support::checkpoint(SHAPE))
}

/// The second shard: it holds no embedding, so it is small.
fn shard(dir: &Path) -> PathBuf {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            path.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with(SHARD)
        })
        .unwrap()
}

fn write_json(path: &Path, value: &Value) {
    fs::write(path, serde_json::to_vec(value).unwrap()).unwrap();
}

/// Changes `config.json`.
fn config(dir: &Path, change: impl FnOnce(&mut Value)) {
    let path = dir.join("config.json");
    let mut config = read_json(&path);
    change(&mut config);
    write_json(&path, &config);
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
                let path = dir.join("tokenizer_config.json");
                let mut config = read_json(&path);
                config.as_object_mut().unwrap().remove("chat_template");
                write_json(&path, &config);
            },
            &["chat_template"],
        ),
    ];
    for (name, spoil, parts) in cases {
        let checkpoint = copy_of_checkpoint();
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

fn expect_failure(name: &str, output: &std::process::Output, parts: &[&str]) {
    let message = stderr(output);
    assert!(
        matches!(output.status.code(), Some(1 | 2)),
        "{name}: {:?}: {message}",
        output.status
    );
    assert!(!message.contains("panicked"), "{name}: {message}");
    assert!(message.contains("error: "), "{name}: {message}");
    for part in parts {
        assert!(message.contains(part), "{name}: no {part:?} in: {message}");
    }
}

fn export_to(out: &Path) -> std::process::Output {
    let checkpoint = support::checkpoint(SHAPE);
    run(&[
        "export",
        "--checkpoint",
        checkpoint.to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
        "--weights",
        "copy",
    ])
}

#[test]
fn output_directories() {
    let place = tempfile::tempdir().unwrap();

    let foreign = place.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("thesis.txt"), b"words").unwrap();
    expect_failure(
        "foreign",
        &export_to(&foreign),
        &["foreign", "not a bundle of ours"],
    );
    assert_eq!(fs::read(foreign.join("thesis.txt")).unwrap(), b"words");

    let file = place.path().join("file");
    fs::write(&file, b"words").unwrap();
    expect_failure("file", &export_to(&file), &["file"]);
    assert_eq!(fs::read(&file).unwrap(), b"words");

    // Root may write anywhere; a directory under a file cannot be made by anyone.
    expect_failure(
        "under a file",
        &export_to(&file.join("bundle")),
        &["bundle"],
    );

    // Ours is replaced, and nothing is left beside it.
    let ours = place.path().join("ours");
    assert!(export_to(&ours).status.success());
    assert!(export_to(&ours).status.success());
    // Unless there is something in it that is not.
    fs::write(ours.join("notes.txt"), b"words").unwrap();
    expect_failure("with notes", &export_to(&ours), &["ours", "notes.txt"]);
    assert_eq!(fs::read(ours.join("notes.txt")).unwrap(), b"words");
    assert!(ours.join("manifest.json").exists());
    let mut left: Vec<String> = fs::read_dir(place.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["file", "foreign", "ours"]);
}

/// A limit on the size of files stands for a full disk: writing fails part of the way through.
#[test]
#[cfg(unix)]
fn full_disk() {
    use std::process::Command;
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("bundle");
    let checkpoint = support::checkpoint(SHAPE);
    let output = Command::new("sh")
        .arg("-c")
        // Without the signal, a write past the limit is an ordinary error.
        .arg("trap '' XFSZ; ulimit -f 2000; exec \"$@\"")
        .args([
            "sh",
            env!("CARGO_BIN_EXE_worldpm-ort"),
            "export",
            "--checkpoint",
        ])
        .arg(&checkpoint)
        .arg("--out")
        .arg(&out)
        .args(["--weights", "copy"])
        .output()
        .unwrap();
    expect_failure("full disk", &output, &["bundle"]);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

type SpoilBundle = fn(&Path);

#[test]
fn spoiled_bundles() {
    let cases: &[(&str, SpoilBundle, &[&str])] = &[
        (
            "no manifest",
            |dir| fs::remove_file(dir.join("manifest.json")).unwrap(),
            &["manifest.json"],
        ),
        (
            "manifest is not JSON",
            |dir| fs::write(dir.join("manifest.json"), b"[").unwrap(),
            &["manifest.json"],
        ),
        (
            "another version",
            |dir| {
                let path = dir.join("manifest.json");
                let mut manifest = read_json(&path);
                manifest["format_version"] = json!(99);
                write_json(&path, &manifest);
            },
            &["format_version", "99"],
        ),
        (
            "a field of another type",
            |dir| {
                let path = dir.join("manifest.json");
                let mut manifest = read_json(&path);
                manifest["max_length"] = json!("long");
                write_json(&path, &manifest);
            },
            &["manifest.json"],
        ),
        (
            "no stage file",
            |dir| fs::remove_file(dir.join("stage-01.onnx")).unwrap(),
            &["stage-01.onnx"],
        ),
        (
            "stage file of another size",
            |dir| fs::write(dir.join("stage-00.onnx"), b"onnx").unwrap(),
            &["stage-00.onnx", "4 bytes"],
        ),
        (
            "stage file with other bytes",
            |dir| {
                let path = dir.join("stage-00.onnx");
                let mut bytes = fs::read(&path).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs::write(path, bytes).unwrap();
            },
            &["stage-00.onnx", "SHA-256"],
        ),
        (
            "no weights",
            |dir| fs::remove_file(shard(dir)).unwrap(),
            &[SHARD],
        ),
        (
            "weights of another size",
            |dir| fs::write(shard(dir), b"0123456789").unwrap(),
            &[SHARD, "10 bytes"],
        ),
        (
            "weights with other tensors",
            |dir| {
                let path = shard(dir);
                let mut bytes = fs::read(&path).unwrap();
                bytes[20] ^= 1;
                fs::write(path, bytes).unwrap();
            },
            &[SHARD, "other tensors"],
        ),
        (
            "another chat template",
            |dir| fs::write(dir.join("chat_template.jinja"), b"{{ messages }}").unwrap(),
            &["chat_template.jinja", "SHA-256"],
        ),
    ];
    let source = support::bundle(SHAPE, &["--stages", "2", "--weights", "copy"]);
    for (name, spoil, parts) in cases {
        let copy = copy_of(&source);
        spoil(copy.path());
        let output = run_with_input(&["score", "--model", copy.path().to_str().unwrap()], b"");
        expect_failure(name, &output, parts);
        assert!(output.stdout.is_empty(), "{name}");
    }
}

/// A bundle from a later version of the exporter may need a later library.
#[test]
fn bundle_for_a_newer_library() {
    let copy = copy_of(&support::bundle(SHAPE, &[]));
    let path = copy.path().join("manifest.json");
    let mut manifest = read_json(&path);
    manifest["min_ort_version"] = json!("1.99");
    write_json(&path, &manifest);
    let output = run_with_input(&["score", "--model", copy.path().to_str().unwrap()], b"");
    expect_failure("newer", &output, &["1.99", "ONNX Runtime 1."]);
}

#[test]
fn libraries() {
    let bundle = support::bundle(SHAPE, &[]);
    let model = bundle.to_str().unwrap();
    let missing = run_with_input(&["score", "--model", model, "--ort-lib", "nowhere.so"], b"");
    expect_failure("missing", &missing, &["nowhere.so"]);

    let other = run_with_input(&["score", "--model", model, "--ort-lib", "Cargo.toml"], b"");
    expect_failure("not a library", &other, &["Cargo.toml"]);

    let old = too_old_library();
    let old = old.path().join("libonnxruntime.so");
    let too_old = run_with_input(
        &[
            "score",
            "--model",
            model,
            "--ort-lib",
            old.to_str().unwrap(),
        ],
        b"",
    );
    expect_failure(
        "too old",
        &too_old,
        &["libonnxruntime.so", "1.16.3", "1.23"],
    );

    let mut command = support::command();
    let output = command
        .args(["score", "--model", model])
        .env("ORT_DYLIB_PATH", "elsewhere.so")
        .output()
        .unwrap();
    expect_failure(
        "none found",
        &output,
        &["ORT_DYLIB_PATH names elsewhere.so", "nothing of that name"],
    );
}

/// A library with the entry point of ONNX Runtime 1.16: what is read of one before it is used.
fn too_old_library() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("old.c");
    let code = r#"
        static const void *api(unsigned version) { return 0; }
        static const char *version(void) { return "1.16.3"; }
        static const struct { const void *(*api)(unsigned); const char *(*version)(void); }
            base = { api, version };
        const void *OrtGetApiBase(void) { return &base; }
    "#;
    fs::write(&source, code).unwrap();
    let status = std::process::Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(dir.path().join("libonnxruntime.so"))
        .arg(&source)
        .status()
        .unwrap();
    assert!(status.success());
    dir
}

#[test]
fn devices() {
    let bundle = support::bundle(SHAPE, &[]);
    let model = bundle.to_str().unwrap();
    let score = |device: &str, model: &str| {
        run_with_input(&["score", "--model", model, "--device", device], b"")
    };
    expect_failure(
        "unknown",
        &score("gpu", model),
        &["gpu", "cuda:N", "tensorrt:N"],
    );
    expect_failure(
        "wrong bundle",
        &score("cuda:0", model),
        &["exported for cpu", "--device cuda"],
    );

    let for_cuda = support::bundle(SHAPE, &["--device", "cuda"]);
    let for_cuda = for_cuda.to_str().unwrap();
    expect_failure(
        "wrong device",
        &score("cpu", for_cuda),
        &["exported for cuda", "--device cpu"],
    );
    expect_failure(
        "no CUDA in the library",
        &score("auto", for_cuda),
        &[
            "cuda:0",
            "stage-00",
            "built without CUDA",
            "fetch-onnxruntime",
        ],
    );
    expect_failure(
        "a bundle that TensorRT does not parse",
        &score("tensorrt:0", for_cuda),
        &["tensorrt:0", "--target onnx --weights hardlink"],
    );
    expect_failure(
        "a provider that is not there",
        &score("plugin:SomeExecutionProvider", model),
        &["SomeExecutionProvider", "--ep-library"],
    );
}

#[test]
fn provider_options() {
    let bundle = support::bundle(SHAPE, &["--device", "cuda"]);
    let model = bundle.to_str().unwrap();
    for (flags, parts) in [
        (["--ep-option", "gpu_mem_limit"], &["KEY=VALUE"][..]),
        (
            ["--ep-option", "gpu_mem_limit=30GiB"],
            &["gpu_mem_limit", "whole number"],
        ),
        (
            ["--ep-option", "trt_builder_optimization_level=1"],
            &["no device in use takes it (cuda:0)"],
        ),
        (
            ["--ep-library", "provider.so"],
            &["provider.so", "--device plugin:PROVIDER"],
        ),
    ] {
        let args = [&["score", "--model", model][..], &flags].concat();
        expect_failure(flags[1], &run_with_input(&args, b""), parts);
    }
}

#[test]
fn records() {
    let bundle = support::bundle(SHAPE, &[]);
    let model = bundle.to_str().unwrap();
    let good = r#"{"id":"good","messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}"#;
    let long = format!(r#"{{"prompt":"a","response":"{}"}}"#, "word ".repeat(500));
    let cases: [(&str, &str, &[&str]); 11] = [
        ("malformed JSON", r#"{"messages": [}"#, &["JSON"]),
        ("not a record", "17", &["expected a record"]),
        ("unknown form", r#"{"text": "a"}"#, &["text", "messages"]),
        (
            "two forms",
            r#"{"messages":[],"chosen":[],"rejected":[]}"#,
            &["chosen"],
        ),
        (
            "unknown role",
            r#"[{"role":"wizard","content":"a"}]"#,
            &["wizard", "user"],
        ),
        ("no role", r#"{"messages":[{"content":"a"}]}"#, &["role"]),
        (
            "content is no string",
            r#"[{"role":"user","content":5}]"#,
            &["messages[0].content", "a number"],
        ),
        (
            "empty conversation",
            r#"{"messages":[]}"#,
            &["`messages` is empty"],
        ),
        (
            "half a pair",
            r#"{"chosen":[{"role":"user","content":"a"}]}"#,
            &["rejected"],
        ),
        ("wrong type", r#"{"prompt":1,"response":"b"}"#, &["prompt"]),
        ("too long", &long, &["tokens", "200"]),
    ];
    for (name, bad, parts) in cases {
        let input = format!("{good}\n{bad}\n{good}\n");
        let strict = ["score", "--model", model, "--max-length", "200"];
        let output = run_with_input(&strict, input.as_bytes());
        expect_failure(name, &output, &[&["line 2"], parts].concat());
        assert_eq!(
            support::lines(&output).len(),
            1,
            "{name}: what came before is kept"
        );

        let lenient = [&strict[..], &["--keep-going"]].concat();
        let output = run_with_input(&lenient, input.as_bytes());
        assert_eq!(output.status.code(), Some(1), "{name}");
        let lines = support::lines(&output);
        assert_eq!(lines.len(), 3, "{name}: {lines:?}");
        assert!(
            lines[0]["score"].is_number() && lines[2]["score"].is_number(),
            "{name}"
        );
        assert!(lines[1].get("score").is_none(), "{name}");
        let message = lines[1]["error"].as_str().unwrap();
        for part in parts {
            assert!(message.contains(part), "{name}: no {part:?} in {message}");
        }
    }
}

/// A chat template with which no conversation can be scored: found when it is exported.
#[test]
fn templates() {
    let cases: [(&str, &str, &[&str]); 5] = [
        (
            "{{ messages[0].content }}<|im_end|>\n",
            "ends otherwise",
            &["ends with", "<|endoftext|>"],
        ),
        (
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
            "goes on for ever",
            &["chat_template.jinja", "limit reached"],
        ),
        (
            "{% set n = namespace(s='ab') %}{% for a in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
            "eats all memory",
            &["chat_template.jinja", "limit reached"],
        ),
        (
            "{{ messages | random }}",
            "is not repeatable",
            &["chat_template.jinja", "not supported"],
        ),
        (
            "{% if messages | length > 3 %}{{ raise_exception('one turn') }}{% endif %}{{ messages[-1].content }}",
            "raises for some, and ends otherwise for others",
            &["ends with", "<|endoftext|>"],
        ),
    ];
    for (template, name, parts) in cases {
        let checkpoint = copy_of_checkpoint();
        fs::write(checkpoint.path().join("chat_template.jinja"), template).unwrap();
        let out = checkpoint.path().join("bundle");
        let output = run(&[
            "export",
            "--checkpoint",
            checkpoint.path().to_str().unwrap(),
            "--out",
            out.to_str().unwrap(),
            "--probes",
            "off",
        ]);
        expect_failure(name, &output, parts);
        assert!(!out.exists(), "{name}");
    }
}

/// A template that refuses every probe, as it would under Python, may take other conversations: that is a warning, and
/// each record gets the template's own error. The sequences of token ids are left to verify the bundle with.
#[test]
fn templates_that_take_no_probe() {
    let cases: [(&str, &str, &[&str]); 2] = [
        (
            "{{ raise_exception('not ' ~ messages[1].content) }}",
            "not hi",
            &["takes none of the probes", "not Tips for better sleep?"],
        ),
        (
            "\n{{ messages[7].content.x.y }}",
            "line 2: UndefinedError",
            &["takes none of the probes", "line 2: UndefinedError"],
        ),
    ];
    for (template, error, parts) in cases {
        let checkpoint = copy_of_checkpoint();
        let file = checkpoint.path().join("chat_template.jinja");
        fs::write(&file, template).unwrap();
        let out = checkpoint.path().join("bundle");
        let output = run(&[
            "export",
            "--checkpoint",
            checkpoint.path().to_str().unwrap(),
            "--out",
            out.to_str().unwrap(),
            "--probes",
            "on",
        ]);
        let message = stderr(&output);
        assert!(output.status.success(), "{message}");
        let parts = [parts, &[file.to_str().unwrap(), "scripts is left out"]].concat();
        for part in parts {
            assert!(message.contains(part), "no {part:?} in: {message}");
        }
        let model = out.to_str().unwrap();
        let input = br#"{"prompt":"hi","response":"yes"}"#;
        let output = run_with_input(&["score", "--model", model, "--keep-going"], input);
        assert_eq!(output.status.code(), Some(1));
        let lines = support::lines(&output);
        let told = lines[0]["error"].as_str().unwrap();
        assert!(
            told.contains(error) && lines[0].get("score").is_none(),
            "{told}"
        );
        let verified = support::run_ok(&["verify", "--model", model, "--json"]);
        let report: Value = serde_json::from_slice(&verified.stdout).unwrap();
        assert_eq!(report["probes"].as_array().unwrap().len(), 5);
        assert_eq!(report["not_compared"].as_array().unwrap().len(), 4);
    }
}

/// Weights that make the model's output NaN.
#[test]
fn not_a_number() {
    let checkpoint = copy_of_checkpoint();
    let path = fs::read_dir(checkpoint.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
        .max()
        .unwrap();
    // The last bytes of the last shard belong to one of the final tensors.
    let mut bytes = fs::read(&path).unwrap();
    let length = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    for value in bytes[8 + length..].chunks_exact_mut(2) {
        value.copy_from_slice(&[0xC0, 0x7F]);
    }
    fs::write(&path, bytes).unwrap();
    let out = checkpoint.path().join("bundle");
    support::run_ok(&[
        "export",
        "--checkpoint",
        checkpoint.path().to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
    ]);
    let input = br#"{"id":"x","prompt":"a","response":"b"}"#;
    let output = run_with_input(&["score", "--model", out.to_str().unwrap()], input);
    expect_failure("NaN", &output, &["NaN", "line 1"]);
    assert!(output.stdout.is_empty());
}

#[test]
fn usage() {
    for args in [
        &["score"][..],
        &["export", "--out", "x"],
        &["nonsense"],
        &["synth", "--shape", "huge", "--out", "x"],
    ] {
        let output = run(args);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{args:?}: {}",
            stderr(&output)
        );
    }
    let checkpoint = support::checkpoint(SHAPE);
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("bundle");
    for stages in ["0", "3"] {
        let output = run(&[
            "export",
            "--checkpoint",
            checkpoint.to_str().unwrap(),
            "--out",
            out.to_str().unwrap(),
            "--stages",
            stages,
        ]);
        expect_failure("stages", &output, &["stages", "1 to 2"]);
    }
}
