//! Escaping, and what else is about HTML.

use crate::{
    error::{Result, attribute_error, type_error, value_error},
    iter::{collect, is_iterable, iterate},
    markup::{escaped, push_escaped, soft_str, striptags},
    repr::to_str,
    value::{Args, Buffer, Interp, Object, Text, Value, View, ViewKind},
};

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
                crate::quote::string_repr(name)
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
