//! What JSON is called in messages, and how this project's files have it.

use std::fmt::Write;

use serde_json::Value;

/// What a value is, with its article: `a list`, `an object`, …
#[must_use]
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The text of a JSON file: indented, but for lists of numbers, which take one line; with a line break at its end.
#[must_use]
pub fn pretty(value: &Value) -> String {
    let mut text = String::new();
    write(&mut text, value, 0);
    text.push('\n');
    text
}

fn write(text: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Array(items) if !items.iter().all(Value::is_number) => {
            let items = items.iter().map(|item| (None, item));
            block(text, ('[', ']'), items, depth);
        }
        Value::Array(numbers) => {
            let numbers: Vec<String> = numbers.iter().map(Value::to_string).collect();
            // Writing to a string does not fail, here and below.
            let _ = write!(text, "[{}]", numbers.join(", "));
        }
        Value::Object(fields) if !fields.is_empty() => {
            let fields = fields.iter().map(|(name, item)| (Some(name), item));
            block(text, ('{', '}'), fields, depth);
        }
        scalar => {
            let _ = write!(text, "{scalar}");
        }
    }
}

fn block<'a>(
    text: &mut String,
    (open, close): (char, char),
    items: impl Iterator<Item = (Option<&'a String>, &'a Value)>,
    depth: usize,
) {
    let indent = |text: &mut String, depth: usize| {
        text.push('\n');
        text.extend(std::iter::repeat_n("  ", depth));
    };
    text.push(open);
    for (place, (name, item)) in items.enumerate() {
        if place > 0 {
            text.push(',');
        }
        indent(text, depth + 1);
        if let Some(name) = name {
            let _ = write!(text, "{}: ", Value::from(name.as_str()));
        }
        write(text, item, depth + 1);
    }
    indent(text, depth);
    text.push(close);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn layout() {
        let value = json!({
            "empty": [[], {}], "ids": [1, -2, 0.5], "names": ["a", "b\n\"c"], "nested": {"none": null}
        });
        let expected = r#"{
  "empty": [
    [],
    {}
  ],
  "ids": [1, -2, 0.5],
  "names": [
    "a",
    "b\n\"c"
  ],
  "nested": {
    "none": null
  }
}
"#;
        assert_eq!(pretty(&value), expected);
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

    proptest! {
        #[test]
        fn reads_back(value in values()) {
            let read: Value = serde_json::from_str(&pretty(&value)).unwrap();
            let compact: Value = serde_json::from_str(&value.to_string()).unwrap();
            prop_assert_eq!(read, compact);
        }
    }
}
