//! Methods of `str`, and of `Markup`, which escapes what is put into it. Those that look for a part of a text are in
//! [`super::search`].

use super::{
    case,
    search::{edge, plain_argument, search},
    split,
};
use crate::{
    error::{Result, type_error, unsupported, value_error},
    limits::{reserve, scan},
    markup::escaped,
    number::machine_index,
    unicode,
    value::{Args, Buffer, Interp, Text, Value},
};

/// An argument that must be text; a `Markup` method escapes it first.
fn text_argument(value: Option<Value>, of: &Text, what: &str) -> Result<Text> {
    match value {
        Some(Value::Str(text)) if of.is_safe() => escaped(&Value::Str(text)),
        Some(Value::Str(text)) => Ok(text),
        Some(other) => Err(type_error(format!(
            "{what} must be str, not {}",
            other.type_name()
        ))),
        None => Err(type_error(format!("{what} is missing"))),
    }
}

/// `strip`, `lstrip` and `rstrip`.
pub(crate) fn strip<'a>(text: &'a str, chars: Option<&str>, start: bool, end: bool) -> &'a str {
    let matches = |c: char| match chars {
        Some(chars) => chars.contains(c),
        None => unicode::is_space(c),
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

fn fill(text: &str, before: usize, after: usize, with: &str) -> Result<String> {
    let bytes = before.saturating_add(after).saturating_mul(with.len());
    reserve(bytes.saturating_add(text.len()))?;
    Ok([&with.repeat(before), text, &with.repeat(after)].concat())
}

/// `str.center`.
pub(crate) fn center(text: &str, width: i64, with: &str) -> Result<String> {
    let length = text.chars().count();
    let width = usize::try_from(width).unwrap_or(0);
    let missing = width.saturating_sub(length);
    let before = missing / 2 + (missing & width & 1);
    fill(text, before, missing - before, with)
}

fn justify(text: &Text, method: &str, args: Args) -> Result<Value> {
    let [width, with] = args.positional(method, 1)?;
    let width = machine_index(&width.unwrap_or(Value::None))?;
    let with = match with {
        None => " ".to_owned(),
        Some(Value::Str(with)) if text.is_safe() => escaped(&Value::Str(with))?.as_str().to_owned(),
        Some(Value::Str(with)) => with.as_str().to_owned(),
        Some(other) => {
            return Err(type_error(format!(
                "The fill character must be a unicode character, not {}",
                other.type_name()
            )));
        }
    };
    if with.chars().count() != 1 {
        return Err(type_error(
            "The fill character must be exactly one character long",
        ));
    }
    scan(text.as_str().len())?;
    let missing = usize::try_from(width)
        .unwrap_or(0)
        .saturating_sub(text.as_str().chars().count());
    let filled = match method {
        "ljust" => fill(text.as_str(), 0, missing, &with)?,
        "rjust" => fill(text.as_str(), missing, 0, &with)?,
        _ => center(text.as_str(), width, &with)?,
    };
    Ok(Value::text_like(filled, text.is_safe()))
}

fn replace(text: &Text, args: Args) -> Result<Value> {
    let [old, new, count] = args.positional("replace", 2)?;
    let old = plain_argument(old, "replace() argument 1")?;
    let new = text_argument(new, text, "replace() argument 2")?;
    let count = count.map_or(Ok(-1), |count| machine_index(&count))?;
    replaced(text.as_str(), old.as_str(), new.as_str(), count)
        .map(|out| Value::text_like(out, text.is_safe()))
}

/// `str.replace`.
pub(crate) fn replaced(text: &str, old: &str, new: &str, count: i64) -> Result<String> {
    scan(text.len())?;
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let found = if old.is_empty() {
        text.chars().count() + 1
    } else {
        text.matches(old).count()
    };
    let grown = found.min(count).saturating_mul(new.len());
    reserve(text.len().saturating_add(grown))?;
    Ok(text.replacen(old, new, count))
}

fn expand_tabs(text: &str, width: i64) -> Result<String> {
    let width = usize::try_from(width).unwrap_or(0);
    let mut out = Buffer::new();
    let mut column = 0usize;
    for c in text.chars() {
        match c {
            '\t' if width > 0 => {
                let spaces = width - column % width;
                reserve(spaces)?;
                out.push_str(&" ".repeat(spaces))?;
                column = column.saturating_add(spaces);
            }
            '\t' => {}
            c => {
                out.push(c)?;
                column = if matches!(c, '\n' | '\r') {
                    0
                } else {
                    column + 1
                };
            }
        }
    }
    Ok(out.into_string())
}

fn zero_fill(text: &str, width: i64) -> Result<String> {
    let missing = usize::try_from(width)
        .unwrap_or(0)
        .saturating_sub(text.chars().count());
    let (sign, digits) = match text.strip_prefix(['+', '-']) {
        Some(digits) => text.split_at(text.len() - digits.len()),
        None => ("", text),
    };
    reserve(text.len().saturating_add(missing))?;
    Ok([sign, &"0".repeat(missing), digits].concat())
}

fn join(interp: &mut Interp<'_>, text: &Text, items: &Value) -> Result<Value> {
    if !crate::iter::is_iterable(items) {
        return Err(type_error("can only join an iterable"));
    }
    let mut iter = crate::iter::iterate(items)?;
    let mut out = Buffer::new();
    let mut at = 0;
    while let Some(item) = iter.next(interp)? {
        if at > 0 {
            out.push_str(text.as_str())?;
        }
        match &item {
            item if text.is_safe() => out.push_str(escaped(item)?.as_str())?,
            Value::Str(item) => out.push_str(item.as_str())?,
            other => {
                return Err(type_error(format!(
                    "sequence item {at}: expected str instance, {} found",
                    other.type_name()
                )));
            }
        }
        at += 1;
    }
    Ok(Value::text_like(Text::from(out), text.is_safe()))
}

fn part(text: &Text, method: &str, args: Args) -> Result<Value> {
    let [separator] = args.positional(method, 1)?;
    let separator = plain_argument(separator, &format!("{method}() argument 1"))?;
    let (all, separator) = (text.as_str(), separator.as_str());
    if separator.is_empty() {
        return Err(value_error("empty separator"));
    }
    scan(all.len())?;
    let (head, middle, tail) = match method {
        "partition" => match all.split_once(separator) {
            Some((head, tail)) => (head, separator, tail),
            None => (all, "", ""),
        },
        _ => match all.rsplit_once(separator) {
            Some((head, tail)) => (head, separator, tail),
            None => ("", "", all),
        },
    };
    let parts = [head, middle, tail].map(|part| Value::copied(part, text.is_safe()));
    Value::tuple(parts.into_iter().collect::<Result<_>>()?)
}

fn predicate(text: &str, method: &str) -> Option<bool> {
    let all = |test: fn(char) -> bool| !text.is_empty() && text.chars().all(test);
    Some(match method {
        "isalnum" => all(unicode::is_alphanumeric),
        "isalpha" => all(unicode::is_alpha),
        "isascii" => text.is_ascii(),
        "isdecimal" => all(|c| unicode::decimal(c).is_some()),
        "isdigit" => all(unicode::is_digit),
        "isidentifier" => {
            let mut chars = text.chars();
            let start = |c: char| c == '_' || unicode_ident::is_xid_start(c);
            chars.next().is_some_and(start) && chars.all(unicode_ident::is_xid_continue)
        }
        "islower" => unicode::is_lower(text),
        "isnumeric" => all(unicode::is_numeric),
        "isprintable" => text.chars().all(unicode::is_printable),
        "isspace" => all(unicode::is_space),
        "istitle" => unicode::is_title(text),
        "isupper" => unicode::is_upper(text),
        _ => return None,
    })
}

pub(super) fn call(
    interp: &mut Interp<'_>,
    text: &Text,
    method: &str,
    args: Args,
) -> Result<Value> {
    let safe = text.is_safe();
    let all = text.as_str();
    scan(all.len())?;
    if let Some(holds) = predicate(all, method) {
        let [] = args.positional(method, 0)?;
        return Ok(Value::Bool(holds));
    }
    let same_kind = |out: String| Value::text_like(out, safe);
    match method {
        "capitalize" | "casefold" | "lower" | "swapcase" | "title" | "upper" => {
            let [] = args.positional(method, 0)?;
            reserve(all.len().saturating_mul(2))?;
            Ok(same_kind(match method {
                "capitalize" => case::capitalize(all),
                "casefold" => unicode::case_fold(all),
                "lower" => case::lower(all),
                "swapcase" => case::swap(all),
                "title" => case::title(all),
                _ => case::upper(all),
            }))
        }
        "strip" | "lstrip" | "rstrip" => {
            let [chars] = args.positional(method, 0)?;
            let chars = match chars {
                None | Some(Value::None) => None,
                Some(Value::Str(chars)) => Some(chars),
                Some(_) => {
                    return Err(type_error(format!("{method} arg must be None or str")));
                }
            };
            let chars = chars.as_ref().map(Text::as_str);
            if let Some(chars) = chars {
                scan(all.len().saturating_mul(chars.len()))?;
            }
            Value::copied(
                strip(all, chars, method != "rstrip", method != "lstrip"),
                safe,
            )
        }
        "split" | "rsplit" => {
            let [separator, limit] = args.bind(method, ["sep", "maxsplit"], 0)?;
            let (separator, limit) = split::arguments(separator, limit)?;
            if method == "split" {
                split::split(all, separator.as_deref(), limit, safe)
            } else {
                split::split_back(all, separator.as_deref(), limit, safe)
            }
        }
        "splitlines" => {
            let [keep] = args.bind(method, ["keepends"], 0)?;
            let keep = keep.map_or(Ok(false), |keep| keep.is_true())?;
            split::lines(all, keep, safe)
        }
        "count" | "find" | "index" | "rfind" | "rindex" => search(text, method, args),
        "startswith" | "endswith" => edge(text, method, args),
        "ljust" | "rjust" | "center" => justify(text, method, args),
        "replace" => replace(text, args),
        "partition" | "rpartition" => part(text, method, args),
        "removeprefix" | "removesuffix" => {
            let [affix] = args.positional(method, 1)?;
            let affix = plain_argument(affix, &format!("{method}() argument"))?;
            let rest = if method == "removeprefix" {
                all.strip_prefix(affix.as_str())
            } else {
                all.strip_suffix(affix.as_str())
            };
            Value::copied(rest.unwrap_or(all), safe)
        }
        "join" => {
            let [items] = args.positional(method, 1)?;
            join(interp, text, &items.unwrap_or(Value::None))
        }
        "expandtabs" => {
            let [width] = args.bind(method, ["tabsize"], 0)?;
            let width = width.map_or(Ok(8), |width| machine_index(&width))?;
            expand_tabs(all, width).map(same_kind)
        }
        "zfill" => {
            let [width] = args.positional(method, 1)?;
            zero_fill(all, machine_index(&width.unwrap_or(Value::None))?).map(same_kind)
        }
        "format" | "format_map" => crate::format::format_method(interp, text, method, args),
        "escape" => Ok(Value::Str(escaped(
            &args.positional::<1>(method, 1)?[0]
                .clone()
                .unwrap_or(Value::None),
        )?)),
        "striptags" => crate::markup::striptags(text).map(Value::str),
        "unescape" => crate::markup::unescape(all).map(Value::str),
        _ => Err(unsupported(format!("the method `{method}` of text"))),
    }
}
