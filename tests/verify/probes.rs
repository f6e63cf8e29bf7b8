//! `verify` passes what export has written, and finds what has changed since.

use std::{fs, path::Path};

use serde_json::{Value, json};
use worldpm_ort::{MatmulPrecision, Scorer, ScorerOptions};

use crate::{
    probed::{
        SCORED, SHAPE, expect_error, export, numbers, overwrite_weights, report, shards, verify,
        without_samples,
    },
    support::{self, copy_of, edit_json, run, run_ok, stderr},
};

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

/// Products of fewer bits have limits of their own, unless that of the bundle is wider.
#[test]
fn limits_of_products_of_fewer_bits() {
    let plain = support::bundle(SHAPE, SCORED);
    let fp16 = support::bundle(SHAPE, &[&["--precision", "fp16"], SCORED].concat());
    for (model, asked, own) in [
        (&plain, MatmulPrecision::Highest, 1e-4),
        (&plain, MatmulPrecision::High, 1e-4),
        (&plain, MatmulPrecision::Medium, 1e-4),
        (&fp16, MatmulPrecision::High, 0.025),
        (&fp16, MatmulPrecision::Medium, 0.025),
    ] {
        let mut options = ScorerOptions::default();
        options.matmul_precision = asked;
        // What this processor has a unit for.
        let used = Scorer::open(model, &options).unwrap().matmul_precision();
        let limit = match used {
            MatmulPrecision::High => f64::max(own, 1e-3),
            MatmulPrecision::Medium => 0.2,
            _ => own,
        };
        let precision = &asked.to_string();
        let report = report(model, &["--float32-matmul-precision", precision]);
        assert_eq!(report["limit"]["value"], limit, "{precision}: {report}");
        assert_eq!(report["passed"], true, "{precision}: {report}");
    }
}
