//! The methods of `str` that look for a part of a text: `find` and its like, `count`, `startswith` and `endswith`.

use crate::{
    error::{Result, type_error, value_error},
    limits::scan,
    number::clamped_index,
    value::{Args, Text, Value},
};

/// An argument that must be text: what is looked for.
pub(super) fn plain_argument(value: Option<Value>, what: &str) -> Result<Text> {
    match value {
        Some(Value::Str(text)) => Ok(text),
        other => Err(type_error(format!(
            "{what} must be str, not {}",
            other.unwrap_or(Value::None).type_name()
        ))),
    }
}

/// The bytes from `start` to `end`, which count characters, and how many characters come before.
fn window(
    text: &str,
    start: Option<Value>,
    end: Option<Value>,
) -> Result<Option<(usize, usize, usize)>> {
    let place = |value: Option<Value>, default: i64| match value {
        None | Some(Value::None) => Ok(default),
        Some(value @ (Value::Int(_) | Value::Big(_) | Value::Bool(_))) => clamped_index(&value),
        Some(_) => Err(type_error(
            "slice indices must be integers or None or have an __index__ method",
        )),
    };
    let (start, end) = (place(start, 0)?, place(end, i64::MAX)?);
    scan(text.len())?;
    if start == 0 && end == i64::MAX {
        return Ok(Some((0, text.len(), 0)));
    }
    let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    let from_end = |place: i64| {
        if place < 0 {
            place.saturating_add(length).max(0)
        } else {
            place
        }
    };
    let (start, end) = (from_end(start), from_end(end).min(length));
    if start > end {
        return Ok(None);
    }
    let byte = |place: i64| {
        let place = usize::try_from(place).unwrap_or(0);
        text.char_indices()
            .nth(place)
            .map_or(text.len(), |(at, _)| at)
    };
    let before = usize::try_from(start).unwrap_or(0);
    Ok(Some((byte(start), byte(end), before)))
}

pub(super) fn search(text: &Text, method: &str, args: Args) -> Result<Value> {
    let [part, start, end] = args.positional(method, 1)?;
    let part = plain_argument(part, &format!("{method}() argument 1"))?;
    let part = part.as_str();
    let window = window(text.as_str(), start, end)?;
    let count = method == "count";
    let found = match window {
        None => return absent(method, count),
        Some((from, to, before)) => {
            let within = text.as_str().get(from..to).unwrap_or("");
            if count {
                let found = if part.is_empty() {
                    within.chars().count() + 1
                } else {
                    within.matches(part).count()
                };
                return Ok(Value::usize(found));
            }
            let at = if method.starts_with('r') {
                within.rfind(part)
            } else {
                within.find(part)
            };
            at.map(|at| before + within.get(..at).unwrap_or("").chars().count())
        }
    };
    match found {
        Some(at) => Ok(Value::usize(at)),
        None => absent(method, false),
    }
}

fn absent(method: &str, count: bool) -> Result<Value> {
    if count {
        Ok(Value::Int(0))
    } else if method.ends_with("index") {
        Err(value_error("substring not found"))
    } else {
        Ok(Value::Int(-1))
    }
}

pub(super) fn edge(text: &Text, method: &str, args: Args) -> Result<Value> {
    let [part, start, end] = args.positional(method, 1)?;
    let window = window(text.as_str(), start, end)?;
    let matches = |part: &Value| match (part, window) {
        (Value::Str(_), None) => Ok(false),
        (Value::Str(part), Some((from, to, _))) => {
            let within = text.as_str().get(from..to).unwrap_or("");
            Ok(if method == "startswith" {
                within.starts_with(part.as_str())
            } else {
                within.ends_with(part.as_str())
            })
        }
        (other, _) => Err(type_error(format!(
            "{method} first arg must be str or a tuple of str, not {}",
            other.type_name()
        ))),
    };
    match part {
        Some(Value::Tuple(parts)) => {
            for part in &parts.items {
                if matches(part)? {
                    return Ok(Value::Bool(true));
                }
            }
            Ok(Value::Bool(false))
        }
        part => matches(&part.unwrap_or(Value::None)).map(Value::Bool),
    }
}
