//! Bundles with probes, and ways to spoil them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::Value;

use crate::support::{self, run, stderr};

pub(crate) const SHAPE: &[&str] = &["--shape", "tiny", "--seed", "41"];

pub(crate) const SCORED: &[&str] = &["--probes", "on"];

pub(crate) fn verify(model: &Path, flags: &[&str]) -> Output {
    run(&[&["verify", "--model", model.to_str().unwrap()], flags].concat())
}

pub(crate) fn report(model: &Path, flags: &[&str]) -> Value {
    let output = verify(model, &[flags, &["--json"]].concat());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(&output)))
}

pub(crate) fn export(checkpoint: &Path, out: &Path, flags: &[&str]) -> Output {
    let paths = [
        "--checkpoint",
        checkpoint.to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
    ];
    run(&[&["export"], &paths[..], flags].concat())
}

/// Exit status 1, nothing on standard output, and these words in the error.
pub(crate) fn expect_error(name: &str, output: &Output, parts: &[&str]) {
    let message = stderr(output);
    assert_eq!(output.status.code(), Some(1), "{name}: {message}");
    assert!(output.stdout.is_empty(), "{name}");
    assert!(!message.contains("panicked"), "{name}: {message}");
    for part in parts {
        assert!(message.contains(part), "{name}: no {part:?} in: {message}");
    }
}

pub(crate) fn shards(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
        .collect();
    files.sort();
    files
}

/// Sets all values of the last weight file; its header stays.
pub(crate) fn overwrite_weights(dir: &Path, bf16: [u8; 2]) -> PathBuf {
    let path = shards(dir).pop().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let header = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    for value in bytes[8 + header..].chunks_exact_mut(2) {
        value.copy_from_slice(&bf16);
    }
    fs::write(&path, bytes).unwrap();
    path
}

/// Makes a bundle as exporters left it that took no samples of the weights.
pub(crate) fn without_samples(dir: &Path) {
    let path = dir.join("manifest.json");
    let mut manifest = support::read_json(&path);
    for file in manifest["weights"]["files"].as_array_mut().unwrap() {
        file.as_object_mut()
            .unwrap()
            .remove("sampled_sha256")
            .unwrap();
    }
    fs::write(path, manifest.to_string()).unwrap();
}

pub(crate) fn numbers(list: &Value) -> impl Iterator<Item = f64> {
    let list = list.as_array().unwrap().iter();
    list.map(|number| number.as_f64().unwrap())
}
