//! Profiles, and timelines that cannot be written.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

use crate::{
    report::{SHAPE, bench, close, number, tracks},
    support::{self, lines, run, stderr},
};

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
