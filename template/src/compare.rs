//! Order.

use std::cmp::Ordering;

use crate::{
    ast::CompareOp,
    error::{Error, Result, type_error, unsupported},
    limits::{scan, work},
    number::Number,
    value::{Object, Value, ViewKind, contains, equals, reserve_values, same_or_equal},
};

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
        return Ok(a.compare(&b));
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
            Err(unsupported("the order of dict views"))
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

/// A stable sort that stops at the first error of a comparison, and that bears an order that is none (NaN).
pub(crate) fn sort_by_key<T: Clone>(
    items: &mut Vec<T>,
    key: impl Fn(&T) -> &Value,
    reverse: bool,
) -> Result<()> {
    reserve_values(items.len().saturating_mul(2))?;
    let mut width = 1;
    while width < items.len() {
        let mut merged = Vec::with_capacity(items.len());
        for run in items.chunks(2 * width) {
            let (left, right) = run.split_at(width.min(run.len()));
            let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
            loop {
                let next = match (left.peek(), right.peek()) {
                    (Some(a), Some(b)) => {
                        work(1)?;
                        let swap = if reverse {
                            less(key(a), key(b))?
                        } else {
                            less(key(b), key(a))?
                        };
                        if swap { right.next() } else { left.next() }
                    }
                    (Some(_), None) => left.next(),
                    _ => right.next(),
                };
                match next {
                    Some(item) => merged.push(item.clone()),
                    None => break,
                }
            }
        }
        *items = merged;
        width *= 2;
    }
    Ok(())
}
