//! Arithmetic, and what text and lists make of its operators.

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{Signed, Zero};

use crate::{
    ast::{BinaryOp, UnaryOp},
    error::{Error, Result, limit, type_error, zero_division_error},
    limits::{reserve, work},
    markup::escaped,
    number::{Number, clamped_index, true_divide},
    value::{Object, Value, reserve_values},
};

fn symbol(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Add => "+",
        BinaryOp::Sub => "-",
        BinaryOp::Mul => "*",
        BinaryOp::Div => "/",
        BinaryOp::FloorDiv => "//",
        BinaryOp::Mod => "%",
        BinaryOp::Pow => "** or pow()",
    }
}

fn unsupported_operands(op: BinaryOp, a: &Value, b: &Value) -> Error {
    let (left, right) = (a.type_name(), b.type_name());
    match (op, a, b) {
        (BinaryOp::Add, Value::Str(_), _) => {
            type_error(format!("can only concatenate str (not \"{right}\") to str"))
        }
        (BinaryOp::Add, Value::List(_), _) => type_error(format!(
            "can only concatenate list (not \"{right}\") to list"
        )),
        (BinaryOp::Add, Value::Tuple(_), _) => type_error(format!(
            "can only concatenate tuple (not \"{right}\") to tuple"
        )),
        (BinaryOp::Mul, Value::Str(_) | Value::List(_) | Value::Tuple(_), _) => type_error(
            format!("can't multiply sequence by non-int of type '{right}'"),
        ),
        (BinaryOp::Mul, _, Value::Str(_) | Value::List(_) | Value::Tuple(_)) => type_error(
            format!("can't multiply sequence by non-int of type '{left}'"),
        ),
        _ => type_error(format!(
            "unsupported operand type(s) for {}: '{left}' and '{right}'",
            symbol(op)
        )),
    }
}

/// `value + operand` in the place of a long text that nothing else holds; says whether that is what it was.
pub(crate) fn append(op: BinaryOp, value: &mut Value, operand: &Value) -> Result<bool> {
    match (op, value, operand) {
        (BinaryOp::Add, Value::Str(text), Value::Str(more))
            if !text.is_safe() && !more.is_safe() =>
        {
            text.append(more.as_str())
        }
        _ => Ok(false),
    }
}

/// `a op b`.
pub(crate) fn binary(op: BinaryOp, a: &Value, b: &Value) -> Result<Value> {
    work(1)?;
    if let (Some(a), Some(b)) = (Number::of(a), Number::of(b)) {
        return arithmetic(op, &a, &b);
    }
    if op == BinaryOp::Mod
        && let Value::Str(format) = a
    {
        return crate::format::percent(format, b);
    }
    if let Some(error) = a.undefined_error().or_else(|| b.undefined_error()) {
        return Err(error);
    }
    match (op, a, b) {
        (BinaryOp::Add, Value::Str(x), Value::Str(y)) => {
            let (x, y) = match (x.is_safe(), y.is_safe()) {
                (false, true) => (escaped(a)?, y.clone()),
                (true, false) => (x.clone(), escaped(b)?),
                _ => (x.clone(), y.clone()),
            };
            reserve(x.as_str().len() + y.as_str().len())?;
            let safe = x.is_safe();
            Ok(Value::text_like([x.as_str(), y.as_str()].concat(), safe))
        }
        (BinaryOp::Add, Value::List(x), Value::List(y)) => {
            reserve_values(x.items.len() + y.items.len())?;
            Value::list([x.items.as_slice(), y.items.as_slice()].concat())
        }
        (BinaryOp::Add, Value::Tuple(x), Value::Tuple(y)) => {
            reserve_values(x.items.len() + y.items.len())?;
            Value::tuple([x.items.as_slice(), y.items.as_slice()].concat())
        }
        (BinaryOp::Mul, Value::Str(_) | Value::List(_) | Value::Tuple(_), times)
            if matches!(times, Value::Int(_) | Value::Bool(_) | Value::Big(_)) =>
        {
            repeat(a, clamped_index(times)?)
        }
        (BinaryOp::Mul, times, Value::Str(_) | Value::List(_) | Value::Tuple(_))
            if matches!(times, Value::Int(_) | Value::Bool(_) | Value::Big(_)) =>
        {
            repeat(b, clamped_index(times)?)
        }
        (BinaryOp::Sub, Value::Object(Object::View(_)), _)
        | (BinaryOp::Sub, _, Value::Object(Object::View(_))) => Err(crate::error::unsupported(
            "a difference of dict views, which Python makes a set",
        )),
        _ => Err(unsupported_operands(op, a, b)),
    }
}

fn repeat(value: &Value, times: i64) -> Result<Value> {
    let times = usize::try_from(times.max(0)).unwrap_or(usize::MAX);
    let items = |items: &[Value]| -> Result<Vec<Value>> {
        let count = if items.is_empty() { 0 } else { times };
        reserve_values(items.len().saturating_mul(count))?;
        crate::limits::work((items.len() * count) as u64 / 16)?;
        let all = std::iter::repeat_n(items, count).flatten();
        Ok(all.cloned().collect())
    };
    match value {
        Value::Str(text) => {
            let count = if text.as_str().is_empty() { 0 } else { times };
            reserve(text.as_str().len().saturating_mul(count))?;
            Ok(Value::text_like(
                text.as_str().repeat(count),
                text.is_safe(),
            ))
        }
        Value::List(seq) => Value::list(items(&seq.items)?),
        Value::Tuple(seq) => Value::tuple(items(&seq.items)?),
        other => Ok(other.clone()),
    }
}

fn arithmetic(op: BinaryOp, a: &Number, b: &Number) -> Result<Value> {
    if let (Number::Int(x), Number::Int(y)) = (a, b) {
        let small = match op {
            BinaryOp::Add => x.checked_add(*y),
            BinaryOp::Sub => x.checked_sub(*y),
            BinaryOp::Mul => x.checked_mul(*y),
            BinaryOp::FloorDiv if *y != 0 && *x != i64::MIN => Some(x.div_floor(y)),
            BinaryOp::Mod if *y != 0 && *x != i64::MIN => Some(x.mod_floor(y)),
            _ => None,
        };
        if let Some(value) = small {
            return Ok(Value::Int(value));
        }
    }
    if a.is_float() || b.is_float() {
        return float_arithmetic(op, a.float()?, b.float()?);
    }
    if op == BinaryOp::Pow {
        return power(a, b);
    }
    let (x, y) = (a.big(), b.big());
    if y.is_zero() {
        match op {
            BinaryOp::Div => return Err(zero_division_error("division by zero")),
            BinaryOp::FloorDiv => {
                return Err(zero_division_error("integer division or modulo by zero"));
            }
            BinaryOp::Mod => return Err(zero_division_error("integer modulo by zero")),
            _ => {}
        }
    }
    reserve(usize::try_from((x.bits() + y.bits()) / 8).unwrap_or(usize::MAX))?;
    if op == BinaryOp::Mul {
        work((x.bits() / 64 + 1) * (y.bits() / 64 + 1) / 16)?;
    }
    Ok(match op {
        BinaryOp::Add => Value::int(x + y),
        BinaryOp::Sub => Value::int(x - y),
        BinaryOp::Mul => big(x * y)?,
        BinaryOp::FloorDiv => Value::int(x.div_floor(&y)),
        BinaryOp::Mod => Value::int(x.mod_floor(&y)),
        BinaryOp::Div | BinaryOp::Pow => Value::Float(true_divide(&x, &y)?),
    })
}

/// Integers beyond this many bits are refused: no template needs one, and each step with it would be slow.
const MAX_BITS: u64 = 1 << 18;

fn big(value: BigInt) -> Result<Value> {
    if value.bits() > MAX_BITS {
        return Err(limit(format!("an integer of more than {MAX_BITS} bits")));
    }
    Ok(Value::int(value))
}

fn power(a: &Number, b: &Number) -> Result<Value> {
    let (base, exponent) = (a.big(), b.big());
    if exponent.is_negative() {
        return float_arithmetic(BinaryOp::Pow, a.float()?, b.float()?);
    }
    let trivial = base.bits() <= 1;
    let Ok(times) = u64::try_from(&exponent) else {
        // 0, 1 and -1 only.
        return if trivial {
            let odd = exponent.is_odd();
            Ok(Value::int(if base.is_negative() && !odd {
                -base
            } else {
                base
            }))
        } else {
            Err(limit(format!("an integer of more than {MAX_BITS} bits")))
        };
    };
    if !trivial && base.bits().saturating_mul(times) > MAX_BITS {
        return Err(limit(format!("an integer of more than {MAX_BITS} bits")));
    }
    if trivial {
        let odd = times % 2 == 1;
        return Ok(Value::int(match (times, base.is_negative() && !odd) {
            (0, _) => BigInt::from(1),
            (_, true) => -base,
            _ => base,
        }));
    }
    let bits = base.bits() * times;
    work(bits * bits / 65_536)?;
    big(base.pow(u32::try_from(times).unwrap_or(u32::MAX)))
}

fn float_arithmetic(op: BinaryOp, x: f64, y: f64) -> Result<Value> {
    Ok(Value::Float(match op {
        BinaryOp::Add => x + y,
        BinaryOp::Sub => x - y,
        BinaryOp::Mul => x * y,
        BinaryOp::Div if y == 0.0 => return Err(zero_division_error("float division by zero")),
        BinaryOp::Div => x / y,
        BinaryOp::FloorDiv | BinaryOp::Mod if y == 0.0 => {
            return Err(zero_division_error(match op {
                BinaryOp::Mod => "float modulo",
                _ => "float floor division by zero",
            }));
        }
        BinaryOp::FloorDiv => float_divmod(x, y).0,
        BinaryOp::Mod => float_divmod(x, y).1,
        BinaryOp::Pow => return float_power(x, y),
    }))
}

fn float_power(x: f64, y: f64) -> Result<Value> {
    if x == 0.0 && y < 0.0 {
        return Err(zero_division_error(
            "0.0 cannot be raised to a negative power",
        ));
    }
    if x < 0.0 && x.is_finite() && y.is_finite() && y.fract() != 0.0 {
        return Err(crate::error::unsupported(
            "a negative number to a fractional power, which Python makes a complex number",
        ));
    }
    let value = x.powf(y);
    if value.is_infinite() && x.is_finite() && y.is_finite() {
        return Err(crate::error::overflow_error(
            "(34, 'Numerical result out of range')",
        ));
    }
    Ok(Value::Float(value))
}

fn float_divmod(x: f64, y: f64) -> (f64, f64) {
    let mut rest = x % y;
    let mut quotient = (x - rest) / y;
    if rest != 0.0 {
        if (y < 0.0) != (rest < 0.0) {
            rest += y;
            quotient -= 1.0;
        }
    } else {
        rest = 0f64.copysign(y);
    }
    let floored = if quotient == 0.0 {
        0f64.copysign(x / y)
    } else {
        let floor = quotient.floor();
        if quotient - floor > 0.5 {
            floor + 1.0
        } else {
            floor
        }
    };
    (floored, rest)
}

/// `-a` and `+a`.
pub(crate) fn unary(op: UnaryOp, value: &Value) -> Result<Value> {
    if let Some(error) = value.undefined_error() {
        return Err(error);
    }
    let number = Number::of(value).ok_or_else(|| {
        let sign = match op {
            UnaryOp::Neg => '-',
            UnaryOp::Pos => '+',
        };
        type_error(format!(
            "bad operand type for unary {sign}: '{}'",
            value.type_name()
        ))
    })?;
    Ok(match (op, number) {
        (UnaryOp::Pos, Number::Int(value)) => Value::Int(value),
        (UnaryOp::Pos, Number::Big(value)) => Value::Big(value),
        (UnaryOp::Pos, Number::Float(value)) => Value::Float(value),
        (UnaryOp::Neg, Number::Int(value)) => match value.checked_neg() {
            Some(value) => Value::Int(value),
            None => Value::int(-BigInt::from(value)),
        },
        (UnaryOp::Neg, Number::Big(value)) => Value::int(-(**value).clone()),
        (UnaryOp::Neg, Number::Float(value)) => Value::Float(-value),
    })
}
