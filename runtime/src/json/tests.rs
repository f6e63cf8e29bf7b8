#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn error(text: &str) -> String {
    Json::parse(text).unwrap_err().to_string()
}

#[test]
fn numbers_come_out_as_they_came_in() {
    for text in [
        "0",
        "-0",
        "-0.0",
        "1.0e5",
        "1E+2",
        "18446744073709551616",
        "-9223372036854775809",
        "123456789012345678901234567890",
        "0.1000000000000000055511151231257827",
        "94.95886283158103",
        "1e-400",
    ] {
        let value = Json::parse(text).unwrap();
        assert_eq!(value.to_string(), text);
        let nested = format!(r#"{{"a":[{text},{{"b":{text}}}]}}"#);
        assert_eq!(Json::parse(&nested).unwrap().to_string(), nested);
    }
}

#[test]
fn numbers_have_python_s_types() {
    let number = |text: &str| match Json::parse(text).unwrap() {
        Json::Number(number) => number,
        other => panic!("{other:?}"),
    };
    for (text, integer, float) in [
        ("-0", Some(0), -0.0),
        (
            "18446744073709551616",
            Some(1 << 64),
            18446744073709551616.0,
        ),
        ("1.0", None, 1.0),
        ("1e2", None, 100.0),
        ("0.9849919442923573", None, 0.9849919442923573),
    ] {
        let number = number(text);
        assert_eq!(number.is_integer(), integer.is_some(), "{text}");
        assert_eq!(number.as_i128(), integer, "{text}");
        assert_eq!(number.as_f64(), float, "{text}");
    }
}

#[test]
fn what_is_wrong_and_where() {
    for (text, expected) in [
        (
            "",
            "the text ends in the middle of a value (line 1, column 1)",
        ),
        ("{\"a\": 1,\n \"b\" 2}", "expected `:` (line 2, column 6)"),
        ("[1 2]", "expected `,` or `]` (line 1, column 4)"),
        ("[1,]", "expected value (line 1, column 4)"),
        (
            "{\"a\":1,}",
            "expected a key after the `,` (line 1, column 8)",
        ),
        (
            "{a:1}",
            "expected a key in double quotes (line 1, column 2)",
        ),
        ("{'a':1}", "a key takes double quotes (line 1, column 2)"),
        ("1 2", "expected nothing more (line 1, column 3)"),
        ("01", "a number does not begin with 0 (line 1, column 1)"),
        (
            "1.",
            "the text ends in the middle of a value (line 1, column 3)",
        ),
        ("[-]", "expected a digit (line 1, column 3)"),
        ("[1e999]", "number out of range (line 1, column 2)"),
        ("\"\\x\"", "no such escape in a string (line 1, column 2)"),
        (
            "\"\\ud800\"",
            "half of a surrogate pair: a character beyond U+FFFF takes two escapes (line 1, column 2)",
        ),
        (
            "\"a",
            "the text ends in the middle of a value (line 1, column 3)",
        ),
        (
            "\"a\nb\"",
            "a line break or control character in a string: escape it (line 1, column 3)",
        ),
        (
            "[None]",
            "this is Python and not JSON, which has null, true and false (line 1, column 2)",
        ),
    ] {
        assert_eq!(error(text), expected, "{text}");
    }
    for word in ["NaN", "Infinity", "-Infinity"] {
        let error = error(&format!("{{\"a\": {word}}}"));
        assert!(
            error.starts_with("NaN and Infinity, which Python writes"),
            "{error}"
        );
        assert!(error.ends_with("(line 1, column 7)"), "{error}");
    }
}

#[test]
fn a_key_stands_once_in_an_object() {
    for (text, key, column) in [
        (r#"{"a":1,"a":1}"#, "\"a\"", 8),
        (r#"{"x":[{"b":{"c":1,"d":2,"c":3}}]}"#, "\"c\"", 25),
        (r#"{"a":1,"\u0061":2}"#, "\"a\"", 8),
    ] {
        let expected = format!(
            "the key {key} is there twice in one object: keep one (line 1, column {column})"
        );
        assert_eq!(error(text), expected);
    }
    assert!(Json::parse(r#"[{"a":1},{"a":1}]"#).is_ok());
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(Json::parse(&nested(127)).is_ok());
    assert!(error(&nested(128)).contains("nested 128 deep"));
    assert!(error(&nested(1_000_000)).contains("nested 128 deep"));
    assert!(error(&"{\"a\":".repeat(1_000_000)).contains("nested 128 deep"));
}

/// Values of two bytes would take thirty times the memory of their text.
#[test]
fn memory_is_bounded_by_the_text() {
    let many = format!("[{}0]", "0,".repeat(4 << 20));
    assert!(error(&many).starts_with("there are too many small values"));
    let objects = format!("[{}0]", "{\"a\":0},".repeat(1 << 20));
    assert!(error(&objects).starts_with("there are too many small values"));
    let text = format!("[{}0]", "\"0123456789012345678901234567\",".repeat(1 << 20));
    assert!(Json::parse(&text).is_ok());
}

#[test]
fn objects_keep_the_order_and_equal_in_any() {
    let value = Json::parse(r#"{"z":1,"a":2,"m":3}"#).unwrap();
    let names: Vec<_> = value.as_object().unwrap().keys().collect();
    assert_eq!(names, ["z", "a", "m"]);
    assert_eq!(value, Json::parse(r#"{"a":2,"m":3,"z":1}"#).unwrap());
    let mut fields = value.as_object().unwrap().clone();
    assert_eq!(fields.remove("z"), Some(1.into()));
    assert_eq!(fields.insert("a", "x"), Some(2.into()));
    assert_eq!(Json::from(fields).to_string(), r#"{"a":"x","m":3}"#);
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..8)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Pieces of JSON in any order.
fn fragments() -> impl Strategy<Value = String> {
    let pieces = [
        "[", "]", "{", "}", ",", ":", "\"", "\\", "\\u00e9", "\\ud83d", "\\ude00", "\n", " ", "-",
        "0", "1", ".5", "e", "+", "null", "true", "\"a\"", "\"b\":", "é", "\u{0}", "Na",
    ];
    let pieces = prop::sample::select(pieces.to_vec());
    prop::collection::vec(pieces, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn reads_what_is_written(value in values()) {
        for text in [value.to_string(), format!("{value:#}")] {
            let read = Json::parse(&text).unwrap();
            prop_assert_eq!(&read, &Json::from(value.clone()));
            prop_assert_eq!(read.to_string(), value.to_string());
        }
    }

    /// Takes and refuses what another parser does.
    #[test]
    fn any_text_is_read_or_refused_as_elsewhere(text in fragments()) {
        let ours = Json::parse(&text);
        match serde_json::from_str::<Value>(&text) {
            Ok(value) => match ours {
                Ok(found) => {
                    let read: Value = serde_json::from_str(&found.to_string()).unwrap();
                    prop_assert_eq!(read, value);
                }
                Err(JsonError { kind: JsonErrorKind::RepeatedKey(_), .. }) => {}
                Err(error) => prop_assert!(false, "{}: {}", text, error),
            },
            Err(_) => prop_assert!(ours.is_err(), "{}: {:?}", text, ours),
        }
        let mut skipping = Parser::new(&text);
        let skipped = skipping.skip().and_then(|()| skipping.end());
        let repeated = matches!(&ours_kind(&text), Some(JsonErrorKind::RepeatedKey(_)));
        prop_assert_eq!(skipped.is_ok(), Json::parse(&text).is_ok() || repeated && skipped.is_ok());
    }

    #[test]
    fn strings_with_any_escapes(text in any::<String>()) {
        let escaped: String = text
            .encode_utf16()
            .map(|unit| format!("\\u{unit:04x}"))
            .collect();
        prop_assert_eq!(Json::parse(&format!("\"{escaped}\"")).unwrap(), Json::from(text));
    }
}

fn ours_kind(text: &str) -> Option<JsonErrorKind> {
    Json::parse(text).err().map(|error| error.kind)
}

#[test]
fn values_of_serde_become_ours() {
    let value = json!({"a": [1, -2.5, "x", null, true], "b": {"c": u64::MAX}});
    assert_eq!(Json::from(value.clone()).to_string(), value.to_string());
}
