//! Weight files whose headers are spoiled.

use super::*;

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
