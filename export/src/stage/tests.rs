//! The whole graph of a small model as text, so that no change to it goes unseen.
//!
//! `UPDATE_GOLDENS=1 cargo test -p worldpm-ort-export` writes the files in `testdata/` anew: read the
//! difference before committing it.

#![allow(clippy::unwrap_used)]

use std::{env, fs, ops::Range, path::Path};

use worldpm_ort_bundle::{Interface, Target, float_type::FloatType, proto::ElementType};

use super::ModelGraph;
use crate::{
    block::weights::{Conversion, Quantized, Storage, Weights},
    checkpoint::{Backbone, Checkpoint},
    convert::{Bits, Blocks, Layout, StageFile},
    synth::{Head, Preset, SynthOptions, synth},
};

type Form = (&'static str, Range<usize>, Target, ElementType, Interface);

const ORT: Target = Target::Ort;
const ONNX: Target = Target::Onnx;
const FLOAT: ElementType = ElementType::Float;
const BF16: ElementType = ElementType::BFloat16;
const PACKED: Interface = Interface::Packed;
const PADDED: Interface = Interface::Padded;

fn tiny() -> SynthOptions {
    let mut options = Preset::Tiny.options();
    options.sparse = true;
    options.single_file = true;
    options.shape.num_hidden_layers = 2;
    options
}

#[test]
fn graphs_are_as_recorded() {
    let qwen2 = SynthOptions {
        head: Head::TwoLayer,
        ..tiny()
    };
    assert_as_recorded(
        &qwen2,
        [
            ("first-ort-float", 0..1, ORT, FLOAT, PACKED),
            ("last-ort-float", 1..2, ORT, FLOAT, PACKED),
            ("whole-onnx-bfloat16", 0..2, ONNX, BF16, PACKED),
            ("first-ort-bfloat16-padded", 0..1, ORT, BF16, PADDED),
            ("last-onnx-float-padded", 1..2, ONNX, FLOAT, PADDED),
        ],
    );
}

#[test]
fn quantized_graphs_are_as_recorded() {
    let qwen2 = SynthOptions {
        head: Head::TwoLayer,
        ..tiny()
    };
    let conversion = |float, quantized| Conversion {
        large: FloatType::Bf16,
        small: float,
        quantized: Some(quantized),
        keep: vec!["*.0.mlp.down_proj".into()],
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
    for (form, conversion) in [
        (
            ("first-ort-bfloat16-int4", 0..1, ORT, BF16, PACKED),
            conversion(FloatType::Bf16, int4),
        ),
        (
            ("first-onnx-float-int8", 0..1, ONNX, FLOAT, PACKED),
            conversion(FloatType::F32, int8),
        ),
        (
            ("last-ort-float-w8a8", 1..2, ORT, FLOAT, PACKED),
            conversion(FloatType::F32, Quantized::Channels),
        ),
    ] {
        assert_converted_as_recorded(&qwen2, [form], Some(&conversion));
    }
}

/// The decoder with the most that others have not: windows, capped scores, other norms.
#[test]
fn graphs_of_gemma2_are_as_recorded() {
    let mut gemma2 = SynthOptions {
        backbone: Backbone::Gemma2,
        head: Head::OneLayer { bias: false },
        ..tiny()
    };
    gemma2.shape.head_dim = Some(256);
    assert_as_recorded(
        &gemma2,
        [
            ("gemma2-ort-float", 0..2, ORT, FLOAT, PACKED),
            ("gemma2-onnx-bfloat16", 0..2, ONNX, BF16, PACKED),
        ],
    );
}

/// The decoder with norms of heads, with biases and scaled positions.
#[test]
fn graphs_of_qwen3_are_as_recorded() {
    let mut qwen3 = SynthOptions {
        backbone: Backbone::Qwen3,
        head: Head::OneLayer { bias: false },
        ..tiny()
    };
    let rope = serde_json::json!({"type": "yarn", "factor": 4.0});
    qwen3.config.insert("rope_scaling".into(), rope);
    qwen3.config.insert("attention_bias".into(), true.into());
    assert_as_recorded(&qwen3, [("qwen3-ort-bfloat16", 0..1, ORT, BF16, PACKED)]);
}

fn assert_as_recorded<const N: usize>(options: &SynthOptions, forms: [Form; N]) {
    assert_converted_as_recorded(options, forms, None);
}

fn assert_converted_as_recorded<const N: usize>(
    options: &SynthOptions,
    forms: [Form; N],
    conversion: Option<&Conversion>,
) {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("checkpoint");
    synth(&dir, options).unwrap();
    let checkpoint = Checkpoint::open(&dir).unwrap();
    let locations = ["model.safetensors".to_owned()];

    for (name, layers, target, compute, interface) in forms {
        let storage = match conversion {
            None => Storage::InPlace(&locations),
            Some(conversion) => Storage::Converted(conversion, StageFile::new("new".into())),
        };
        let weights = Weights::new(&checkpoint, storage, compute);
        let model = ModelGraph::build(&checkpoint, weights, target, interface).unwrap();
        let stage = model.stage(name, layers, "new".into()).unwrap();
        let found = stage.graph.to_string();
        let golden = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("src/stage/testdata")
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
