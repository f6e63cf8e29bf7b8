//! Values as numbers and as indexes.

use std::{cmp::Ordering, rc::Rc};

use num_bigint::{BigInt, Sign};

use super::plain::{Big, MAX_DIGITS, big_to_f64, exact_big, exact_i64, too_many_digits};
use crate::{
    error::{Error, Result, overflow_error, type_error, value_error},
    value::Value,
};

/// An operand of arithmetic.
#[derive(Clone)]
pub(crate) enum Number {
    Int(i64),
    Big(Rc<Big>),
    Float(f64),
}

impl Number {
    pub(crate) fn of(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Bool(value) => Self::Int(i64::from(*value)),
            Value::Int(value) => Self::Int(*value),
            Value::Big(value) => Self::Big(value.clone()),
            Value::Float(value) => Self::Float(*value),
            _ => return None,
        })
    }

    pub(crate) fn is_float(&self) -> bool {
        matches!(self, Self::Float(_))
    }

    /// The integer; a float's is cut.
    pub(crate) fn big(&self) -> BigInt {
        match self {
            Self::Int(value) => BigInt::from(*value),
            Self::Big(value) => (**value).clone(),
            Self::Float(value) => exact_big(*value),
        }
    }

    pub(crate) fn float(&self) -> Result<f64> {
        match self {
            #[allow(clippy::cast_precision_loss)]
            Self::Int(value) => Ok(*value as f64),
            Self::Big(value) => big_to_f64(value),
            Self::Float(value) => Ok(*value),
        }
    }

    /// The integer of 64 bits that this is exactly, if there is one.
    pub(crate) fn exact(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            Self::Float(value) => exact_i64(*value),
            Self::Big(_) => None,
        }
    }

    /// The order of two numbers, which a NaN does not have.
    pub(crate) fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Number::Int(a), Number::Int(b)) => Some(a.cmp(b)),
            (Number::Float(a), Number::Float(b)) => a.partial_cmp(b),
            (Number::Float(a), b) => compare_float(*a, b),
            (a, Number::Float(b)) => compare_float(*b, a).map(Ordering::reverse),
            (a, b) => Some(a.big().cmp(&b.big())),
        }
    }
}

/// A float against an integer, exactly.
fn compare_float(float: f64, integer: &Number) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    if float.is_infinite() {
        return float.partial_cmp(&0.0);
    }
    let whole = if float.abs() < 1.0 {
        BigInt::from(0)
    } else {
        exact_big(float.trunc())
    };
    Some(
        whole
            .cmp(&integer.big())
            .then(float.fract().partial_cmp(&0.0)?),
    )
}

/// `int(float)` for a finite float.
pub(crate) fn float_to_int(value: f64) -> Result<Value> {
    if value.is_nan() {
        return Err(value_error("cannot convert float NaN to integer"));
    }
    if value.is_infinite() {
        return Err(overflow_error("cannot convert float infinity to integer"));
    }
    let value = value.trunc();
    if let Some(small) = exact_i64(value) {
        return Ok(Value::Int(small));
    }
    Ok(Value::int(exact_big(value)))
}

impl Value {
    /// The number that Python's `json` reads from the text of a JSON number: an exact integer of any size, or the
    /// nearest float. `NaN`, `Infinity` and `-Infinity`, which Python writes, are read too.
    ///
    /// # Errors
    ///
    /// A text that is no number, and an integer of more than 4,300 digits, as in Python.
    pub fn from_json_number(text: &str) -> Result<Self> {
        let bad = || value_error(format!("{text:?} is not a JSON number"));
        match text {
            "NaN" => return Ok(Self::Float(f64::NAN)),
            "Infinity" => return Ok(Self::Float(f64::INFINITY)),
            "-Infinity" => return Ok(Self::Float(f64::NEG_INFINITY)),
            _ => {}
        }
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let valid = unsigned.starts_with(|c: char| c.is_ascii_digit())
            && unsigned
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
        if !valid {
            return Err(bad());
        }
        if unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
            if let Ok(small) = text.parse() {
                return Ok(Self::Int(small));
            }
            if unsigned.len() > MAX_DIGITS {
                return Err(value_error(too_many_digits(unsigned.len())));
            }
            return Ok(Self::int(text.parse().map_err(|_| bad())?));
        }
        text.parse().map(Self::Float).map_err(|_| bad())
    }
}

/// A value that Python takes for an index, as an integer.
pub(crate) fn index(value: &Value) -> Result<BigInt> {
    match value {
        Value::Bool(value) => Ok(BigInt::from(i64::from(*value))),
        Value::Int(value) => Ok(BigInt::from(*value)),
        Value::Big(value) => Ok((**value).clone()),
        other => Err(not_an_integer(other)),
    }
}

pub(crate) fn not_an_integer(value: &Value) -> Error {
    type_error(format!(
        "'{}' object cannot be interpreted as an integer",
        value.type_name()
    ))
}

/// An index or a count, clamped to 64 bits.
pub(crate) fn clamped_index(value: &Value) -> Result<i64> {
    match value {
        Value::Bool(value) => Ok(i64::from(*value)),
        Value::Int(value) => Ok(*value),
        Value::Big(value) => Ok(match value.sign() {
            Sign::Minus => i64::MIN,
            _ => i64::MAX,
        }),
        other => Err(not_an_integer(other)),
    }
}

/// A count for a method that takes no more than a machine word.
pub(crate) fn machine_index(value: &Value) -> Result<i64> {
    match value {
        Value::Big(_) => Err(overflow_error(
            "Python int too large to convert to C ssize_t",
        )),
        other => clamped_index(other),
    }
}
