//! A plan by itself: it says what a bundle will be, writes nothing, and builds the model's graph once.

#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, fs, path::Path};

use worldpm_ort_bundle::{
    Device, Precision, cost::TokenBudget, float_type::FloatType, proto::ModelProto,
};

use super::*;
use crate::{
    plan::{DeviceMemory, Fleet, PlanOptions, Prepared, Stages, WeightForm},
    stage::graphs_built,
    synth::{Head, Preset, synth},
};

fn checkpoint(dir: &Path) -> Checkpoint {
    let mut options = Preset::Tiny.options();
    options.sparse = true;
    options.head = Head::TwoLayer;
    synth(dir, &options).unwrap();
    Checkpoint::open(dir).unwrap()
}

fn int4() -> ExportOptions {
    let mut options = ExportOptions {
        stages: Stages::Count(3),
        precision: Some(Precision::Int4),
        ..ExportOptions::default()
    };
    options.quantization.keep = vec!["*.0.mlp.down_proj".into()];
    options
}

#[test]
fn an_export_builds_the_graph_once() {
    let place = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(&place.path().join("checkpoint"));
    for options in [ExportOptions::default(), int4()] {
        let before = graphs_built();
        export(&checkpoint, &place.path().join("bundle"), &options).unwrap();
        assert_eq!(graphs_built(), before + 1);
    }
    let before = graphs_built();
    let budget = TokenBudget::default();
    let memory = DeviceMemory::Each("24GB".parse().unwrap());
    let options = PlanOptions {
        budget,
        ..PlanOptions::new(Fleet::Memory(memory))
    };
    Prepared::checkpoint(&checkpoint, &int4(), &options).unwrap();
    assert_eq!(graphs_built(), before + 1);
}

#[test]
fn a_plan_says_what_is_written() {
    let place = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(&place.path().join("checkpoint"));
    let plan = ExportPlan::new(&checkpoint, &int4()).unwrap();
    let entries = || fs::read_dir(place.path()).unwrap().count();
    assert_eq!(entries(), 1, "a plan wrote something");

    let form = |name: &str| {
        let found = plan.weights().iter().find(|weight| weight.tensor == name);
        found.unwrap().form
    };
    let blocks = WeightForm::Blocks { bits: 4, size: 32 };
    assert_eq!(form("model.layers.1.mlp.down_proj.weight"), blocks);
    assert_eq!(
        form("model.layers.0.mlp.down_proj.weight"),
        WeightForm::Copied
    );
    assert_eq!(form("model.norm.weight"), WeightForm::Float(FloatType::F32));
    let names: BTreeSet<&str> = plan.weights().iter().map(|w| w.tensor.as_str()).collect();
    assert!(names.iter().copied().eq(checkpoint.tensors().keys()));

    // A plan can be written more than once, and is as it was.
    for name in ["one", "two"] {
        let out = place.path().join(name);
        let manifest = plan.write(&out).unwrap();
        assert_eq!(manifest.stages.len(), plan.stages().len());
        let mut bytes = 0;
        for (stage, written) in plan.stages().iter().zip(&manifest.stages) {
            assert_eq!(stage.manifest(), written);
            assert_eq!(stage.onnx(), fs::read(out.join(&written.graph)).unwrap());
            let graph = ModelProto::read(&out.join(&written.graph)).unwrap().graph;
            assert_eq!(graph.unwrap().name.unwrap(), written.graph[..8]);
            let (first, end) = written.layers;
            assert_eq!(stage.placed().layers, first..end);
            let file = out.join(written.graph.replace(".onnx", ".safetensors"));
            bytes += fs::metadata(file).unwrap().len();
        }
        assert_eq!(plan.converted_bytes(), bytes);
    }
}

#[test]
fn a_plan_is_printed() {
    let place = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(&place.path().join("checkpoint"));
    let options = ExportOptions {
        device: Device::Cuda,
        device_memory: Some(DeviceMemory::Each("24GB".parse().unwrap())),
        stages: Stages::Count(2),
        ..ExportOptions::default()
    };
    let text = ExportPlan::new(&checkpoint, &options).unwrap().to_string();
    let lines = [
        "Qwen2ForRewardModel with 3 layers, bf16 for cuda: target ort, interface packed, layout plain",
        "weights: reference",
        "  42 tensors in place: 78.54 MiB",
        "stage-00.onnx: layers 0 to 0, 75.60 MiB of weights, 1.62 GiB in memory of device 0 (22.35 GiB)",
        "stage-01.onnx: layers 1 to 2, 2.94 MiB of weights, 1.55 GiB in memory of device 1 (22.35 GiB)",
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), lines);
    let text = ExportPlan::new(&checkpoint, &int4()).unwrap().to_string();
    let weights = [
        "weights: 76.09 MiB of new files",
        "  2 tensors copied: 74.53 MiB",
        "  20 tensors to F32: 271.00 KiB",
        "  20 tensors to int4 in blocks of 32: 1.21 MiB",
    ];
    assert_eq!(text.lines().skip(1).take(4).collect::<Vec<_>>(), weights);
}

/// What is wrong is found before anything is written, even where the output could not be.
#[test]
fn a_plan_needs_no_output() {
    let place = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(&place.path().join("checkpoint"));
    let options = ExportOptions {
        stages: Stages::Count(4),
        ..ExportOptions::default()
    };
    let error = ExportPlan::new(&checkpoint, &options).unwrap_err();
    assert!(error.to_string().contains("give 1 to 3"), "{error}");
}
