//! The `export` command with `--precision`: what a score becomes, the same bytes when repeated, and all or
//! nothing.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde_json::Value;
use support::{lines, run, run_ok, run_with_input, stderr};

/// Small, so that most of a bundle is not its embedding.
const SHAPE: &[&str] = &[
    "--seed",
    "5",
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
];

const INPUT: &[u8] = br#"{"prompt":"Tips for better sleep?","response":"Keep it dark."}
{"prompt":"Tips for better sleep?","response":"No idea."}
"#;

fn scores(bundle: &Path) -> Vec<f64> {
    let output = run_with_input(&["score", "--model", bundle.to_str().unwrap()], INPUT);
    assert!(output.status.success(), "{}", stderr(&output));
    let scores = lines(&output);
    scores
        .iter()
        .map(|line| line["score"].as_f64().unwrap())
        .collect()
}

fn arguments<'a>(checkpoint: &'a Path, out: &'a Path, flags: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["export", "--checkpoint", checkpoint.to_str().unwrap()];
    args.extend(["--out", out.to_str().unwrap()]);
    args.extend(flags);
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

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// Precision, and how far a score may be from the one in fp32. Scores of these checkpoints lie about 1 apart.
const PRECISIONS: [(&str, f64); 3] = [("bf16", 0.0), ("fp16", 1e-4), ("fp32", 0.0)];

#[test]
fn scores_stay_close_to_fp32() {
    let expected = scores(&support::bundle(SHAPE, &[]));
    for (precision, tolerance) in PRECISIONS {
        let bundle = support::bundle(SHAPE, &["--precision", precision, "--stages", "2"]);
        for (score, expected) in scores(&bundle).iter().zip(&expected) {
            assert!(
                (score - expected).abs() <= tolerance,
                "{precision}: {score}, not {expected}"
            );
        }
        let manifest = manifest(&bundle);
        assert_eq!(manifest["precision"], precision);
        let place = match precision {
            "bf16" => "reference",
            _ => "converted",
        };
        assert_eq!(manifest["weights"]["mode"], place);
    }
}

/// On any number of threads, with and without checksums.
#[test]
fn the_same_input_gives_the_same_bytes() {
    let checkpoint = support::checkpoint(SHAPE);
    let place = tempfile::tempdir().unwrap();
    for (precision, _) in &PRECISIONS[1..] {
        let bundles = ["1", "2", "5"].map(|threads| {
            let out = place.path().join(threads);
            let flags = ["--precision", precision, "--threads", threads, "--checksum"];
            run_ok(&arguments(&checkpoint, &out, &flags));
            contents(&out)
        });
        assert!(
            bundles.iter().all(|bundle| *bundle == bundles[0]),
            "{precision}"
        );
    }
}

/// A changed weight file is noticed when the bundle is opened.
#[test]
fn converted_files_are_checked() {
    let bundle = support::bundle(SHAPE, &["--precision", "fp16", "--stages", "3"]);
    let copy = |place: &Path| {
        for (name, bytes) in contents(&bundle) {
            fs::write(place.join(name), bytes).unwrap();
        }
    };
    let refused = |place: &Path| {
        let output = run_with_input(&["score", "--model", place.to_str().unwrap()], INPUT);
        assert!(!output.status.success());
        stderr(&output)
    };
    let file = |place: &Path, stage: usize| place.join(format!("stage-0{stage}.safetensors"));

    let place = tempfile::tempdir().unwrap();
    copy(place.path());
    // Two stages with layers of equal size.
    fs::copy(file(place.path(), 1), file(place.path(), 2)).unwrap();
    let problem = refused(place.path());
    assert!(problem.contains("stage-02.safetensors"), "{problem}");
    copy(place.path());
    fs::OpenOptions::new()
        .append(true)
        .open(file(place.path(), 0))
        .unwrap()
        .set_len(5000)
        .unwrap();
    assert!(refused(place.path()).contains("has 5000 bytes"));
    fs::remove_file(file(place.path(), 0)).unwrap();
    assert!(refused(place.path()).contains("stage-00.safetensors"));
}

/// A layout whose conversion no disk can hold is refused before anything is written.
#[test]
fn no_room_for_the_result() {
    let place = tempfile::tempdir().unwrap();
    let [checkpoint, out] = ["checkpoint", "out"].map(|name| place.path().join(name));
    // 400 terabytes of holes.
    let sizes = "--hidden-size 8192 --intermediate-size 268435456 --num-hidden-layers 30";
    let mut args = vec!["synth", "--sparse", "--out", checkpoint.to_str().unwrap()];
    args.extend(sizes.split(' '));
    args.extend(["--num-attention-heads", "64", "--shard-bytes", "1"]);
    run_ok(&args);
    let output = run(&arguments(&checkpoint, &out, &["--precision", "fp16"]));
    assert_eq!(output.status.code(), Some(1));
    let problem = stderr(&output);
    assert!(problem.contains("free some space"), "{problem}");
    assert_eq!(names(place.path()), ["checkpoint"]);
}

/// Whenever an export is killed, what it leaves is no bundle, or the whole one; and the next export makes the
/// whole one and clears up.
#[test]
fn killed_at_any_moment() {
    let checkpoint = support::checkpoint(SHAPE);
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    let args = arguments(
        &checkpoint,
        &out,
        &["--precision", "fp32", "--threads", "1"],
    );
    let score =
        |bundle: &Path| run_with_input(&["score", "--model", bundle.to_str().unwrap()], INPUT);
    run_ok(&args);
    let (whole, expected) = (contents(&out), scores(&out));

    let mut interrupted = 0;
    for moment in 0..12 {
        let _ = fs::remove_dir_all(&out);
        let mut child = support::command()
            .args(&args)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(moment * 12));
        child.kill().unwrap();
        child.wait().unwrap();
        for name in names(place.path()) {
            let left: PathBuf = place.path().join(name);
            if contents(&left).contains_key("manifest.json") {
                assert_eq!(scores(&left), expected, "{}", left.display());
            } else {
                assert_eq!(score(&left).status.code(), Some(1));
                interrupted += 1;
            }
        }
    }
    assert!(interrupted > 0, "no export was killed half-way");
    run_ok(&args);
    assert_eq!(names(place.path()), ["out"]);
    assert!(contents(&out) == whole, "the bundle differs");
}
