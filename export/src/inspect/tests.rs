//! Grouping by hand, and bundles and checkpoints of the real form.

#![allow(clippy::unwrap_used)]

use std::fs;

use worldpm_ort_bundle::{Device, readiness::RunsOn};

use super::{
    tensors::{Tensor, group, runs},
    *,
};
use crate::{
    Checkpoint, ExportOptions, export,
    plan::Stages,
    synth::{Preset, synth},
};

fn tensor(name: &str, shape: &[u64]) -> Tensor {
    Tensor {
        name: name.to_owned(),
        element: "BF16".to_owned(),
        shape: shape.to_vec(),
        bytes: 2 * shape.iter().product::<u64>(),
    }
}

#[test]
fn tensors_of_consecutive_layers_are_one_group() {
    let found = group([
        tensor("model.embed_tokens.weight", &[100, 4]),
        tensor("model.layers.0.mlp.weight", &[8, 4]),
        tensor("model.layers.1.mlp.weight", &[8, 4]),
        // Another shape, and a gap, begin a group of their own.
        tensor("model.layers.2.mlp.weight", &[6, 4]),
        tensor("model.layers.10.mlp.weight", &[6, 4]),
        tensor("model.layers.x.mlp.weight", &[1]),
    ]);
    let shown: Vec<_> = found
        .iter()
        .map(|group| (group.name.as_str(), group.layers, group.count, group.bytes))
        .collect();
    assert_eq!(
        shown,
        [
            ("model.embed_tokens.weight", None, 1, 800),
            ("model.layers.*.mlp.weight", Some((0, 2)), 2, 128),
            ("model.layers.x.mlp.weight", None, 1, 2),
            ("model.layers.*.mlp.weight", Some((2, 3)), 1, 48),
            ("model.layers.*.mlp.weight", Some((10, 11)), 1, 48),
        ]
    );
}

#[test]
fn layers_of_equal_size_are_one_run() {
    let found = runs([(3, 10, 20), (4, 10, 20), (5, 10, 21), (7, 10, 21)]);
    let shown: Vec<((usize, usize), u64, u64)> = found
        .iter()
        .map(|run| (run.layers, run.stored, run.resident))
        .collect();
    assert_eq!(
        shown,
        [((3, 5), 10, 20), ((5, 6), 10, 21), ((7, 8), 10, 21)]
    );
}

struct Sample {
    place: tempfile::TempDir,
    parameters: u64,
}

impl Sample {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let mut options = Preset::Tiny.options();
        options.sparse = true;
        let report = synth(&place.path().join("checkpoint"), &options).unwrap();
        let checkpoint = Checkpoint::open(&place.path().join("checkpoint")).unwrap();
        let options = ExportOptions {
            device: Device::Cuda,
            stages: Stages::Count(2),
            ..ExportOptions::default()
        };
        export(&checkpoint, &place.path().join("bundle"), &options).unwrap();
        Self {
            place,
            parameters: report.parameters,
        }
    }

    fn bundle(&self) -> BundleInfo {
        match inspect(&self.place.path().join("bundle"), None).unwrap() {
            Inspection::Bundle(info) => *info,
            Inspection::Checkpoint(_) => panic!("a bundle was taken for a checkpoint"),
        }
    }

    fn states(&self) -> Vec<(String, FileState)> {
        let files = self.bundle().files;
        files
            .into_iter()
            .filter(|file| file.state != FileState::Good)
            .map(|file| (file.name, file.state))
            .collect()
    }
}

#[test]
fn a_checkpoint_is_reported_whole() {
    let sample = Sample::new();
    let found = inspect(&sample.place.path().join("checkpoint"), None).unwrap();
    let Inspection::Checkpoint(info) = found else {
        panic!("a checkpoint was taken for a bundle");
    };
    assert_eq!(info.model.architecture, "Qwen2ForRewardModel");
    assert_eq!(info.parameters, sample.parameters);
    assert_eq!(info.bytes, 2 * sample.parameters);
    let weights: usize = info.tensors.iter().map(|group| group.count).sum();
    assert_eq!(weights, 1 + 3 * 12 + 1 + 4);
    let embedding = &info.tensors[0];
    assert_eq!(embedding.name, "model.embed_tokens.weight");
    assert_eq!(embedding.shape, [151_936, 256]);
    let files: u64 = info.files.iter().map(|file| file.bytes).sum();
    assert!(files > info.bytes, "{files}");
    assert!(info.files.iter().all(|file| file.header_sha256.len() == 64));
}

#[test]
fn a_bundle_is_reported_whole() {
    let sample = Sample::new();
    let info = sample.bundle();
    assert!(info.is_good(), "{info:#?}");
    assert_eq!(sample.states(), []);
    let layers: Vec<(usize, usize)> = info.stages.iter().map(|stage| stage.layers).collect();
    assert!(
        matches!(layers[..], [(0, cut), (next, 3)] if cut == next),
        "{layers:?}"
    );
    let stored: u64 = info.stages.iter().map(|stage| stage.stored).sum();
    assert_eq!(stored, 2 * sample.parameters);
    let listed: u64 = info.tensors.iter().map(|group| group.bytes).sum();
    assert_eq!(listed, stored);
    for stage in &info.stages {
        assert_eq!(stage.host_nodes, 0);
        let counted: usize = stage.operators.iter().map(|operator| operator.count).sum();
        assert_eq!(counted, stage.device_nodes);
        assert_eq!(stage.placements.len(), stage.device_nodes);
        assert!(
            stage
                .placements
                .iter()
                .all(|node| node.place == RunsOn::Device)
        );
        let attention = stage
            .operators
            .iter()
            .find(|operator| operator.operator == "com.microsoft.GroupQueryAttention")
            .unwrap();
        assert_eq!(attention.count, stage.layers.1 - stage.layers.0);
        assert_eq!(attention.element, "bfloat16");
        assert_eq!(stage.by_layer.len(), 1, "{:?}", stage.by_layer);
    }
}

#[test]
fn files_that_changed_are_reported() {
    let sample = Sample::new();
    let bundle = sample.place.path().join("bundle");
    let checkpoint = sample.place.path().join("checkpoint");
    let weights = sample.bundle().manifest.weights.files;

    fs::write(bundle.join("chat_template.jinja"), "another").unwrap();
    fs::remove_file(bundle.join("tokenizer_config.json")).unwrap();
    let file = fs::File::options()
        .append(true)
        .open(checkpoint.join(&weights[0].name))
        .unwrap();
    file.set_len(weights[0].bytes + 1).unwrap();
    fs::remove_file(checkpoint.join(&weights[1].name)).unwrap();
    fs::remove_file(bundle.join("stage-01.onnx")).unwrap();
    let mut states = sample.states();
    states.sort_by(|a, b| a.0.cmp(&b.0));
    let mut expected = vec![
        ("chat_template.jinja".to_owned(), FileState::Changed),
        (weights[0].name.clone(), FileState::Changed),
        (weights[1].name.clone(), FileState::Missing),
        ("stage-01.onnx".to_owned(), FileState::Missing),
        ("tokenizer_config.json".to_owned(), FileState::Missing),
    ];
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(states, expected);
    assert!(!sample.bundle().is_good());

    // Where the weights are can be said; they are not there either.
    let found = inspect(&bundle, Some(&bundle)).unwrap();
    let Inspection::Bundle(info) = found else {
        panic!("a bundle was taken for a checkpoint");
    };
    let weights = info
        .files
        .iter()
        .filter(|file| file.kind == FileKind::Weights);
    assert!(weights.clone().count() > 2);
    assert!(weights.clone().all(|file| file.state == FileState::Missing));

    fs::write(bundle.join("stage-00.onnx"), b"\xff\xff\xff not a graph").unwrap();
    let error = inspect(&bundle, None).unwrap_err().to_string();
    assert!(
        error.contains("stage-00.onnx: is not an ONNX model"),
        "{error}"
    );
}

#[test]
fn what_is_neither_says_so() {
    let place = tempfile::tempdir().unwrap();
    let error = inspect(place.path(), None).unwrap_err().to_string();
    assert!(
        error.contains("is neither a bundle (it has no manifest.json)"),
        "{error}"
    );
    let error = inspect(&place.path().join("nowhere"), None).unwrap_err();
    assert!(error.to_string().contains("cannot open"), "{error}");
}
