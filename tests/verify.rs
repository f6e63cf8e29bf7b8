//! `verify`, and the probes that `export` records for it.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::{Value, json};
use support::{copy_of, edit_json, read_json, run, run_ok, stderr};
use worldpm_ort::{Conversation, Scorer, ScorerOptions};

const SHAPE: &[&str] = &["--shape", "tiny", "--seed", "41"];

const SCORED: &[&str] = &["--probes", "on"];

fn verify(model: &Path, flags: &[&str]) -> Output {
    run(&[&["verify", "--model", model.to_str().unwrap()], flags].concat())
}

fn report(model: &Path, flags: &[&str]) -> Value {
    let output = verify(model, &[flags, &["--json"]].concat());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(&output)))
}

fn export(checkpoint: &Path, out: &Path, flags: &[&str]) -> Output {
    let paths = [
        "--checkpoint",
        checkpoint.to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
    ];
    run(&[&["export"], &paths[..], flags].concat())
}

/// Exit status 1, nothing on standard output, and these words in the error.
fn expect_error(name: &str, output: &Output, parts: &[&str]) {
    let message = stderr(output);
    assert_eq!(output.status.code(), Some(1), "{name}: {message}");
    assert!(output.stdout.is_empty(), "{name}");
    assert!(!message.contains("panicked"), "{name}: {message}");
    for part in parts {
        assert!(message.contains(part), "{name}: no {part:?} in: {message}");
    }
}

fn shards(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
        .collect();
    files.sort();
    files
}

/// Sets all values of the last weight file; its header stays.
fn overwrite_weights(dir: &Path, bf16: [u8; 2]) -> PathBuf {
    let path = shards(dir).pop().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let header = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    for value in bytes[8 + header..].chunks_exact_mut(2) {
        value.copy_from_slice(&bf16);
    }
    fs::write(&path, bytes).unwrap();
    path
}

/// Makes a bundle as exporters left it that took no samples of the weights.
fn without_samples(dir: &Path) {
    let path = dir.join("manifest.json");
    let mut manifest = support::read_json(&path);
    for file in manifest["weights"]["files"].as_array_mut().unwrap() {
        file.as_object_mut()
            .unwrap()
            .remove("sampled_sha256")
            .unwrap();
    }
    fs::write(path, manifest.to_string()).unwrap();
}

fn numbers(list: &Value) -> impl Iterator<Item = f64> {
    let list = list.as_array().unwrap().iter();
    list.map(|number| number.as_f64().unwrap())
}

/// Heads, pooling rules and forms of bundle: each gives the scores of the reference path, which is another
/// bundle (one stage, ONNX Runtime's operators) of the same checkpoint.
#[test]
fn every_form_passes() {
    let kinds: [&[&str]; 6] = [
        &["--head", "process"],
        &["--head", "two"],
        &["--head", "two", "--pad-token-id", "151643"],
        &["--head", "one", "--pad-token-id", "151643"],
        &["--head", "one", "--max-position-embeddings", "260"],
        &["--head", "one", "--labels", "help,truth,tone"],
    ];
    let forms: [&[&str]; 2] = [
        &["--stages", "3", "--weights", "copy"],
        &["--target", "onnx", "--stages", "2"],
    ];
    for kind in kinds {
        for form in forms {
            let model = support::bundle(&[SHAPE, kind].concat(), &[form, SCORED].concat());
            let report = report(&model, &[]);
            assert_eq!(report["passed"], true, "{kind:?} {form:?}: {report}");
            let probes = report["probes"].as_array().unwrap();
            for probe in probes {
                // In proportion to large scores, as the limit itself is: steps have numbers up to 9 here.
                let largest = numbers(&probe["reference"])
                    .map(f64::abs)
                    .fold(1.0, f64::max);
                let difference = probe["difference"].as_f64().unwrap();
                assert!(difference < 1e-5 * largest, "{probe}");
            }
            // The first probe's answer is three steps, each with two numbers.
            let count = match kind[1] {
                "process" => 6,
                _ if kind.contains(&"--labels") => 3,
                _ => 1,
            };
            assert_eq!(numbers(&probes[0]["got"]).count(), count);
            let longest = probes.iter().map(|p| p["tokens"].as_u64().unwrap()).max();
            let short = kind.contains(&"260");
            assert_eq!(longest, Some(if short { 257 } else { 300 }));
            assert_eq!(probes.len(), if short { 8 } else { 9 });
            let scores: Vec<f64> = probes
                .iter()
                .map(|probe| probe["got"][0].as_f64().unwrap())
                .collect();
            let spread = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max)
                - scores.iter().copied().fold(f64::INFINITY, f64::min);
            assert!(
                spread > 0.5,
                "probes that score alike show little: {scores:?}"
            );
        }
    }
}

/// The reference is what `score` gives for the probe's conversation.
#[test]
fn the_reference_is_the_score_of_the_conversation() {
    let model = support::bundle(SHAPE, SCORED);
    let reference = read_json(&model.join("probes.json"));
    let manifest = read_json(&model.join("manifest.json"));
    let mut options = ScorerOptions::default();
    // Whose kernels references are computed with.
    options.kernels = false;
    let scorer = Scorer::open(&model, &options).unwrap();
    let mut conversations = 0;
    for probe in manifest["probes"].as_array().unwrap() {
        let of = |probes: &Value| {
            let mut all = probes.as_array().unwrap().iter();
            all.find(|other| other["name"] == probe["name"])
                .unwrap()
                .clone()
        };
        let expected = of(&reference["probes"]);
        match probe.get("messages") {
            Some(messages) => {
                conversations += 1;
                let conversation = Conversation::from_value(messages.clone()).unwrap();
                let score = scorer.score(&[conversation]).remove(0).unwrap();
                assert_eq!(json!([score.score]), expected["scores"]);
                assert_eq!(score.tokens, expected["ids"].as_array().unwrap().len());
            }
            None => assert_eq!(probe["ids"], expected["ids"]),
        }
    }
    assert_eq!(conversations, 4);
}

/// `--record` makes what `export` makes for a model that scores steps, whatever token is behind them.
#[test]
fn steps_are_recorded_at_the_token_of_the_bundle() {
    let checkpoint = support::checkpoint(&[SHAPE, &["--head", "process"]].concat());
    for (name, flags) in [
        ("own", &["--device", "cuda"][..]),
        ("other", &["--device", "cuda", "--step-token", "<|im_end|>"]),
    ] {
        let place = tempfile::tempdir().unwrap();
        let out = place.path().join(name);
        let made = export(&checkpoint, &out, &[flags, SCORED].concat());
        assert!(made.status.success(), "{name}: {}", stderr(&made));
        let expected = fs::read(out.join("probes.json")).unwrap();
        fs::remove_file(out.join("probes.json")).unwrap();
        let recorded = verify(&out, &["--record"]);
        assert!(recorded.status.success(), "{name}: {}", stderr(&recorded));
        assert_eq!(
            fs::read(out.join("probes.json")).unwrap(),
            expected,
            "{name}"
        );
    }
}

/// Weights that do not fit in memory go through it layer by layer.
#[test]
fn references_of_a_model_larger_than_memory() {
    let out = copy_of(&support::bundle(&["--shape", "tiny"], &["--probes", "on"]));
    let scores = |dir: &Path| -> Vec<f64> {
        let file = support::read_json(&dir.join("probes.json"));
        let probes = file["probes"].as_array().unwrap().clone();
        let score = |probe: &serde_json::Value| probe["scores"][0].as_f64().unwrap();
        probes.iter().map(score).collect()
    };
    let whole = scores(out.path());
    // The model takes more than 450 MB by the estimate, a layer of it less than 280 MB.
    let recorded = verify(out.path(), &["--record", "--memory", "290MB"]);
    // The bundle itself has one stage: its checkpoint is exported anew, with a stage for each layer.
    let refused = stderr(&recorded);
    assert!(
        !recorded.status.success() && refused.contains("GB is available"),
        "{refused}"
    );
    let quantised = support::bundle(
        &["--shape", "tiny"],
        &["--precision", "int8", "--probes", "off"],
    );
    let quantised = copy_of(&quantised);
    let checkpoint = support::checkpoint(&["--shape", "tiny"]);
    let flags = [
        "--record",
        "--memory",
        "290MB",
        "--checkpoint",
        checkpoint.to_str().unwrap(),
    ];
    let recorded = verify(quantised.path(), &flags);
    assert!(recorded.status.success(), "{}", stderr(&recorded));
    let streamed = scores(quantised.path());
    assert_eq!(streamed.len(), whole.len());
    for (streamed, whole) in streamed.iter().zip(&whole) {
        assert!((streamed - whole).abs() < 1e-5, "{streamed} {whole}");
    }
}

/// `export` and `--record`, for a bundle of any kind and any number of threads, make the same file.
#[test]
fn reference_scores_are_the_same_however_they_are_made() {
    let expected = fs::read(support::bundle(SHAPE, SCORED).join("probes.json")).unwrap();
    let checkpoint = support::checkpoint(SHAPE);
    let place = tempfile::tempdir().unwrap();
    for (name, flags) in [
        ("cuda", &["--device", "cuda", "--stages", "2"][..]),
        ("onnx", &["--target", "onnx"]),
        ("auto", &["--probes", "auto"]),
        ("fp16", &["--precision", "fp16"]),
        ("padded", &["--interface", "padded"]),
    ] {
        let out = place.path().join(name);
        assert!(export(&checkpoint, &out, flags).status.success());
        let mut found = fs::read(out.join("probes.json")).unwrap();
        if name == "fp16" {
            // What was measured of the bundle is its own.
            let mut file = read_json(&out.join("probes.json"));
            assert!(file.as_object_mut().unwrap().remove("drift").is_some());
            assert_eq!(file, serde_json::from_slice::<Value>(&expected).unwrap());
            found.clone_from(&expected);
        }
        assert_eq!(found, expected, "{name}");
    }

    for (name, flags, record) in [
        ("own", &[][..], &["--threads", "1"][..]),
        ("widened", &["--precision", "fp32"], &[]),
        ("by-reference", &["--device", "cuda"], &[]),
        (
            "by-copy",
            &["--device", "cuda", "--weights", "copy"],
            &["--checkpoint", checkpoint.to_str().unwrap()],
        ),
    ] {
        let out = place.path().join(name);
        let made = export(&checkpoint, &out, &[flags, &["--probes", "off"]].concat());
        assert!(made.status.success() && !out.join("probes.json").exists());
        let before = fs::read(out.join("manifest.json")).unwrap();
        let nothing = verify(&out, &[]);
        expect_error(name, &nothing, &["probes.json", "verify --record --model"]);
        let recorded = verify(&out, &[&["--record"], record].concat());
        assert!(recorded.status.success(), "{name}: {}", stderr(&recorded));
        assert_eq!(
            fs::read(out.join("probes.json")).unwrap(),
            expected,
            "{name}"
        );
        assert_eq!(fs::read(out.join("manifest.json")).unwrap(), before);
    }
    for (name, limit) in [("own", 1e-4), ("widened", 1e-4), ("fp16", 0.025)] {
        let report = report(&place.path().join(name), &[]);
        assert_eq!(report["passed"], true, "{name}: {report}");
        assert_eq!(report["limit"]["value"], limit, "{name}");
    }

    let padded = verify(&place.path().join("padded"), &[]);
    expect_error("padded", &padded, &["--interface packed"]);

    // Weights without their configuration, and another checkpoint's.
    let copied = place.path().join("by-copy");
    expect_error(
        "no config",
        &verify(&copied, &["--record"]),
        &["--checkpoint"],
    );
    let other = support::checkpoint(&[SHAPE, &["--rope-theta", "5000"]].concat());
    let other = ["--record", "--checkpoint", other.to_str().unwrap()];
    expect_error(
        "other config",
        &verify(&copied, &other),
        &["config.json", "SHA-256"],
    );
    assert_eq!(fs::read(copied.join("probes.json")).unwrap(), expected);
}

/// Weights that change under an unchanged header are refused at load. In a bundle without samples of them their scores
/// tell.
#[test]
fn changed_weights_are_found() {
    let source = support::bundle(
        SHAPE,
        &["--weights", "copy", "--checksum", "--probes", "on"],
    );
    let fresh = verify(&source, &["--checksum"]);
    let table = String::from_utf8_lossy(&fresh.stdout).into_owned();
    assert!(fresh.status.success(), "{table}");
    let files = shards(&source);
    assert!(files.len() > 1);
    assert_eq!(table.matches("as exported").count(), files.len(), "{table}");
    assert!(table.contains("ok: 9 of 9 probes within 1e-4"), "{table}");

    let copy = copy_of(&source);
    let file = overwrite_weights(copy.path(), [0x80, 0x3C]);
    expect_error(
        "samples",
        &verify(copy.path(), &[]),
        &["safetensors", "other weights"],
    );
    without_samples(copy.path());
    let output = verify(copy.path(), &[]);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{table}");
    assert!(table.contains("FAILED: 0 of 9"), "{table}");

    let report = report(copy.path(), &["--checksum", "--tolerance", "1e9"]);
    assert_eq!(report["passed"], false);
    assert!(
        report["probes"]
            .as_array()
            .unwrap()
            .iter()
            .all(|p| p["passed"] == true)
    );
    let changed: Vec<&Value> = report["files"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|file| file["passed"] == false)
        .collect();
    assert_eq!(changed.len(), 1);
    assert_eq!(
        changed[0]["path"].as_str().unwrap(),
        file.canonicalize().unwrap().to_str().unwrap()
    );
}

#[test]
fn checksums_that_were_not_recorded() {
    let model = support::bundle(SHAPE, SCORED);
    let output = verify(&model, &["--checksum"]);
    expect_error(
        "none",
        &output,
        &["manifest.json", "export the checkpoint with --checksum"],
    );
}

#[test]
fn weights_that_give_no_number() {
    let source = support::bundle(SHAPE, &["--weights", "copy", "--probes", "on"]);
    let copy = copy_of(&source);
    overwrite_weights(copy.path(), [0xC0, 0x7F]);
    without_samples(copy.path());
    let output = verify(copy.path(), &["--tolerance", "1e30"]);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{table}");
    assert!(
        table.contains("FAILED: the model's score is NaN"),
        "{table}"
    );
    let probe = &report(copy.path(), &[])["probes"][0];
    assert!(probe["error"].as_str().unwrap().contains("NaN"));
    assert!(probe.get("got").is_none() && probe.get("difference").is_none());

    // At export there is no reference to be had: the bundle says so, or there is none.
    let checkpoint = copy_of(&support::checkpoint(SHAPE));
    overwrite_weights(checkpoint.path(), [0xC0, 0x7F]);
    let place = tempfile::tempdir().unwrap();
    let auto = place.path().join("auto");
    let output = export(checkpoint.path(), &auto, &[]);
    assert!(output.status.success());
    assert!(
        stderr(&output).contains("probe sleep-routine"),
        "{}",
        stderr(&output)
    );
    assert!(auto.join("manifest.json").exists() && !auto.join("probes.json").exists());
    let on = place.path().join("on");
    expect_error(
        "on",
        &export(checkpoint.path(), &on, SCORED),
        &["sleep-routine", "NaN"],
    );
    assert_eq!(
        fs::read_dir(place.path()).unwrap().count(),
        1,
        "nothing but auto"
    );
}

#[test]
fn the_limit() {
    let copy = copy_of(&support::bundle(SHAPE, SCORED));
    let path = copy.path().join("probes.json");
    edit_json(&path, |reference| {
        let score = &mut reference["probes"][3]["scores"][0];
        *score = json!(score.as_f64().unwrap() + 2e-3);
    });
    let strict = report(copy.path(), &[]);
    assert_eq!(
        (&strict["passed"], &strict["limit"]["value"]),
        (&json!(false), &json!(1e-4))
    );
    let failed: Vec<&Value> = strict["probes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|probe| probe["passed"] == false)
        .map(|probe| &probe["name"])
        .collect();
    assert_eq!(failed, ["scripts"]);
    let worst = strict["worst"].as_f64().unwrap();
    assert!((worst - 2e-3).abs() < 1e-5, "{worst}");
    assert_eq!(verify(copy.path(), &[]).status.code(), Some(1));
    assert!(
        verify(copy.path(), &["--tolerance", "3e-3"])
            .status
            .success()
    );
    for bad in ["nan", "-1", "inf", "x"] {
        let output = verify(copy.path(), &[&format!("--tolerance={bad}")]);
        assert_eq!(output.status.code(), Some(2), "{bad}: {}", stderr(&output));
    }
}

/// Without ONNX Runtime a bundle is made all the same, unless the scores were asked for.
#[test]
fn export_without_the_library() {
    let checkpoint = support::checkpoint(SHAPE);
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("bundle");
    let without = |flags: &[&str]| {
        let mut command = support::command();
        command.args(["export", "--checkpoint"]).arg(&checkpoint);
        command.arg("--out").arg(&out).args(flags);
        command
            .env("ORT_DYLIB_PATH", "elsewhere.so")
            .output()
            .unwrap()
    };
    expect_error("on", &without(SCORED), &["probes", "elsewhere.so"]);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    let named = without(&["--ort-lib", "named.so"]);
    expect_error("named", &named, &["named.so"]);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    let auto = without(&[]);
    assert!(auto.status.success());
    let message = stderr(&auto);
    for part in [
        "elsewhere.so",
        "verify --record --model",
        out.to_str().unwrap(),
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert!(!out.join("probes.json").exists());
}

/// A template that takes one conversation only leaves it and the sequences of token ids to compare.
#[test]
fn a_template_that_refuses() {
    let checkpoint = copy_of(&support::checkpoint(SHAPE));
    let template = "{% if 'sleep earlier' not in messages[-1].content %}{{ raise_exception('not today') }}{% endif %}\
                    {{ messages[-1].content }}<|endoftext|>";
    fs::write(checkpoint.path().join("chat_template.jinja"), template).unwrap();
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("bundle");
    let made = export(checkpoint.path(), &out, &[]);
    assert!(made.status.success());
    let message = stderr(&made);
    assert!(
        message.contains("scripts is left out") && message.contains("not today"),
        "{message}"
    );
    let report = report(&out, &[]);
    assert_eq!(report["passed"], true);
    assert_eq!(report["probes"].as_array().unwrap().len(), 6);
    assert_eq!(report["not_compared"].as_array().unwrap().len(), 3);
}

/// A template that writes the date, as Llama's do: probes see a fixed one.
#[test]
fn a_template_with_a_date() {
    let checkpoint = copy_of(&support::checkpoint(SHAPE));
    let template = "{{ strftime_now('%Y-%m-%d') }}{% for m in messages %}{{ m.content }}{% endfor %}<|endoftext|>";
    fs::write(checkpoint.path().join("chat_template.jinja"), template).unwrap();
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("bundle");
    assert!(export(checkpoint.path(), &out, SCORED).status.success());
    let scorer = Scorer::open(&out, &ScorerOptions::default().with_now(1_735_689_600)).unwrap();
    let conversation = Conversation::exchange("Tips for better sleep?", "just sleep earlier lol");
    let ids = scorer.token_ids(&conversation).unwrap();
    let reference = read_json(&out.join("probes.json"));
    assert_eq!(reference["probes"][1]["ids"], json!(ids));
    assert_eq!(report(&out, &[])["passed"], true);
}

/// A conversation that becomes other tokens than the reference's is no pass, whatever its score.
#[test]
fn other_tokens() {
    let copy = copy_of(&support::bundle(SHAPE, SCORED));
    edit_json(&copy.path().join("probes.json"), |reference| {
        reference["probes"][0]["ids"][7] = json!(77);
    });
    let output = verify(copy.path(), &["--tolerance", "1e9"]);
    assert_eq!(output.status.code(), Some(1));
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.contains("from position 7 on"), "{table}");
    assert!(table.contains("8 of 9 probes"), "{table}");
}

/// `verify --record` that is killed while it writes, here by a limit on the size of files, leaves nothing in the bundle
/// that stands in the way of the next one or of an export.
#[cfg(unix)]
#[test]
fn a_record_that_is_killed() {
    let checkpoint = support::checkpoint(SHAPE);
    let names = |dir: &Path| {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    for again in ["record", "export"] {
        let place = tempfile::tempdir().unwrap();
        let out = place.path().join("bundle");
        assert!(
            export(&checkpoint, &out, &["--probes", "off"])
                .status
                .success()
        );
        let before = names(&out);
        let killed = std::process::Command::new("sh")
            .args(["-c", "ulimit -c 0; ulimit -f 2; exec \"$@\"", "sh"])
            .arg(env!("CARGO_BIN_EXE_worldpm-ort"))
            .args(["verify", "--record", "--model"])
            .arg(&out)
            .output()
            .unwrap();
        assert_eq!(killed.status.code(), None, "{}", stderr(&killed));
        assert_eq!(names(&out), before);
        assert!(names(place.path()).len() > 1, "nothing was being written");
        // What has such a name and is not ours stays.
        let other = place.path().join(".bundle.0123.lock");
        fs::write(&other, "words").unwrap();

        let output = match again {
            "record" => verify(&out, &["--record"]),
            _ => export(&checkpoint, &out, SCORED),
        };
        assert!(output.status.success(), "{again}: {}", stderr(&output));
        assert!(out.join("probes.json").exists());
        assert_eq!(names(place.path()), [".bundle.0123.lock", "bundle"]);
        assert_eq!(report(&out, &[])["passed"], true);
    }
}

type Spoil = fn(&mut Value);

#[test]
fn malformed_probes() {
    let source = support::bundle(SHAPE, SCORED);
    let cases: &[(&str, Spoil, &[&str])] = &[
        (
            "id outside the vocabulary",
            |m| m["probes"][5]["ids"][3] = json!(200_000),
            &["probes[5].ids[3]", "200000"],
        ),
        (
            "negative id",
            |m| m["probes"][5]["ids"][3] = json!(-4),
            &["probes[5].ids[3]"],
        ),
        (
            "no ids",
            |m| m["probes"][5]["ids"] = json!([]),
            &["probes[5].ids"],
        ),
        (
            "longer than the limit",
            |m| m["max_length"] = json!(10),
            &["probes[5].ids", "1 to 10"],
        ),
        (
            "text for ids",
            |m| m["probes"][4]["ids"] = json!("1 2 3"),
            &["probes[4].ids"],
        ),
        (
            "a message without a role",
            |m| m["probes"][0]["messages"][0] = json!({"content": "x"}),
            &["probes[0].messages[0]", "role"],
        ),
        (
            "both forms",
            |m| m["probes"][0]["ids"] = json!([1]),
            &["probes[0]", "messages"],
        ),
        (
            "no name",
            |m| m["probes"][1]["name"] = json!(""),
            &["probes[1].name"],
        ),
        (
            "a name twice",
            |m| m["probes"][1]["name"] = m["probes"][0]["name"].clone(),
            &["probes[1].name", "sleep-routine"],
        ),
        (
            "no list",
            |m| m["probes"] = json!({"a": 1}),
            &["manifest.json"],
        ),
        (
            "none",
            |m| m["probes"] = json!([]),
            &["no probes", "export the checkpoint again"],
        ),
        (
            "an older exporter's",
            |m| {
                m.as_object_mut().unwrap().remove("probes");
            },
            &["no probes", "export the checkpoint again"],
        ),
    ];
    for (name, spoil, parts) in cases {
        let copy = copy_of(&source);
        edit_json(&copy.path().join("manifest.json"), spoil);
        let parts = &[parts, &[copy.path().to_str().unwrap()][..]].concat();
        expect_error(name, &verify(copy.path(), &[]), parts);
    }

    let cases: &[(&str, Spoil, &[&str])] = &[
        (
            "another version",
            |r| r["format_version"] = json!(2),
            &["version 2"],
        ),
        ("another file", |r| r["format"] = json!("notes"), &["notes"]),
        (
            "no scores",
            |r| r["probes"][2]["scores"] = json!([]),
            &["probes[2]", "scores"],
        ),
        (
            "a score that is no number",
            |r| r["probes"][2]["scores"][0] = json!(null),
            &["null"],
        ),
        (
            "an infinite score",
            |r| r["probes"][2]["scores"][0] = json!(1e300),
            &["probes.json", "out of range", "verify --record"],
        ),
        (
            "no such probe",
            |r| r["probes"][2]["name"] = json!("mine"),
            &["probes[2]", "mine"],
        ),
        (
            "a probe twice",
            |r| r["probes"][2] = r["probes"][1].clone(),
            &["probes[2]", "twice"],
        ),
        (
            "id outside the vocabulary",
            |r| r["probes"][2]["ids"][1] = json!(999_999),
            &["probes[2]", "ids[1]", "999999"],
        ),
        (
            "ids of another bundle",
            |r| r["probes"][5]["ids"][0] = json!(1),
            &["probes[5]", "ids"],
        ),
        ("none", |r| r["probes"] = json!([]), &["empty"]),
        ("no list", |r| r["probes"] = json!(3), &["probes.json"]),
    ];
    for (name, spoil, parts) in cases {
        let copy = copy_of(&source);
        edit_json(&copy.path().join("probes.json"), spoil);
        let output = verify(copy.path(), &[]);
        let parts = &[parts, &["probes.json", "--record"][..]].concat();
        expect_error(name, &output, parts);
    }
    let copy = copy_of(&source);
    edit_json(&copy.path().join("probes.json"), |reference| {
        reference["probes"][2]["scores"] = json!([1.0, 2.0]);
    });
    let output = verify(copy.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    let problem = "another number of scores (1) than the reference has (2)";
    assert!(table.contains(problem), "{table}");

    let copy = copy_of(&source);
    fs::write(copy.path().join("probes.json"), b"{").unwrap();
    expect_error(
        "no JSON",
        &verify(copy.path(), &[]),
        &["probes.json", "EOF"],
    );
}

#[test]
fn moved_weights() {
    let checkpoint = copy_of(&support::checkpoint(SHAPE));
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("bundle");
    assert!(
        export(checkpoint.path(), &out, &["--probes", "off"])
            .status
            .success()
    );
    let moved = place.path().join("moved");
    fs::create_dir(&moved).unwrap();
    for entry in fs::read_dir(checkpoint.path()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), moved.join(entry.file_name())).unwrap();
    }
    drop(checkpoint);
    expect_error("lost", &verify(&out, &["--record"]), &["--weights-dir"]);
    let moved = ["--weights-dir", moved.to_str().unwrap()];
    assert!(
        verify(&out, &[&["--record"], &moved[..]].concat())
            .status
            .success()
    );
    assert!(verify(&out, &moved).status.success());
}

#[test]
fn usage() {
    for flags in [
        &["--record", "--json"][..],
        &["--record", "--tolerance", "1"],
        &["--record", "--checksum"],
        &["--checkpoint", "x"],
    ] {
        let output = verify(Path::new("x"), flags);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{flags:?}: {}",
            stderr(&output)
        );
    }
    assert_eq!(run(&["verify"]).status.code(), Some(2));
    expect_error(
        "no bundle",
        &verify(Path::new("no-such"), &[]),
        &["no-such"],
    );
    run_ok(&["verify", "--help"]);
}

/// What an export with integers measures is said, recorded and the limit of `verify`, which a damaged bundle is beyond.
#[test]
fn the_drift_of_integers_is_measured_and_bounds_them() {
    let checkpoint = support::checkpoint(SHAPE);
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("int4");
    let int4 = ["--precision", "int4"];
    let made = export(&checkpoint, &out, &[&int4[..], SCORED].concat());
    let said = stderr(&made);
    assert!(made.status.success(), "{said}");
    for part in [
        "warning: int4 moves the scores",
        "of bf16, simulated: rms",
        "--keep",
        "verify --against",
    ] {
        assert!(said.contains(part), "no {part:?} in: {said}");
    }
    let drift = read_json(&out.join("probes.json"))["drift"].clone();
    let of = |name: &str| drift[name]["rms"].as_f64().unwrap();
    // Were the casts optimised away, only the last bits would differ.
    assert!((1e-3..0.1).contains(&of("bf16")), "{drift}");
    assert!(of("bundle") > of("bf16"), "{drift}");

    let sound = report(&out, &[]);
    assert_eq!(sound["passed"], true, "{sound}");
    assert_eq!(sound["limit"]["value"], drift["limit"]);
    assert_eq!(sound["drift_of_bf16"], drift["bf16"]);

    // A bundle that is twice as far off as it may be.
    edit_json(&out.join("probes.json"), |file| {
        file["drift"]["limit"] = json!(drift["limit"].as_f64().unwrap() / 4.0);
    });
    assert_eq!(report(&out, &[])["passed"], false);
    edit_json(&out.join("probes.json"), |file| {
        file["drift"]["bf16"]["rms"] = json!(-1.0);
    });
    expect_error("negative", &verify(&out, &[]), &["drift.bf16", "--record"]);
    // A bundle of an older exporter.
    edit_json(&out.join("probes.json"), |file| {
        file.as_object_mut().unwrap().remove("drift");
    });
    assert_eq!(report(&out, &[])["limit"]["value"], 5.0);

    let silent = place.path().join("off");
    let made = export(
        &checkpoint,
        &silent,
        &[&int4[..], &["--probes", "off"]].concat(),
    );
    let said = stderr(&made);
    assert!(said.contains("was not measured"), "{said}");
}

/// Products of fewer bits have limits of their own, unless that of the bundle is wider.
#[test]
fn limits_of_products_of_fewer_bits() {
    let plain = support::bundle(SHAPE, SCORED);
    let fp16 = support::bundle(SHAPE, &[&["--precision", "fp16"], SCORED].concat());
    for (model, precision, limit) in [
        (&plain, "highest", 1e-4),
        (&plain, "high", 1e-3),
        (&plain, "medium", 0.2),
        (&fp16, "high", 0.025),
        (&fp16, "medium", 0.2),
    ] {
        let report = report(model, &["--float32-matmul-precision", precision]);
        assert_eq!(report["limit"]["value"], limit, "{precision}: {report}");
        assert_eq!(report["passed"], true, "{precision}: {report}");
    }
}
