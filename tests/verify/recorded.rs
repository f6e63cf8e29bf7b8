//! What `export` and `verify --record` record: the reference that each probe is compared with.

use std::{fs, path::Path};

use serde_json::{Value, json};
use worldpm_ort::{Conversation, Scorer, ScorerOptions};

use crate::{
    probed::{SCORED, SHAPE, expect_error, export, report, verify},
    support::{self, copy_of, edit_json, read_json, stderr},
};

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
