//! The whole graph of a small model as text, so that no change to it goes unseen.
//!
//! `UPDATE_GOLDENS=1 cargo test -p worldpm-ort-export` writes the files in `testdata/` anew: read the
//! difference before committing it.

#![allow(clippy::unwrap_used)]

use std::{env, fs, path::Path};

use super::{StageSpec, build_stage};
use crate::{
    block::weights::{Storage, Weights},
    checkpoint::Checkpoint,
    options::{Interface, Target},
    proto::ElementType,
    synth::{Head, Preset, synth},
};

#[test]
fn graphs_are_as_recorded() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("checkpoint");
    let mut options = Preset::Tiny.options();
    options.sparse = true;
    options.single_file = true;
    options.shape.num_hidden_layers = 2;
    options.head = Head::TwoLayer;
    synth(&dir, &options).unwrap();
    let checkpoint = Checkpoint::open(&dir).unwrap();
    let locations = ["model.safetensors".to_owned()];

    let (ort, onnx) = (Target::Ort, Target::Onnx);
    let (float, bf16) = (ElementType::Float, ElementType::BFloat16);
    let (packed, padded) = (Interface::Packed, Interface::Padded);
    for (name, layers, target, compute, interface) in [
        ("first-ort-float", 0..1, ort, float, packed),
        ("last-ort-float", 1..2, ort, float, packed),
        ("whole-onnx-bfloat16", 0..2, onnx, bf16, packed),
        ("first-ort-bfloat16-padded", 0..1, ort, bf16, padded),
        ("last-onnx-float-padded", 1..2, onnx, float, padded),
    ] {
        let spec = StageSpec {
            name: name.into(),
            layers,
            target,
            interface,
        };
        let mut weights = Weights::new(&checkpoint, Storage::InPlace(&locations), compute);
        let graph = build_stage(&checkpoint, &mut weights, &spec).unwrap();
        let found = graph.to_string();
        let golden = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("src/arch/testdata")
            .join(format!("{name}.txt"));
        if env::var_os("UPDATE_GOLDENS").is_some() {
            fs::write(&golden, &found).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap();
        for (number, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
            assert_eq!(found, expected, "{name}, line {}", number + 1);
        }
        assert_eq!(found.lines().count(), expected.lines().count(), "{name}");
    }
}
