//! Filters for text.

use super::getter::Getter;
use crate::ast::BinaryOp;
use crate::error::{
    Result, assertion_error, attribute_error, filter_argument_error, type_error, unsupported,
    value_error,
};
use crate::{
    iter::{self, iterate},
    json::{Style, dumps},
    limits::reserve,
    markup::{escaped, push_escaped, soft_str},
    methods,
    number::{clamped_index, machine_index},
    repr::{push_str_of, to_str},
    unicode::{is_alphanumeric, is_space},
    value::{Args, Buffer, Interp, Text, Value},
};

fn changed(value: &Value, change: impl FnOnce(&str) -> String) -> Result<Value> {
    let text = soft_str(value)?;
    reserve(text.as_str().len().saturating_mul(2))?;
    Ok(Value::text_like(change(text.as_str()), text.is_safe()))
}

pub(super) fn upper(_: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let [] = args.bind("do_upper", [], 0)?;
    changed(&value, methods::upper)
}

pub(super) fn lower(_: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let [] = args.bind("do_lower", [], 0)?;
    changed(&value, methods::lower)
}

pub(super) fn capitalize(_: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let [] = args.bind("do_capitalize", [], 0)?;
    changed(&value, methods::capitalize)
}

pub(super) fn title(_: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let [] = args.bind("do_title", [], 0)?;
    let text = soft_str(&value)?;
    reserve(text.as_str().len().saturating_mul(2))?;
    let breaks = |c: char| is_space(c) || matches!(c, '-' | '(' | '{' | '[' | '<');
    let mut out = String::with_capacity(text.as_str().len());
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        if breaks(first) {
            out.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or("");
            continue;
        }
        let end = rest.find(breaks).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(end);
        out.extend(first.to_uppercase());
        out.push_str(&word.get(first.len_utf8()..).unwrap_or("").to_lowercase());
        rest = tail;
    }
    // Jinja joins the words as plain text.
    Ok(Value::str(out))
}

pub(super) fn string(_: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let [] = args.bind("soft_str", [], 0)?;
    soft_str(&value).map(Value::Str)
}

pub(super) fn trim(_: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let [chars] = args.bind("do_trim", ["chars"], 0)?;
    let text = soft_str(&value)?;
    let chars = match &chars {
        None | Some(Value::None) => None,
        Some(Value::Str(chars)) => Some(chars.as_str()),
        Some(_) => return Err(type_error("strip arg must be None or str")),
    };
    Value::copied(
        methods::strip(text.as_str(), chars, true, true),
        text.is_safe(),
    )
}

pub(super) fn center(_: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let [width] = args.bind("do_center", ["width"], 0)?;
    let width = width.map_or(Ok(80), |width| machine_index(&width))?;
    let text = soft_str(&value)?;
    let centred = methods::center(text.as_str(), width, " ")?;
    Ok(Value::text_like(centred, text.is_safe()))
}

pub(super) fn replace(interp: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let [old, new, count] = args.bind("do_replace", ["old", "new", "count"], 2)?;
    let (old, new) = (old.unwrap_or(Value::None), new.unwrap_or(Value::None));
    let count = match count {
        None | Some(Value::None) => Value::Int(-1),
        Some(count) => count,
    };
    let (text, old, new) = if interp.autoescape {
        let text = if old.is_markup() || (new.is_markup() && !value.is_markup()) {
            escaped(&value)?
        } else {
            soft_str(&value)?
        };
        (text, soft_str(&old)?, soft_str(&new)?)
    } else {
        (
            soft_str(&value)?.with_safe(false),
            soft_str(&old)?.with_safe(false),
            soft_str(&new)?.with_safe(false),
        )
    };
    let args = Args {
        positional: vec![Value::Str(old), Value::Str(new), count],
        named: Vec::new(),
    };
    methods::call(interp, &Value::Str(text), "replace", args)
}

pub(super) fn format(_: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    if !args.positional.is_empty() && !args.named.is_empty() {
        return Err(filter_argument_error(
            "can't handle positional and keyword arguments at the same time",
        ));
    }
    let text = Value::Str(soft_str(&value)?);
    let arguments = if args.named.is_empty() {
        Value::tuple(args.positional)?
    } else {
        Value::dict(args.named)?
    };
    crate::ops::binary(BinaryOp::Mod, &text, &arguments)
}

pub(super) fn join(interp: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let [separator, attribute] = args.bind("do_join", ["d", "attribute"], 0)?;
    let separator = separator.unwrap_or_else(|| Value::str(""));
    let attribute = attribute.filter(|attribute| !attribute.is_none());
    let getter = attribute.map(|attribute| Getter::new(Some(&attribute), None, false));
    let mut iter = iterate(&value)?;
    let mut items = Vec::new();
    let mut out = Buffer::new();
    let plain = to_str(&separator)?;
    let mut first = true;
    while let Some(item) = iter.next(interp)? {
        let item = match &getter {
            Some(getter) => getter.get(interp, &item)?,
            None => item,
        };
        if interp.autoescape {
            crate::value::reserve_values(1)?;
            items.push(item);
            continue;
        }
        if !first {
            out.push_str(&plain)?;
        }
        first = false;
        push_str_of(&item, &mut out)?;
    }
    if !interp.autoescape {
        return Ok(Value::str(Text::from(out)));
    }
    let safe = separator.is_markup() || items.iter().any(Value::is_markup);
    for (at, item) in items.iter().enumerate() {
        if at > 0 && safe {
            push_escaped(&separator, &mut out)?;
        } else if at > 0 {
            out.push_str(&plain)?;
        }
        if safe {
            push_escaped(&Value::Str(soft_str(item)?), &mut out)?;
        } else {
            push_str_of(item, &mut out)?;
        }
    }
    Ok(Value::text_like(Text::from(out), safe))
}

pub(super) fn indent(_: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let [width, first, blank] = args.bind("do_indent", ["width", "first", "blank"], 0)?;
    let truth = |value: Option<Value>| value.map_or(Ok(false), |value| value.is_true());
    let (first, blank) = (truth(first)?, truth(blank)?);
    let indent = match width {
        None => "    ".to_owned(),
        Some(Value::Str(text)) if value.is_markup() => {
            escaped(&Value::Str(text))?.as_str().to_owned()
        }
        Some(Value::Str(text)) => text.as_str().to_owned(),
        Some(width) => {
            let width = crate::ops::binary(BinaryOp::Mul, &Value::str(" "), &width)?;
            to_str(&width)?
        }
    };
    let Value::Str(text) = &value else {
        if matches!(value, Value::List(_)) {
            return Err(attribute_error(
                "'list' object has no attribute 'splitlines'",
            ));
        }
        // `s += newline` is what fails.
        let newline = Value::str("\n");
        let error = crate::ops::binary(BinaryOp::Add, &value, &newline).err();
        return Err(error.unwrap_or_else(|| type_error("indent needs text")));
    };
    let ended = [text.as_str(), "\n"].concat();
    let lines = methods::split_lines(&ended, false)?;
    let mut out = Buffer::new();
    for (at, line) in lines.iter().enumerate() {
        if at > 0 {
            out.push_str("\n")?;
        }
        if (at == 0 && first) || (at > 0 && (blank || !line.is_empty())) {
            out.push_str(&indent)?;
        }
        out.push_str(line)?;
    }
    Ok(Value::text_like(Text::from(out), text.is_safe()))
}

pub(super) fn truncate(interp: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let [length, kill, end, leeway] =
        args.bind("do_truncate", ["length", "killwords", "end", "leeway"], 0)?;
    let length = length.map_or(Ok(255), |length| clamped_index(&length))?;
    let kill = kill.map_or(Ok(false), |kill| kill.is_true())?;
    let end = end.unwrap_or_else(|| Value::str("..."));
    let leeway = match leeway {
        None | Some(Value::None) => 5,
        Some(leeway) => clamped_index(&leeway)?,
    };
    let end_length = i64::try_from(iter::length(interp, &end)?).unwrap_or(i64::MAX);
    if length < end_length {
        return Err(assertion_error(format!(
            "expected length >= {end_length}, got {length}"
        )));
    }
    if leeway < 0 {
        return Err(assertion_error(format!(
            "expected leeway >= 0, got {leeway}"
        )));
    }
    let whole = i64::try_from(iter::length(interp, &value)?).unwrap_or(i64::MAX);
    if whole <= length.saturating_add(leeway) {
        return Ok(value);
    }
    let bounds = [Value::None, Value::Int(length - end_length), Value::None];
    let cut = crate::index::slice(&value, &bounds)?;
    if kill {
        return crate::ops::binary(BinaryOp::Add, &cut, &end);
    }
    let Value::Str(text) = &cut else {
        return Err(attribute_error(format!(
            "'{}' object has no attribute 'rsplit'",
            cut.type_name()
        )));
    };
    let head = text
        .as_str()
        .rsplit_once(' ')
        .map_or(text.as_str(), |(head, _)| head);
    let head = Value::copied(head, text.is_safe())?;
    crate::ops::binary(BinaryOp::Add, &head, &end)
}

pub(super) fn wordcount(_: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let [] = args.bind("do_wordcount", [], 0)?;
    let text = soft_str(&value)?;
    let words = text
        .as_str()
        .split(|c: char| c != '_' && !is_alphanumeric(c))
        .filter(|word| !word.is_empty());
    Ok(Value::usize(words.count()))
}

/// `pprint.pformat`, as far as it is `repr`: what fits on one line of 80 characters.
pub(super) fn pprint(_: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let [] = args.bind("do_pprint", [], 0)?;
    if let Value::Str(text) = &value
        && text.as_str().contains('\n')
    {
        return Err(unsupported("the filter `pprint` for text of several lines"));
    }
    if matches!(value, Value::Dict(_)) {
        return Err(unsupported(
            "the filter `pprint` for a dict, which it sorts",
        ));
    }
    let shown = crate::repr::repr(&value)?;
    if shown.chars().count() > 80 || shown.contains('{') {
        return Err(unsupported("the filter `pprint` for more than one line"));
    }
    Ok(Value::str(shown))
}

/// `tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False)`, as `transformers` has it.
pub(super) fn tojson(interp: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let names = ["ensure_ascii", "indent", "separators", "sort_keys"];
    let [ensure_ascii, indent, separators, sort_keys] = args.bind("tojson", names, 0)?;
    let truth = |value: Option<Value>| value.map_or(Ok(false), |value| value.is_true());
    let indent = match indent {
        None | Some(Value::None) => None,
        Some(Value::Str(text)) => Some(text.as_str().to_owned()),
        Some(width) => {
            let width = crate::ops::binary(BinaryOp::Mul, &Value::str(" "), &width)?;
            Some(to_str(&width)?)
        }
    };
    let separators = match separators {
        None | Some(Value::None) => {
            let item = if indent.is_some() { "," } else { ", " };
            (item.to_owned(), ": ".to_owned())
        }
        Some(pair) => {
            let parts = iter::collect(interp, &pair)?;
            let [item, key] = parts.as_slice() else {
                return Err(value_error("separators must be two texts"));
            };
            match (item.as_str(), key.as_str()) {
                (Some(item), Some(key)) => (item.to_owned(), key.to_owned()),
                _ => return Err(type_error("separators must be text")),
            }
        }
    };
    let style = Style {
        ensure_ascii: truth(ensure_ascii)?,
        indent,
        separators,
        sort_keys: truth(sort_keys)?,
    };
    let mut out = Buffer::new();
    dumps(&value, &style, &mut out)?;
    Ok(Value::str(Text::from(out)))
}
