//! `str.format`.

use super::spec::format_value;
use crate::{
    error::{Result, index_error, key_error, type_error, value_error},
    index::{attribute_or_item, item, item_or_attribute},
    markup::push_escaped,
    quote::{ascii, string_repr},
    repr::{repr, to_str},
    value::{Args, Buffer, Interp, Text, Value},
};

/// `str.format(…)` and `str.format_map(mapping)`.
pub(crate) fn format_method(
    interp: &mut Interp<'_>,
    text: &Text,
    method: &str,
    args: Args,
) -> Result<Value> {
    let mut fields = Fields {
        args,
        mapping: None,
        next: Some(0),
        safe: text.is_safe(),
    };
    if method == "format_map" {
        let [mapping] = fields.args.positional(method, 1)?;
        fields.args = Args::default();
        fields.mapping = mapping;
    }
    let mut out = Buffer::new();
    fields.write(interp, text.as_str(), 3, &mut out)?;
    Ok(Value::text_like(Text::from(out), text.is_safe()))
}

struct Fields {
    args: Args,
    mapping: Option<Value>,
    /// The number of the next field without one; none after a field with one.
    next: Option<usize>,
    safe: bool,
}

/// The end of a field that starts at the beginning of `text`, after its bracket.
fn field_end(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut bracket = false;
    for (at, c) in text.char_indices() {
        match c {
            '[' if depth == 0 => bracket = true,
            ']' => bracket = false,
            '{' if !bracket => depth += 1,
            '}' if bracket => {}
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

impl Fields {
    fn write(
        &mut self,
        interp: &mut Interp<'_>,
        format: &str,
        depth: u32,
        out: &mut Buffer,
    ) -> Result<()> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(value_error("Max string recursion exceeded"));
        };
        let mut rest = format;
        while let Some(at) = rest.find(['{', '}']) {
            out.push_str(rest.get(..at).unwrap_or(""))?;
            let bracket = rest.get(at..=at).unwrap_or("");
            rest = rest.get(at + 1..).unwrap_or("");
            if rest.starts_with(bracket) {
                out.push_str(bracket)?;
                rest = rest.get(1..).unwrap_or("");
                continue;
            }
            if bracket == "}" {
                return Err(value_error("Single '}' encountered in format string"));
            }
            if rest.is_empty() {
                return Err(value_error("Single '{' encountered in format string"));
            }
            let Some(end) = field_end(rest) else {
                return Err(value_error("expected '}' before end of string"));
            };
            let field = rest.get(..end).unwrap_or("");
            rest = rest.get(end + 1..).unwrap_or("");
            self.field(interp, field, depth, out)?;
        }
        out.push_str(rest)
    }

    fn field(
        &mut self,
        interp: &mut Interp<'_>,
        field: &str,
        depth: u32,
        out: &mut Buffer,
    ) -> Result<()> {
        let mut bracket = false;
        let split = field.find(|c| {
            bracket = match c {
                '[' => true,
                ']' => false,
                _ => bracket,
            };
            !bracket && matches!(c, '!' | ':')
        });
        let (name, tail) = field.split_at(split.unwrap_or(field.len()));
        let (conversion, spec) = match tail.strip_prefix('!') {
            None => (None, tail.strip_prefix(':').unwrap_or("")),
            Some(tail) => {
                let mut chars = tail.chars();
                let Some(c) = chars.next() else {
                    return Err(value_error("unmatched '{' in format spec"));
                };
                let after = chars.as_str();
                if !after.is_empty() && !after.starts_with(':') {
                    return Err(value_error("expected ':' after conversion specifier"));
                }
                (Some(c), after.strip_prefix(':').unwrap_or(""))
            }
        };
        let mut value = self.lookup(interp, name)?;
        match conversion {
            None => {}
            Some('s') => value = Value::str(to_str(&value)?),
            Some('r') => value = Value::str(repr(&value)?),
            Some('a') => value = Value::str(ascii(&repr(&value)?)),
            Some(c) => {
                return Err(value_error(format!("Unknown conversion specifier {c}")));
            }
        }
        let mut expanded = Buffer::new();
        self.write(interp, spec, depth, &mut expanded)?;
        let spec = expanded.as_str();
        if self.safe {
            if value.is_markup() && !spec.is_empty() {
                return Err(value_error("Unsupported format specification for Markup."));
            }
            let text = if value.is_markup() {
                value
            } else {
                Value::str(format_value(&value, spec)?)
            };
            return push_escaped(&text, out);
        }
        out.push_str(&format_value(&value, spec)?)
    }

    fn lookup(&mut self, interp: &mut Interp<'_>, name: &str) -> Result<Value> {
        let end = name.find(['.', '[']).unwrap_or(name.len());
        let (first, mut rest) = name.split_at(end);
        let position = if first.is_empty() {
            let Some(next) = &mut self.next else {
                return Err(value_error(
                    "cannot switch from manual field specification to automatic field numbering",
                ));
            };
            *next += 1;
            Some(*next - 1)
        } else if first.bytes().all(|byte| byte.is_ascii_digit()) {
            if self.next.is_some_and(|next| next > 0) {
                return Err(value_error(
                    "cannot switch from manual field specification to automatic field numbering",
                ));
            }
            self.next = None;
            Some(
                first
                    .parse()
                    .map_err(|_| value_error("Too many decimal digits in format string"))?,
            )
        } else {
            None
        };
        let found = match (position, &self.mapping) {
            (Some(at), None) => self.args.positional.get(at).cloned().ok_or_else(|| {
                index_error(format!(
                    "Replacement index {at} out of range for positional args tuple"
                ))
            })?,
            (Some(_), Some(_)) => {
                return Err(index_error(
                    "Replacement index 0 out of range for positional args tuple",
                ));
            }
            (None, Some(mapping)) => match item(mapping, &Value::from(first))? {
                Some(found) => found,
                None if matches!(mapping, Value::Dict(_)) => {
                    return Err(key_error(string_repr(first)));
                }
                None => {
                    return Err(type_error(format!(
                        "'{}' object is not subscriptable",
                        mapping.type_name()
                    )));
                }
            },
            (None, None) => {
                let named = self.args.named.iter().find(|(name, _)| **name == *first);
                match named {
                    Some((_, value)) => value.clone(),
                    None => return Err(key_error(string_repr(first))),
                }
            }
        };
        let mut value = found;
        while !rest.is_empty() {
            if let Some(tail) = rest.strip_prefix('.') {
                let end = tail.find(['.', '[']).unwrap_or(tail.len());
                let (name, tail) = tail.split_at(end);
                if name.is_empty() {
                    return Err(value_error("Empty attribute in format string"));
                }
                value = attribute_or_item(interp, &value, &name.into())?;
                rest = tail;
            } else if let Some(tail) = rest.strip_prefix('[') {
                let Some((key, tail)) = tail.split_once(']') else {
                    return Err(value_error("Missing ']' in format string"));
                };
                if key.is_empty() {
                    return Err(value_error("Empty attribute in format string"));
                }
                if !tail.is_empty() && !tail.starts_with(['.', '[']) {
                    return Err(value_error(
                        "Only '.' or '[' may follow ']' in format field specifier",
                    ));
                }
                let key = match key.parse::<i64>() {
                    Ok(at) if key.bytes().all(|byte| byte.is_ascii_digit()) => Value::Int(at),
                    _ => Value::from(key),
                };
                value = item_or_attribute(interp, &value, &key)?;
                rest = tail;
            } else {
                return Err(value_error(
                    "Only '.' or '[' may follow ']' in format field specifier",
                ));
            }
        }
        Ok(value)
    }
}
