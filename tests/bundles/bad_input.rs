//! Bad input gets a clear error and exit status 1 or 2: no panic, no number, nothing half-written.

use std::{fs, path::Path};

use serde_json::json;
use tempfile::TempDir;

use crate::support::{
    self, SECOND_SHARD as SHARD, SMALL_SHARDED as SHAPE, copy_of, edit_json, expect_failure, run,
    run_with_input, second_shard as shard, stderr,
};

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
                edit_json(&dir.join("manifest.json"), |m| {
                    m["format_version"] = json!(99)
                });
            },
            &["format_version", "99"],
        ),
        (
            "a field of another type",
            |dir| {
                edit_json(&dir.join("manifest.json"), |m| {
                    m["max_length"] = json!("long")
                });
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
    edit_json(&copy.path().join("manifest.json"), |manifest| {
        manifest["min_ort_version"] = json!("1.99");
    });
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

/// Weights that make the model's output NaN.
#[test]
fn not_a_number() {
    let checkpoint = copy_of(&support::checkpoint(SHAPE));
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
