//! Filters for numbers.

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{Signed, Zero};

use crate::{
    ast::{BinaryOp, UnaryOp},
    error::{Result, filter_argument_error, type_error},
    number::{Number, exact_big, float_to_int, index, parse_float, parse_int},
    ops,
    value::{Args, Interp, Value},
};

pub(super) fn abs(_: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let [] = args.positional("abs", 0)?;
    match Number::of(&value) {
        Some(Number::Float(float)) => Ok(Value::Float(float.abs())),
        Some(number) if number.big().is_negative() => ops::unary(UnaryOp::Neg, &value),
        Some(_) => ops::unary(UnaryOp::Pos, &value),
        None => Err(type_error(format!(
            "bad operand type for abs(): '{}'",
            value.type_name()
        ))),
    }
}

/// `int(value)` of a number or a text.
fn to_int(value: &Value) -> Result<Value> {
    match value {
        Value::Str(text) => parse_int(text.as_str(), 10).map(Value::int),
        Value::Float(float) => float_to_int(*float),
        other => match Number::of(other) {
            Some(number) => Ok(Value::int(number.big())),
            None => Err(other.undefined_error().unwrap_or_else(|| {
                type_error(format!(
                    "int() argument must be a string, a bytes-like object or a real number, not '{}'",
                    other.type_name()
                ))
            })),
        },
    }
}

fn to_float(value: &Value) -> Result<f64> {
    match value {
        Value::Str(text) => parse_float(text.as_str()),
        other => match Number::of(other) {
            Some(number) => number.float(),
            None => Err(other.undefined_error().unwrap_or_else(|| {
                type_error(format!(
                    "float() argument must be a string or a real number, not '{}'",
                    other.type_name()
                ))
            })),
        },
    }
}

pub(super) fn int(_: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let [default, base] = args.bind("do_int", ["default", "base"], 0)?;
    let first = match (&value, &base) {
        (Value::Str(text), Some(base)) => index(base).and_then(|base| {
            let base = u32::try_from(&base).unwrap_or(1);
            parse_int(text.as_str(), base).map(Value::int)
        }),
        _ => to_int(&value),
    };
    let failed = match first {
        Ok(found) => return Ok(found),
        Err(error) => error,
    };
    if !failed.is_python(&["TypeError", "ValueError"]) {
        return Err(failed);
    }
    match to_float(&value).and_then(float_to_int) {
        Ok(found) => Ok(found),
        Err(error) if error.is_python(&["TypeError", "ValueError", "OverflowError"]) => {
            Ok(default.unwrap_or(Value::Int(0)))
        }
        Err(error) => Err(error),
    }
}

pub(super) fn float(_: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let [default] = args.bind("do_float", ["default"], 0)?;
    match to_float(&value) {
        Ok(found) => Ok(Value::Float(found)),
        Err(error) if error.is_python(&["TypeError", "ValueError"]) => {
            Ok(default.unwrap_or(Value::Float(0.0)))
        }
        Err(error) => Err(error),
    }
}

/// The nearest multiple of `unit`, half to even; `more` says that the number was a bit larger.
fn nearest(number: &BigInt, more: bool, unit: &BigInt) -> BigInt {
    let (quotient, rest) = number.div_mod_floor(unit);
    let twice: BigInt = rest * 2;
    let up = twice > *unit || (twice == *unit && (more || quotient.is_odd()));
    (quotient + i32::from(up)) * unit
}

/// `round(value, precision)`.
fn round_common(value: &Value, precision: &Value) -> Result<Value> {
    let Some(number) = Number::of(value) else {
        return Err(type_error(format!(
            "type {} doesn't define __round__ method",
            value.type_name()
        )));
    };
    if precision.is_none() {
        return match number {
            Number::Float(float) => {
                crate::limits::work(1)?;
                float_to_int(float.round_ties_even())
            }
            number => Ok(Value::int(number.big())),
        };
    }
    let places = crate::number::clamped_index(precision)?;
    let float = match number {
        Number::Float(float) => float,
        number if places >= 0 => return Ok(Value::int(number.big())),
        number => {
            let digits = u32::try_from(-places.max(-20_000)).unwrap_or(0);
            crate::limits::work(u64::from(digits))?;
            let unit = BigInt::from(10).pow(digits);
            return Ok(Value::int(nearest(&number.big(), false, &unit)));
        }
    };
    if !float.is_finite() || places > 400 {
        return Ok(Value::Float(float));
    }
    if places < -400 {
        return Ok(Value::Float(0f64.copysign(float)));
    }
    let rounded: f64 = if places >= 0 {
        let places = usize::try_from(places).unwrap_or(0);
        format!("{float:.places$}").parse().unwrap_or(float)
    } else {
        let whole = if float.abs() < 1.0 {
            BigInt::zero()
        } else {
            exact_big(float.abs().trunc())
        };
        let digits = u32::try_from(-places).unwrap_or(0);
        let unit = BigInt::from(10).pow(digits);
        let rounded = nearest(&whole, float.fract() != 0.0, &unit);
        rounded.to_string().parse().unwrap_or(float)
    };
    let rounded = rounded.copysign(float);
    if rounded.is_infinite() {
        return Err(crate::error::overflow_error(
            "rounded value too large to represent",
        ));
    }
    Ok(Value::Float(rounded))
}

pub(super) fn round(_: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let [precision, method] = args.bind("do_round", ["precision", "method"], 0)?;
    let precision = precision.unwrap_or(Value::Int(0));
    let up = match method.as_ref().map(Value::as_str) {
        None | Some(Some("common")) => return round_common(&value, &precision),
        Some(Some("ceil")) => true,
        Some(Some("floor")) => false,
        Some(_) => {
            return Err(filter_argument_error(
                "method must be common, ceil or floor",
            ));
        }
    };
    let factor = ops::binary(BinaryOp::Pow, &Value::Int(10), &precision)?;
    let scaled = ops::binary(BinaryOp::Mul, &value, &factor)?;
    let whole = match Number::of(&scaled) {
        Some(Number::Float(float)) => float_to_int(if up { float.ceil() } else { float.floor() })?,
        Some(number) => Value::int(number.big()),
        None => {
            return Err(type_error(format!(
                "must be real number, not {}",
                scaled.type_name()
            )));
        }
    };
    ops::binary(BinaryOp::Div, &whole, &factor)
}

pub(super) fn filesizeformat(_: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let [binary] = args.bind("do_filesizeformat", ["binary"], 0)?;
    let binary = binary.map_or(Ok(false), |binary| binary.is_true())?;
    let bytes = to_float(&value)?;
    let base: f64 = if binary { 1024.0 } else { 1000.0 };
    #[allow(clippy::float_cmp)]
    if bytes == 1.0 {
        return Ok(Value::str("1 Byte"));
    }
    if bytes < base {
        let whole = crate::repr::to_str(&float_to_int(bytes)?)?;
        return Ok(Value::str(format!("{whole} Bytes")));
    }
    let prefixes = ["k", "M", "G", "T", "P", "E", "Z", "Y"];
    let mut unit = base;
    let mut chosen = "";
    for prefix in prefixes {
        unit *= base;
        chosen = prefix;
        if bytes < unit {
            break;
        }
    }
    let number = crate::format::fixed(base * bytes / unit, 1, false)?;
    let (prefix, i) = if binary {
        (chosen.to_ascii_uppercase(), "i")
    } else {
        (chosen.to_owned(), "")
    };
    Ok(Value::str(format!("{number} {prefix}{i}B")))
}
