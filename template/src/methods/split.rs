//! `split`, `rsplit` and `splitlines`.

use crate::{
    error::{Result, type_error, value_error},
    limits::scan,
    number::machine_index,
    unicode::is_space,
    value::{Value, reserve_values},
};

/// The separator, and the largest number of cuts.
pub(super) fn arguments(
    separator: Option<Value>,
    limit: Option<Value>,
) -> Result<(Option<String>, usize)> {
    let separator = match separator {
        None | Some(Value::None) => None,
        Some(Value::Str(text)) if text.as_str().is_empty() => {
            return Err(value_error("empty separator"));
        }
        Some(Value::Str(text)) => Some(text.as_str().to_owned()),
        Some(other) => {
            return Err(type_error(format!(
                "must be str or None, not {}",
                other.type_name()
            )));
        }
    };
    let limit = limit.map_or(Ok(-1), |limit| machine_index(&limit))?;
    Ok((separator, usize::try_from(limit).unwrap_or(usize::MAX)))
}

/// Room for the parts, of which there cannot be more than characters.
fn reserve_parts(text: &str, limit: usize) -> Result<()> {
    scan(text.len())?;
    reserve_values(text.len().min(limit).saturating_add(1) / 64)
}

fn list(parts: &[&str], safe: bool) -> Result<Value> {
    reserve_values(parts.len().saturating_mul(2))?;
    let parts = parts.iter().map(|part| Value::copied(part, safe));
    Value::list(parts.collect::<Result<_>>()?)
}

pub(super) fn split(
    text: &str,
    separator: Option<&str>,
    limit: usize,
    safe: bool,
) -> Result<Value> {
    reserve_parts(text, limit)?;
    let parts: Vec<&str> = match separator {
        Some(separator) => text.splitn(limit.saturating_add(1), separator).collect(),
        None => {
            let mut parts = Vec::new();
            let mut rest = text.trim_start_matches(is_space);
            while !rest.is_empty() {
                if parts.len() == limit {
                    parts.push(rest);
                    break;
                }
                let end = rest.find(is_space).unwrap_or(rest.len());
                let (part, tail) = rest.split_at(end);
                parts.push(part);
                rest = tail.trim_start_matches(is_space);
            }
            parts
        }
    };
    list(&parts, safe)
}

pub(super) fn split_back(
    text: &str,
    separator: Option<&str>,
    limit: usize,
    safe: bool,
) -> Result<Value> {
    reserve_parts(text, limit)?;
    let mut parts: Vec<&str> = match separator {
        Some(separator) => text.rsplitn(limit.saturating_add(1), separator).collect(),
        None => {
            let mut parts = Vec::new();
            let mut rest = text.trim_end_matches(is_space);
            while !rest.is_empty() {
                if parts.len() == limit {
                    parts.push(rest);
                    break;
                }
                let start = rest
                    .char_indices()
                    .rev()
                    .find(|(_, c)| is_space(*c))
                    .map_or(0, |(at, c)| at + c.len_utf8());
                let (head, part) = rest.split_at(start);
                parts.push(part);
                rest = head.trim_end_matches(is_space);
            }
            parts
        }
    };
    parts.reverse();
    list(&parts, safe)
}

/// The lines of a text, with their ends where asked for.
pub(crate) fn split_lines(text: &str, keep: bool) -> Result<Vec<&str>> {
    scan(text.len())?;
    let ends = |c: char| {
        matches!(
            c,
            '\n'..='\r' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
        )
    };
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(ends) {
        let tail = rest.get(at..).unwrap_or("");
        let width = if tail.starts_with("\r\n") {
            2
        } else {
            tail.chars().next().map_or(0, char::len_utf8)
        };
        let end = if keep { at + width } else { at };
        lines.push(rest.get(..end).unwrap_or(""));
        rest = rest.get(at + width..).unwrap_or("");
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    Ok(lines)
}

pub(super) fn lines(text: &str, keep: bool, safe: bool) -> Result<Value> {
    reserve_parts(text, usize::MAX)?;
    list(&split_lines(text, keep)?, safe)
}
