//! Whole checkpoint directories, well-formed and broken, made by hand.

#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

mod folders;
mod headers;

fn config() -> Value {
    json!({
        "architectures": ["Qwen2ForRewardModel"],
        "hidden_act": "silu",
        "hidden_size": 8,
        "intermediate_size": 16,
        "max_position_embeddings": 64,
        "num_attention_heads": 2,
        "num_hidden_layers": 1,
        "num_key_value_heads": 1,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "vocab_size": 32,
    })
}

/// A safetensors file: header text, then this many bytes of data.
fn raw_file(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

/// A well-formed file of bf16 vectors with these names and lengths.
fn vectors(tensors: &[(&str, usize)]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".into(), json!({"format": "pt"}));
    let mut end = 0;
    for (name, length) in tensors {
        let begin = end;
        end += 2 * length;
        header.insert(
            (*name).into(),
            json!({"dtype": "BF16", "shape": [length], "data_offsets": [begin, end]}),
        );
    }
    raw_file(&Value::Object(header).to_string(), end)
}

/// A checkpoint directory under construction.
struct Files {
    dir: TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        files.write(CONFIG_FILE, config().to_string())
    }

    /// Two shards with an index: `a` and `b` in the first, `c` in the second.
    fn sharded() -> Self {
        Self::new()
            .write("m-1.safetensors", vectors(&[("a", 3), ("b", 5)]))
            .write("m-2.safetensors", vectors(&[("c", 4)]))
            .index(json!({"a": "m-1.safetensors", "b": "m-1.safetensors", "c": "m-2.safetensors"}))
    }

    fn write(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        fs::write(self.dir.path().join(name), content).unwrap();
        self
    }

    fn index(self, weight_map: Value) -> Self {
        self.write(
            INDEX_FILE,
            json!({"metadata": {}, "weight_map": weight_map}).to_string(),
        )
    }

    fn remove(self, name: &str) -> Self {
        fs::remove_file(self.dir.path().join(name)).unwrap();
        self
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn open(&self) -> Result<Checkpoint> {
        Checkpoint::open(self.path())
    }

    /// The message of a failed opening, with its causes, which must name the file `name`.
    fn refused(&self, name: &str) -> String {
        let error = self.open().unwrap_err();
        let mut message = error.to_string();
        let path = self.path().join(name);
        assert!(
            message.contains(path.to_str().unwrap().trim_end_matches('/')),
            "{message} does not name {name}"
        );
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        message
    }

    /// As [`refused`](Self::refused), and the message must contain each of `parts`.
    fn refused_with(&self, name: &str, parts: &[&str]) {
        let message = self.refused(name);
        for part in parts {
            assert!(message.contains(part), "`{message}` lacks `{part}`");
        }
    }
}

#[test]
fn shards_are_placed_byte_for_byte() {
    let files = Files::sharded();
    let checkpoint = files.open().unwrap();
    assert_eq!(checkpoint.dir(), files.path());
    assert_eq!(checkpoint.config().hidden_size, 8);
    let names: Vec<_> = checkpoint.files().iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["m-1.safetensors", "m-2.safetensors"]);
    for file in checkpoint.files() {
        assert_eq!(file.bytes, fs::metadata(&file.path).unwrap().len());
    }
    let keys: Vec<_> = checkpoint.tensors().keys().map(String::as_str).collect();
    assert_eq!(keys, ["a", "b", "c"]);

    let length = fs::read(&checkpoint.files()[0].path).unwrap()[0] as u64;
    let b = checkpoint.tensor("b", &[5]).unwrap();
    assert_eq!(
        b,
        &TensorEntry {
            dtype: Dtype::Bf16,
            shape: vec![5],
            file: 0,
            offset: 8 + length + 6,
            bytes: 10,
        }
    );
    assert_eq!(b.offset + b.bytes, checkpoint.files()[0].bytes);
    assert_eq!(checkpoint.tensor("c", &[4]).unwrap().file, 1);
}

#[test]
fn single_file_with_and_without_an_index() {
    let plain = Files::new().write("model.safetensors", vectors(&[("a", 3)]));
    assert_eq!(plain.open().unwrap().files().len(), 1);
    let indexed = plain.index(json!({"a": "model.safetensors"}));
    assert_eq!(indexed.open().unwrap().tensors().len(), 1);
}

#[test]
fn unusual_but_well_formed_headers() {
    let cases = [
        // Order of keys differs from the order of bytes; padding after the JSON.
        (
            r#"{"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]},"a":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}   "#,
            6,
        ),
        // Scalars and empty tensors.
        (
            r#"{"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"e":{"dtype":"BF16","shape":[3,0],"data_offsets":[4,4]},"f":{"dtype":"BF16","shape":[0],"data_offsets":[0,0]}}"#,
            4,
        ),
        // Types narrower than a byte.
        (
            r#"{"s":{"dtype":"F4","shape":[4],"data_offsets":[0,2]},"t":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[2,5]}}"#,
            5,
        ),
        (r#"{}"#, 0),
    ];
    for (header, data) in cases {
        let files = Files::new().write("model.safetensors", raw_file(header, data));
        files.open().unwrap_or_else(|e| panic!("{header}: {e}"));
    }
}

#[test]
fn every_dtype_of_the_format_is_read_but_only_floats_are_weights() {
    let types = [
        ("BOOL", 1),
        ("U8", 1),
        ("I8", 1),
        ("F8_E4M3", 1),
        ("F8_E5M2", 1),
        ("F8_E8M0", 1),
        ("I16", 2),
        ("U16", 2),
        ("F16", 2),
        ("BF16", 2),
        ("I32", 4),
        ("U32", 4),
        ("F32", 4),
        ("F64", 8),
        ("I64", 8),
        ("U64", 8),
        ("C64", 8),
    ];
    for (name, size) in types {
        let header = json!({"t": {"dtype": name, "shape": [2], "data_offsets": [0, 2 * size]}});
        let files =
            Files::new().write("model.safetensors", raw_file(&header.to_string(), 2 * size));
        let checkpoint = files.open().unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(checkpoint.tensors()["t"].dtype.as_str(), name);
        let weight = checkpoint.tensor("t", &[2]);
        if ["BF16", "F16", "F32"].contains(&name) {
            assert_eq!(weight.unwrap().bytes, 2 * size as u64);
        } else {
            let message = weight.unwrap_err().to_string();
            assert!(
                message.contains(name) && message.contains("`t`"),
                "{message}"
            );
        }
    }
}

#[test]
fn a_wanted_tensor_names_both_shapes() {
    let files = Files::sharded();
    let checkpoint = files.open().unwrap();
    let wrong = checkpoint.tensor("b", &[5, 1]).unwrap_err().to_string();
    for part in ["m-1.safetensors", "`b`", "[5]", "[5, 1]"] {
        assert!(wrong.contains(part), "`{wrong}` lacks `{part}`");
    }
    let missing = checkpoint
        .tensor("score.weight", &[1, 8])
        .unwrap_err()
        .to_string();
    for part in [
        files.path().to_str().unwrap(),
        "`score.weight`",
        "missing",
        "[1, 8]",
    ] {
        assert!(missing.contains(part), "`{missing}` lacks `{part}`");
    }
}

proptest! {
    /// Damaged files are refused or read consistently; they never panic.
    #[test]
    fn damaged_files(damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), cut in 0usize..3) {
        let mut bytes = vectors(&[("a", 3), ("b", 5), ("c", 0)]);
        // The data holds nothing that is read.
        let header_end = bytes.len() - 16;
        for (index, byte) in damage {
            bytes[index.index(header_end)] = byte;
        }
        bytes.truncate(bytes.len() - cut);
        let length = bytes.len() as u64;
        let files = Files::new().write("model.safetensors", bytes);
        match files.open() {
            Ok(checkpoint) => {
                let mut total = 0;
                for entry in checkpoint.tensors().values() {
                    prop_assert!(entry.offset + entry.bytes <= length);
                    total += entry.bytes;
                }
                prop_assert!(total <= 16);
            }
            Err(error) => prop_assert!(error.to_string().contains("model.safetensors")),
        }
    }
}
