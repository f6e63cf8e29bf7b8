//! The format specifications of Python's numbers and text.

use num_bigint::Sign;

use super::digits::{exponential, fixed, general, integer_digits};
use crate::{
    error::{Error, Result, overflow_error, type_error, unsupported, value_error},
    limits::reserve,
    number::{Number, float_repr},
    repr::to_str,
    value::Value,
};

/// A format specification, taken apart.
#[derive(Default)]
struct Spec {
    fill: Option<char>,
    align: Option<char>,
    sign: Option<char>,
    no_negative_zero: bool,
    alternate: bool,
    zero: bool,
    width: usize,
    grouping: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
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

fn unknown_code(kind: char, type_name: &str) -> Error {
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
            return Err(overflow_error("%c arg not in range(0x110000)"));
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
            None => float_repr(float.abs()),
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
