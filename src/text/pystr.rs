//! Python's string methods, where they differ from what the template engine brings.

use minijinja::value::{Kwargs, Rest, Tuple, Value, from_args};
use minijinja::{Error, ErrorKind, State};
use minijinja_contrib::pycompat;

/// Answers a method call on a value that the engine has no method for.
///
/// # Errors
///
/// A method that does not exist, or arguments that it does not take.
pub(super) fn call_method(
    state: &mut State,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    let own = value
        .as_str()
        .and_then(|text| string_method(text, method, args));
    if let Some(result) = own {
        return result;
    }
    pycompat::unknown_method_callback(state, value, method, args)
}

/// The `trim` filter: `str.strip`.
///
/// # Errors
///
/// A value that is not text, or arguments that it does not take.
pub(super) fn trim(value: &Value, chars: Option<&str>) -> Result<Value, Error> {
    let text = super::json::python_str(value);
    Ok(Value::from(strip(&text, chars, true, true)))
}

fn string_method(text: &str, method: &str, args: &[Value]) -> Option<Result<Value, Error>> {
    Some(match method {
        "strip" | "lstrip" | "rstrip" => from_args(args).map(|(chars,): (Option<&str>,)| {
            let (start, end) = (method != "rstrip", method != "lstrip");
            Value::from(strip(text, chars, start, end))
        }),
        "split" => split_arguments(args).map(|(separator, limit)| match separator {
            None => split_whitespace(text, limit).into_iter().collect(),
            Some(separator) => text
                .splitn(limit.saturating_add(1), &separator)
                .map(Value::from)
                .collect(),
        }),
        "rsplit" => split_arguments(args).and_then(|(separator, limit)| {
            let Some(separator) = separator else {
                return Err(unsupported("rsplit without a separator"));
            };
            let mut parts: Vec<_> = text.rsplitn(limit.saturating_add(1), &separator).collect();
            parts.reverse();
            Ok(parts.into_iter().map(Value::from).collect())
        }),
        "splitlines" => from_args(args).map(|(keep, kwargs): (Option<bool>, Kwargs)| {
            let keep = keep.or_else(|| kwargs.get("keepends").ok());
            split_lines(text, keep.unwrap_or(false))
        }),
        "partition" => {
            from_args(args).map(|(separator,): (&str,)| match text.split_once(separator) {
                Some((head, tail)) => three(head, separator, tail),
                None => three(text, "", ""),
            })
        }
        "rpartition" => {
            from_args(args).map(|(separator,): (&str,)| match text.rsplit_once(separator) {
                Some((head, tail)) => three(head, separator, tail),
                None => three("", "", text),
            })
        }
        "removeprefix" => from_args(args)
            .map(|(prefix,): (&str,)| Value::from(text.strip_prefix(prefix).unwrap_or(text))),
        "removesuffix" => from_args(args)
            .map(|(suffix,): (&str,)| Value::from(text.strip_suffix(suffix).unwrap_or(text))),
        _ => return None,
    })
}

fn three(head: &str, separator: &str, tail: &str) -> Value {
    Value::from(Tuple::from([
        Value::from(head),
        Value::from(separator),
        Value::from(tail),
    ]))
}

fn unsupported(what: &str) -> Error {
    Error::new(
        ErrorKind::InvalidOperation,
        format!("{what} is not supported"),
    )
}

/// The separator and the largest number of cuts of a `split`; an empty separator is an error, as in Python.
fn split_arguments(args: &[Value]) -> Result<(Option<String>, usize), Error> {
    let (rest, kwargs): (Rest<Value>, Kwargs) = from_args(args)?;
    let separator = match rest.first() {
        Some(value) => Some(value.clone()),
        None => kwargs.get::<Option<Value>>("sep")?,
    };
    let limit = match rest.get(1) {
        Some(value) => Some(value.clone()),
        None => kwargs.get::<Option<Value>>("maxsplit")?,
    };
    kwargs.assert_all_used()?;
    let separator = match separator {
        None => None,
        Some(value) if value.is_none() => None,
        Some(value) => match value.as_str() {
            Some("") => return Err(unsupported("an empty separator")),
            Some(text) => Some(text.to_owned()),
            None => return Err(unsupported("a separator that is not text")),
        },
    };
    let limit = match limit {
        None => -1,
        Some(value) => i64::try_from(value)?,
    };
    Ok((separator, usize::try_from(limit).unwrap_or(usize::MAX)))
}

/// `str.isspace` for one character: Unicode's white space, and the four ASCII separators that Python adds.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

fn strip<'a>(text: &'a str, chars: Option<&str>, start: bool, end: bool) -> &'a str {
    let matches = |c: char| match chars {
        Some(chars) => chars.contains(c),
        None => is_space(c),
    };
    let text = if start {
        text.trim_start_matches(matches)
    } else {
        text
    };
    if end {
        text.trim_end_matches(matches)
    } else {
        text
    }
}

fn split_whitespace(text: &str, limit: usize) -> Vec<Value> {
    let mut parts = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while !rest.is_empty() {
        if parts.len() == limit {
            parts.push(Value::from(rest));
            break;
        }
        let end = rest.find(is_space).unwrap_or(rest.len());
        let (part, tail) = rest.split_at(end);
        parts.push(Value::from(part));
        rest = tail.trim_start_matches(is_space);
    }
    parts
}

fn split_lines(text: &str, keep: bool) -> Value {
    let ends = |c: char| {
        matches!(
            c,
            '\n'..='\r' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
        )
    };
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let Some(at) = rest.find(ends) else {
            lines.push(Value::from(rest));
            break;
        };
        let (line, tail) = rest.split_at(at);
        let width = if tail.starts_with("\r\n") {
            2
        } else {
            tail.chars().next().map_or(0, char::len_utf8)
        };
        let (end, tail) = tail.split_at(width);
        lines.push(if keep {
            Value::from(format!("{line}{end}"))
        } else {
            Value::from(line)
        });
        rest = tail;
    }
    Value::from(lines)
}
