//! Whole checkpoint directories, well-formed and broken, made by hand.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

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

/// Opens a checkpoint whose only weight file is `bytes`; it must be refused with each of `parts`.
fn broken(bytes: Vec<u8>, parts: &[&str]) {
    Files::new()
        .write("model.safetensors", bytes)
        .refused_with("model.safetensors", parts);
}

fn broken_header(header: &str, data: usize, parts: &[&str]) {
    broken(raw_file(header, data), parts);
}

#[test]
fn empty_and_tiny_files() {
    broken(vec![], &["has 0 bytes", "truncated"]);
    broken(vec![1, 2, 3], &["has 3 bytes", "truncated"]);
}

#[test]
fn header_length_beyond_the_file() {
    let mut bytes = vectors(&[("a", 3)]);
    bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    broken(
        bytes,
        &["18446744073709551615", "truncated, or is not safetensors"],
    );
    let mut bytes = vectors(&[("a", 3)]);
    bytes.truncate(20);
    broken(bytes, &["only 12 follow"]);
}

#[test]
fn header_over_the_format_limit() {
    let files = Files::new();
    let path = files.path().join("model.safetensors");
    fs::write(&path, 100_000_001u64.to_le_bytes()).unwrap();
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(200_000_000)
        .unwrap();
    files.refused_with("model.safetensors", &["100000001 bytes", "limit"]);
}

#[test]
fn git_lfs_pointer_in_place_of_weights() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n";
    broken(pointer.as_bytes().to_vec(), &["git lfs pull"]);
}

#[test]
fn truncated_data() {
    let mut bytes = vectors(&[("a", 3), ("b", 5)]);
    bytes.pop();
    broken(bytes, &["`b`", "truncated"]);
}

#[test]
fn data_after_the_last_tensor() {
    let mut bytes = vectors(&[("a", 3)]);
    bytes.push(0);
    broken(bytes, &["its tensors end at byte"]);
}

#[test]
fn header_that_is_not_json() {
    broken_header("", 0, &["not a JSON object"]);
    broken_header("[1]", 0, &["not a JSON object"]);
    broken_header("{\"a\":", 0, &["not valid", "EOF"]);
    broken_header("{} {}", 0, &["not valid", "trailing"]);
    let mut bytes = raw_file("{\"a?\":1}", 0);
    let at = bytes.iter().position(|&b| b == b'?').unwrap();
    bytes[at] = 0xff;
    broken(bytes, &["not valid"]);
}

#[test]
fn header_entries_of_the_wrong_form() {
    broken_header(r#"{"a":7}"#, 0, &["`a`", "invalid type"]);
    broken_header(
        r#"{"a":{"shape":[1],"data_offsets":[0,2]}}"#,
        2,
        &["`a`", "missing field `dtype`"],
    );
    broken_header(
        r#"{"a":{"dtype":"BF16","data_offsets":[0,2]}}"#,
        2,
        &["`a`", "`shape`"],
    );
    broken_header(
        r#"{"a":{"dtype":"BF16","shape":[1]}}"#,
        2,
        &["`a`", "`data_offsets`"],
    );
    broken_header(
        r#"{"a":{"dtype":"BF16","shape":[1],"data_offsets":[0]}}"#,
        2,
        &["`a`"],
    );
    broken_header(
        r#"{"a":{"dtype":"BF16","shape":[-1],"data_offsets":[0,2]}}"#,
        2,
        &["`a`", "-1"],
    );
    broken_header(
        r#"{"a":{"dtype":"BF16","shape":[1.5],"data_offsets":[0,2]}}"#,
        2,
        &["`a`", "1.5"],
    );
    broken_header(
        r#"{"a":{"dtype":"Q4_0","shape":[1],"data_offsets":[0,2]}}"#,
        2,
        &["`a`", "`Q4_0`"],
    );
    broken_header(r#"{"__metadata__":{"x":1}}"#, 0, &["__metadata__", "`x`"]);
}

#[test]
fn duplicate_keys() {
    let a = r#""a":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}"#;
    broken_header(&format!("{{{a},{a}}}"), 2, &["`a` is there twice"]);
    broken_header(
        r#"{"a":{"dtype":"BF16","dtype":"F16","shape":[1],"data_offsets":[0,2]}}"#,
        2,
        &["`a`", "duplicate field `dtype`"],
    );
    broken_header(
        r#"{"__metadata__":{},"__metadata__":{}}"#,
        0,
        &["`__metadata__` is there twice"],
    );
}

#[test]
fn data_offsets_out_of_order_or_range() {
    let two = |a: [u64; 2], b: [u64; 2]| {
        let entry = |o: [u64; 2]| json!({"dtype": "U8", "shape": [o[1].saturating_sub(o[0])], "data_offsets": o});
        json!({"a": entry(a), "b": entry(b)}).to_string()
    };
    broken_header(&two([0, 4], [2, 6]), 6, &["`a` and `b` overlap"]);
    broken_header(&two([0, 4], [0, 4]), 4, &["`a` and `b` overlap"]);
    broken_header(&two([0, 4], [6, 8]), 8, &["`b`", "gaps"]);
    broken_header(&two([1, 4], [4, 8]), 8, &["`a`", "gaps"]);
    broken_header(&two([0, 4], [4, 9]), 8, &["`b`", "truncated"]);
    broken_header(
        &two([0, 4], [8, 4]),
        8,
        &["`b`", "[8, 4] end before they begin"],
    );
}

#[test]
fn sizes_that_disagree_or_overflow() {
    broken_header(
        r#"{"a":{"dtype":"BF16","shape":[3],"data_offsets":[0,4]}}"#,
        4,
        &["`a`", "hold 4 bytes", "BF16 [3] needs 6"],
    );
    broken_header(
        r#"{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}"#,
        2,
        &["`a`", "F4 [3]"],
    );
    broken_header(
        r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#,
        0,
        &["`a`", "overflows"],
    );
    broken_header(
        r#"{"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}}"#,
        0,
        &["`a`", "overflows"],
    );
    broken_header(
        r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[18446744073709551614,18446744073709551615]}}"#,
        1,
        &["`a`", "overflow"],
    );
}

#[test]
fn missing_shard() {
    Files::sharded().remove("m-1.safetensors").refused_with(
        INDEX_FILE,
        &[
            "`m-1.safetensors`, which does not exist",
            "`a` (and 1 more)",
        ],
    );
}

#[test]
fn index_that_disagrees_with_the_headers() {
    let places = |a: &str, c: &str| json!({"a": a, "b": "m-1.safetensors", "c": c});
    let (one, two) = ("m-1.safetensors", "m-2.safetensors");

    let mut extra = places(one, two);
    extra["d"] = json!(two);
    // `transformers` reads all tensors of the files that an index names, wherever it places them.
    for map in [extra.clone(), places(two, two), json!({"b": one, "c": two})] {
        let files = Files::sharded().index(map);
        let opened = files.open().unwrap();
        let names: Vec<_> = opened.tensors().keys().collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert!(opened.notes().is_empty());
    }
    // One that is needed and in no file is missing all the same.
    let files = Files::sharded().index(extra);
    let error = files.open().unwrap().tensor("d", &[3]).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::MissingTensor { .. }), "{error:?}");
    assert!(
        text.contains("`d`: is missing") && text.contains("places it in `m-2.safetensors`"),
        "{text}"
    );
    Files::sharded()
        .write(two, vectors(&[("a", 3), ("c", 4)]))
        .refused_with(two, &["`a`", "is also in `m-1.safetensors`"]);
}

#[test]
fn index_that_is_malformed() {
    let cases = [
        ("", "not a valid index"),
        ("{}", "weight_map"),
        (r#"{"weight_map": []}"#, "expected an object"),
        (r#"{"weight_map": {}}"#, "empty"),
        (r#"{"weight_map": {"a": 1}}"#, "`a`"),
        (
            r#"{"weight_map": {"a": "m-1.safetensors", "a": "m-2.safetensors"}}"#,
            "`a` is there twice",
        ),
        (
            r#"{"weight_map": {"a": "../m.safetensors"}}"#,
            "same directory",
        ),
        (
            r#"{"weight_map": {"a": "/m.safetensors"}}"#,
            "same directory",
        ),
        (
            r#"{"weight_map": {"a": "x/m.safetensors"}}"#,
            "same directory",
        ),
        (
            r#"{"weight_map": {"a": "m-1.safetensors/"}}"#,
            "same directory",
        ),
        (r#"{"weight_map": {"a": ".."}}"#, "same directory"),
        (r#"{"weight_map": {"a": ""}}"#, "same directory"),
        (
            r#"{"weight_map": {"a": "m-1.bin"}}"#,
            "not a .safetensors file",
        ),
    ];
    for (text, part) in cases {
        Files::sharded()
            .write(INDEX_FILE, text)
            .refused_with(INDEX_FILE, &[part]);
    }
}

#[test]
fn two_layouts_at_once() {
    // As `transformers` chooses: the single file.
    let files = Files::sharded().write("model.safetensors", vectors(&[("z", 3)]));
    let opened = files.open().unwrap();
    assert_eq!(opened.tensors().keys().collect::<Vec<_>>(), ["z"]);
    let [note] = opened.notes() else {
        panic!("{:?}", opened.notes());
    };
    assert!(note.contains(INDEX_FILE), "{note}");
}

#[test]
fn a_configuration_that_names_other_weights() {
    let named = |value: Value| {
        let mut config = config();
        config["transformers_weights"] = value;
        Files::sharded().write(CONFIG_FILE, config.to_string())
    };
    named(json!(INDEX_FILE)).open().unwrap();
    named(json!(null)).open().unwrap();
    for other in [json!("other.safetensors"), json!(7)] {
        named(other).refused_with(CONFIG_FILE, &["transformers_weights", "take the field out"]);
    }
}

#[test]
fn git_lfs_pointers_in_place_of_text() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
    for name in [CONFIG_FILE, INDEX_FILE] {
        Files::sharded()
            .write(name, pointer)
            .refused_with(name, &["Git LFS pointer", "git lfs pull"]);
    }
}

#[test]
fn no_weights_no_configuration_no_directory() {
    Files::new().refused_with("", &["holds no weights"]);
    Files::new()
        .write("pytorch_model.bin", "")
        .refused_with("", &["pytorch_model.bin", "safetensors"]);
    Files::sharded()
        .remove(CONFIG_FILE)
        .refused_with(CONFIG_FILE, &["cannot read"]);
    let error = Checkpoint::open(Path::new("no/such/dir"))
        .unwrap_err()
        .to_string();
    assert_eq!(error, "cannot open the checkpoint directory `no/such/dir`");
}

#[test]
fn weight_file_that_is_a_directory() {
    let files = Files::new();
    fs::create_dir(files.path().join("model.safetensors")).unwrap();
    files.refused_with("model.safetensors", &["not a regular file"]);
}

/// Lays out `files` as the Hugging Face cache does, and returns the snapshot.
#[cfg(unix)]
fn snapshot(cache: &Path, files: &[(&str, Vec<u8>)]) -> PathBuf {
    let snapshot = cache.join("snapshots/0123abcd");
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(cache.join("blobs")).unwrap();
    for (number, (name, content)) in files.iter().enumerate() {
        let blob = format!("blobs/{number:064x}");
        fs::write(cache.join(&blob), content).unwrap();
        std::os::unix::fs::symlink(Path::new("../..").join(blob), snapshot.join(name)).unwrap();
    }
    snapshot
}

#[cfg(unix)]
#[test]
fn cache_snapshot_resolves_to_blobs() {
    let cache = tempfile::tempdir().unwrap();
    let weight_map = json!({"a": "m-1.safetensors", "c": "m-2.safetensors"});
    let dir = snapshot(
        cache.path(),
        &[
            (CONFIG_FILE, config().to_string().into()),
            (
                INDEX_FILE,
                json!({"weight_map": weight_map}).to_string().into(),
            ),
            ("m-1.safetensors", vectors(&[("a", 3)])),
            ("m-2.safetensors", vectors(&[("c", 4)])),
        ],
    );
    let blobs = cache.path().canonicalize().unwrap().join("blobs");
    let checkpoint = Checkpoint::open(&dir).unwrap();
    let real: Vec<_> = checkpoint.files().iter().map(|f| f.path.clone()).collect();
    assert_eq!(
        real,
        [
            blobs.join(format!("{:064x}", 2)),
            blobs.join(format!("{:064x}", 3))
        ]
    );

    let link = cache.path().join("latest");
    std::os::unix::fs::symlink(&dir, &link).unwrap();
    let linked = Checkpoint::open(&link).unwrap();
    assert_eq!(linked.files(), checkpoint.files());

    fs::remove_file(blobs.join(format!("{:064x}", 3))).unwrap();
    let error = Checkpoint::open(&dir).unwrap_err().to_string();
    assert!(
        error.contains("m-2.safetensors") && error.contains("download is incomplete"),
        "{error}"
    );
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
