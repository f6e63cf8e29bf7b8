//! Reward models with several labels: from the configuration's names to the output of `score`.

use std::fs;

use serde_json::{Value, json};
use worldpm_ort::{Conversation, Error, Output, Scorer, ScorerOptions};

use crate::support::{self, lines, run, run_with_input, stderr};

const SHAPE: &[&str] = &[
    "--shape",
    "tiny",
    "--num-hidden-layers",
    "1",
    "--seed",
    "31",
    "--head",
    "one",
    "--head-bias",
    "--labels",
    "helpfulness,correctness,verbosity",
];
const LABELS: [&str; 3] = ["helpfulness", "correctness", "verbosity"];

fn score(input: &str) -> Vec<Value> {
    let bundle = support::bundle(SHAPE, &[]);
    let args = [
        "score",
        "--only-scores",
        "--model",
        bundle.to_str().unwrap(),
    ];
    let output = run_with_input(&args, input.as_bytes());
    assert!(output.status.success(), "{}", stderr(&output));
    lines(&output)
}

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[test]
fn scores_and_margins_by_name() {
    let records = [
        json!({"id": "a", "prompt": "Q", "response": "A"}),
        json!({"id": "b", "prompt": "Q", "response": "B"}),
        json!({"id": "p", "prompt": "Q", "chosen": "A", "rejected": "B"}),
    ];
    let input: String = records.iter().map(|record| format!("{record}\n")).collect();
    let output = score(&input);
    assert_eq!(keys(&output[0]), ["id", "scores", "tokens"]);
    assert_eq!(keys(&output[0]["scores"]), LABELS);
    let (a, b, pair) = (&output[0], &output[1], &output[2]);
    assert_eq!(keys(pair), ["id", "chosen", "rejected", "margins"]);
    assert_eq!(pair["chosen"]["scores"], a["scores"]);
    assert_eq!(pair["rejected"]["scores"], b["scores"]);
    assert_eq!(keys(&pair["margins"]), LABELS);
    let mut seen = Vec::new();
    for label in LABELS {
        let number = |value: &Value| value[label].as_f64().unwrap();
        let (a, b) = (number(&a["scores"]), number(&b["scores"]));
        assert!((a - b).abs() > 1e-3, "{label}: {a}, {b}");
        assert!((number(&pair["margins"]) - (a - b)).abs() < 1e-6);
        seen.push(a);
    }
    seen.dedup();
    assert_eq!(seen.len(), LABELS.len(), "labels differ");
}

#[test]
fn one_score_is_not_made_of_several() {
    let bundle = support::bundle(SHAPE, &[]);
    let scorer = Scorer::open(&bundle, &ScorerOptions::default()).unwrap();
    assert_eq!(scorer.manifest().model.labels, LABELS);
    let conversations = [Conversation::exchange("Q", "A")];
    let error = scorer.score(&conversations).remove(0).unwrap_err();
    assert!(matches!(error, Error::NotOneScore { .. }), "{error}");
    let message = error.to_string();
    for part in ["3 labels", "correctness", "Scorer::rewards"] {
        assert!(message.contains(part), "{message}");
    }
    let reward = scorer.rewards(&conversations).remove(0).unwrap();
    let Output::Labels(labels) = &reward.output else {
        panic!("{reward:?}");
    };
    assert_eq!(labels.get("verbosity"), Some(labels.values()[2]));
}

/// A checkpoint made for the test, which changes its configuration or weights.
fn changed(change: impl FnOnce(&std::path::Path)) -> (tempfile::TempDir, std::process::Output) {
    let place = tempfile::tempdir().unwrap();
    let checkpoint = place.path().join("checkpoint");
    fs::create_dir(&checkpoint).unwrap();
    for entry in fs::read_dir(support::checkpoint(SHAPE)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), checkpoint.join(entry.file_name())).unwrap();
    }
    change(&checkpoint);
    let out = place.path().join("bundle");
    let args = [
        "export",
        "--checkpoint",
        checkpoint.to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
    ];
    let output = run(&args);
    (place, output)
}

fn config(dir: &std::path::Path, change: impl FnOnce(&mut Value)) {
    let path = dir.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut config);
    fs::write(path, config.to_string()).unwrap();
}

#[test]
fn names_from_the_configuration() {
    type Expected = Result<[&'static str; 3], &'static [&'static str]>;
    let cases: [(Value, Expected); 7] = [
        (json!(null), Ok(["LABEL_0", "LABEL_1", "LABEL_2"])),
        (json!({"2": "c", "0": "a", "1": "b"}), Ok(["a", "b", "c"])),
        (
            json!({"0": "a"}),
            Err(&[
                "config.json",
                "`id2label`",
                "1 labels",
                "gives 3",
                "score.weight",
            ]),
        ),
        (
            json!({"0": "a", "1": "b", "3": "c"}),
            Err(&["`id2label`", "none for \"2\""]),
        ),
        (
            json!({"0": "a", "1": "b", "2": "a"}),
            Err(&["`id2label`", "\"0\" and \"2\"", "`a`"]),
        ),
        (
            json!({"0": "a", "1": 1, "2": null}),
            Ok(["a", "1", "LABEL_2"]),
        ),
        (
            json!({"0": "a", "1": [1], "2": "c"}),
            Err(&["`id2label`", "\"1\"", "must be a name"]),
        ),
    ];
    for (labels, expected) in cases {
        let (place, output) = changed(|dir| config(dir, |c| c["id2label"] = labels.clone()));
        let message = stderr(&output);
        match expected {
            Ok(names) => {
                assert!(output.status.success(), "{labels}: {message}");
                let manifest = fs::read(place.path().join("bundle/manifest.json")).unwrap();
                let manifest: Value = serde_json::from_slice(&manifest).unwrap();
                assert_eq!(manifest["model"]["labels"], json!(names));
            }
            Err(parts) => {
                assert_eq!(output.status.code(), Some(1), "{labels}");
                for part in parts {
                    assert!(message.contains(part), "{labels}: no {part:?} in {message}");
                }
            }
        }
    }
}

/// A label's bias that is NaN spoils that label, and no score of the conversation is given.
#[test]
fn a_label_that_is_not_a_number() {
    let (place, output) = changed(|dir| {
        let shard = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let mut shards = shard.filter(|path| path.extension().is_some_and(|e| e == "safetensors"));
        let path = shards.find(|path| set_bias(path, 1)).unwrap();
        assert!(path.exists());
    });
    assert!(output.status.success(), "{}", stderr(&output));
    let bundle = place.path().join("bundle");
    let args = ["score", "--model", bundle.to_str().unwrap()];
    let record = json!({"id": "x", "prompt": "Q", "response": "A"}).to_string();
    let output = run_with_input(&args, record.as_bytes());
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    for part in ["line 1", "label `correctness`", "NaN"] {
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
    }
    let output = run_with_input(&[&args[..], &["--keep-going"]].concat(), record.as_bytes());
    let line = &lines(&output)[0];
    assert_eq!(line["id"], "x");
    assert!(line["error"].as_str().unwrap().contains("correctness"));
    assert!(line.get("scores").is_none());
}

/// Makes one value of `score.bias` NaN, if the tensor is in this file.
fn set_bias(path: &std::path::Path, label: usize) -> bool {
    let mut bytes = fs::read(path).unwrap();
    let length = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let Some(entry) = header.get("score.bias") else {
        return false;
    };
    let begin = usize::try_from(entry["data_offsets"][0].as_u64().unwrap()).unwrap();
    let at = 8 + length + begin + 2 * label;
    bytes[at..at + 2].copy_from_slice(&[0xC0, 0x7F]);
    fs::write(path, bytes).unwrap();
    true
}

#[test]
fn a_manifest_that_names_too_few_labels() {
    let bundle = support::bundle(SHAPE, &[]);
    let place = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(bundle).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), place.path().join(entry.file_name())).unwrap();
    }
    let path = place.path().join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for (labels, part) in [
        (json!(["helpfulness"]), "`stages[0].outputs[0].shape`"),
        (json!([]), "`model.labels`"),
    ] {
        manifest["model"]["labels"] = labels;
        fs::write(&path, manifest.to_string()).unwrap();
        let args = ["score", "--model", place.path().to_str().unwrap()];
        let output = run_with_input(&args, br#"{"prompt":"Q","response":"A"}"#);
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
    }
}

#[test]
fn labels_of_a_made_up_checkpoint() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    let out = out.to_str().unwrap();
    for (flags, part) in [
        (
            &["--head", "two", "--labels", "a,b"][..],
            "this head gives 1",
        ),
        (
            &["--head", "process", "--labels", "a,b,c"],
            "this head gives 2",
        ),
        (&["--head", "one", "--labels", "a,a"], "are both `a`"),
        (&["--head", "one", "--labels", "a,"], "must be a name"),
    ] {
        let output = run(&[&["synth", "--sparse", "--out", out], flags].concat());
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
    }
}
