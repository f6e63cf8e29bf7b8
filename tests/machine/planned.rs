//! A model in stages, and what the commands print of it.

use std::path::Path;

use worldpm_ort::export::Manifest;

use crate::support::{self, run_ok, stderr};

pub(crate) const SHAPE: &[&str] = &["--shape", "tiny", "--seed", "5"];

/// Exports the model and returns the last layers of its stages, and what was printed.
pub(crate) fn stages(out: &Path, flags: &[&str]) -> (Vec<usize>, String) {
    let checkpoint = support::checkpoint(SHAPE);
    let mut args = vec!["export", "--checkpoint", checkpoint.to_str().unwrap()];
    args.extend(["--out", out.to_str().unwrap()]);
    args.extend(flags);
    let output = run_ok(&args);
    let manifest = Manifest::read(out).unwrap();
    let ends = manifest.stages.iter().map(|stage| stage.layers.1).collect();
    (ends, stderr(&output))
}

pub(crate) fn json(args: &[&str]) -> serde_json::Value {
    let output = run_ok(args);
    serde_json::from_slice(&output.stdout).unwrap()
}

pub(crate) fn text(args: &[&str]) -> String {
    String::from_utf8(run_ok(args).stdout).unwrap()
}

/// The whitespace of a table's columns is of no interest here.
pub(crate) fn squeezed(text: &str) -> String {
    let lines: Vec<String> = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    lines.join("\n")
}
