//! Every form that can be exported is ready.

#![allow(clippy::unwrap_used)]

use worldpm_ort_bundle::{
    Device, Interface, Target,
    proto::ModelProto,
    readiness::{RunsOn, check},
};

use crate::{
    Checkpoint, ExportOptions, export,
    plan::Stages,
    synth::{Head, Preset, synth},
};

#[test]
fn every_exported_form_is_ready() {
    let place = tempfile::tempdir().unwrap();
    let heads = [
        Head::TwoLayer,
        Head::Process,
        Head::OneLayer { bias: false },
    ];
    for (number, head) in heads.into_iter().enumerate() {
        let dir = place.path().join(format!("checkpoint-{number}"));
        let mut options = Preset::Tiny.options();
        options.sparse = true;
        options.head = head;
        synth(&dir, &options).unwrap();
        let checkpoint = Checkpoint::open(&dir).unwrap();
        for device in [Device::Cpu, Device::Cuda] {
            for target in [Target::Ort, Target::Onnx] {
                for stages in [1, 2] {
                    let out = place.path().join("bundle");
                    let options = ExportOptions {
                        device,
                        target,
                        stages: Stages::Count(stages),
                        ..ExportOptions::default()
                    };
                    let manifest = export(&checkpoint, &out, &options).unwrap();
                    for stage in &manifest.stages {
                        let model = ModelProto::read(&out.join(&stage.graph)).unwrap();
                        let form = format!("{head:?}, {device}, {target}, {}", stage.graph);
                        let report = check(&model, device, target).unwrap();
                        assert_eq!(report.violations, [], "{form}");
                        assert_eq!(report.bytes, stage.bytes, "{form}");
                        let nodes = model.graph.unwrap().node.len();
                        assert_eq!(report.placements.len(), nodes, "{form}");
                        // The packed interface gets its sizes from outside: nothing is computed on the host.
                        assert_eq!(report.count(RunsOn::Device), nodes, "{form}");
                        let expected = match (device, target) {
                            (Device::Cpu, _) => vec![],
                            (Device::Cuda, Target::Onnx) => vec![("Reshape.shape", "constant")],
                            (Device::Cuda, Target::Ort) => vec![
                                ("Reshape.shape", "constant"),
                                (
                                    "com.microsoft.GroupQueryAttention.total_sequence_length",
                                    "total_sequence_length",
                                ),
                            ],
                        };
                        let found: Vec<(&str, &str)> = report
                            .host_operands
                            .iter()
                            .map(|(operand, from)| (operand.as_str(), from.as_str()))
                            .collect();
                        assert_eq!(found, expected, "{form}");
                    }
                }
            }
        }
    }
}

/// The padded interface computes with the mask on the device; the host has the two sizes and what follows from them.
#[test]
fn padded_graphs_compute_sizes_alone_on_the_host() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("checkpoint");
    let mut options = Preset::Tiny.options();
    options.sparse = true;
    synth(&dir, &options).unwrap();
    let checkpoint = Checkpoint::open(&dir).unwrap();
    let sizes = [
        "packing/batch",
        "packing/sequence",
        "packing/columns/more",
        "packing/columns/half",
        "packing/columns",
        "packing/cell_count",
        "packing/total_length",
    ];
    for target in [Target::Ort, Target::Onnx] {
        let options = ExportOptions {
            device: Device::Cuda,
            interface: Interface::Padded,
            target,
            stages: Stages::Count(2),
            ..ExportOptions::default()
        };
        let out = place.path().join(target.to_string());
        let manifest = export(&checkpoint, &out, &options).unwrap();
        for stage in &manifest.stages {
            let model = ModelProto::read(&out.join(&stage.graph)).unwrap();
            let report = check(&model, Device::Cuda, target).unwrap();
            let on_host: Vec<&str> = report
                .placements
                .iter()
                .filter(|placement| placement.place == RunsOn::Host)
                .map(|placement| placement.node.as_str())
                .collect();
            let expected = match target {
                Target::Ort => &sizes[..],
                Target::Onnx => &sizes[..6],
            };
            assert_eq!(on_host, expected, "{target}, {}", stage.graph);
        }
    }
}
