//! Whether a value is what a schema of a description says. It knows the words of JSON Schema that our descriptions have, and
//! stops at any other.

use serde_json::{Map, Value};

/// Words that say nothing of a value.
const SILENT: [&str; 12] = [
    "$ref",
    "contentMediaType",
    "default",
    "description",
    "discriminator",
    "example",
    "format",
    "items",
    "maxItems",
    "minItems",
    "propertyNames",
    "title",
];

/// Checks a value against a schema, both of a description.
///
/// # Errors
/// Where the value differs, and how.
pub fn check(document: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    at(document, schema, value, "$")
}

fn at(document: &Value, schema: &Value, value: &Value, path: &str) -> Result<(), String> {
    let schema = match schema {
        Value::Bool(true) => return Ok(()),
        Value::Object(schema) => schema,
        other => return Err(format!("{path}: {other} is no schema")),
    };
    if let Some(reference) = schema.get("$ref") {
        let reference = reference.as_str().unwrap();
        let found = document.pointer(reference.strip_prefix('#').unwrap());
        let found = found.ok_or_else(|| format!("{path}: {reference} leads nowhere"))?;
        at(document, found, value, path)?;
    }
    let fits = |schema: &&Value| at(document, schema, value, path).is_ok();
    for (word, said) in schema {
        let wrong = |what: String| Err(format!("{path}: {what}, and it is {value}"));
        match word.as_str() {
            "type" if !has_type(said, value) => return wrong(format!("{said} is due")),
            "enum" if !said.as_array().unwrap().contains(value) => {
                return wrong(format!("one of {said} is due"));
            }
            "minimum" if value.as_f64() < said.as_f64() && value.is_number() => {
                return wrong(format!("at least {said} is due"));
            }
            "allOf" => {
                for part in said.as_array().unwrap() {
                    at(document, part, value, path)?;
                }
            }
            "anyOf" if !said.as_array().unwrap().iter().any(|one| fits(&one)) => {
                return wrong(format!("none of {said} fits"));
            }
            "oneOf" => match said.as_array().unwrap().iter().filter(fits).count() {
                1 => {}
                count => return wrong(format!("{count} of {said} fit")),
            },
            "type" | "enum" | "minimum" | "anyOf" => {}
            "required" | "properties" | "additionalProperties" => {}
            silent if SILENT.contains(&silent) => {}
            other => return Err(format!("{path}: `{other}` is not known to this check")),
        }
    }
    match value {
        Value::Object(fields) => object(document, schema, fields, path),
        Value::Array(items) => array(document, schema, items, path),
        _ => Ok(()),
    }
}

fn object(
    document: &Value,
    schema: &Map<String, Value>,
    fields: &Map<String, Value>,
    path: &str,
) -> Result<(), String> {
    let required = schema.get("required").and_then(Value::as_array);
    for name in required.into_iter().flatten() {
        if !fields.contains_key(name.as_str().unwrap()) {
            return Err(format!("{path}: {name} is missing"));
        }
    }
    for (name, value) in fields {
        let path = format!("{path}.{name}");
        let known = schema
            .get("properties")
            .and_then(|properties| properties.get(name));
        match known.or(schema.get("additionalProperties")) {
            Some(Value::Bool(false)) => return Err(format!("{path}: there is no such field")),
            Some(schema) => at(document, schema, value, &path)?,
            None => {}
        }
    }
    Ok(())
}

fn array(
    document: &Value,
    schema: &Map<String, Value>,
    items: &[Value],
    path: &str,
) -> Result<(), String> {
    let length = |word| schema.get(word).and_then(Value::as_u64);
    let count = items.len() as u64;
    if length("minItems").is_some_and(|least| count < least)
        || length("maxItems").is_some_and(|most| count > most)
    {
        return Err(format!("{path}: there are {count} items"));
    }
    let Some(of) = schema.get("items") else {
        return Ok(());
    };
    let mut numbered = items.iter().enumerate();
    numbered.try_for_each(|(index, item)| at(document, of, item, &format!("{path}[{index}]")))
}

fn has_type(said: &Value, value: &Value) -> bool {
    let is = |name: &Value| match name.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("no type {other}"),
    };
    match said {
        Value::Array(names) => names.iter().any(is),
        name => is(name),
    }
}

#[test]
fn what_differs_is_found() {
    use serde_json::json;
    let document = json!({"components": {"N": {"type": "number", "minimum": 0}}});
    let n = json!({"$ref": "#/components/N"});
    let schema = json!({
        "type": "object", "required": ["a"],
        "properties": {"a": n, "b": {"oneOf": [{"type": "integer"}, {"type": "number"}]}, "c": {"type": "array", "items": n, "minItems": 1}},
    });
    for good in [json!({"a": 0.5}), json!({"a": 1, "b": 1.5, "c": [1]})] {
        assert_eq!(check(&document, &schema, &good), Ok(()));
    }
    for (bad, part) in [
        (json!([]), "\"object\" is due"),
        (json!({}), "\"a\" is missing"),
        (json!({"a": "0"}), "$.a: \"number\" is due"),
        (json!({"a": -1}), "at least 0"),
        (json!({"a": 0, "b": 1}), "2 of "),
        (json!({"a": 0, "c": []}), "0 items"),
        (json!({"a": 0, "c": [null]}), "$.c[0]: "),
    ] {
        let error = check(&document, &schema, &bad).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
    let unknown = json!({"multipleOf": 2});
    assert!(check(&document, &unknown, &json!(2)).is_err());
}
