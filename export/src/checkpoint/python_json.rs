//! JSON as Python reads and writes it: `NaN`, `Infinity` and `-Infinity` are numbers, a number may be too large for a
//! double, and of two values under one key the last counts.
//!
//! [`Value`] has no such numbers. They become `{"__float__": "NaN"}`, which is how `transformers` 5 writes them, so
//! both spellings are one from here on: a field that has to be a number refuses it, and no other minds.

use std::borrow::Cow;

use serde_json::Value;

/// The only key of an object that stands for a number.
const TAG: &str = "__float__";
/// The numbers that have no JSON, as Python writes them. Of two that begin alike, the longer comes first.
const LITERALS: [&str; 3] = ["NaN", "Infinity", "-Infinity"];

/// Reads a whole text.
///
/// # Errors
/// Those of [`serde_json::from_str`].
pub(super) fn parse(text: &str) -> serde_json::Result<Value> {
    serde_json::from_str(&tagged(text))
}

/// A value as the file has it, for messages: a tagged number by its name.
pub(super) fn shown(value: &Value) -> String {
    tag(value).map_or_else(|| value.to_string(), str::to_owned)
}

/// Whether the value stands for a number that JSON does not have.
pub(super) fn is_number(value: &Value) -> bool {
    tag(value).is_some()
}

fn tag(value: &Value) -> Option<&str> {
    let map = value.as_object().filter(|map| map.len() == 1)?;
    let name = map.get(TAG)?.as_str()?;
    LITERALS.contains(&name).then_some(name)
}

/// The text with a tag in place of each number that is not JSON. Lines stay where they are, for messages.
fn tagged(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    // All before this is in `out`.
    let mut copied = 0;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let length = match rest.as_bytes().first() {
            Some(b'"') => string(rest),
            Some(b'N' | b'I' | b'-' | b'0'..=b'9') => match number(rest) {
                (length, None) => length,
                (length, Some(name)) => {
                    out.push_str(text.get(copied..at).unwrap_or_default());
                    out.push_str(&format!("{{\"{TAG}\":\"{name}\"}}"));
                    copied = at + length;
                    length
                }
            },
            _ => rest.chars().next().map_or(1, char::len_utf8),
        };
        at += length;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    Cow::Owned(out)
}

/// Bytes of the string that `rest` begins with, its quotes included; of all of it, where it does not end.
fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in rest.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Bytes of the number or word that `rest` begins with, and its name where it has no JSON.
fn number(rest: &str) -> (usize, Option<&'static str>) {
    if let Some(name) = LITERALS.into_iter().find(|name| rest.starts_with(name)) {
        return (name.len(), Some(name));
    }
    let part_of_number = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
    let length = rest.find(|c| !part_of_number(c)).unwrap_or(rest.len());
    let digits = rest.get(..length).unwrap_or_default();
    // Python makes integers of any size, but of these fields none is one that it could not hold.
    let name = match digits.parse::<f64>() {
        Ok(value) if value == f64::INFINITY => Some("Infinity"),
        Ok(value) if value == f64::NEG_INFINITY => Some("-Infinity"),
        _ => None,
    };
    (length.max(1), name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_without_json() {
        let nan = json!({"__float__": "NaN"});
        let infinity = json!({"__float__": "Infinity"});
        let negative = json!({"__float__": "-Infinity"});
        for (text, expected) in [
            ("NaN", nan.clone()),
            (
                "[NaN,Infinity , -Infinity, 1e999, -1e999, -1e-999, 0]",
                json!([nan, infinity, negative, infinity, negative, -0.0, 0]),
            ),
            (
                r#"{"a": NaN, "NaN": "-Infinity, \" NaN", "b\\": Infinity}"#,
                json!({"a": nan, "NaN": "-Infinity, \" NaN", "b\\": infinity}),
            ),
            (r#"{"a": {"__float__": "NaN"}}"#, json!({"a": nan})),
            (r#"{"a": 1, "a": 2}"#, json!({"a": 2})),
            ("\"é NaN ü\"", json!("é NaN ü")),
        ] {
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
        assert_eq!(shown(&nan), "NaN");
        assert_eq!(shown(&json!({"__float__": "x"})), r#"{"__float__":"x"}"#);
        assert_eq!(shown(&json!(2.5)), "2.5");
    }

    #[test]
    fn what_is_no_json_of_python_either() {
        for text in [
            "",
            "nan",
            "inf",
            "Nan",
            "NaNs",
            "-NaN",
            "+Infinity",
            "Infinityy",
            "1NaN",
            "[NaN",
            "\"NaN",
            "{NaN: 1}",
            "{\"a\": NaN",
            "--1",
            "1e",
            "\\",
            "NaN NaN",
            "é",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        /// Text without such numbers is read as ever, and no text is too much.
        #[test]
        fn reads_what_serde_reads(text in any::<String>(), json in r#"[\[\]{}:,"\\ a-eNI0-9.+-]{0,60}"#) {
            for text in [text, json] {
                if let Ok(value) = serde_json::from_str::<Value>(&text) {
                    prop_assert_eq!(parse(&text).unwrap(), value);
                }
                let _ = parse(&text);
            }
        }
    }
}
