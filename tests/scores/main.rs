//! Scores: those of the references, and the same bits whatever else is scored.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod drawn;
mod goldens;
mod invariance;
mod kernels;
mod labels;
mod steps;

use std::{fs, path::Path};

use serde::de::DeserializeOwned;

/// The golden files of a folder, by their names.
fn golden_files<T: DeserializeOwned>(folder: &str) -> Vec<(String, T)> {
    let entries = fs::read_dir(Path::new("tests/fixtures").join(folder)).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "json"));
    paths.sort();
    assert!(paths.len() >= 2, "golden files are missing");
    let read = paths.iter().map(|path| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let golden = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        (name, golden)
    });
    read.collect()
}
