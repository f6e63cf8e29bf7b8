//! Which tensors a rotation changes, and how.

#![allow(clippy::unwrap_used)]

use std::fs;

use super::{RotateOptions, part::Part, rotate};
use crate::{
    checkpoint::{Backbone, Checkpoint, Dtype},
    error::Error,
    synth::{Head, Preset, SynthOptions, synth},
};

fn options() -> SynthOptions {
    let mut options = Preset::Tiny.options();
    options.shape.hidden_size = 96;
    options.shape.intermediate_size = 80;
    options.shape.num_attention_heads = 4;
    options.shape.num_key_value_heads = 2;
    options.shape.head_dim = Some(24);
    options.shape.num_hidden_layers = 2;
    options
}

#[test]
fn every_tensor_has_a_part() {
    let norm = |name: &str| format!("model.layers.3.{name}.weight");
    let reader = |name: &str| Part::Reader { norm: norm(name) };
    for (name, part) in [
        ("model.embed_tokens.weight", Part::Embedding),
        ("model.norm.weight", Part::Norm),
        ("model.layers.3.input_layernorm.weight", Part::Norm),
        (
            "model.layers.3.self_attn.q_proj.weight",
            reader("input_layernorm"),
        ),
        ("model.layers.3.self_attn.q_proj.bias", Part::Same),
        ("model.layers.3.self_attn.q_norm.weight", Part::Same),
        (
            "model.layers.3.self_attn.v_proj.weight",
            Part::ValueReader {
                norm: norm("input_layernorm"),
            },
        ),
        ("model.layers.3.self_attn.v_proj.bias", Part::ValueBias),
        ("model.layers.3.self_attn.o_proj.weight", Part::HeadsWriter),
        ("model.layers.3.self_attn.o_proj.bias", Part::WriterBias),
        (
            "model.layers.3.mlp.up_proj.weight",
            reader("post_attention_layernorm"),
        ),
        ("model.layers.3.mlp.down_proj.weight", Part::Writer),
        ("model.layers.3.mlp.down_proj.bias", Part::WriterBias),
        (
            "score.0.weight",
            Part::Reader {
                norm: "model.norm.weight".into(),
            },
        ),
        ("score.2.weight", Part::Same),
        ("score.bias", Part::Same),
        ("model.layers.x", Part::Same),
    ] {
        assert_eq!(Part::of(name), part, "{name}");
    }
}

#[test]
fn the_files_of_a_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let (from, out) = (dir.path().join("from"), dir.path().join("out"));
    synth(&from, &options()).unwrap();
    fs::write(from.join("README.md"), "read").unwrap();
    fs::write(from.join("pytorch_model.bin"), "weights").unwrap();
    let checkpoint = Checkpoint::open(&from).unwrap();
    let rotated = RotateOptions {
        shard_bytes: 200_000,
        ..RotateOptions::default()
    };
    let report = rotate(&checkpoint, &out, &rotated, &|_| {}).unwrap();
    let found = Checkpoint::open(&out).unwrap();
    assert_eq!(found.config().hidden_size, 96);
    assert_eq!(found.files().len(), report.files);
    assert!(report.files > 2);
    let shapes = |checkpoint: &Checkpoint| -> Vec<(String, Vec<u64>)> {
        let all = checkpoint.tensors().iter();
        all.map(|(name, entry)| (name.clone(), entry.shape.clone()))
            .collect()
    };
    assert_eq!(shapes(&found), shapes(&checkpoint));
    assert!(
        found
            .tensors()
            .values()
            .all(|entry| entry.dtype == Dtype::F32)
    );
    assert_eq!(fs::read_to_string(out.join("README.md")).unwrap(), "read");
    assert!(!out.join("pytorch_model.bin").exists());

    let again = dir.path().join("again");
    let one_thread = RotateOptions {
        threads: std::num::NonZeroUsize::new(1),
        ..rotated
    };
    rotate(&checkpoint, &again, &one_thread, &|_| {}).unwrap();
    for file in found.files() {
        let [one, other] = [&out, &again].map(|dir| fs::read(dir.join(&file.name)).unwrap());
        assert!(one == other, "{}", file.name);
    }
}

#[test]
fn what_is_not_rotated() {
    let dir = tempfile::tempdir().unwrap();
    let (from, out) = (dir.path().join("from"), dir.path().join("out"));
    let mut gemma = options();
    gemma.backbone = Backbone::Gemma2;
    gemma.head = Head::OneLayer { bias: false };
    synth(&from, &gemma).unwrap();
    let checkpoint = Checkpoint::open(&from).unwrap();
    let error = rotate(&checkpoint, &out, &RotateOptions::default(), &|_| {}).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");

    let from = dir.path().join("infinite");
    synth(&from, &options()).unwrap();
    let checkpoint = Checkpoint::open(&from).unwrap();
    let entry = &checkpoint.tensors()["model.layers.1.mlp.down_proj.weight"];
    let path = checkpoint.files()[entry.file].path.clone();
    let mut bytes = fs::read(&path).unwrap();
    let at = entry.offset as usize + 20;
    bytes[at..at + 2].copy_from_slice(&half::bf16::INFINITY.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    let checkpoint = Checkpoint::open(&from).unwrap();
    let error = rotate(&checkpoint, &out, &RotateOptions::default(), &|_| {}).unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("down_proj") && message.contains("value 10"),
        "{message}"
    );
    assert!(!out.exists());
}
