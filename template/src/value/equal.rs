//! Equality, and what rests on it: keys, lookups in dicts, membership.

use std::{
    cmp::Ordering,
    hash::{Hash, Hasher},
    rc::Rc,
};

use num_traits::ToPrimitive;

use super::types::{Dict, Key, Object, Value, ViewKind};
use crate::{
    error::{Result, type_error},
    limits::{scan, work},
    number::{Number, exact_i64},
};

impl Key {
    /// # Errors
    ///
    /// Python's for a list, a dict, or a tuple that holds one.
    pub(crate) fn new(value: Value) -> Result<Self> {
        check_hashable(&value)?;
        Ok(Self(value))
    }
}

fn check_hashable(value: &Value) -> Result<()> {
    match value {
        Value::List(_) | Value::Dict(_) => Err(type_error(format!(
            "unhashable type: '{}'",
            value.type_name()
        ))),
        Value::Object(Object::View(view)) if view.hashable_like_a_set() => Err(type_error(
            format!("unhashable type: '{}'", value.type_name()),
        )),
        Value::Tuple(seq) => seq.items.iter().try_for_each(check_hashable),
        _ => Ok(()),
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        let nan = |value: &Value| matches!(value, Value::Float(float) if float.is_nan());
        equals(&self.0, &other.0).unwrap_or(false) && !nan(&self.0)
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_value(&self.0, state);
    }
}

fn hash_value<H: Hasher>(value: &Value, state: &mut H) {
    match value {
        Value::Str(text) => text.as_str().hash(state),
        Value::Undefined(_) => 1u8.hash(state),
        Value::None => 2u8.hash(state),
        Value::Bool(value) => i64::from(*value).hash(state),
        Value::Int(value) => value.hash(state),
        Value::Big(value) => value
            .to_f64()
            .unwrap_or(f64::INFINITY)
            .to_bits()
            .hash(state),
        // Equal numbers must hash equally, whatever their type.
        Value::Float(value) => match exact_i64(*value) {
            Some(integer) => integer.hash(state),
            None => value.to_bits().hash(state),
        },
        Value::Tuple(seq) | Value::List(seq) => {
            for item in &seq.items {
                hash_value(item, state);
            }
        }
        Value::Dict(_) => 3u8.hash(state),
        Value::Object(object) => object.address().hash(state),
    }
}

impl Dict {
    /// # Errors
    ///
    /// A key that cannot be one.
    pub(crate) fn get(&self, key: &Value) -> Result<Option<&Value>> {
        match key {
            Value::Str(text) => Ok(self.get_str(text.as_str())),
            key => Ok(self.entries.get(&Key::new(key.clone())?)),
        }
    }
}

/// `a == b`.
pub(crate) fn equals(a: &Value, b: &Value) -> Result<bool> {
    if let (Value::Str(a), Value::Str(b)) = (a, b) {
        return Ok(a.same(b) || a.as_str() == b.as_str());
    }
    if let (Some(a), Some(b)) = (Number::of(a), Number::of(b)) {
        return Ok(a.compare(&b) == Some(Ordering::Equal));
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
        (Value::Big(a), Value::Big(b)) => Rc::ptr_eq(a, b),
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
        (Value::Str(a), Value::Str(b)) => {
            a.is_safe() == b.is_safe() && (a.same(b) || a.as_str() == b.as_str())
        }
        (Value::List(a), Value::List(b)) => Rc::ptr_eq(a, b),
        (Value::Tuple(a), Value::Tuple(b)) => {
            Rc::ptr_eq(a, b) || (a.items.is_empty() && b.items.is_empty())
        }
        (Value::Dict(a), Value::Dict(b)) => Rc::ptr_eq(a, b),
        (Value::Undefined(Some(a)), Value::Undefined(Some(b))) => Rc::ptr_eq(a, b),
        (Value::Object(a), Value::Object(b)) => a.address() == b.address(),
        _ => false,
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
            Some(number) => Ok(number
                .exact()
                .is_some_and(|value| range.index_of(value).is_some())),
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
