//! The command `doctor`, on machines with and without what scoring needs.

use std::path::Path;

use serde_json::Value;
use worldpm_ort::device::{GpusError, installed};

use crate::support::{self, command, run, stderr};

/// The findings, and whether all was well.
fn doctor(flags: &[&str]) -> (Vec<Value>, bool) {
    let output = run(&[&["doctor", "--json"], flags].concat());
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", stderr(&output)));
    let errors = findings.iter().any(|finding| finding["level"] == "error");
    assert_eq!(
        output.status.code(),
        Some(i32::from(errors)),
        "{findings:?}"
    );
    (findings, !errors)
}

fn find<'a>(findings: &'a [Value], check: &str) -> &'a Value {
    let found = findings.iter().find(|finding| finding["check"] == check);
    found.unwrap_or_else(|| panic!("no {check}: {findings:?}"))
}

fn text<'a>(finding: &'a Value, field: &str) -> &'a str {
    finding[field].as_str().unwrap()
}

#[test]
fn a_machine_for_the_cpu() {
    let (findings, _) = doctor(&[]);
    let library = find(&findings, "ONNX Runtime");
    assert_eq!(library["level"], "ok");
    assert!(
        text(library, "found").starts_with("version 1."),
        "{library}"
    );
    assert!(text(find(&findings, "providers"), "found").contains("CPUExecutionProvider"));
    for check in ["memory", "processor", "open files"] {
        assert!(!text(find(&findings, check), "found").is_empty());
    }
    // The table says the same.
    let table = String::from_utf8(run(&["doctor"]).stdout).unwrap();
    for finding in &findings {
        let check = text(finding, "check");
        assert!(table.contains(check), "{check}: {table}");
    }
    assert!(table.contains("\nerrors: "), "{table}");
}

#[test]
fn a_bundle_is_looked_at() {
    let shape = ["--shape", "tiny", "--seed", "5"];
    let bundle = support::bundle(&shape, &[]);
    let (findings, _) = doctor(&["--model", bundle.to_str().unwrap()]);
    assert_eq!(find(&findings, "bundle")["level"], "ok");
    assert!(text(find(&findings, "disk"), "found").contains("GB/s, by one thread"));

    let broken = support::copy_of(&bundle);
    std::fs::remove_file(broken.path().join("tokenizer.json")).unwrap();
    let (findings, good) = doctor(&["--model", broken.path().to_str().unwrap()]);
    assert!(!good);
    assert!(text(find(&findings, "bundle"), "found").contains("tokenizer.json"));
    // Where there is no GPU, a bundle for GPUs is an error, of which there may be several causes.
    if matches!(installed(), Err(GpusError::NoLibrary(_))) {
        let bundle = support::bundle(&shape, &["--device", "cuda"]);
        let (findings, good) = doctor(&["--model", bundle.to_str().unwrap()]);
        assert!(!good);
        let driver = find(&findings, "NVIDIA driver");
        assert_eq!(driver["level"], "error");
        assert!(
            text(driver, "found").contains("libnvidia-ml.so.1"),
            "{driver}"
        );
        assert!(text(driver, "advice").contains("--gpus all"), "{driver}");
    }
}

#[test]
fn a_library_that_is_none() {
    let place = tempfile::tempdir().unwrap();
    let nowhere = place.path().join("libonnxruntime.so");
    let (findings, good) = doctor(&["--ort-lib", nowhere.to_str().unwrap()]);
    assert!(!good);
    assert!(text(find(&findings, "ONNX Runtime"), "found").contains("is not a file"));
    std::fs::write(&nowhere, "not a library").unwrap();
    let output = command()
        .args(["doctor", "--json"])
        .env("ORT_DYLIB_PATH", &nowhere)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let library = find(&findings, "ONNX Runtime");
    assert!(
        text(library, "found").contains("cannot be used as ONNX Runtime")
            && text(library, "found").contains(nowhere.to_str().unwrap()),
        "{library}"
    );
    assert!(
        text(library, "advice").contains("--ort-lib or ORT_DYLIB_PATH"),
        "{library}"
    );
}

/// The CUDA build, where `scripts/fetch-onnxruntime.py --gpu` has put it, without a driver: a stand-in provider elsewhere
/// (`runtime/src/doctor/`) covers the same without it.
#[test]
fn providers_that_cannot_be_loaded() {
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join(".onnxruntime-gpu/libonnxruntime.so");
    if !library.is_file() || installed().is_ok() {
        eprintln!("skipped: needs the CUDA build of the library and a machine without a driver");
        return;
    }
    let (findings, _) = doctor(&["--ort-lib", library.to_str().unwrap()]);
    assert!(text(find(&findings, "providers"), "found").contains("CUDAExecutionProvider"));
    let cuda = find(&findings, "CUDA provider");
    assert_eq!(cuda["level"], "warn");
    assert!(
        text(cuda, "found").contains("libcuda.so.1 is missing"),
        "{cuda}"
    );
    assert!(
        text(cuda, "advice").contains("libcuda is part of the NVIDIA driver"),
        "{cuda}"
    );
}
