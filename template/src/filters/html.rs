//! Escaping, and what else is about HTML.

use crate::args::Args;
use crate::error::{Result, attribute_error, type_error, unsupported, value_error};
use crate::eval::Interp;
use crate::iter::{collect, is_iterable, iterate};
use crate::limits::{Buffer, scan};
use crate::object::{Object, View, ViewKind};
use crate::repr::to_str;
use crate::unicode::is_space;
use crate::value::{Text, Value};

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

pub(super) fn escape(_: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let [] = args.positional("escape", 0)?;
    escaped(&value).map(Value::Str)
}

pub(super) fn forceescape(_: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let [] = args.bind("do_forceescape", [], 0)?;
    let text = soft_str(&value)?.with_safe(false);
    escaped(&Value::Str(text)).map(Value::Str)
}

pub(super) fn safe(_: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let [] = args.bind("do_mark_safe", [], 0)?;
    Ok(Value::Str(soft_str(&value)?.with_safe(true)))
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

pub(super) fn striptags_filter(_: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let [] = args.bind("do_striptags", [], 0)?;
    striptags(&soft_str(&value)?).map(Value::str)
}

fn quoted(value: &Value, query: bool) -> Result<String> {
    let text = to_str(value)?;
    crate::limits::reserve(text.len().saturating_mul(3))?;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' => {
                out.push(char::from(byte));
            }
            b'/' if !query => out.push('/'),
            b' ' if query => out.push('+'),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    Ok(out)
}

pub(super) fn urlencode(interp: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let [] = args.bind("do_urlencode", [], 0)?;
    if matches!(value, Value::Str(_)) || !is_iterable(&value) {
        return quoted(&value, false).map(Value::str);
    }
    let pairs = match &value {
        Value::Dict(dict) => Value::Object(Object::View(std::rc::Rc::new(View {
            kind: ViewKind::Items,
            dict: dict.clone(),
        }))),
        other => other.clone(),
    };
    let mut iter = iterate(&pairs)?;
    let mut parts = Vec::new();
    while let Some(pair) = iter.next(interp)? {
        if !is_iterable(&pair) {
            return Err(type_error(format!(
                "cannot unpack non-iterable {} object",
                pair.type_name()
            )));
        }
        let pair = collect(interp, &pair)?;
        let [key, value] = pair.as_slice() else {
            return Err(value_error("pairs are needed to unpack (expected 2)"));
        };
        parts.push(format!("{}={}", quoted(key, true)?, quoted(value, true)?));
    }
    Ok(Value::str(parts.join("&")))
}

pub(super) fn xmlattr(interp: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let [autospace] = args.bind("do_xmlattr", ["autospace"], 0)?;
    let autospace = autospace.map_or(Ok(true), |autospace| autospace.is_true())?;
    let Value::Dict(dict) = &value else {
        return Err(value.undefined_error().unwrap_or_else(|| {
            attribute_error(format!(
                "'{}' object has no attribute 'items'",
                value.type_name()
            ))
        }));
    };
    let mut out = Buffer::new();
    for (key, value) in dict.iter() {
        if value.is_none() || value.is_undefined() {
            continue;
        }
        let Some(name) = key.as_str() else {
            return Err(type_error("expected string or bytes-like object"));
        };
        let bad = |c: char| matches!(c, ' ' | '\t'..='\r' | '/' | '>' | '=');
        if name.contains(bad) {
            return Err(value_error(format!(
                "Invalid character in attribute name: {}",
                crate::repr::string_repr(name)
            )));
        }
        if out.len() > 0 || autospace {
            out.push_str(" ")?;
        }
        push_escaped(key, &mut out)?;
        out.push_str("=\"")?;
        push_escaped(value, &mut out)?;
        out.push_str("\"")?;
    }
    Ok(Value::text_like(Text::from(out), interp.autoescape))
}
