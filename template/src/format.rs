//! `str.format` and the format specifications of Python's numbers and text.

use num_bigint::{BigInt, Sign};

use crate::args::Args;
use crate::error::{Result, index_error, key_error, type_error, unsupported, value_error};
use crate::eval::Interp;
use crate::index::{attribute_or_item, item_or_attribute};
use crate::limits::{Buffer, reserve};
use crate::number::{Number, float_to_int};
use crate::repr::{ascii, repr, to_str};
use crate::value::{Text, Value};

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
            return crate::filters::html::push_escaped(&text, out);
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
            (None, Some(mapping)) => match crate::index::item(mapping, &Value::from(first))? {
                Some(found) => found,
                None if matches!(mapping, Value::Dict(_)) => {
                    return Err(key_error(crate::repr::string_repr(first)));
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
                    None => return Err(key_error(crate::repr::string_repr(first))),
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

/// A format specification, taken apart.
#[derive(Default)]
pub(crate) struct Spec {
    pub(crate) fill: Option<char>,
    pub(crate) align: Option<char>,
    pub(crate) sign: Option<char>,
    pub(crate) no_negative_zero: bool,
    pub(crate) alternate: bool,
    pub(crate) zero: bool,
    pub(crate) width: usize,
    pub(crate) grouping: Option<char>,
    pub(crate) precision: Option<usize>,
    pub(crate) kind: Option<char>,
}

fn parse_spec(spec: &str, type_name: &str) -> Result<Spec> {
    let invalid = || {
        value_error(format!(
            "Invalid format specifier '{spec}' for object of type '{type_name}'"
        ))
    };
    let chars: Vec<char> = spec.chars().collect();
    let mut at = 0;
    let mut out = Spec::default();
    let is_align = |c: Option<&char>| matches!(c, Some('<' | '>' | '=' | '^'));
    if is_align(chars.get(1)) {
        out.fill = chars.first().copied();
        out.align = chars.get(1).copied();
        at = 2;
    } else if is_align(chars.first()) {
        out.align = chars.first().copied();
        at = 1;
    }
    let take = |wanted: &[char], at: &mut usize| {
        let found = chars.get(*at).copied().filter(|c| wanted.contains(c));
        *at += usize::from(found.is_some());
        found
    };
    out.sign = take(&['+', '-', ' '], &mut at);
    out.no_negative_zero = take(&['z'], &mut at).is_some();
    out.alternate = take(&['#'], &mut at).is_some();
    if out.fill.is_none() && take(&['0'], &mut at).is_some() {
        out.zero = true;
        out.fill = Some('0');
        if out.align.is_none() {
            out.align = Some('=');
        }
    }
    let number = |at: &mut usize| -> Result<Option<usize>> {
        let start = *at;
        while chars.get(*at).is_some_and(char::is_ascii_digit) {
            *at += 1;
        }
        let digits: String = chars.get(start..*at).unwrap_or(&[]).iter().collect();
        if digits.is_empty() {
            return Ok(None);
        }
        match digits
            .parse::<i64>()
            .ok()
            .and_then(|n| usize::try_from(n).ok())
        {
            Some(number) => Ok(Some(number)),
            None => Err(value_error("Too many decimal digits in format string")),
        }
    };
    out.width = number(&mut at)?.unwrap_or(0);
    out.grouping = chars.get(at).copied().filter(|c| matches!(c, ',' | '_'));
    at += usize::from(out.grouping.is_some());
    if out.grouping.is_some()
        && let Some(again @ (',' | '_')) = chars.get(at)
    {
        return Err(value_error(if Some(*again) == out.grouping {
            format!("Cannot specify '{again}' with '{again}'.")
        } else {
            "Cannot specify both ',' and '_'.".to_owned()
        }));
    }
    if chars.get(at) == Some(&'.') {
        at += 1;
        let precision = number(&mut at)?;
        out.precision =
            Some(precision.ok_or_else(|| value_error("Format specifier missing precision"))?);
    }
    out.kind = chars.get(at).copied();
    at += usize::from(out.kind.is_some());
    if at < chars.len() {
        return Err(invalid());
    }
    Ok(out)
}

fn unknown_code(kind: char, type_name: &str) -> crate::error::Error {
    value_error(format!(
        "Unknown format code '{kind}' for object of type '{type_name}'"
    ))
}

/// `format(value, spec)`.
pub(crate) fn format_value(value: &Value, spec: &str) -> Result<String> {
    if spec.is_empty() {
        return to_str(value);
    }
    let type_name = value.type_name();
    match value {
        Value::Str(text) => format_text(text.as_str(), &parse_spec(spec, type_name)?),
        _ => match Number::of(value) {
            Some(number) => format_number(value, &number, spec),
            None => Err(type_error(format!(
                "unsupported format string passed to {type_name}.__format__"
            ))),
        },
    }
}

fn format_text(text: &str, spec: &Spec) -> Result<String> {
    if let Some(kind) = spec.kind.filter(|kind| *kind != 's') {
        return Err(unknown_code(kind, "str"));
    }
    if spec.sign.is_some() {
        return Err(value_error("Sign not allowed in string format specifier"));
    }
    if spec.alternate {
        return Err(value_error(
            "Alternate form (#) not allowed in string format specifier",
        ));
    }
    if spec.no_negative_zero {
        return Err(value_error(
            "Negative zero coercion (z) not allowed in format specifier with string",
        ));
    }
    if let Some(grouping) = spec.grouping {
        return Err(value_error(format!(
            "Cannot specify '{grouping}' with 's'."
        )));
    }
    if spec.align == Some('=') && !spec.zero {
        return Err(value_error(
            "'=' alignment not allowed in string format specifier",
        ));
    }
    let cut: String = match spec.precision {
        Some(precision) => text.chars().take(precision).collect(),
        None => text.to_owned(),
    };
    let align = match spec.align {
        Some('=') | None => '<',
        Some(align) => align,
    };
    pad(&cut, "", spec.width, align, spec.fill.unwrap_or(' '))
}

/// Fills up to the width; for `=` between the sign and the rest.
fn pad(body: &str, sign: &str, width: usize, align: char, fill: char) -> Result<String> {
    let length = body.chars().count() + sign.chars().count();
    let missing = width.saturating_sub(length);
    reserve(
        missing
            .saturating_mul(fill.len_utf8())
            .saturating_add(body.len()),
    )?;
    let fill = |count: usize| fill.to_string().repeat(count);
    Ok(match align {
        '<' => [sign, body, &fill(missing)].concat(),
        '^' => [&fill(missing / 2), sign, body, &fill(missing - missing / 2)].concat(),
        '=' => [sign, &fill(missing), body].concat(),
        _ => [&fill(missing), sign, body].concat(),
    })
}

fn format_number(value: &Value, number: &Number, text: &str) -> Result<String> {
    let spec = parse_spec(text, value.type_name())?;
    let kind = spec.kind;
    let type_name = value.type_name();
    match kind {
        None if number.is_float() => return format_float(number, &spec),
        Some('e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%') => {
            return format_float(number, &spec);
        }
        Some('n') => {
            return Err(unsupported(
                "the format code 'n', which depends on the locale",
            ));
        }
        None | Some('b' | 'c' | 'd' | 'o' | 'x' | 'X') if !number.is_float() => {}
        Some(kind) => return Err(unknown_code(kind, type_name)),
        None => {}
    }
    if spec.precision.is_some() {
        return Err(value_error(
            "Precision not allowed in integer format specifier",
        ));
    }
    if spec.no_negative_zero {
        return Err(value_error(
            "Negative zero coercion (z) not allowed in format specifier with integer",
        ));
    }
    let integer = number.big();
    if kind == Some('c') {
        if spec.sign.is_some() {
            return Err(value_error(
                "Sign not allowed with integer format specifier 'c'",
            ));
        }
        let c = u32::try_from(&integer).ok().and_then(char::from_u32);
        let Some(c) = c else {
            return Err(crate::error::overflow_error(
                "%c arg not in range(0x110000)",
            ));
        };
        let align = spec.align.unwrap_or('<');
        return pad(
            &c.to_string(),
            "",
            spec.width,
            align,
            spec.fill.unwrap_or(' '),
        );
    }
    let (digits, prefix) = integer_digits(&integer, kind.unwrap_or('d'), spec.alternate)?;
    let group = if matches!(kind, Some('b' | 'o' | 'x' | 'X')) {
        if spec.grouping == Some(',') {
            return Err(value_error(format!(
                "Cannot specify ',' with '{}'.",
                kind.unwrap_or('d')
            )));
        }
        4
    } else {
        3
    };
    let sign = sign_text(integer.sign() == Sign::Minus, spec.sign);
    finish(&digits, "", &format!("{sign}{prefix}"), group, &spec)
}

/// The digits of an integer without its sign, and the prefix of the alternate form.
pub(crate) fn integer_digits(
    integer: &BigInt,
    kind: char,
    alternate: bool,
) -> Result<(String, &'static str)> {
    let (radix, prefix) = match kind {
        'b' => (2, "0b"),
        'o' => (8, "0o"),
        'x' => (16, "0x"),
        'X' => (16, "0X"),
        _ => (10, ""),
    };
    reserve(usize::try_from(integer.bits()).unwrap_or(usize::MAX))?;
    let digits = if radix == 10 {
        crate::number::big_repr(&BigInt::from(integer.magnitude().clone()))?
    } else {
        integer.magnitude().to_str_radix(radix)
    };
    let digits = if kind == 'X' {
        digits.to_ascii_uppercase()
    } else {
        digits
    };
    Ok((digits, if alternate { prefix } else { "" }))
}

fn sign_text(negative: bool, sign: Option<char>) -> &'static str {
    match (negative, sign) {
        (true, _) => "-",
        (false, Some('+')) => "+",
        (false, Some(' ')) => " ",
        _ => "",
    }
}

/// Groups the digits and fills up.
fn finish(whole: &str, rest: &str, sign: &str, group: usize, spec: &Spec) -> Result<String> {
    let fill = spec.fill.unwrap_or(' ');
    let align = spec.align.unwrap_or('>');
    let Some(separator) = spec.grouping else {
        return pad(&format!("{whole}{rest}"), sign, spec.width, align, fill);
    };
    let mut digits = whole.to_owned();
    if fill == '0' && align == '=' {
        // Zeros are grouped as well, until the width is reached.
        let wanted = spec
            .width
            .saturating_sub(sign.len())
            .saturating_sub(rest.chars().count());
        reserve(wanted.saturating_mul(2))?;
        let mut count = digits.len();
        while count + (count - 1) / group < wanted {
            count += 1;
        }
        digits = "0".repeat(count - digits.len()) + &digits;
    }
    let mut grouped = String::with_capacity(digits.len() * 2);
    for (at, c) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(group) {
            grouped.push(separator);
        }
        grouped.push(c);
    }
    pad(&format!("{grouped}{rest}"), sign, spec.width, align, fill)
}

fn format_float(number: &Number, spec: &Spec) -> Result<String> {
    let mut float = number.float()?;
    let kind = spec.kind;
    if spec.precision.is_some_and(|precision| precision > 100_000) {
        // Python stops only at 2^31.
        reserve(spec.precision.unwrap_or(0).saturating_mul(4))?;
    }
    let mut rest_suffix = "";
    let body = match kind {
        Some('%') => {
            float *= 100.0;
            rest_suffix = "%";
            fixed(float, spec.precision.unwrap_or(6), spec.alternate)?
        }
        Some('f' | 'F') => fixed(float, spec.precision.unwrap_or(6), spec.alternate)?,
        Some('e' | 'E') => exponential(float, spec.precision.unwrap_or(6), spec.alternate)?,
        Some('g' | 'G') => general(float, spec.precision.unwrap_or(6), spec.alternate, false)?,
        _ => match spec.precision {
            None => crate::number::float_repr(float.abs()),
            Some(precision) => general(float, precision, spec.alternate, true)?,
        },
    };
    let body = if matches!(kind, Some('E' | 'F' | 'G')) {
        body.to_uppercase()
    } else {
        body
    };
    let zero = body.bytes().all(|byte| !matches!(byte, b'1'..=b'9'))
        && !body.contains(['i', 'n', 'I', 'N']);
    let negative = float.is_sign_negative() && !float.is_nan() && !(spec.no_negative_zero && zero);
    let sign = sign_text(negative, spec.sign);
    let split = body
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(body.len());
    let (whole, rest) = body.split_at(split);
    if whole.is_empty() {
        // Infinity and NaN have no digits to group.
        let spec = Spec {
            grouping: None,
            fill: spec.fill,
            align: spec.align,
            width: spec.width,
            ..Spec::default()
        };
        return finish(&format!("{rest}{rest_suffix}"), "", sign, 3, &spec);
    }
    finish(whole, &format!("{rest}{rest_suffix}"), sign, 3, spec)
}

fn not_finite(float: f64) -> Option<String> {
    if float.is_nan() {
        Some("nan".to_owned())
    } else if float.is_infinite() {
        Some("inf".to_owned())
    } else {
        None
    }
}

pub(crate) fn fixed(float: f64, precision: usize, alternate: bool) -> Result<String> {
    if let Some(text) = not_finite(float) {
        return Ok(text);
    }
    reserve(precision.saturating_add(400))?;
    let precise = precision.min(1100);
    let mut text = format!("{:.precise$}", float.abs());
    text += &"0".repeat(precision - precise);
    if precision == 0 && alternate {
        text.push('.');
    }
    Ok(text)
}

pub(crate) fn exponential(float: f64, precision: usize, alternate: bool) -> Result<String> {
    if let Some(text) = not_finite(float) {
        return Ok(text);
    }
    reserve(precision.saturating_add(400))?;
    let precise = precision.min(1100);
    let text = format!("{:.precise$e}", float.abs());
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let zeros = "0".repeat(precision - precise);
    let point = if precision == 0 && alternate { "." } else { "" };
    let sign = if exponent < 0 { '-' } else { '+' };
    Ok(format!(
        "{digits}{zeros}{point}e{sign}{:02}",
        exponent.unsigned_abs()
    ))
}

/// `g`, and with `keep_point` the format of floats that have a precision and no code.
pub(crate) fn general(
    float: f64,
    precision: usize,
    alternate: bool,
    keep_point: bool,
) -> Result<String> {
    if let Some(text) = not_finite(float) {
        return Ok(text);
    }
    let precision = precision.max(1);
    let scientific = exponential(float, precision - 1, false)?;
    let exponent = scientific
        .split_once('e')
        .and_then(|(_, exponent)| exponent.parse::<i64>().ok())
        .unwrap_or(0);
    let limit = i64::try_from(precision).unwrap_or(i64::MAX) - i64::from(keep_point);
    let trim = |digits: &str| {
        if alternate || !digits.contains('.') {
            digits.to_owned()
        } else {
            digits
                .trim_end_matches('0')
                .trim_end_matches('.')
                .to_owned()
        }
    };
    if exponent < -4 || exponent >= limit {
        let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "+00"));
        let digits = if alternate && !digits.contains('.') {
            format!("{digits}.")
        } else {
            trim(digits)
        };
        return Ok(format!("{digits}e{exponent}"));
    }
    let places = i64::try_from(precision).unwrap_or(i64::MAX) - 1 - exponent;
    let text = fixed(float, usize::try_from(places).unwrap_or(0), alternate)?;
    let text = trim(&text);
    Ok(if keep_point && !text.contains('.') {
        format!("{text}.0")
    } else {
        text
    })
}

/// An integer for `%d`: a float is cut.
pub(crate) fn integer_of(value: &Value) -> Result<Option<BigInt>> {
    Ok(match Number::of(value) {
        Some(Number::Float(float)) => Some(crate::number::index(&float_to_int(float)?)?),
        Some(number) => Some(number.big()),
        None => None,
    })
}
