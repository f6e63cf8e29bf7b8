//! Equality, order and membership.

use std::cmp::Ordering;

use num_bigint::BigInt;

use crate::ast::CompareOp;
use crate::error::{Error, Result, type_error};
use crate::limits::{scan, work};
use crate::number::{Number, exact_big};
use crate::object::{Object, ViewKind};
use crate::value::Value;

fn compare_numbers(a: &Number, b: &Number) -> Option<Ordering> {
    match (a, b) {
        (Number::Int(a), Number::Int(b)) => Some(a.cmp(b)),
        (Number::Float(a), Number::Float(b)) => a.partial_cmp(b),
        (Number::Float(a), b) => compare_float(*a, b),
        (a, Number::Float(b)) => compare_float(*b, a).map(Ordering::reverse),
        (a, b) => Some(a.big().cmp(&b.big())),
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

/// `a == b`.
pub(crate) fn equals(a: &Value, b: &Value) -> Result<bool> {
    if let (Value::Str(a), Value::Str(b)) = (a, b) {
        return Ok(a.same(b) || a.as_str() == b.as_str());
    }
    if let (Some(a), Some(b)) = (Number::of(a), Number::of(b)) {
        return Ok(compare_numbers(&a, &b) == Some(Ordering::Equal));
    }
    Ok(match (a, b) {
        (Value::Undefined(_), Value::Undefined(_)) | (Value::None, Value::None) => true,
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
            a.items.len() == b.items.len() && all_same(a.items.iter().zip(&b.items))?
        }
        (Value::Dict(a), Value::Dict(b)) => {
            if a.len() != b.len() {
                return Ok(false);
            }
            for (key, value) in a.iter() {
                match b.get(key)? {
                    Some(other) if same_or_equal(value, other)? => {}
                    _ => return Ok(false),
                }
            }
            true
        }
        (Value::Object(Object::Range(a)), Value::Object(Object::Range(b))) => {
            a.len() == b.len()
                && (a.len() == 0 || a.start() == b.start())
                && (a.len() <= 1 || a.step() == b.step())
        }
        (Value::Object(Object::View(a)), Value::Object(Object::View(b)))
            if a.kind != ViewKind::Values && b.kind != ViewKind::Values =>
        {
            if a.dict.len() != b.dict.len() {
                return Ok(false);
            }
            for at in 0..a.dict.len() {
                let Some(item) = a.at(at)? else { break };
                if !contains(&Value::Object(Object::View(b.clone())), &item)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Object(a), Value::Object(b)) => a.address() == b.address(),
        _ => false,
    })
}

fn all_same<'a>(pairs: impl Iterator<Item = (&'a Value, &'a Value)>) -> Result<bool> {
    for (a, b) in pairs {
        work(1)?;
        if !same_or_equal(a, b)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// As containers compare their items: one object equals itself, even a NaN.
pub(crate) fn same_or_equal(a: &Value, b: &Value) -> Result<bool> {
    Ok(equals(a, b)? || (matches!(a, Value::Float(_)) && is_same(a, b)))
}

/// `a is b`, as far as it does not depend on where Python put a value.
pub(crate) fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::None, Value::None) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(a), Value::Int(b)) => a == b,
        (Value::Big(a), Value::Big(b)) => std::rc::Rc::ptr_eq(a, b),
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
        (Value::Str(a), Value::Str(b)) => {
            a.is_safe() == b.is_safe() && (a.same(b) || a.as_str() == b.as_str())
        }
        (Value::List(a), Value::List(b)) => std::rc::Rc::ptr_eq(a, b),
        (Value::Tuple(a), Value::Tuple(b)) => {
            std::rc::Rc::ptr_eq(a, b) || (a.items.is_empty() && b.items.is_empty())
        }
        (Value::Dict(a), Value::Dict(b)) => std::rc::Rc::ptr_eq(a, b),
        (Value::Undefined(Some(a)), Value::Undefined(Some(b))) => std::rc::Rc::ptr_eq(a, b),
        (Value::Object(a), Value::Object(b)) => a.address() == b.address(),
        _ => false,
    }
}

fn not_ordered(op: &str, a: &Value, b: &Value) -> Error {
    type_error(format!(
        "'{op}' not supported between instances of '{}' and '{}'",
        a.type_name(),
        b.type_name()
    ))
}

/// The order of two values; `None` where they have one and it is neither (a NaN).
fn order(op: &str, a: &Value, b: &Value) -> Result<Option<Ordering>> {
    if let (Some(a), Some(b)) = (Number::of(a), Number::of(b)) {
        return Ok(compare_numbers(&a, &b));
    }
    if let Some(error) = a.undefined_error().or_else(|| b.undefined_error()) {
        return Err(error);
    }
    match (a, b) {
        (Value::Str(a), Value::Str(b)) => {
            scan(a.as_str().len().min(b.as_str().len()))?;
            Ok(Some(a.as_str().cmp(b.as_str())))
        }
        (Value::List(x), Value::List(y)) | (Value::Tuple(x), Value::Tuple(y)) => {
            for (a, b) in x.items.iter().zip(&y.items) {
                work(1)?;
                if !same_or_equal(a, b)? {
                    return order(op, a, b);
                }
            }
            Ok(Some(x.items.len().cmp(&y.items.len())))
        }
        (Value::Object(Object::View(x)), Value::Object(Object::View(y)))
            if x.kind != ViewKind::Values && y.kind != ViewKind::Values =>
        {
            Err(crate::error::unsupported("the order of dict views"))
        }
        _ => Err(not_ordered(op, a, b)),
    }
}

pub(crate) fn less(a: &Value, b: &Value) -> Result<bool> {
    Ok(order("<", a, b)? == Some(Ordering::Less))
}

pub(crate) fn greater(a: &Value, b: &Value) -> Result<bool> {
    Ok(order(">", a, b)? == Some(Ordering::Greater))
}

/// One comparison.
pub(crate) fn compare(op: CompareOp, a: &Value, b: &Value) -> Result<bool> {
    work(1)?;
    match op {
        CompareOp::Eq => equals(a, b),
        CompareOp::Ne => Ok(!equals(a, b)?),
        CompareOp::Lt => less(a, b),
        CompareOp::Gt => greater(a, b),
        CompareOp::Le => Ok(matches!(
            order("<=", a, b)?,
            Some(Ordering::Less | Ordering::Equal)
        )),
        CompareOp::Ge => Ok(matches!(
            order(">=", a, b)?,
            Some(Ordering::Greater | Ordering::Equal)
        )),
        CompareOp::In => contains(b, a),
        CompareOp::NotIn => Ok(!contains(b, a)?),
    }
}

/// `item in container`.
pub(crate) fn contains(container: &Value, item: &Value) -> Result<bool> {
    match container {
        Value::Str(text) => match item {
            Value::Str(part) => {
                scan(text.as_str().len())?;
                Ok(text.as_str().contains(part.as_str()))
            }
            other => Err(type_error(format!(
                "'in <string>' requires string as left operand, not {}",
                other.type_name()
            ))),
        },
        Value::List(seq) | Value::Tuple(seq) => {
            for other in &seq.items {
                work(1)?;
                if same_or_equal(other, item)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Value::Dict(dict) => Ok(dict.get(item)?.is_some()),
        Value::Undefined(_) => Ok(false),
        Value::Object(Object::Range(range)) => match Number::of(item) {
            Some(number) => Ok(range.contains(&number)),
            None => Ok(false),
        },
        Value::Object(Object::View(view)) => match view.kind {
            ViewKind::Keys => Ok(view.dict.get(item)?.is_some()),
            ViewKind::Values => {
                for (_, value) in view.dict.iter() {
                    work(1)?;
                    if same_or_equal(value, item)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            ViewKind::Items => match item {
                Value::Tuple(pair) => match pair.items.as_slice() {
                    [key, value] => match view.dict.get(key)? {
                        Some(found) => same_or_equal(found, value),
                        None => Ok(false),
                    },
                    _ => Ok(false),
                },
                _ => Ok(false),
            },
        },
        other => Err(type_error(format!(
            "argument of type '{}' is not iterable",
            other.type_name()
        ))),
    }
}
