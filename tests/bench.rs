//! `bench`: that its numbers fit together, and that its timeline is well formed. Nothing here is about how fast it is.

#![allow(clippy::unwrap_used, clippy::cast_precision_loss)]

mod support;

use std::{collections::BTreeMap, fs, num::NonZeroUsize, path::Path};

use serde_json::Value;
use support::{lines, run, run_ok, stderr};
use worldpm_ort::{
    Residency, ScorerOptions,
    bench::{Bench, BenchOptions, Report, WorkloadKind, WorkloadSpec, statistics::median},
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
    for (rate, count) in [
        ("conversations_per_second", "scored"),
        ("real_tokens_per_second", "real_tokens"),
        ("unique_tokens_per_second", "unique_tokens"),
        ("padded_tokens_per_second", "padded_tokens"),
    ] {
        let rounds = rounds.as_array().unwrap().iter();
        let rates = rounds.map(|round| number(&round[count]) / number(&round["seconds"]));
        let middle = median(&rates.collect::<Vec<_>>()).unwrap();
        close(number(&report["throughput"][rate]), middle);
    }
    for step in ["tokenise_share", "plan_share"] {
        // One thread does both.
        let share = number(&report["steps"][step]);
        assert!(share > 0.0 && share < 1.0, "{step}: {share}");
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
        number(&utilisation["flops_per_second"]) * total(rounds, "seconds"),
        flops,
    );
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

/// The shares of the stages against the slices of their tracks that lie in the measured rounds.
fn check_shares(report: &Value, tracks: &BTreeMap<String, Vec<Value>>) {
    let time = |slice: &Value| {
        let begin = number(&slice["ts"]);
        (begin, begin + number(&slice["dur"]))
    };
    let is_round = |slice: &&Value| slice["name"].as_str().unwrap().starts_with("round ");
    let phases = tracks["benchmark"].iter().filter(is_round).map(time);
    let phases: Vec<(f64, f64)> = phases.collect();
    let all: f64 = phases.iter().map(|(begin, end)| end - begin).sum();
    for stage in report["stages"].as_array().unwrap() {
        let place = match report["setup"]["replicas"].as_u64() {
            Some(1) => "stage".to_owned(),
            _ => format!("copy {}, stage", stage["replica"]),
        };
        let name = format!(
            "{place} {} on {}",
            stage["stage"],
            stage["device"].as_str().unwrap()
        );
        let share = |category: &str| {
            let slices = tracks[&name]
                .iter()
                .filter(|slice| slice["cat"] == category);
            let within = slices.map(time).map(|(begin, end)| -> f64 {
                let overlap = |&(from, to): &(f64, f64)| (end.min(to) - begin.max(from)).max(0.0);
                phases.iter().map(overlap).sum()
            });
            within.sum::<f64>() / all
        };
        let (busy, loading) = (share("pack"), share("load"));
        for (field, expected) in [
            ("busy_share", busy),
            ("loading_share", loading),
            ("idle_share", 1.0 - busy - loading),
        ] {
            let found = number(&stage[field]);
            assert!(
                (found - expected).abs() < 1e-6,
                "{field} {expected}: {stage}"
            );
        }
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
        // Whose operators have the same names on every processor.
        "--cpu-kernels",
        "onnxruntime",
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

/// Sessions that are loaded within a second have profiles of their own.
#[test]
fn a_profile_has_all_copies_and_all_loads() {
    let bundle = support::bundle(SHAPE, &["--stages", "3"]);
    let flags = [
        "--workload",
        "mixed",
        "--records",
        "20",
        "--warmup",
        "0",
        "--rounds",
        "1",
        "--samples",
        "0",
        "--profile",
    ];
    let runs = |more: &[&str]| -> BTreeMap<String, u64> {
        let report = bench(&bundle, &[&flags[..], more].concat());
        let operators = report["operators"].as_array().unwrap().iter();
        let runs = operators.map(|operator| {
            let name = operator["operator"].as_str().unwrap().to_owned();
            (name, operator["runs"].as_u64().unwrap())
        });
        runs.collect()
    };
    let resident = runs(&["--residency", "resident"]);
    let copies = ["--device", "cpu,cpu", "--replicas", "2", "--threads", "2"];
    assert_eq!(runs(&copies), resident);
    assert_eq!(runs(&["--residency", "streamed"]), resident);
}

#[test]
#[cfg(target_os = "linux")]
fn what_was_measured_is_told_without_a_timeline() {
    let bundle = support::bundle(SHAPE, &[]);
    let place = tempfile::tempdir().unwrap();
    let kept = place.path().join("timeline.json");
    fs::write(&kept, "of an earlier run").unwrap();
    let bench = |timeline: &Path, more: &[&str]| {
        let mut args = vec!["bench", "--json", "--model", bundle.to_str().unwrap()];
        args.extend(["--workload", "single", "--samples", "0", "--rounds", "1"]);
        args.extend(["--timeline", timeline.to_str().unwrap()]);
        args.extend(more);
        run(&args)
    };
    let output = bench(Path::new("/dev/full"), &[]);
    assert!(!output.status.success());
    assert_eq!(lines(&output)[0]["throughput"]["rounds"][0]["scored"], 8);
    let error = stderr(&output);
    assert!(error.contains("cannot write /dev/full"), "{error}");

    // What cannot be measured leaves an earlier file as it is.
    assert!(
        !bench(&kept, &["--answer-tokens", "1000000"])
            .status
            .success()
    );
    assert_eq!(fs::read_to_string(&kept).unwrap(), "of an earlier run");
    assert!(bench(&kept, &[]).status.success());
    tracks(&support::read_json(&kept));
}
