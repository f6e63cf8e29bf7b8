//! Python's `int` and `float`: reading, writing, and conversions between them.

use num_bigint::{BigInt, Sign};
use num_traits::{Num, ToPrimitive, Zero};

use crate::{
    error::{Result, overflow_error, value_error},
    limits::{Tracked, scan},
    quote::string_repr,
    unicode::is_space,
};

/// A large integer whose memory is counted.
pub struct Big {
    value: BigInt,
    _tracked: Tracked,
}

impl From<BigInt> for Big {
    fn from(value: BigInt) -> Self {
        let bytes = usize::try_from(value.bits() / 8).unwrap_or(usize::MAX);
        Self {
            value,
            _tracked: Tracked::new(bytes + size_of::<Self>()),
        }
    }
}

impl std::ops::Deref for Big {
    type Target = BigInt;

    fn deref(&self) -> &BigInt {
        &self.value
    }
}

/// Python converts no more decimal digits between `int` and `str`.
pub(crate) const MAX_DIGITS: usize = 4300;

pub(crate) fn too_many_digits(digits: usize) -> String {
    format!(
        "Exceeds the limit ({MAX_DIGITS} digits) for integer string conversion: value has {digits} digits; use \
         sys.set_int_max_str_digits() to increase the limit"
    )
}

/// The integer that a float is exactly, if it has one of 64 bits.
pub(crate) fn exact_i64(value: f64) -> Option<i64> {
    // Below 2^63, and -2^63 itself, the conversion is exact.
    let fits = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&value);
    #[allow(clippy::cast_possible_truncation)]
    (fits && value.fract() == 0.0).then_some(value as i64)
}

/// A finite float without a fraction, as an integer.
pub(crate) fn exact_big(value: f64) -> BigInt {
    let bits = value.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i64 - 1075;
    let mantissa = (bits & ((1 << 52) - 1)) | (1 << 52);
    let magnitude = if exponent >= 0 {
        BigInt::from(mantissa) << exponent
    } else {
        BigInt::from(mantissa) >> (-exponent)
    };
    if value < 0.0 { -magnitude } else { magnitude }
}

/// The nearest float, half to even.
pub(crate) fn big_to_f64(value: &BigInt) -> Result<f64> {
    match value.to_f64() {
        Some(float) if float.is_finite() => Ok(float),
        _ => Err(overflow_error("int too large to convert to float")),
    }
}

/// `str(int)`.
pub(crate) fn big_repr(value: &BigInt) -> Result<String> {
    // More bits than 4,300 digits can have: not worth converting.
    if value.bits() > 14_290 {
        return Err(value_error(
            "Exceeds the limit (4300 digits) for integer string conversion; use sys.set_int_max_str_digits() to \
             increase the limit",
        ));
    }
    let text = value.to_string();
    if text.trim_start_matches('-').len() > MAX_DIGITS {
        return Err(value_error(
            "Exceeds the limit (4300 digits) for integer string conversion; use sys.set_int_max_str_digits() to \
             increase the limit",
        ));
    }
    Ok(text)
}

/// `float.__repr__`: the shortest digits that read back the same, with an exponent from 1e16 up and below 1e-4.
pub(crate) fn float_repr(float: f64) -> String {
    if float.is_nan() {
        return "nan".to_owned();
    }
    if float.is_infinite() {
        return if float < 0.0 { "-inf" } else { "inf" }.to_owned();
    }
    let scientific = format!("{float:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    match exponent.parse::<i32>() {
        Ok(exponent) if (-4..16).contains(&exponent) => {
            let plain = float.to_string();
            if plain.contains('.') {
                plain
            } else {
                plain + ".0"
            }
        }
        Ok(exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
        }
        Err(_) => scientific,
    }
}

/// Digits with single underscores between them and nothing else.
fn plain_digits(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut digits = String::with_capacity(text.len());
    let mut after_digit = false;
    for byte in bytes {
        match byte {
            b'_' if after_digit => after_digit = false,
            byte if byte.is_ascii_alphanumeric() => {
                digits.push(char::from(*byte));
                after_digit = true;
            }
            _ => return None,
        }
    }
    after_digit.then_some(digits)
}

/// Text with every decimal digit of any script as ASCII.
fn ascii_digits(text: &str) -> String {
    text.chars()
        .map(|c| match crate::unicode::decimal(c) {
            Some(digit) if !c.is_ascii() => char::from_digit(digit, 10).unwrap_or(c),
            _ => c,
        })
        .collect()
}

/// `int(text, base)`.
pub(crate) fn parse_int(text: &str, base: u32) -> Result<BigInt> {
    let bad = || {
        value_error(format!(
            "invalid literal for int() with base {base}: {}",
            string_repr(text)
        ))
    };
    if base == 1 || base > 36 {
        return Err(value_error("int() base must be >= 2 and <= 36, or 0"));
    }
    scan(text.len())?;
    let trimmed = ascii_digits(text.trim_matches(is_space));
    let (negative, body) = match trimmed.as_bytes().first() {
        Some(b'-') => (true, trimmed.get(1..).unwrap_or("")),
        Some(b'+') => (false, trimmed.get(1..).unwrap_or("")),
        _ => (false, trimmed.as_str()),
    };
    let prefix = match body.get(..2).map(str::to_ascii_lowercase).as_deref() {
        Some("0b") => 2,
        Some("0o") => 8,
        Some("0x") => 16,
        _ => 0,
    };
    let (radix, body) = if prefix != 0 && (base == 0 || base == prefix) {
        let body = body.get(2..).unwrap_or("");
        (prefix, body.strip_prefix('_').unwrap_or(body))
    } else if base == 0 {
        let zero = body.bytes().all(|byte| matches!(byte, b'0' | b'_'));
        if body.starts_with('0') && !zero {
            return Err(bad());
        }
        (10, body)
    } else {
        (base, body)
    };
    let digits = plain_digits(body).ok_or_else(bad)?;
    if !radix.is_power_of_two() && digits.len() > MAX_DIGITS {
        return Err(value_error(too_many_digits(digits.len())));
    }
    let value = BigInt::from_str_radix(&digits, radix).map_err(|_| bad())?;
    Ok(if negative { -value } else { value })
}

/// `float(text)`.
pub(crate) fn parse_float(text: &str) -> Result<f64> {
    let bad = || {
        value_error(format!(
            "could not convert string to float: {}",
            string_repr(text)
        ))
    };
    scan(text.len())?;
    let trimmed = ascii_digits(text.trim_matches(is_space));
    let lower = trimmed.to_ascii_lowercase();
    let unsigned = lower.trim_start_matches(['+', '-']);
    if lower.len() - unsigned.len() > 1 {
        return Err(bad());
    }
    let sign = if lower.starts_with('-') { -1.0 } else { 1.0 };
    match unsigned {
        "inf" | "infinity" => return Ok(sign * f64::INFINITY),
        "nan" => return Ok(f64::NAN),
        _ => {}
    }
    let mut digits = String::with_capacity(unsigned.len());
    let bytes = unsigned.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        let digit = |at: Option<usize>| {
            at.and_then(|at| bytes.get(at))
                .is_some_and(u8::is_ascii_digit)
        };
        match byte {
            b'_' if digit(at.checked_sub(1)) && digit(Some(at + 1)) => {}
            b'0'..=b'9' | b'.' | b'e' | b'+' | b'-' => digits.push(char::from(*byte)),
            _ => return Err(bad()),
        }
    }
    digits
        .parse()
        .map(|value: f64| sign * value)
        .map_err(|_| bad())
}

/// `a / b` of integers, rounded once.
pub(crate) fn true_divide(a: &BigInt, b: &BigInt) -> Result<f64> {
    let too_large = || overflow_error("integer division result too large for a float");
    if a.is_zero() {
        return Ok(0.0);
    }
    // 66 bits of the quotient and whether anything is left are enough to round to 53.
    let shift =
        66 - (i64::try_from(a.bits()).unwrap_or(i64::MAX) - i64::try_from(b.bits()).unwrap_or(0));
    if !(-2000..=2000).contains(&shift) {
        return if shift > 0 { Ok(0.0) } else { Err(too_large()) };
    }
    let (scaled, divisor) = if shift >= 0 {
        (a.magnitude() << shift, b.magnitude().clone())
    } else {
        (a.magnitude().clone(), b.magnitude() << (-shift))
    };
    let (mut quotient, rest) = num_integer::Integer::div_rem(&scaled, &divisor);
    // Results below the normal range have fewer bits: cut before rounding, so that it happens once.
    let exponent = i64::try_from(quotient.bits()).unwrap_or(0) - shift;
    let mut shift = shift;
    let mut sticky = !rest.is_zero();
    if exponent < -1021 {
        let cut = u64::try_from(-1021 - exponent).unwrap_or(0) + 10;
        let kept = &quotient >> cut;
        sticky |= (&kept << cut) != quotient;
        quotient = kept;
        shift -= i64::try_from(cut).unwrap_or(0);
        // From here a unit is a power of two below the smallest float; rounding is done on the integer.
        let unit = 1074 - shift;
        if unit < 0 {
            let low = u64::try_from(-unit).unwrap_or(0);
            let kept = &quotient >> low;
            let lost = &quotient - (&kept << low);
            let half = num_bigint::BigUint::from(1u8) << (low - 1);
            let odd = kept.bit(0);
            let up = lost > half || (lost == half && (sticky || odd));
            quotient = kept + u8::from(up);
            shift = 1074;
            sticky = false;
        }
    }
    if sticky {
        quotient = (quotient << 1u8) | num_bigint::BigUint::from(1u8);
        shift += 1;
    }
    let rounded = quotient.to_f64().unwrap_or(f64::INFINITY);
    let mut value = rounded;
    let mut left = shift;
    while left != 0 && value != 0.0 && value.is_finite() {
        let step = i32::try_from(left.clamp(-1000, 1000)).unwrap_or(0);
        value *= 2f64.powi(-step);
        left -= i64::from(step);
    }
    if value.is_infinite() {
        return Err(too_large());
    }
    let negative = (a.sign() == Sign::Minus) != (b.sign() == Sign::Minus);
    Ok(if negative { -value } else { value })
}
