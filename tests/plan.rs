//! Stages by memory, and the commands `inspect` and `plan`, as a user runs them.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use support::{lines, run, run_ok, run_with_input, stderr};
use worldpm_ort::{
    batch::Budget,
    export::{Manifest, plan::TokenBudget},
};

const SHAPE: &[&str] = &["--shape", "tiny", "--seed", "5"];

/// Exports the model and returns the last layers of its stages, and what was printed.
fn stages(out: &Path, flags: &[&str]) -> (Vec<usize>, String) {
    let checkpoint = support::checkpoint(SHAPE);
    let mut args = vec!["export", "--checkpoint", checkpoint.to_str().unwrap()];
    args.extend(["--out", out.to_str().unwrap()]);
    args.extend(flags);
    let output = run_ok(&args);
    let manifest = Manifest::read(out).unwrap();
    let ends = manifest.stages.iter().map(|stage| stage.layers.1).collect();
    (ends, stderr(&output))
}

#[test]
fn stages_follow_the_memory_of_the_devices() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("bundle");
    let (ends, printed) = stages(&out, &["--stages", "auto", "--device-memory", "1GiB"]);
    assert_eq!(ends, [3]);
    assert!(
        printed.contains("stage-00.onnx: layers 0 to 2, "),
        "{printed}"
    );
    assert!(
        printed.contains(" of device 0 (1.00 GiB): weights 91.18 MiB, "),
        "{printed}"
    );

    // Of the weights, 85 MiB are the embedding and the first layer; a stage needs 354 MiB besides.
    let tight = [
        "--stages",
        "auto",
        "--max-batch-tokens",
        "16",
        "--device-memory",
    ];
    let auto = |memory: &str| stages(&out, &[&tight[..], &[memory]].concat());
    assert_eq!(auto("446MiB").0, [3]);
    assert_eq!(auto("442MiB").0, [2, 3]);
    assert_eq!(auto("439MiB").0, [1, 3]);
    let (ends, printed) = auto("380MiB,446MiB,10MiB");
    assert_eq!(ends, [3]);
    assert!(printed.contains("of device 1 (446.00 MiB)"), "{printed}");
    let (ends, printed) = auto("10MiB,439MiB,400MiB");
    assert_eq!(ends, [1, 3]);
    assert!(printed.contains("of device 1 (439.00 MiB)"), "{printed}");
    assert!(printed.contains("of device 2 (400.00 MiB)"), "{printed}");

    // A bundle so divided scores as any other.
    let input = br#"{"prompt":"Tips for better sleep?","response":"Keep it dark."}"#;
    let score = |bundle: &Path| {
        let output = run_with_input(&["score", "--model", bundle.to_str().unwrap()], input);
        lines(&output)[0]["score"].clone()
    };
    let whole = score(&support::bundle(SHAPE, &[]));
    stages(&out, &["--stages", "2", "--device-memory", "1GiB"]);
    assert_eq!(score(&out), whole);
}

#[test]
fn memory_that_does_not_do_says_why() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("bundle");
    let checkpoint = support::checkpoint(SHAPE);
    let export = |flags: &[&str]| {
        let mut args = vec!["export", "--checkpoint", checkpoint.to_str().unwrap()];
        args.extend(["--out", out.to_str().unwrap()]);
        args.extend(flags);
        let output = run(&args);
        assert!(!out.exists());
        (output.status.code().unwrap(), stderr(&output))
    };
    for (flags, code, problem) in [
        (
            &["--stages", "auto", "--device-memory", "64MiB"][..],
            1,
            "error: the model does not fit devices of 64.00 MiB, one for each layer: its weights take",
        ),
        (
            &["--stages", "3", "--device-memory", "64GB,64GB"],
            1,
            "does not fit 2 devices (59.60 GiB, 59.60 GiB) for 3 stages",
        ),
        (&["--stages", "auto"], 2, "--device-memory <SIZE>"),
        (
            &["--stages", "auto", "--device-memory", "80G"],
            2,
            "say 80GiB (powers of 1024) or 80GB (powers of 1000)",
        ),
        (
            &["--stages", "auto", "--device-memory", "80GiB,"],
            2,
            "`` is no size",
        ),
        (&["--stages", "some"], 2, "give a number, or auto"),
        (
            &["--stages", "4"],
            1,
            "3 layers cannot be divided into 4 stages",
        ),
        (
            &[
                "--stages",
                "auto",
                "--device-memory",
                "1GiB",
                "--max-batch-tokens",
                "0",
            ],
            2,
            "--max-batch-tokens",
        ),
    ] {
        let (found, printed) = export(flags);
        assert!(printed.contains(problem), "{flags:?}: {printed}");
        assert_eq!(found, code, "{flags:?}: {printed}");
    }
}

#[test]
fn planning_and_scoring_have_the_same_budget() {
    let (planned, scored) = (TokenBudget::default(), Budget::default());
    assert_eq!(planned.max_tokens, scored.max_tokens as u64);
    assert_eq!(planned.max_cells, scored.max_cells as u64);
}
