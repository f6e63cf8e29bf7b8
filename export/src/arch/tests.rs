//! The whole graph of a small model as text, so that no change to it goes unseen.
//!
//! `UPDATE_GOLDENS=1 cargo test -p worldpm-ort-export` writes the files in `testdata/` anew: read the
//! difference before committing it.

#![allow(clippy::unwrap_used)]

use std::{env, fs, path::Path};

use super::{StageSpec, build_stage};
use crate::{
    block::weights::{Conversion, Quantized, Storage, Weights},
    checkpoint::Checkpoint,
    convert::{Bits, Blocks, FloatType, Layout, StageFile},
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
    let quantized = |float, quantized| {
        Some(Conversion {
            large: FloatType::Bf16,
            small: float,
            quantized: Some(quantized),
            keep: vec!["*.0.mlp.down_proj".into()],
        })
    };
    let blocks = |bits, symmetric, scale, layout| {
        Quantized::Blocks(Blocks {
            bits,
            size: 64,
            symmetric,
            scale,
            layout,
        })
    };
    let int4 = blocks(Bits::Four, false, FloatType::Bf16, Layout::Filled);
    let int8 = blocks(Bits::Eight, true, FloatType::F32, Layout::Signed);
    for (name, layers, target, compute, interface, conversion) in [
        ("first-ort-float", 0..1, ort, float, packed, None),
        ("last-ort-float", 1..2, ort, float, packed, None),
        ("whole-onnx-bfloat16", 0..2, onnx, bf16, packed, None),
        ("first-ort-bfloat16-padded", 0..1, ort, bf16, padded, None),
        ("last-onnx-float-padded", 1..2, onnx, float, padded, None),
        (
            "first-ort-bfloat16-int4",
            0..1,
            ort,
            bf16,
            packed,
            quantized(FloatType::Bf16, int4),
        ),
        (
            "first-onnx-float-int8",
            0..1,
            onnx,
            float,
            packed,
            quantized(FloatType::F32, int8),
        ),
        (
            "last-ort-float-w8a8",
            1..2,
            ort,
            float,
            packed,
            quantized(FloatType::F32, Quantized::Channels),
        ),
    ] {
        let spec = StageSpec {
            name: name.into(),
            layers,
            target,
            interface,
        };
        let storage = match &conversion {
            None => Storage::InPlace(&locations),
            Some(conversion) => Storage::Converted(conversion, StageFile::new("new".into())),
        };
        let mut weights = Weights::new(&checkpoint, storage, compute);
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
