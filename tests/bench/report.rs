//! A benchmark, and the numbers of its report that have to fit together.

use std::{collections::BTreeMap, path::Path};

use serde_json::Value;
use worldpm_ort::bench::statistics::median;

use crate::support::{lines, run_ok};

pub(crate) const SHAPE: &[&str] = &["--shape", "tiny", "--seed", "5"];

pub(crate) fn bench(bundle: &Path, flags: &[&str]) -> Value {
    let mut args = vec!["bench", "--json", "--model", bundle.to_str().unwrap()];
    args.extend(flags);
    lines(&run_ok(&args)).remove(0)
}

pub(crate) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value}"))
}

fn total(rounds: &Value, field: &str) -> f64 {
    let rounds = rounds.as_array().unwrap().iter();
    rounds.map(|round| number(&round[field])).sum()
}

pub(crate) fn close(found: f64, expected: f64) {
    let off = (found - expected).abs();
    assert!(
        off <= 1e-9 * expected.abs().max(1.0),
        "{found} and not {expected}"
    );
}

/// The numbers of a report that have to fit together.
pub(crate) fn check(report: &Value) {
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
pub(crate) fn check_shares(report: &Value, tracks: &BTreeMap<String, Vec<Value>>) {
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
pub(crate) fn tracks(timeline: &Value) -> BTreeMap<String, Vec<Value>> {
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
