//! Renders templates from standard input, for comparison with Python: one JSON object with `template` and `context` in
//! each line, one with `text` or `error` out.

use std::io::{self, BufRead, Write};

use serde_json::{Value as Json, json};
use worldpm_ort_template::{Error, ErrorKind, Limits, Template, Value};

fn value(json: &Json) -> Result<Value, Error> {
    match json {
        Json::Null => Ok(Value::None),
        Json::Bool(value) => Ok(Value::from(*value)),
        Json::Number(number) => Value::from_json_number(&number.to_string()),
        Json::String(text) => Ok(Value::from(text.as_str())),
        Json::Array(items) => Value::list(items.iter().map(value).collect::<Result<_, _>>()?),
        Json::Object(fields) => {
            let pairs = fields.iter().map(|(name, item)| Ok((name, value(item)?)));
            Value::dict(pairs.collect::<Result<Vec<_>, Error>>()?)
        }
    }
}

fn render(row: &Json) -> Result<String, Error> {
    let template = Template::compile("template", row["template"].as_str().unwrap_or(""))?;
    let now = jiff::civil::date(2023, 11, 14).at(22, 13, 20, 0);
    template.render(&value(&row["context"])?, Some(now), &Limits::default())
}

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let row: Json = serde_json::from_str(&line?)?;
        let result = match render(&row) {
            Ok(text) => json!({ "text": text }),
            Err(error) => json!({
                "error": match error.kind() {
                    ErrorKind::Python(class) => class.to_owned(),
                    kind => format!("{kind:?}"),
                },
                "message": error.message(),
                "line": error.line(),
            }),
        };
        writeln!(out, "{result}")?;
    }
    Ok(())
}
