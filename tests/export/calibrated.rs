//! The `export` command with `--calibrate`: weights that are rounded for conversations.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
};

use worldpm_ort::{
    Conversation, Message, ScorerOptions,
    calibration::{CalibrationError, CalibrationSet, Gathered, OnStep, Step},
    export::{Calibration, Checkpoint, ExportOptions, Precision},
};

use crate::{
    precision::{SHAPE, many, rms},
    support::{self, contents, expect_failure, lines, manifest, run, run_ok, run_with_input},
};

/// Four heads of 32, so that no weight is narrower than two blocks.
const WIDE: &[&str] = &[
    "--seed",
    "6",
    "--hidden-size",
    "128",
    "--intermediate-size",
    "192",
    "--num-attention-heads",
    "4",
    "--num-key-value-heads",
    "2",
    "--head-dim",
    "32",
];

/// Scores with the kernels that the mean is corrected for.
fn scores(bundle: &Path, input: &[u8]) -> Vec<f64> {
    let output = run_with_input(&["score", "--model", bundle.to_str().unwrap()], input);
    assert!(output.status.success(), "{}", support::stderr(&output));
    let scores = lines(&output);
    let score = |line: &serde_json::Value| line["score"].as_f64().unwrap();
    scores.iter().map(score).collect()
}

/// What is in a directory.
fn names(dir: &Path) -> Vec<String> {
    let mut names = crate::precision::names(dir);
    names.sort();
    names
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn calibrated(checkpoint: &Path, out: &Path, file: &Path, flags: &[&str]) -> String {
    let mut args = vec!["export", "--checkpoint", checkpoint.to_str().unwrap()];
    args.extend(["--probes", "off", "--out", out.to_str().unwrap()]);
    args.extend(["--calibrate", file.to_str().unwrap()]);
    args.extend(flags);
    support::stderr(&run_ok(&args))
}

#[test]
fn scores_drift_less() {
    let place = tempfile::tempdir().unwrap();
    let (file, out) = (place.path().join("many.jsonl"), place.path().join("bundle"));
    fs::write(&file, many()).unwrap();
    let checkpoint = support::checkpoint(WIDE);
    let expected = scores(&support::bundle(WIDE, &[]), &many());
    for flags in [
        &["--precision", "int4"][..],
        &["--precision", "int4", "--asymmetric", "--block-size", "64"],
        &["--precision", "int4", "--target", "onnx"],
        &["--precision", "int8", "--block-size", "128"],
        &["--precision", "int8", "--asymmetric", "--stages", "2"],
        &["--precision", "w8a8"],
        &["--precision", "w8a8", "--keep", "*.down_proj"],
    ] {
        let nearest = rms(&scores(&support::bundle(WIDE, flags), &many()), &expected);
        let told = calibrated(&checkpoint, &out, &file, flags);
        assert!(told.contains("40 conversations"), "{told}");
        assert_eq!(names(place.path()), ["bundle", "many.jsonl"]);
        let found = scores(&out, &many());
        let drift = rms(&found, &expected);
        eprintln!("{flags:?}: drift {drift:.5}, {nearest:.5} without");
        assert!(drift < 0.8 * nearest, "{flags:?}: {drift}, {nearest}");
        let off = mean(&found) - mean(&expected);
        assert!(off.abs() < 2e-5, "{flags:?}: the mean is off by {off}");
        let calibration = &manifest(&out)["quantization"]["calibration"];
        assert_eq!(calibration["conversations"], 40);
        assert_eq!(calibration["correction"].as_array().unwrap().len(), 1);
        assert_eq!(calibration["sha256"].as_str().unwrap().len(), 64);
    }
}

#[test]
fn the_same_bytes_again() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("many.jsonl");
    fs::write(&file, many()).unwrap();
    let checkpoint = support::checkpoint(SHAPE);
    let export = |name: &str, flags: &[&str]| {
        let out = place.path().join(name);
        let all = [&["--precision", "int4", "--checksum"], flags].concat();
        calibrated(&checkpoint, &out, &file, &all);
        contents(&out)
    };
    let one = export("one", &[]);
    assert_eq!(one, export("two", &["--threads", "1"]));
    let fewer = export("three", &["--calibration-tokens", "200"]);
    assert_ne!(one, fewer);
}

/// Each kind of decoder and head: all linear layers are seen, and labels are corrected one by one.
#[test]
fn every_architecture() {
    let place = tempfile::tempdir().unwrap();
    let (file, out) = (place.path().join("many.jsonl"), place.path().join("bundle"));
    fs::write(&file, many()).unwrap();
    for (labels, synth) in [
        (1, &["--architecture", "llama"][..]),
        (1, &["--architecture", "mistral"]),
        (1, &["--architecture", "gemma2"]),
        (1, &["--architecture", "qwen3"]),
        (
            2,
            &[
                "--architecture",
                "qwen2",
                "--head",
                "one",
                "--labels",
                "a,b",
            ],
        ),
    ] {
        let synth = [SHAPE, synth].concat();
        let checkpoint = support::checkpoint(&synth);
        let score = |bundle: &Path| {
            let args = [
                "score",
                "--only-scores",
                "--model",
                bundle.to_str().unwrap(),
            ];
            let output = run_with_input(&args, &many());
            assert!(output.status.success(), "{}", support::stderr(&output));
            lines(&output)
        };
        let numbers = |lines: &[serde_json::Value], label: &str| -> Vec<f64> {
            let number = |line: &serde_json::Value| match labels {
                1 => line["score"].as_f64().unwrap(),
                _ => line["scores"][label].as_f64().unwrap(),
            };
            lines.iter().map(number).collect()
        };
        calibrated(&checkpoint, &out, &file, &["--precision", "int4"]);
        let found = score(&out);
        let expected = score(&support::bundle(&synth, &[]));
        let correction = manifest(&out)["quantization"]["calibration"]["correction"].clone();
        assert_eq!(correction.as_array().unwrap().len(), labels, "{synth:?}");
        for label in ["a", "b"] {
            let (found, expected) = (numbers(&found, label), numbers(&expected, label));
            let off = mean(&found) - mean(&expected);
            assert!(off.abs() < 2e-5, "{synth:?}, {label}: {off}");
            assert!(rms(&found, &expected) > 1e-3, "{synth:?}, {label}");
        }
    }
}

/// The rewards of steps are shares: there is no mean to correct.
#[test]
fn a_model_that_scores_steps() {
    let place = tempfile::tempdir().unwrap();
    let (file, out) = (
        place.path().join("steps.jsonl"),
        place.path().join("bundle"),
    );
    let record = |n: usize| {
        let response = format!("{n} + {n} is a sum.<extra_0>It is {}.<extra_0>", 2 * n);
        format!(
            "{}\n",
            serde_json::json!({"prompt": format!("What is {n} + {n}?"), "response": response})
        )
    };
    fs::write(&file, (0..12).map(record).collect::<String>()).unwrap();
    let checkpoint = support::checkpoint(&[SHAPE, &["--head", "process"]].concat());
    calibrated(&checkpoint, &out, &file, &["--precision", "int4"]);
    let calibration = manifest(&out)["quantization"]["calibration"].clone();
    assert_eq!(calibration["conversations"], 12);
    assert_eq!(calibration.get("correction"), None);
}

/// Rows of the files of a directory, sorted.
fn rows(calibration: &Calibration) -> Vec<Vec<Vec<u8>>> {
    let mut all: Vec<Vec<Vec<u8>>> = fs::read_dir(calibration.directory())
        .unwrap()
        .map(|entry| {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            let tokens = calibration.data().tokens as usize;
            assert!(bytes.len() > tokens);
            // Every width is a multiple of 32.
            let mut rows: Vec<Vec<u8>> = bytes.chunks(64).map(<[u8]>::to_vec).collect();
            rows.sort();
            rows.dedup();
            rows
        })
        .collect();
    all.sort();
    all
}

/// What layers are given is the same where their weights do not fit in memory.
#[test]
fn a_model_larger_than_memory() {
    let flags = ["--shape", "tiny", "--num-hidden-layers", "12"];
    let place = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint::open(&support::checkpoint(&flags)).unwrap();
    let options = ExportOptions {
        precision: Some(Precision::Int4),
        ..ExportOptions::default()
    };
    let conversations = ["Keep it dark.", "No idea.", "Walk in the light."];
    let set = CalibrationSet {
        conversations: conversations
            .map(|answer| {
                let user = Message::new("user", "Tips for better sleep?");
                Conversation::new(vec![user, Message::new("assistant", answer)])
            })
            .to_vec(),
        sha256: String::new(),
        may_be_refused: false,
    };
    let gather = |memory: Option<u64>| {
        let mut scorer = ScorerOptions::default();
        scorer.memory = memory;
        let steps: Arc<Mutex<Vec<Step>>> = Arc::default();
        let on_step: OnStep = {
            let steps = Arc::clone(&steps);
            Arc::new(move |step| steps.lock().unwrap().push(step))
        };
        let set = (&set, 1000);
        let gathered = Gathered::new(&checkpoint, &options, &scorer, set, place.path(), &on_step)?;
        let steps = steps.lock().unwrap();
        let (Step::Begun { disk, tokens, .. }, Step::Gathered(written)) =
            (steps[0], steps.last().unwrap())
        else {
            panic!("{steps:?}");
        };
        // What conversations share is computed once.
        assert!((disk / 3..disk).contains(written), "{written} of {disk}");
        assert_eq!(tokens as u64, gathered.1.data().tokens);
        Ok::<_, CalibrationError>(gathered)
    };
    let (_whole, whole) = gather(None).unwrap();
    let (_streamed, streamed) = gather(Some(560_000_000)).unwrap();
    assert_eq!(whole.data(), streamed.data());
    let (whole, streamed) = (rows(&whole), rows(&streamed));
    // The inputs of q, k and v, of o, of gate and up, and of down.
    assert_eq!(whole.len(), 12 * 4);
    assert_eq!(whole, streamed);

    let error = gather(Some(7_000_000)).unwrap_err();
    assert!(
        matches!(
            error,
            CalibrationError::Memory {
                needed: 7_929_856,
                available: 7_000_000
            }
        ),
        "{error}"
    );
}

#[test]
fn what_cannot_be_calibrated_on() {
    let place = tempfile::tempdir().unwrap();
    let flags = [SHAPE, &["--max-position-embeddings", "512"]].concat();
    let checkpoint = support::checkpoint(&flags);
    let out = place.path().join("bundle");
    let good = "{\"prompt\":\"a\",\"response\":\"b\"}\n";
    let long = format!(
        "{{\"prompt\":\"a\",\"response\":\"{}\"}}\n",
        "long ".repeat(600)
    );
    for (name, content, flags, parts) in [
        (
            "precision",
            good,
            &["--precision", "bf16"][..],
            &["--precision int8, int4 or w8a8"][..],
        ),
        ("none", good, &[], &["--precision int8, int4 or w8a8"]),
        (
            "empty",
            "\n",
            &["--precision", "int4"],
            &["no conversations", "file.jsonl"],
        ),
        (
            "broken",
            "{\"prompt\"",
            &["--precision", "int4"],
            &["file.jsonl", "line 1"],
        ),
        (
            "no answer",
            "{\"prompt\":\"a\",\"response\":\"b\"}\n{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}\n",
            &["--precision", "int4"],
            &["file.jsonl, line 2"],
        ),
        (
            "too long",
            &long,
            &["--precision", "int4"],
            &["file.jsonl", "conversation 1", "tokens"],
        ),
    ] {
        let file = place.path().join("file.jsonl");
        fs::write(&file, content).unwrap();
        let mut args = vec!["export", "--checkpoint", checkpoint.to_str().unwrap()];
        args.extend([
            "--out",
            out.to_str().unwrap(),
            "--calibrate",
            file.to_str().unwrap(),
        ]);
        args.extend(flags);
        expect_failure(name, &run(&args), parts);
        assert!(!out.exists(), "{name}");
    }
    let gone = place.path().join("gone.jsonl");
    let mut args = vec!["export", "--checkpoint", checkpoint.to_str().unwrap()];
    args.extend(["--out", out.to_str().unwrap(), "--precision", "int4"]);
    args.extend(["--calibrate", gone.to_str().unwrap()]);
    expect_failure("gone", &run(&args), &["cannot open", "gone.jsonl"]);
}

#[test]
fn the_built_in_conversations() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("many.jsonl");
    fs::write(&file, many()).unwrap();
    let export = |synth: &[&str], flags: &[&str]| {
        let checkpoint = support::checkpoint(synth);
        let out = place.path().join("bundle");
        let mut args = vec!["export", "--checkpoint", checkpoint.to_str().unwrap()];
        args.extend(["--out", out.to_str().unwrap(), "--precision", "int4"]);
        args.extend(flags);
        let output = run(&args);
        let told = support::stderr(&output);
        let manifest = output.status.success().then(|| manifest(&out));
        (manifest, told)
    };
    let conversations = |synth: &[&str], flags: &[&str]| {
        let (manifest, told) = export(synth, flags);
        let manifest = manifest.unwrap_or_else(|| panic!("{told}"));
        let calibration = &manifest["quantization"]["calibration"];
        (calibration["conversations"].as_u64(), told)
    };
    let (all, _) = conversations(WIDE, &["--calibrate", "builtin", "--probes", "off"]);
    assert!(all.is_some_and(|all| all > 70), "{all:?}");
    // Where the probes are scored, and not where no model is to be loaded.
    let (found, told) = conversations(WIDE, &[]);
    assert_eq!(found, all);
    assert!(told.contains("the built-in conversations"), "{told}");
    // Integers are not made worse in silence where they cannot be calibrated.
    let (found, told) = export(WIDE, &["--ort-lib", "none.so"]);
    assert!(
        found.is_none() && told.contains("--calibrate off") && told.contains("none.so"),
        "{told}"
    );
    for flags in [&["--probes", "off"][..], &["--calibrate", "off"]] {
        assert_eq!(conversations(WIDE, flags).0, None, "{flags:?}");
    }
    // A template that takes no system message.
    let gemma = [SHAPE, &["--architecture", "gemma2"]].concat();
    let (found, _) = conversations(&gemma, &[]);
    assert!(found.is_some(), "{found:?}");
    // A model that scores steps takes none of them.
    let steps = [SHAPE, &["--head", "process"]].concat();
    let (found, told) = conversations(&steps, &[]);
    assert_eq!(found, None);
    assert!(
        told.contains("rounded to the nearest") && told.contains("no conversations"),
        "{told}"
    );
    let (found, told) = export(&steps, &["--calibrate", "builtin"]);
    assert!(
        found.is_none() && told.contains("no conversations"),
        "{told}"
    );
}

/// Weights for GPUs are rounded on the CPU; what that does to the mean cannot be seen there.
#[test]
fn a_bundle_for_a_gpu_is_not_corrected() {
    let place = tempfile::tempdir().unwrap();
    let (file, out) = (place.path().join("many.jsonl"), place.path().join("bundle"));
    fs::write(&file, many()).unwrap();
    let flags = ["--precision", "int4", "--device", "cuda"];
    let told = calibrated(&support::checkpoint(SHAPE), &out, &file, &flags);
    assert!(
        told.contains("not taken off") && told.contains("cuda"),
        "{told}"
    );
    let calibration = manifest(&out)["quantization"]["calibration"].clone();
    assert_eq!(calibration["conversations"], 40);
    assert_eq!(calibration.get("correction"), None);
}
