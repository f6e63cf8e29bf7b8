//! Ways to spoil an input.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use fastrand::Rng;
use serde_json::{Map, Value, json};

/// What a value is replaced by.
fn odd(rng: &mut Rng) -> Value {
    let long = "y".repeat(rng.usize(1..20_000));
    let values = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1),
        json!(7),
        json!(65536),
        json!(2147483648_u64),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1e308),
        json!(-0.0),
        json!(0.1),
        json!(""),
        json!("x"),
        json!("a\0b"),
        json!("../../etc/passwd"),
        json!("/dev/zero"),
        json!("\u{1b}[2J"),
        json!("\u{202e}é🙂"),
        json!(long),
        json!([]),
        json!({}),
        json!([[[]]]),
        json!({"a": {"b": [1]}}),
        json!("<|im_end|>"),
        json!("(((((a+)+)+)+)+)$"),
        json!("{{ messages }}"),
    ];
    values[rng.usize(..values.len())].clone()
}

/// The text of a JSON value with one to three of its parts changed, now and then with bytes changed too.
pub(crate) fn json(rng: &mut Rng, value: &Value) -> Vec<u8> {
    let mut value = value.clone();
    for _ in 0..rng.usize(1..4) {
        let all = value.clone();
        change(rng, &mut value, &all);
    }
    let mut text = value.to_string().into_bytes();
    match rng.u8(..10) {
        0 => text = bytes(rng, &text),
        // Deeper than any parser should follow, and a field twice.
        1 => text = [b"[".repeat(rng.usize(1..100_000)), text].concat(),
        2 if text.first() == Some(&b'{') => {
            let again = [b"{\"format\":1,\"format\":", text.as_slice(), b","].concat();
            text = [again.as_slice(), &text[1..]].concat();
        }
        _ => {}
    }
    text
}

fn change(rng: &mut Rng, value: &mut Value, all: &Value) {
    let deeper = rng.u8(..8) > 0;
    match value {
        Value::Object(fields) if deeper && !fields.is_empty() => {
            let name = fields
                .keys()
                .nth(rng.usize(..fields.len()))
                .unwrap()
                .clone();
            match rng.u8(..12) {
                0 => drop(fields.shift_remove(&name)),
                1 => rename(rng, fields, &name),
                _ => change(rng, &mut fields[&name], all),
            }
        }
        Value::Array(items) if deeper && !items.is_empty() => {
            let at = rng.usize(..items.len());
            match rng.u8(..12) {
                0 => drop(items.remove(at)),
                1 => items.insert(at, items[at].clone()),
                2 => items.extend(vec![items[at].clone(); rng.usize(1..2000)]),
                _ => change(rng, &mut items[at], all),
            }
        }
        Value::Number(number) if rng.bool() => {
            let number = number.as_f64().unwrap_or(0.0);
            let near = [
                number + 1.0,
                number - 1.0,
                -number,
                number * 2.0,
                number / 2.0,
                number * 1e6,
            ];
            let near = near[rng.usize(..near.len())];
            *value = if near.fract() == 0.0 && near.abs() < 1e15 {
                json!(near as i64)
            } else {
                json!(near)
            };
        }
        Value::String(text) if rng.bool() => {
            *value = String::from_utf8_lossy(&bytes(rng, text.as_bytes())).into();
        }
        _ if rng.u8(..6) == 0 => *value = some_part(rng, all),
        _ => *value = odd(rng),
    }
}

fn rename(rng: &mut Rng, fields: &mut Map<String, Value>, name: &str) {
    if let Some(value) = fields.shift_remove(name) {
        let name = String::from_utf8_lossy(&bytes(rng, name.as_bytes())).into_owned();
        fields.insert(name, value);
    }
}

/// A part of a value, from anywhere.
fn some_part(rng: &mut Rng, value: &Value) -> Value {
    let inner: Vec<&Value> = match value {
        Value::Object(fields) => fields.values().collect(),
        Value::Array(items) => items.iter().collect(),
        _ => Vec::new(),
    };
    match inner.is_empty() || rng.u8(..4) == 0 {
        true => value.clone(),
        false => {
            let at = rng.usize(..inner.len());
            some_part(rng, inner[at])
        }
    }
}

/// Bytes with a few of them changed.
pub(crate) fn bytes(rng: &mut Rng, bytes: &[u8]) -> Vec<u8> {
    const PARTS: [&[u8]; 12] = [
        b"\0",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"\\u0000",
        b"\\ud800",
        b"\"",
        b"{",
        b"}]",
        b"\n",
        b"1e999",
        b"-",
        b"\x80",
    ];
    let mut bytes = bytes.to_vec();
    for _ in 0..rng.usize(1..5) {
        let at = rng.usize(..=bytes.len());
        let length = rng.usize(..=(bytes.len() - at).min(64));
        match rng.u8(..7) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..at + length)),
            2 => drop(bytes.splice(at..at, PARTS[rng.usize(..PARTS.len())].iter().copied())),
            3 => {
                let part = bytes[at..at + length].repeat(rng.usize(1..50));
                drop(bytes.splice(at..at, part));
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = match rng.bool() {
                        true => *byte ^ (1 << rng.u8(..8)),
                        false => rng.u8(..),
                    };
                }
            }
        }
    }
    bytes
}

/// Puts something else in the place of a file, and says what.
pub(crate) fn special(rng: &mut Rng, path: &Path) -> &'static str {
    let _ = fs::remove_file(path);
    match rng.u8(..6) {
        0 => {
            let made = Command::new("mkfifo").arg(path).status();
            assert!(made.unwrap().success());
            "a pipe"
        }
        1 => {
            symlink("/dev/zero", path).unwrap();
            "a device without an end"
        }
        2 => {
            fs::create_dir(path).unwrap();
            "a folder"
        }
        3 => {
            symlink("nowhere", path).unwrap();
            "a link to nothing"
        }
        4 => {
            symlink(path.file_name().unwrap(), path).unwrap();
            "a link to itself"
        }
        _ => {
            fs::write(path, "").unwrap();
            "an empty file"
        }
    }
}
