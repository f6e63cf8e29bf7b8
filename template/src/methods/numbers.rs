//! Methods of `int` and `float`.

use num_bigint::BigInt;
use num_traits::Signed;

use crate::{
    ast::UnaryOp,
    error::{Result, overflow_error, unsupported, value_error},
    number::{exact_big, index},
    value::{Args, Value},
};

pub(super) fn int(value: &Value, method: &str, args: Args) -> Result<Value> {
    let number = index(value)?;
    match method {
        "to_bytes" | "from_bytes" => {
            return Err(unsupported(format!("`int.{method}`: bytes")));
        }
        _ => {
            let [] = args.positional(method, 0)?;
        }
    }
    Ok(match method {
        "as_integer_ratio" => Value::tuple(vec![Value::int(number), Value::Int(1)])?,
        "bit_count" => {
            let ones = number.abs();
            Value::Int(
                ones.iter_u64_digits()
                    .map(|digit| i64::from(digit.count_ones()))
                    .sum(),
            )
        }
        "bit_length" => Value::Int(i64::try_from(number.bits()).unwrap_or(i64::MAX)),
        _ => crate::ops::unary(UnaryOp::Pos, value)?,
    })
}

pub(super) fn float(value: f64, method: &str, args: Args) -> Result<Value> {
    if method == "fromhex" {
        return Err(unsupported("`float.fromhex`"));
    }
    let [] = args.positional(method, 0)?;
    Ok(match method {
        "is_integer" => Value::Bool(value.is_finite() && value.fract() == 0.0),
        "as_integer_ratio" => ratio(value)?,
        "hex" => Value::str(hex(value)),
        _ => Value::Float(value),
    })
}

fn ratio(value: f64) -> Result<Value> {
    if value.is_nan() {
        return Err(value_error("cannot convert NaN to integer ratio"));
    }
    if value.is_infinite() {
        return Err(overflow_error("cannot convert Infinity to integer ratio"));
    }
    let (mut scaled, mut shift) = (value, 0u32);
    while scaled.fract() != 0.0 {
        scaled *= 2.0;
        shift += 1;
    }
    let numerator = if scaled == 0.0 {
        BigInt::from(0)
    } else {
        exact_big(scaled)
    };
    let denominator = BigInt::from(1) << shift;
    Value::tuple(vec![Value::int(numerator), Value::int(denominator)])
}

fn hex(value: f64) -> String {
    let sign = if value.is_sign_negative() && !value.is_nan() {
        "-"
    } else {
        ""
    };
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return format!("{sign}inf");
    }
    if value == 0.0 {
        return format!("{sign}0x0.0p+0");
    }
    let bits = value.to_bits();
    let fraction = bits & ((1 << 52) - 1);
    let exponent = (bits >> 52) & 0x7ff;
    let (lead, exponent) = match exponent {
        0 => (0, -1022),
        exponent => (1, i64::try_from(exponent).unwrap_or(0) - 1023),
    };
    format!("{sign}0x{lead}.{fraction:013x}p{exponent:+}")
}
