//! The `plan` command, as a user runs it.

use crate::{
    planned::{SHAPE, json, squeezed, stages, text},
    support::{self, run, stderr},
};

#[test]
fn plan_of_a_72b_model() {
    let flags = ["plan", "--shape", "72b", "--gpus", "8xh100"];
    let bill = ["--tokens", "1e9", "--price-per-hour", "2.5"];
    let found = json(&[&flags[..], &bill, &["--json"]].concat());
    let layers: Vec<_> = found["stages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["layers"].clone())
        .collect();
    assert_eq!(
        layers,
        [serde_json::json!([0, 40]), serde_json::json!([40, 80])]
    );
    assert_eq!(found["replicas"], 4);
    assert_eq!(found["devices"], 8);
    assert_eq!(found["devices_left"], 0);
    for stage in found["stages"].as_array().unwrap() {
        let part = |name: &str| stage["memory"][name].as_u64().unwrap();
        let sum = part("weights") + part("activations") + part("workspace");
        assert_eq!(stage["total"].as_u64(), Some(sum));
        assert!(sum <= 80_000_000_000, "{stage}");
        assert_eq!(stage["gpu"], "h100");
    }

    // By hand: layers of 2 (8192² + 2 · 1024 · 8192 + 8192² + 3 · 29568 · 8192) operations a token, and attention over
    // 4 rows of 512, half of the rate of 989.5 teraflops.
    let (h, i, kv, t) = (8192_f64, 29_568_f64, 1024_f64, 2048_f64);
    let layer =
        2.0 * t * (2.0 * h * h + 2.0 * kv * h + 3.0 * i * h) + 2.0 * 4.0 * 512.0 * 512.0 * h;
    let seconds = 40.0 * layer / (989.5e12 * 0.5);
    let speed = &found["speed"];
    let close = |value: &serde_json::Value, expected: f64| {
        let value = value.as_f64().unwrap();
        assert!((value / expected - 1.0).abs() < 1e-9, "{value}, {expected}");
    };
    close(&speed["seconds_per_pack"], seconds);
    close(&speed["tokens_per_second"], 4.0 * t / seconds);
    assert_eq!(speed["bound"], "compute");
    let hours = 1e9 / (4.0 * t / seconds) / 3600.0;
    close(&found["bill"]["hours"], hours);
    close(&found["bill"]["gpu_hours"], 8.0 * hours);
    close(&found["bill"]["price"], 20.0 * hours);

    let printed = text(&[&flags[..], &bill].concat());
    let table = squeezed(&printed);
    assert!(
        table.starts_with("Qwen2ForRewardModel, bf16: 133.36 GiB of weights in memory, 2 stages\n"),
        "{table}"
    );
    assert!(
        table.contains("8 devices: 4 pipelines side by side"),
        "{table}"
    );
    assert!(table.contains("\n0 0 to 39 0 h100 67.71 GiB "), "{table}");
    assert!(
        printed.contains(
            "a data set of 1e9 tokens: 9.9 hours, 79.2 GPU-hours, 198.05 at 2.5 a GPU-hour"
        ),
        "{printed}"
    );
    assert!(
        printed.contains("- nothing has run on a GPU yet"),
        "{printed}"
    );
    assert!(
        printed.contains("- h100: figures of the NVIDIA H100 data sheet, SXM"),
        "{printed}"
    );

    // Other efficiencies, and small packs, which are bound by reading the weights.
    let slow = json(&[&flags[..], &["--efficiency", "0.25", "--json"]].concat());
    close(&slow["speed"]["seconds_per_pack"], 2.0 * seconds);
    let small = ["--max-batch-tokens", "64", "--mean-tokens", "64", "--json"];
    assert_eq!(
        json(&[&flags[..], &small].concat())["speed"]["bound"],
        "weights"
    );
}

#[test]
fn plan_of_memory_and_of_a_bundle() {
    // Memory alone gives no speed.
    let found = json(&[
        "plan",
        "--shape",
        "7b",
        "--device-memory",
        "24GiB",
        "--json",
    ]);
    assert_eq!(found["speed"], serde_json::Value::Null);
    assert_eq!(found["stages"].as_array().unwrap().len(), 1);
    let printed = text(&["plan", "--shape", "7b", "--device-memory", "24GiB"]);
    assert!(!printed.contains("estimate:"), "{printed}");
    // Narrower than the checkpoint's, and for the CPU.
    let found = json(&[
        "plan",
        "--shape",
        "7b",
        "--device",
        "cpu",
        "--precision",
        "fp32",
        "--device-memory",
        "64GiB",
        "--json",
    ]);
    assert_eq!(found["precision"], "fp32");
    assert_eq!(found["device"], "cpu");

    // A checkpoint, and the bundle of it, whose stages are as they are.
    let checkpoint = support::checkpoint(SHAPE);
    let flags = ["--gpus", "l4", "--stages", "2", "--json"];
    let of_checkpoint = json(
        &[
            &["plan", "--checkpoint", checkpoint.to_str().unwrap()],
            &flags[..],
        ]
        .concat(),
    );
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("bundle");
    stages(&out, &["--stages", "2", "--device", "cuda"]);
    let model = out.to_str().unwrap();
    let of_bundle = json(&["plan", "--model", model, "--gpus", "l4", "--json"]);
    for (a, b) in of_checkpoint["stages"]
        .as_array()
        .unwrap()
        .iter()
        .zip(of_bundle["stages"].as_array().unwrap())
    {
        assert_eq!(a["layers"], b["layers"]);
        // Each stage has its own tables of positions, which the whole model counts once.
        let weights = |stage: &serde_json::Value| stage["memory"]["weights"].as_u64().unwrap();
        assert!(weights(a).abs_diff(weights(b)) < 1000, "{a} {b}");
    }
    let output = run(&["plan", "--model", model, "--device-memory", "1GiB,2GiB"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("error: stage 0 needs 1.6"),
        "{}",
        stderr(&output)
    );
    let output = run(&["plan", "--model", model, "--gpus", "1xl4"]);
    assert!(
        stderr(&output).contains("stage 1 needs 1.5"),
        "{}",
        stderr(&output)
    );
    assert!(
        stderr(&output).contains("there is no device for it"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn plans_that_make_no_sense() {
    for (flags, code, problem) in [
        (
            &["--shape", "72b", "--gpus", "2xl40s"][..],
            1,
            "the model does not fit devices of 44.70 GiB, 44.70 GiB",
        ),
        (&["--shape", "72b"], 2, "--gpus <GPU>"),
        (&["--gpus", "h100"], 2, "--checkpoint <DIR>"),
        (
            &["--shape", "72b", "--gpus", "h1000"],
            2,
            "no GPU of this name is known",
        ),
        (
            &[
                "--shape",
                "72b",
                "--gpus",
                "h100",
                "--device-memory",
                "80GiB",
            ],
            2,
            "cannot be used with",
        ),
        (
            &["--shape", "72b", "--gpus", "h100", "--efficiency", "1.5"],
            2,
            "give a number above 0, up to 1",
        ),
        (
            &["--shape", "72b", "--gpus", "h100", "--tokens", "-1"],
            2,
            "give a number above 0",
        ),
        (
            &["--shape", "72b", "--gpus", "h100", "--tokens", "inf"],
            2,
            "give a number above 0",
        ),
        (
            &["--shape", "72b", "--gpus", "h100", "--price-per-hour", "2"],
            2,
            "--tokens <N>",
        ),
        (
            &[
                "--shape",
                "72b",
                "--device-memory",
                "80GiB",
                "--tokens",
                "1e9",
            ],
            1,
            "--tokens needs the speed",
        ),
        (
            &["--shape", "7b", "--gpus", "h100", "--device", "cpu"],
            1,
            "give --device-memory",
        ),
        (
            &["--shape", "7b", "--gpus", "h100", "--precision", "fp32"],
            1,
            "fp32 on CUDA is not supported",
        ),
        (
            &["--checkpoint", "nowhere", "--gpus", "h100"],
            1,
            "cannot open the checkpoint directory `nowhere`",
        ),
        (
            &["--model", "nowhere", "--gpus", "h100"],
            1,
            "manifest.json",
        ),
        (
            &["--model", "x", "--gpus", "h100", "--stages", "2"],
            2,
            "cannot be used with",
        ),
    ] {
        let output = run(&[&["plan"], flags].concat());
        let printed = stderr(&output);
        assert!(printed.contains(problem), "{flags:?}: {printed}");
        assert_eq!(output.status.code(), Some(code), "{flags:?}: {printed}");
        assert!(output.stdout.is_empty(), "{flags:?}");
    }
    let listed = text(&["plan", "--list-gpus"]);
    assert!(
        squeezed(&listed).contains("\nh200 141 GB 4800 989.5 1979 NVIDIA H200 data sheet, SXM"),
        "{listed}"
    );
}

#[test]
fn a_plan_is_simulated() {
    let flags = [
        "plan",
        "--recipe",
        "worldpm-72b",
        "--gpus",
        "4xh100",
        "--stages",
        "4",
        "--simulate",
    ];
    let found = json(&[&flags[..], &["--json"]].concat());
    assert_eq!(found["architecture"], "Qwen2ForRewardModel");
    let simulation = &found["simulation"];
    let number = |value: &serde_json::Value| value.as_f64().unwrap();
    let times: Vec<f64> = simulation["times"]
        .as_array()
        .unwrap()
        .iter()
        .map(number)
        .collect();
    // 2048 tokens of 8192 numbers of 2 bytes, over PCI Express 4.0 at 80% of 31.5 GB/s.
    assert_eq!(simulation["traffic"]["bytes"], 32 << 20);
    let copy = 20e-6 + f64::from(32 << 20) / (0.8 * 31.5e9);
    let close = |a: f64, b: f64| assert!((a / b - 1.0).abs() < 1e-9, "{a} {b}");
    close(number(&simulation["traffic"]["seconds"]), copy);
    let fill: f64 = times.iter().sum::<f64>() + 3.0 * copy;
    let with_copies = times
        .iter()
        .enumerate()
        .map(|(stage, time)| if stage > 0 { time + copy } else { *time });
    let slowest = with_copies.fold(0.0, f64::max);
    close(number(&simulation["outcome"]["fill"]), fill);
    close(
        number(&simulation["outcome"]["total"]),
        fill + 199.0 * slowest,
    );
    close(
        number(&simulation["steady_tokens_per_second"]),
        2048.0 / slowest,
    );

    // Times that were measured, in pipelines that share a device; more GPUs make more pipelines.
    let measured = [
        "--stage-ms",
        "10,30,20,20",
        "--stage-devices",
        "0,1,2,2",
        "--link",
        "1000GB/s",
        "--link-latency",
        "0",
    ];
    let printed = squeezed(&text(
        &[&flags[..], &measured, &["--packs", "1000"]].concat(),
    ));
    assert!(
        printed.contains(
            "\nsimulation: 1000 packs of 2048 unique tokens through each pipeline of 4 stages\n"
        ),
        "{printed}"
    );
    assert!(printed.contains("\n1 1 30.0 "), "{printed}");
    assert!(printed.contains("a pack every 40.0 ms"), "{printed}");
    assert!(
        printed.contains("- the stages take the times that were given"),
        "{printed}"
    );

    for (more, code, problem) in [
        (
            &["--stage-ms", "1,2"][..],
            1,
            "`stage_ms`: has 2 values, and the plan 4 stages",
        ),
        (
            &["--stage-devices", "0"],
            1,
            "`stage_devices`: has 1 values",
        ),
        (&["--packs", "0"], 1, "`packs`: are 0; give 1 to 100000"),
        (
            &["--packs", "1000000000"],
            1,
            "`packs`: are 1000000000; give 1 to 100000",
        ),
        (
            &["--link", "string"],
            2,
            "`string` is no link; give a rate in one direction",
        ),
        (&["--pack-spread", "1"], 2, "from 0 to below 1"),
    ] {
        let output = run(&[&flags[..], more].concat());
        assert!(
            stderr(&output).contains(problem),
            "{more:?}: {}",
            stderr(&output)
        );
        assert_eq!(output.status.code(), Some(code), "{more:?}");
    }
    // On the CPU nothing is copied.
    let on_the_cpu = [
        "plan",
        "--shape",
        "7b",
        "--device",
        "cpu",
        "--device-memory",
        "80GiB",
        "--stages",
        "2",
        "--simulate",
        "--stage-ms",
        "10,20",
    ];
    let simulation = &json(&[&on_the_cpu[..], &["--json"]].concat())["simulation"];
    assert_eq!(simulation["traffic"]["copies"], 0);
    assert_eq!(simulation["traffic"]["seconds"], 0.0);
    close(number(&simulation["outcome"]["steady"]), 0.02);
    let assumptions = simulation["assumptions"].to_string();
    assert!(
        assumptions.contains("nothing is copied") && !assumptions.contains("copies go over"),
        "{assumptions}"
    );
    let output = run(&[
        "plan",
        "--shape",
        "7b",
        "--device-memory",
        "80GiB",
        "--simulate",
    ]);
    assert!(
        stderr(&output).contains("give the time of each stage"),
        "{}",
        stderr(&output)
    );
    let output = run(&["plan", "--recipe", "no-such", "--gpus", "h100"]);
    assert!(
        stderr(&output).contains("there is no recipe of that name"),
        "{}",
        stderr(&output)
    );
    assert_eq!(
        run(&["plan", "--shape", "7b", "--gpus", "h100", "--packs", "3"])
            .status
            .code(),
        Some(2)
    );
}
