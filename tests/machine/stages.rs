//! Stages by memory: `export` cuts a model for the devices that are there.

use std::path::Path;

use worldpm_ort::{batch::Budget, export::plan::TokenBudget};

use crate::{
    planned::{SHAPE, json, stages},
    support::{self, lines, run, run_with_input, stderr},
};

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
    let same = |planned: TokenBudget, scored: Budget| {
        assert_eq!(planned.max_tokens, scored.max_tokens as u64);
        assert_eq!(planned.max_cells, scored.max_cells as u64);
    };
    same(TokenBudget::default(), Budget::default());
    for tokens in [1, 2048, 32768, usize::MAX] {
        same(
            TokenBudget::for_tokens(tokens as u64),
            Budget::for_tokens(tokens),
        );
    }
    let flags = ["plan", "--shape", "7b", "--gpus", "h200", "--json"];
    let found = json(&[&flags[..], &["--max-batch-tokens", "32768"]].concat());
    assert_eq!(found["max_cells"], 262_144);
}

/// The pack whose time is told is the one that the plan is worked out for.
#[test]
fn a_pack_holds_whole_conversations() {
    let plan = |flags: &[&str]| {
        let all = [
            "plan",
            "--recipe",
            "worldpm-72b",
            "--gpus",
            "2xh200",
            "--simulate",
        ];
        let found = json(&[&all[..], flags, &["--stages", "2", "--json"]].concat());
        let seconds = found["speed"]["seconds_per_pack"].as_f64().unwrap();
        let rate = found["speed"]["tokens_per_second"].as_f64().unwrap();
        let tokens = found["pack_tokens"].as_u64().unwrap();
        assert!(
            (rate * seconds / tokens as f64 - 1.0).abs() < 1e-9,
            "{found}"
        );
        assert_eq!(found["simulation"]["tokens"], tokens);
        assert_eq!(found["simulation"]["traffic"]["bytes"], tokens * 8192 * 2);
        let assumptions = found["assumptions"].to_string();
        (tokens, assumptions)
    };
    let (tokens, assumptions) = plan(&["--mean-tokens", "600"]);
    assert_eq!(tokens, 1800);
    assert!(
        assumptions.contains("packs of 3 conversations of 600 tokens"),
        "{assumptions}"
    );
    // One that is longer than the budget goes alone.
    let (tokens, assumptions) = plan(&["--mean-tokens", "5000"]);
    assert_eq!(tokens, 5000);
    assert!(
        assumptions.contains("packs of 1 conversations of 5000 tokens"),
        "{assumptions}"
    );
}
