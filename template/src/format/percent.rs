//! The operator `%` on text.

use super::digits::{exponential, fixed, general, integer_digits, integer_of};
use crate::{
    error::{Result, type_error, value_error},
    limits::reserve,
    markup::escaped,
    number::{Number, machine_index},
    quote::ascii,
    repr::{repr, to_str},
    value::{Buffer, Text, Value},
};

/// What the fields take their values from.
struct Values<'a> {
    all: &'a Value,
    items: Option<&'a [Value]>,
    at: usize,
    safe: bool,
}

impl Values<'_> {
    fn next(&mut self) -> Result<Value> {
        let found = match self.items {
            Some(items) => items.get(self.at),
            None => (self.at == 0).then_some(self.all),
        };
        self.at += 1;
        found
            .cloned()
            .ok_or_else(|| type_error("not enough arguments for format string"))
    }

    fn finished(&self) -> bool {
        match self.items {
            Some(items) => self.at >= items.len(),
            // Anything with keys may be left over.
            None => {
                self.at > 0
                    || matches!(
                        self.all,
                        Value::Dict(_) | Value::List(_) | Value::Undefined(_)
                    )
            }
        }
    }
}

#[derive(Default)]
struct Field {
    minus: bool,
    plus: bool,
    space: bool,
    alternate: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
}

/// `format % value`.
pub(crate) fn format(format: &Text, value: &Value) -> Result<Value> {
    let mut values = Values {
        all: value,
        items: match value {
            Value::Tuple(seq) => Some(&seq.items),
            _ => None,
        },
        at: 0,
        safe: format.is_safe(),
    };
    let mut out = Buffer::new();
    let mut rest = format.as_str();
    while let Some(at) = rest.find('%') {
        out.push_str(rest.get(..at).unwrap_or(""))?;
        rest = field(rest.get(at + 1..).unwrap_or(""), &mut values, &mut out)?;
    }
    out.push_str(rest)?;
    if !values.finished() {
        return Err(type_error(
            "not all arguments converted during string formatting",
        ));
    }
    Ok(Value::text_like(Text::from(out), format.is_safe()))
}

/// Writes one field and gives back what follows it.
fn field<'f>(text: &'f str, values: &mut Values<'_>, out: &mut Buffer) -> Result<&'f str> {
    let incomplete = || value_error("incomplete format");
    let mut rest = text;
    let mut keyed = None;
    if let Some(tail) = rest.strip_prefix('(') {
        let mut depth = 1usize;
        let end = tail.find(|c| {
            match c {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            depth == 0
        });
        let Some(end) = end else {
            return Err(value_error("incomplete format key"));
        };
        let key = tail.get(..end).unwrap_or("");
        let Value::Dict(dict) = values.all else {
            return Err(type_error("format requires a mapping"));
        };
        let found = dict.get_str(key).cloned();
        keyed = Some(found.ok_or_else(|| crate::error::key_error(crate::quote::string_repr(key)))?);
        rest = tail.get(end + 1..).unwrap_or("");
    }
    let mut spec = Field::default();
    loop {
        match rest.as_bytes().first() {
            Some(b'-') => spec.minus = true,
            Some(b'+') => spec.plus = true,
            Some(b' ') => spec.space = true,
            Some(b'#') => spec.alternate = true,
            Some(b'0') => spec.zero = true,
            _ => break,
        }
        rest = rest.get(1..).unwrap_or("");
    }
    let number = |rest: &mut &'f str, values: &mut Values<'_>| -> Result<Option<i64>> {
        if let Some(tail) = rest.strip_prefix('*') {
            *rest = tail;
            let value = values.next()?;
            if !matches!(value, Value::Int(_) | Value::Bool(_) | Value::Big(_)) {
                return Err(type_error("* wants int"));
            }
            return machine_index(&value).map(Some);
        }
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (digits, tail) = rest.split_at(end);
        *rest = tail;
        if digits.is_empty() {
            return Ok(None);
        }
        let number = digits.parse().map_err(|_| value_error("width too big"))?;
        Ok(Some(number))
    };
    if let Some(width) = number(&mut rest, values)? {
        spec.minus |= width < 0;
        spec.width = usize::try_from(width.unsigned_abs()).unwrap_or(usize::MAX);
    }
    if let Some(tail) = rest.strip_prefix('.') {
        rest = tail;
        let precision = number(&mut rest, values)?.unwrap_or(0).max(0);
        spec.precision = usize::try_from(precision).ok();
    }
    rest = rest.strip_prefix(['h', 'l', 'L']).unwrap_or(rest);
    let kind = rest.chars().next().ok_or_else(incomplete)?;
    let tail = rest.get(kind.len_utf8()..).unwrap_or("");
    if kind == '%' {
        out.push_str("%")?;
        return Ok(tail);
    }
    let value = match keyed {
        Some(value) => {
            values.at = values.at.max(1);
            value
        }
        None => values.next()?,
    };
    convert(kind, &value, &spec, values.safe, out)?;
    Ok(tail)
}

fn convert(kind: char, value: &Value, spec: &Field, safe: bool, out: &mut Buffer) -> Result<()> {
    let text = match kind {
        's' if safe => escaped(value)?.as_str().to_owned(),
        's' => to_str(value)?,
        'r' if safe => escaped(&Value::str(repr(value)?))?.as_str().to_owned(),
        'r' => repr(value)?,
        'a' => ascii(&repr(value)?),
        'c' => match value {
            Value::Str(text) if text.as_str().chars().count() == 1 => text.as_str().to_owned(),
            Value::Int(_) | Value::Bool(_) | Value::Big(_) => match code_point(value)? {
                Some(c) => c.to_string(),
                None => {
                    return Err(crate::error::overflow_error(
                        "%c arg not in range(0x110000)",
                    ));
                }
            },
            _ => return Err(type_error("%c requires int or char")),
        },
        'd' | 'i' | 'u' | 'o' | 'x' | 'X' => return integer(kind, value, spec, out),
        'e' | 'E' | 'f' | 'F' | 'g' | 'G' => return float(kind, value, spec, out),
        other => {
            return Err(value_error(format!(
                "unsupported format character '{other}' (0x{:x})",
                u32::from(other)
            )));
        }
    };
    let text: String = match spec.precision {
        Some(precision) if kind != 'c' => text.chars().take(precision).collect(),
        _ => text,
    };
    pad(&text, "", spec, false, out)
}

fn code_point(value: &Value) -> Result<Option<char>> {
    let code = u32::try_from(crate::number::index(value)?);
    Ok(code.ok().and_then(char::from_u32))
}

fn pad(body: &str, sign: &str, spec: &Field, zeros: bool, out: &mut Buffer) -> Result<()> {
    let length = body.chars().count() + sign.chars().count();
    let missing = spec.width.saturating_sub(length);
    reserve(missing)?;
    if spec.minus {
        out.push_str(sign)?;
        out.push_str(body)?;
        out.push_str(&" ".repeat(missing))
    } else if zeros && spec.zero {
        out.push_str(sign)?;
        out.push_str(&"0".repeat(missing))?;
        out.push_str(body)
    } else {
        out.push_str(&" ".repeat(missing))?;
        out.push_str(sign)?;
        out.push_str(body)
    }
}

fn sign(negative: bool, spec: &Field) -> &'static str {
    match (negative, spec.plus, spec.space) {
        (true, ..) => "-",
        (_, true, _) => "+",
        (_, _, true) => " ",
        _ => "",
    }
}

fn integer(kind: char, value: &Value, spec: &Field, out: &mut Buffer) -> Result<()> {
    let hex = matches!(kind, 'o' | 'x' | 'X');
    let number = match value {
        Value::Float(_) if hex => None,
        value => integer_of(value)?,
    };
    let Some(number) = number else {
        if let Some(error) = value.undefined_error().filter(|_| !hex) {
            return Err(error);
        }
        let wanted = if hex { "an integer" } else { "a real number" };
        return Err(type_error(format!(
            "%{kind} format: {wanted} is required, not {}",
            value.type_name()
        )));
    };
    let (mut digits, prefix) = integer_digits(&number, kind, spec.alternate)?;
    if let Some(precision) = spec.precision {
        reserve(precision)?;
        digits = "0".repeat(precision.saturating_sub(digits.len())) + &digits;
    }
    let negative = number.sign() == num_bigint::Sign::Minus;
    let sign = format!("{}{prefix}", sign(negative, spec));
    pad(&digits, &sign, spec, true, out)
}

fn float(kind: char, value: &Value, spec: &Field, out: &mut Buffer) -> Result<()> {
    let Some(number) = Number::of(value) else {
        return Err(value.undefined_error().unwrap_or_else(|| {
            type_error(format!("must be real number, not {}", value.type_name()))
        }));
    };
    let number = number.float()?;
    let precision = spec.precision.unwrap_or(6);
    let text = match kind {
        'e' | 'E' => exponential(number, precision, spec.alternate)?,
        'f' | 'F' => fixed(number, precision, spec.alternate)?,
        _ => general(number, precision, spec.alternate, false)?,
    };
    let text = if kind.is_ascii_uppercase() {
        text.to_uppercase()
    } else {
        text
    };
    let negative = number.is_sign_negative() && !number.is_nan();
    pad(&text, sign(negative, spec), spec, true, out)
}
