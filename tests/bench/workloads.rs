//! What is measured of workloads, of records of a file, and of models of several kinds.

use std::{collections::BTreeMap, fs, num::NonZeroUsize, path::Path};

use serde_json::Value;
use worldpm_ort::{
    Residency, ScorerOptions,
    bench::{Bench, BenchOptions, Report, WorkloadKind, WorkloadSpec},
    ep::Devices,
};

use crate::{
    report::{SHAPE, bench, check, check_shares, number, tracks},
    support::{self, lines, run, run_ok, stderr},
};

#[test]
fn the_numbers_fit_together() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("timeline.json");
    let flags = ["--records", "3", "--rounds", "2", "--samples", "4"];
    let timeline = [
        "--timeline",
        file.to_str().unwrap(),
        "--device",
        "cpu,cpu,cpu",
        "--threads",
        "3",
    ];
    let bundle = support::bundle(SHAPE, &["--stages", "3"]);
    let report = bench(&bundle, &[&flags[..], &timeline].concat());
    check(&report);
    assert_eq!(report["workload"]["name"], "best-of-8");
    assert_eq!(report["workload"]["conversations"], 24);
    assert_eq!(report["throughput"]["rounds"].as_array().unwrap().len(), 2);
    assert_eq!(
        report["setup"]["devices"],
        serde_json::json!(["cpu", "cpu", "cpu"])
    );
    assert_eq!(report["load"]["stages"].as_array().unwrap().len(), 3);
    assert_eq!(report["latency"]["alone"]["samples"], 4);
    assert_eq!(report["latency"]["loaded"]["samples"], 4);
    let matrix = &report["utilisation"]["matrix"];
    assert_eq!(matrix["measurements"], 2);
    assert_eq!(matrix["sizes"], serde_json::json!([2048, 256, 704]));
    assert_eq!(
        report["memory"]["host_peak"].is_u64(),
        cfg!(target_os = "linux")
    );

    // A warm-up, two rounds, four conversations one by one, and four of two clients at once.
    let tracks = tracks(&support::read_json(&file));
    check_shares(&report, &tracks);
    let names: Vec<&str> = tracks.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "benchmark",
            "stage 0 on cpu",
            "stage 1 on cpu",
            "stage 2 on cpu"
        ]
    );
    let phases: Vec<&str> = tracks["benchmark"]
        .iter()
        .map(|phase| phase["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        phases,
        [
            "load",
            "warm-up 1",
            "round 1",
            "matrix products",
            "round 2",
            "matrix products",
            "latency alone",
            "latency under load"
        ]
    );
    let round = &report["throughput"]["rounds"][0];
    for stage in &names[1..] {
        let (loads, packs): (Vec<_>, Vec<_>) = tracks[*stage]
            .iter()
            .partition(|slice| slice["cat"] == "load");
        assert_eq!(loads.len(), 1);
        // Under load, conversations that wait at the same time share a pack.
        let of_rounds = 3.0 * number(&round["packs"]);
        let singles = packs.len() as f64 - of_rounds;
        assert!(
            (5.0..=8.0).contains(&singles),
            "{singles} packs of single conversations"
        );
        let numbers: Vec<u64> = packs
            .iter()
            .map(|pack| pack["args"]["pack"].as_u64().unwrap())
            .collect();
        assert_eq!(numbers, (0..packs.len() as u64).collect::<Vec<_>>());
        let tokens = packs.iter().map(|pack| number(&pack["args"]["tokens"]));
        assert!(tokens.sum::<f64>() > 3.0 * number(&round["unique_tokens"]));
    }

    // However a model is divided, it is as much work.
    let whole = bench(&support::bundle(SHAPE, &[]), &flags);
    check(&whole);
    assert_eq!(
        whole["utilisation"]["flops"],
        report["utilisation"]["flops"]
    );
}

#[test]
fn records_of_a_file() {
    let bundle = support::bundle(SHAPE, &[]);
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("mine.jsonl");
    let good = concat!(
        r#"{"prompt":"Tips for better sleep?","response":"Keep it dark."}"#,
        "\n",
        r#"{"prompt":"Tips for better sleep?","chosen":"Keep it dark.","rejected":"no"}"#,
        "\n",
    );
    fs::write(&data, good).unwrap();
    let flags = [
        "--data",
        data.to_str().unwrap(),
        "--rounds",
        "1",
        "--samples",
        "3",
    ];
    let report = bench(&bundle, &flags);
    check(&report);
    // No more are at it than there are conversations for.
    assert_eq!(report["latency"]["clients"], 3);
    assert_eq!(report["latency"]["failed"], 0);
    assert_eq!(report["workload"]["name"], "mine.jsonl");
    assert_eq!(report["workload"]["records"], 2);
    assert_eq!(report["workload"]["conversations"], 3);

    // Where the model is, and why there, is told before it is measured.
    let all = [&["bench", "--model", bundle.to_str().unwrap()], &flags[..]].concat();
    let told = stderr(&run_ok(&all));
    let places = ["on cpu, for which the bundle was exported", "loaded in"];
    assert!(places.iter().all(|place| told.contains(place)), "{told}");

    let refused = |flags: &[&str]| {
        let all = [&["bench", "--model", bundle.to_str().unwrap()], flags].concat();
        let output = run(&all);
        assert!(!output.status.success() && output.stdout.is_empty());
        stderr(&output)
    };
    let error = refused(&["--data", data.to_str().unwrap(), "--workload", "pairs"]);
    assert!(error.contains("cannot be used with"), "{error}");
    fs::write(&data, format!("{good}{{\"prompt\": 3}}\n")).unwrap();
    let error = refused(&flags);
    assert!(
        error.contains("mine.jsonl") && error.contains("line 3"),
        "{error}"
    );
    fs::write(&data, "").unwrap();
    let error = refused(&flags);
    assert!(error.contains("nothing to score"), "{error}");
    let error = refused(&["--answer-tokens", "1000000"]);
    assert!(error.contains("longer than the model's limit"), "{error}");
    let error = refused(&["--answer-tokens", "18446744073709551615"]);
    assert!(error.contains("longer than the model's limit"), "{error}");
    for (flag, number, problem) in [
        ("--samples", "100001", "not in 0..=100000"),
        ("--clients", "1025", "not in 1..=1024"),
        ("--clients", "0", "not in 1..=1024"),
        ("--records", "18446744073709551615", "not in 1..=1000000"),
    ] {
        let error = refused(&[flag, number]);
        assert!(error.contains(problem), "{error}");
    }
    let error = refused(&["--workload", "most"]);
    assert!(error.contains("give one of best-of-8, pairs"), "{error}");
    let error = refused(&["--timeline", place.path().to_str().unwrap()]);
    assert!(error.contains("cannot write"), "{error}");
}

#[test]
fn a_conversation_that_is_refused_is_counted() {
    let bundle = support::bundle(SHAPE, &[]);
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("mine.jsonl");
    let record =
        r#"{"messages":[{"role":"user","content":"One"},{"role":"assistant","content":"Two"}]}"#;
    let too_long = "word ".repeat(40_000);
    let refused = format!(r#"{{"prompt":"One","response":"{too_long}"}}"#);
    let args = |rounds, samples| {
        let bundle = bundle.to_str().unwrap().to_owned();
        let data = data.to_str().unwrap().to_owned();
        let args = [
            "bench",
            "--json",
            "--warmup",
            "0",
            "--rounds",
            rounds,
            "--samples",
            samples,
        ];
        let args = args.map(str::to_owned).into_iter();
        args.chain(["--model".into(), bundle, "--data".into(), data])
            .collect::<Vec<String>>()
    };
    let bench = |rounds, samples| {
        let args = args(rounds, samples);
        run(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    fs::write(&data, format!("{record}\n{refused}\n")).unwrap();
    let output = bench("2", "0");
    assert!(!output.status.success());
    let report = lines(&output).remove(0);
    for round in report["throughput"]["rounds"].as_array().unwrap() {
        assert_eq!((&round["scored"], &round["failed"]), (&1.into(), &1.into()));
    }
    assert!(report["latency"]["alone"].is_null());
    assert!(stderr(&output).contains("2 conversations could not be scored"));
    // What is refused is in no pack.
    assert!(number(&report["throughput"]["rounds"][0]["real_tokens"]) < 1000.0);

    // The only conversation whose latency would be measured is refused: the rounds still count.
    fs::write(&data, format!("{refused}\n{record}\n")).unwrap();
    let output = bench("1", "1");
    assert!(!output.status.success());
    let report = lines(&output).remove(0);
    assert_eq!(report["throughput"]["rounds"][0]["scored"], 1);
    assert!(report["latency"]["alone"].is_null() && report["latency"]["loaded"].is_null());
    assert_eq!(report["latency"]["failed"], 2);
    assert!(stderr(&output).contains("3 conversations could not be scored"));

    fs::write(&data, format!("{refused}\n")).unwrap();
    let output = bench("1", "0");
    assert!(!output.status.success() && output.stdout.is_empty());
    let error = stderr(&output);
    assert!(
        error.contains("no conversation was scored, the first for"),
        "{error}"
    );
}

/// A benchmark in this process, and the tracks of its timeline.
fn measure(
    bundle: &Path,
    options: ScorerOptions,
    kind: WorkloadKind,
) -> (Value, BTreeMap<String, Vec<Value>>) {
    let bench = Bench::open(bundle, options).unwrap();
    let spec = WorkloadSpec {
        kind,
        records: NonZeroUsize::new(6),
        ..WorkloadSpec::default()
    };
    let workload = bench.workload(&spec).unwrap();
    let options = BenchOptions {
        warmup: 0,
        rounds: NonZeroUsize::new(2).unwrap(),
        samples: 2,
        ..BenchOptions::default()
    };
    let report: Report = bench.run(&workload, &options).unwrap();
    let report = serde_json::to_value(report).unwrap();
    check(&report);
    let tracks = tracks(&bench.timeline());
    check_shares(&report, &tracks);
    (report, tracks)
}

#[test]
fn a_streamed_model_is_loaded_in_the_rounds() {
    let bundle = support::bundle(SHAPE, &["--stages", "3"]);
    let options = ScorerOptions::default().with_residency(Residency::Streamed);
    let (report, tracks) = measure(&bundle, options, WorkloadKind::Pairs);
    assert_eq!(report["setup"]["streamed"], true);
    for stage in report["stages"].as_array().unwrap() {
        assert!(number(&stage["loading_share"]) > 0.0, "{stage}");
        let track = &tracks[&format!("stage {} on cpu", stage["stage"])];
        let loads = track.iter().filter(|slice| slice["cat"] == "load").count();
        assert!(loads >= 2, "{loads}");
    }
}

#[test]
fn copies_of_a_model_have_tracks_of_their_own() {
    let bundle = support::bundle(SHAPE, &["--stages", "2"]);
    let devices: Devices = "cpu,cpu".parse().unwrap();
    let mut options = ScorerOptions::default()
        .with_devices(devices)
        .with_replicas(NonZeroUsize::new(2).unwrap());
    // As many as there are devices, on a machine with one core too.
    options.threads = NonZeroUsize::new(2);
    let (report, tracks) = measure(&bundle, options, WorkloadKind::Mixed);
    assert_eq!(report["setup"]["replicas"], 2);
    for name in ["copy 0, stage 1 on cpu", "copy 1, stage 1 on cpu"] {
        assert!(tracks.contains_key(name), "{:?}", tracks.keys());
    }
}

#[test]
fn a_model_of_steps() {
    let bundle = support::bundle(&["--shape", "tiny", "--head", "process"], &[]);
    let (report, _) = measure(&bundle, ScorerOptions::default(), WorkloadKind::Single);
    let stages = report["stages"].as_array().unwrap();
    assert_eq!(stages.len(), 1);
}
