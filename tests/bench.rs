//! `bench`: that its numbers fit together, and that its timeline is well formed. Nothing here is about how fast it is.

#![allow(clippy::unwrap_used, clippy::cast_precision_loss)]

mod support;

use std::{collections::BTreeMap, fs, num::NonZeroUsize, path::Path};

use serde_json::Value;
use support::{lines, run, run_ok, stderr};
use worldpm_ort::{
    Residency, ScorerOptions,
    bench::{Bench, BenchOptions, Report, WorkloadKind, WorkloadSpec},
    ep::Devices,
};

const SHAPE: &[&str] = &["--shape", "tiny", "--seed", "5"];

fn bench(bundle: &Path, flags: &[&str]) -> Value {
    let mut args = vec!["bench", "--json", "--model", bundle.to_str().unwrap()];
    args.extend(flags);
    lines(&run_ok(&args)).remove(0)
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value}"))
}

fn total(rounds: &Value, field: &str) -> f64 {
    let rounds = rounds.as_array().unwrap().iter();
    rounds.map(|round| number(&round[field])).sum()
}

fn close(found: f64, expected: f64) {
    let off = (found - expected).abs();
    assert!(
        off <= 1e-9 * expected.abs().max(1.0),
        "{found} and not {expected}"
    );
}

/// The numbers of a report that have to fit together.
fn check(report: &Value) {
    let rounds = &report["throughput"]["rounds"];
    for round in rounds.as_array().unwrap() {
        assert_eq!(round["scored"], report["workload"]["conversations"]);
        assert_eq!(round["failed"], 0);
        assert!(number(&round["unique_tokens"]) <= number(&round["real_tokens"]));
        assert!(number(&round["unique_tokens"]) <= number(&round["padded_tokens"]));
        assert!(number(&round["seconds"]) > 0.0);
    }
    // Every copy of the model has every stage, and all copies together run everything once.
    let stages = report["stages"].as_array().unwrap();
    let of_each = report["model"]["stages"].as_u64().unwrap();
    let replicas = report["setup"]["replicas"].as_u64().unwrap();
    assert_eq!(stages.len() as u64, of_each * replicas);
    for index in 0..of_each {
        let same = stages.iter().filter(|stage| stage["stage"] == index);
        let sum = |field: &str| same.clone().map(|stage| number(&stage[field])).sum();
        close(sum("packs"), total(rounds, "packs"));
        close(sum("tokens"), total(rounds, "unique_tokens"));
    }
    for stage in stages {
        let shares =
            ["busy_share", "loading_share", "idle_share"].map(|share| number(&stage[share]));
        close(shares.iter().sum(), 1.0);
        assert!(
            shares.iter().all(|share| (0.0..=1.0).contains(share)),
            "{stage}"
        );
        close(
            number(&stage["busy_share"]) * total(rounds, "seconds"),
            number(&stage["busy_seconds"]),
        );
    }
    let utilisation = &report["utilisation"];
    let flops: f64 = stages.iter().map(|stage| number(&stage["flops"])).sum();
    close(number(&utilisation["flops"]), flops);
    close(
        number(&utilisation["share"]) * number(&utilisation["matrix"]["flops_per_second"]),
        number(&utilisation["flops_per_second"]),
    );
    for latency in ["alone", "loaded"] {
        let latency = &report["latency"][latency];
        let order = ["lowest", "p50", "p90", "p99", "highest"].map(|name| number(&latency[name]));
        assert!(order.is_sorted(), "{latency}");
        assert!(order[0] > 0.0, "{latency}");
    }
}

/// Checks a timeline by the rules of the Trace Event Format, and returns the slices of each track, by its name.
fn tracks(timeline: &Value) -> BTreeMap<String, Vec<Value>> {
    assert!(["ms", "ns"].contains(&timeline["displayTimeUnit"].as_str().unwrap()));
    let events = timeline["traceEvents"].as_array().unwrap();
    let mut names = BTreeMap::new();
    let mut slices: BTreeMap<u64, Vec<Value>> = BTreeMap::new();
    let mut latest = 0.0;
    for event in events {
        let name = event["name"].as_str().unwrap();
        let track = event["tid"].as_u64().unwrap();
        assert!(
            event["pid"].is_u64() && event["args"].is_object(),
            "{event}"
        );
        match event["ph"].as_str().unwrap() {
            "M" => {
                assert!(slices.is_empty(), "metadata comes first");
                match name {
                    "process_name" => assert!(event["args"]["name"].is_string()),
                    "thread_name" => {
                        let name = event["args"]["name"].as_str().unwrap().to_owned();
                        assert_eq!(names.insert(track, name), None, "{event}");
                    }
                    "thread_sort_index" => assert!(event["args"]["sort_index"].is_u64()),
                    other => panic!("unknown metadata {other}"),
                }
            }
            "X" => {
                let begin = number(&event["ts"]);
                assert!(begin >= latest && number(&event["dur"]) >= 0.0, "{event}");
                latest = begin;
                assert!(event["cat"].is_string() && !name.is_empty(), "{event}");
                slices.entry(track).or_default().push(event.clone());
            }
            other => panic!("no event of the kind {other} is written"),
        }
    }
    let nanoseconds = |value: &Value| (1000.0 * number(value)).round() as u64;
    for slices in slices.values() {
        for (slice, next) in slices.iter().zip(&slices[1..]) {
            let end = nanoseconds(&slice["ts"]) + nanoseconds(&slice["dur"]);
            assert!(end <= nanoseconds(&next["ts"]), "{slice} overlaps {next}");
        }
    }
    let named = slices.into_iter().map(|(track, slices)| {
        let name = names.get(&track);
        (name.expect("every track has a name").clone(), slices)
    });
    named.collect()
}

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

    // A warm-up, two rounds, and twice four conversations one by one.
    let tracks = tracks(&support::read_json(&file));
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
        assert_eq!(packs.len() as f64, 3.0 * number(&round["packs"]) + 8.0);
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
    let args = |rounds| {
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
            "0",
        ];
        let args = args.map(str::to_owned).into_iter();
        args.chain(["--model".into(), bundle, "--data".into(), data])
            .collect::<Vec<String>>()
    };
    let bench = |rounds| {
        let args = args(rounds);
        run(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    fs::write(&data, format!("{record}\n{refused}\n")).unwrap();
    let output = bench("2");
    assert!(!output.status.success());
    let report = lines(&output).remove(0);
    for round in report["throughput"]["rounds"].as_array().unwrap() {
        assert_eq!((&round["scored"], &round["failed"]), (&1.into(), &1.into()));
    }
    assert!(report["latency"]["alone"].is_null());
    assert!(stderr(&output).contains("2 conversations could not be scored"));

    fs::write(&data, format!("{refused}\n")).unwrap();
    let output = bench("1");
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
    (report, tracks(&bench.timeline()))
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
    let options = ScorerOptions::default()
        .with_devices(devices)
        .with_replicas(NonZeroUsize::new(2).unwrap());
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

#[test]
fn a_profile_tells_operators_apart() {
    let bundle = support::bundle(SHAPE, &["--stages", "2"]);
    let flags = [
        "--workload",
        "pairs",
        "--records",
        "2",
        "--rounds",
        "1",
        "--samples",
        "0",
    ];
    assert_eq!(
        bench(&bundle, &flags)["operators"],
        Value::Array(Vec::new())
    );
    let report = bench(&bundle, &[&flags[..], &["--profile"]].concat());
    let operators = report["operators"].as_array().unwrap();
    close(
        operators
            .iter()
            .map(|operator| number(&operator["share"]))
            .sum(),
        1.0,
    );
    // Both stages are in it: the first has the embedding, the last the head.
    for name in ["Gather", "Gemm", "GroupQueryAttention"] {
        let operator = operators
            .iter()
            .find(|operator| operator["operator"] == name);
        assert!(number(&operator.unwrap()["runs"]) > 0.0, "{name}");
    }
}
