//! `Markup`: escaping, and what takes it back.

use crate::{
    error::{Result, unsupported},
    limits::scan,
    repr::to_str,
    unicode::is_space,
    value::{Buffer, Text, Value},
};

/// `soft_str`: text as it is, anything else as `str` writes it.
pub(crate) fn soft_str(value: &Value) -> Result<Text> {
    match value {
        Value::Str(text) => Ok(text.clone()),
        other => to_str(other).map(Text::from),
    }
}

/// `markupsafe.escape`.
pub(crate) fn escaped(value: &Value) -> Result<Text> {
    if let Value::Str(text) = value
        && text.is_safe()
    {
        return Ok(text.clone());
    }
    let mut out = Buffer::new();
    push_escaped(value, &mut out)?;
    Ok(Text::from(out).with_safe(true))
}

/// Writes what `markupsafe.escape` gives.
pub(crate) fn push_escaped(value: &Value, out: &mut Buffer) -> Result<()> {
    let text = soft_str(value)?;
    if text.is_safe() {
        return out.push_str(text.as_str());
    }
    push_escaped_text(text.as_str(), out)
}

fn push_escaped_text(text: &str, out: &mut Buffer) -> Result<()> {
    let mut plain = 0;
    for (at, c) in text.char_indices() {
        let reference = match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            '\'' => "&#39;",
            '"' => "&#34;",
            _ => continue,
        };
        out.push_str(text.get(plain..at).unwrap_or(""))?;
        out.push_str(reference)?;
        plain = at + 1;
    }
    out.push_str(text.get(plain..).unwrap_or(""))
}

/// `html.unescape` for numbers and the references that escaping makes.
pub(crate) fn unescape(text: &str) -> Result<String> {
    scan(text.len())?;
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        let (before, tail) = rest.split_at(at);
        out.push_str(before);
        let known = [
            ("&amp;", "&"),
            ("&lt;", "<"),
            ("&gt;", ">"),
            ("&quot;", "\""),
            ("&#39;", "'"),
            ("&#34;", "\""),
        ];
        if let Some((reference, plain)) = known.iter().find(|(known, _)| tail.starts_with(known)) {
            out.push_str(plain);
            rest = tail.get(reference.len()..).unwrap_or("");
            continue;
        }
        let next = tail.chars().nth(1);
        if next.is_some_and(|c| c == '#' || c.is_ascii_alphabetic()) {
            return Err(unsupported(
                "an HTML reference other than those of escaped text",
            ));
        }
        out.push('&');
        rest = tail.get(1..).unwrap_or("");
    }
    out.push_str(rest);
    Ok(out)
}

/// `Markup.striptags`.
pub(crate) fn striptags(text: &Text) -> Result<String> {
    scan(text.as_str().len())?;
    let mut value = text.as_str().to_owned();
    // Comments first: they may hold tags.
    while let Some(start) = value.find("<!--") {
        let Some(end) = value.get(start..).and_then(|tail| tail.find("-->")) else {
            break;
        };
        scan(value.len())?;
        value.replace_range(start..start + end + 3, "");
    }
    while let Some(start) = value.find('<') {
        let Some(end) = value.get(start..).and_then(|tail| tail.find('>')) else {
            break;
        };
        scan(value.len())?;
        value.replace_range(start..=start + end, "");
    }
    let words: Vec<_> = value
        .split(is_space)
        .filter(|word| !word.is_empty())
        .collect();
    unescape(&words.join(" "))
}
