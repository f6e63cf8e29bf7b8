//! What `tokenizer.json` may hold: the parts in which a bad value would abort the program or take all memory, which no
//! caught panic mends, are looked at before the tokenizer library sees them.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::error::TextError;

/// How many times longer replacements may make a text. Real ones make three bytes of a space.
const MAX_GROWTH: usize = 64;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Outline {
    normalizer: Value,
    pre_tokenizer: Value,
}

/// Checks the normaliser and the pre-tokenizer.
///
/// # Errors
///
/// [`TextError::Json`] for a file that is not JSON, [`TextError::Config`] for a step that cannot be run.
pub(super) fn check(path: &Path, tokenizer: &[u8]) -> Result<(), TextError> {
    let outline: Outline = serde_json::from_slice(tokenizer).map_err(|source| TextError::Json {
        path: path.to_owned(),
        source,
    })?;
    let mut growth = 1_usize;
    let parts = [
        ("normalizer", outline.normalizer),
        ("pre_tokenizer", outline.pre_tokenizer),
    ];
    for (field, value) in &parts {
        steps(field, value, &mut |field, step| {
            check_step(step, &mut growth).map_err(|problem| TextError::Config {
                path: path.to_owned(),
                field: field.to_owned(),
                problem,
            })
        })?;
    }
    Ok(())
}

/// Calls `check` with each step of a pipeline and its place.
fn steps(
    field: &str,
    value: &Value,
    check: &mut impl FnMut(&str, &Value) -> Result<(), TextError>,
) -> Result<(), TextError> {
    check(field, value)?;
    for name in ["normalizers", "pretokenizers"] {
        let inner = value.get(name).and_then(Value::as_array);
        for (i, step) in inner.into_iter().flatten().enumerate() {
            steps(&format!("{field}.{name}[{i}]"), step, check)?;
        }
    }
    Ok(())
}

fn check_step(step: &Value, growth: &mut usize) -> Result<(), String> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    // A step whose type is left out is recognised by its fields.
    if step.get("type").and_then(Value::as_str) == Some("Precompiled")
        || step.get("precompiled_charsmap").is_some()
    {
        let map = text(step.get("precompiled_charsmap"));
        return check_charsmap(&map.unwrap_or_default());
    }
    let Some(pattern) = step.get("pattern") else {
        return Ok(());
    };
    let literal = text(pattern.get("String")).or_else(|| text(Some(pattern)));
    let expression = text(pattern.get("Regex"));
    if literal.as_deref() == Some("") || expression.as_deref() == Some("") {
        return Err(
            "has an empty pattern, which is found everywhere: give one that is not".to_owned(),
        );
    }
    if let Some(content) = text(step.get("content")) {
        let length = literal.map_or(1, |literal| literal.len());
        *growth = growth.saturating_mul(content.len().div_ceil(length).max(1));
        if *growth > MAX_GROWTH {
            return Err(format!(
                "together with the replacements before it, it may make a text more than {MAX_GROWTH} times longer"
            ));
        }
    }
    Ok(())
}

/// A table of SentencePiece: the length of a tree in 4 bytes, the tree, texts.
fn check_charsmap(base64: &str) -> Result<(), String> {
    let bad = |what: &str| {
        Err(format!(
            "its `precompiled_charsmap` {what}: fetch the file again"
        ))
    };
    let digits = base64.trim_end_matches('=');
    let bytes = digits.len() * 3 / 4;
    let mut head = Vec::new();
    for digit in digits.bytes().take(6) {
        head.push(match digit {
            b'A'..=b'Z' => u64::from(digit - b'A'),
            b'a'..=b'z' => u64::from(digit - b'a') + 26,
            b'0'..=b'9' => u64::from(digit - b'0') + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return bad("is not base64"),
        });
    }
    if bytes < 4 || head.len() < 6 {
        return bad("is missing or too short");
    }
    // The first 32 of 36 bits, of which the first byte is the lowest.
    let bits = head.iter().fold(0, |bits, digit| bits << 6 | digit);
    let tree = u32::try_from(bits >> 4).map_or(u32::MAX, u32::swap_bytes) as usize;
    if tree == 0 || !tree.is_multiple_of(4) || tree > bytes - 4 {
        return bad("says a length that it does not have");
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn checked(normalizer: &Value) -> Result<(), String> {
        let file = json!({"normalizer": normalizer, "model": {}}).to_string();
        check(Path::new("tokenizer.json"), file.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn steps_that_cannot_be_run_are_named() {
        let replace = |pattern: Value, content: &str| json!({"type": "Replace", "pattern": pattern, "content": content});
        let sequence = |steps: Vec<Value>| json!({"type": "Sequence", "normalizers": steps});
        let double = replace(json!({"String": "a"}), "aa");
        for (normalizer, parts) in [
            (
                json!({"type": "Precompiled"}),
                ["normalizer", "missing or too short"],
            ),
            (
                json!({"precompiled_charsmap": 7}),
                ["normalizer", "missing or too short"],
            ),
            (
                json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
                ["normalizer", "too short"],
            ),
            (
                json!({"type": "Precompiled", "precompiled_charsmap": "/////////////////////w=="}),
                ["charsmap", "a length"],
            ),
            (
                json!({"type": "Precompiled", "precompiled_charsmap": "!!!!!!!!"}),
                ["charsmap", "not base64"],
            ),
            (
                replace(json!({"String": ""}), "xx"),
                ["normalizer", "empty pattern"],
            ),
            (
                replace(json!({"Regex": ""}), "x"),
                ["normalizer", "empty pattern"],
            ),
            (
                sequence(vec![
                    json!({"type": "NFC"}),
                    replace(json!({"String": ""}), ""),
                ]),
                ["normalizers[1]", "empty pattern"],
            ),
            (
                replace(json!({"String": "a"}), &"b".repeat(65)),
                ["normalizer", "64 times"],
            ),
            (
                replace(json!({"Regex": "."}), &"b".repeat(65)),
                ["normalizer", "64 times"],
            ),
            (sequence(vec![double; 7]), ["normalizers[6]", "64 times"]),
        ] {
            let error = checked(&normalizer).unwrap_err();
            for part in parts {
                assert!(error.contains(part), "{normalizer}: {error}");
            }
        }
    }

    #[test]
    fn steps_of_real_tokenizers_pass() {
        for normalizer in [
            json!(null),
            json!({"type": "NFC"}),
            json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"}),
            json!({"type": "Sequence", "normalizers": [
                {"type": "Prepend", "prepend": "▁"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
                {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
            ]}),
            // A tree of one unit, and no text.
            json!({"type": "Precompiled", "precompiled_charsmap": "BAAAAAAAAAA="}),
        ] {
            checked(&normalizer).unwrap();
        }
    }
}
