//! The digits of numbers, as both ways to format want them.

use num_bigint::BigInt;

use crate::{
    error::Result,
    limits::reserve,
    number::{Number, big_repr, float_to_int, index},
    value::Value,
};

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
        big_repr(&BigInt::from(integer.magnitude().clone()))?
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
        Some(Number::Float(float)) => Some(index(&float_to_int(float)?)?),
        Some(number) => Some(number.big()),
        None => None,
    })
}
