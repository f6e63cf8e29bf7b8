//! Attributes, subscripts and slices, by the rules of Jinja's sandbox.

use std::{rc::Rc, sync::Arc};

use num_traits::ToPrimitive;

use crate::{
    error::{Result, type_error, value_error},
    limits::{reserve, scan},
    methods::{changes, find},
    number::clamped_index,
    repr::repr,
    value::{Interp, Method, Object, Text, Value, described, reserve_values},
};

/// Attributes that all of Python's values have, and that no template gets.
const INTERNAL: [&str; 24] = [
    "__class__",
    "__delattr__",
    "__dir__",
    "__doc__",
    "__eq__",
    "__format__",
    "__ge__",
    "__getattribute__",
    "__getstate__",
    "__gt__",
    "__hash__",
    "__init__",
    "__init_subclass__",
    "__le__",
    "__lt__",
    "__ne__",
    "__new__",
    "__reduce__",
    "__reduce_ex__",
    "__repr__",
    "__setattr__",
    "__sizeof__",
    "__str__",
    "__subclasshook__",
];

/// What a value of this type has besides.
fn has_internal(value: &Value, name: &str) -> bool {
    if INTERNAL.contains(&name) {
        return true;
    }
    let container = matches!(
        value,
        Value::Str(_) | Value::List(_) | Value::Tuple(_) | Value::Dict(_)
    );
    match name {
        "__len__" | "__contains__" | "__getitem__" | "__iter__" => container,
        "__add__" | "__mul__" | "__rmul__" => {
            container && !matches!(value, Value::Dict(_))
                || matches!(
                    value,
                    Value::Int(_) | Value::Bool(_) | Value::Big(_) | Value::Float(_)
                )
        }
        "__setitem__" | "__delitem__" | "__reversed__" => {
            matches!(value, Value::List(_) | Value::Dict(_))
        }
        _ => false,
    }
}

/// `getattr(value, name)`, if there is such an attribute.
pub(crate) fn attribute(
    interp: &mut Interp<'_>,
    value: &Value,
    name: &str,
) -> Result<Option<Value>> {
    if let Some(error) = value.undefined_error()
        && !(name.starts_with("__") && name.ends_with("__"))
    {
        return Err(error);
    }
    if let Value::Object(Object::Namespace(namespace)) = value {
        return Ok(match namespace.get(name) {
            Some(found) => Some(found),
            None if name == "__class__" => Some(Value::unsafe_attribute(value, name)),
            None => None,
        });
    }
    if name.starts_with('_') && has_internal(value, name) {
        return Ok(Some(Value::unsafe_attribute(value, name)));
    }
    if let Some(method) = find(value, name) {
        return Ok(Some(if changes(value, method) {
            Value::unsafe_attribute(value, name)
        } else {
            Method::bound(value.clone(), method)?
        }));
    }
    match value {
        Value::Tuple(seq) if seq.group => Ok(match name {
            "grouper" => seq.items.first().cloned(),
            "list" => seq.items.get(1).cloned(),
            _ => None,
        }),
        Value::Bool(_) | Value::Int(_) | Value::Big(_) => Ok(match name {
            "real" | "numerator" => Some(crate::ops::unary(crate::ast::UnaryOp::Pos, value)?),
            "imag" => Some(Value::Int(0)),
            "denominator" => Some(Value::Int(1)),
            _ => None,
        }),
        Value::Float(_) => Ok(match name {
            "real" => Some(value.clone()),
            "imag" => Some(Value::Float(0.0)),
            _ => None,
        }),
        Value::Object(object) => object_attribute(interp, object, name),
        _ => Ok(None),
    }
}

fn object_attribute(interp: &mut Interp<'_>, object: &Object, name: &str) -> Result<Option<Value>> {
    Ok(match (object, name) {
        (Object::Loop(state), _) => return state.clone().attribute(interp, name),
        (Object::Range(range), "start") => Some(Value::Int(range.start())),
        (Object::Range(range), "stop") => Some(Value::Int(range.stop())),
        (Object::Range(range), "step") => Some(Value::Int(range.step())),
        (Object::Cycler(cycler), "current") => Some(cycler.current()),
        (Object::Cycler(cycler), "items") => Some(cycler.items.clone()),
        (Object::Cycler(cycler), "pos") => Some(Value::usize(cycler.at.get())),
        (Object::Joiner(joiner), "sep") => Some(joiner.separator.clone()),
        (Object::Joiner(joiner), "used") => Some(Value::Bool(joiner.used.get())),
        (Object::Macro(definition), _) => {
            let def = &definition.def;
            match name {
                "name" => Some(def.name.as_deref().map_or(Value::None, Value::from)),
                "arguments" => {
                    let names = def.parameters.iter().map(|(name, _)| Value::from(&**name));
                    Some(Value::tuple(names.collect())?)
                }
                "catch_kwargs" => Some(Value::Bool(def.kwargs.is_some())),
                "catch_varargs" => Some(Value::Bool(def.varargs.is_some())),
                "caller" => Some(Value::Bool(def.caller.is_some())),
                "explicit_caller" => Some(Value::Bool(def.explicit_caller)),
                _ => None,
            }
        }
        _ => None,
    })
}

fn missing(value: &Value, name: &Value) -> Result<Value> {
    Ok(match name {
        Value::Str(text) => Value::missing_attribute(value, text.clone()),
        other => Value::undefined(format!(
            "{} has no element {}",
            described(value.type_name()),
            repr(other)?
        )),
    })
}

/// `value.name`: the attribute, or else the item.
pub(crate) fn attribute_or_item(
    interp: &mut Interp<'_>,
    value: &Value,
    name: &Arc<str>,
) -> Result<Value> {
    if let Value::Dict(dict) = value
        && !name.starts_with('_')
        && find(value, name).is_none()
        && let Some(found) = dict.get_str(name)
    {
        return Ok(found.clone());
    }
    if let Some(found) = attribute(interp, value, name)? {
        return Ok(found);
    }
    if let Some(error) = value.undefined_error() {
        return Err(error);
    }
    if let Value::Dict(dict) = value
        && let Some(found) = dict.get_str(name)
    {
        return Ok(found.clone());
    }
    Ok(Value::missing_attribute(
        value,
        Text::constant(name.clone()),
    ))
}

/// `value[key]`: the item, or else the attribute.
pub(crate) fn item_or_attribute(
    interp: &mut Interp<'_>,
    value: &Value,
    key: &Value,
) -> Result<Value> {
    if let Some(found) = item(value, key)? {
        return Ok(found);
    }
    if let Some(name) = key.as_str()
        && let Some(found) = attribute(interp, value, name)?
    {
        return Ok(found);
    }
    missing(value, key)
}

/// `value[key]`, if there is such an item.
pub(crate) fn item(value: &Value, key: &Value) -> Result<Option<Value>> {
    if let Some(error) = value.undefined_error() {
        return Err(error);
    }
    if let Value::Dict(dict) = value {
        return match dict.get(key) {
            Ok(found) => Ok(found.cloned()),
            Err(error) if error.is_python(&["TypeError"]) => Ok(None),
            Err(error) => Err(error),
        };
    }
    let Ok(place) = clamped_index(key) else {
        return Ok(None);
    };
    let within = |length: usize| {
        let length = i64::try_from(length).unwrap_or(i64::MAX);
        let place = if place < 0 {
            place.saturating_add(length)
        } else {
            place
        };
        usize::try_from(place).ok()
    };
    Ok(match value {
        Value::List(seq) | Value::Tuple(seq) => {
            within(seq.items.len()).and_then(|at| seq.items.get(at).cloned())
        }
        Value::Object(Object::Range(range)) => within(range.len())
            .and_then(|at| range.at(at))
            .map(Value::Int),
        Value::Str(text) => {
            let found = char_at(text.as_str(), place)?;
            match found {
                Some(c) => Some(Value::copied(c.encode_utf8(&mut [0; 4]), text.is_safe())?),
                None => None,
            }
        }
        _ => None,
    })
}

fn char_at(text: &str, place: i64) -> Result<Option<char>> {
    let steps = usize::try_from(place.unsigned_abs()).unwrap_or(usize::MAX);
    scan(steps.min(text.len()))?;
    Ok(if place < 0 {
        text.chars().rev().nth(steps - 1)
    } else {
        text.chars().nth(steps)
    })
}

/// Where a slice starts, where it stops, its step and how many items it has.
struct Bounds {
    start: i64,
    stop: i64,
    step: i64,
    count: usize,
}

fn bounds(parts: &[Value; 3], length: usize) -> Result<Bounds> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let part = |value: &Value| -> Result<Option<i64>> {
        match value {
            Value::None => Ok(None),
            Value::Bool(_) | Value::Int(_) | Value::Big(_) => clamped_index(value).map(Some),
            _ => Err(type_error(
                "slice indices must be integers or None or have an __index__ method",
            )),
        }
    };
    let [start, stop, step] = parts;
    let step = part(step)?.unwrap_or(1);
    if step == 0 {
        return Err(value_error("slice step cannot be zero"));
    }
    let (lower, upper) = if step < 0 {
        (-1, length - 1)
    } else {
        (0, length)
    };
    let place = |value: Option<i64>, default: i64| match value {
        None => default,
        Some(value) if value < 0 => value.saturating_add(length).max(lower),
        Some(value) => value.min(upper),
    };
    let (first, last) = if step < 0 {
        (upper, lower)
    } else {
        (lower, upper)
    };
    let start = place(part(start)?, first);
    let stop = place(part(stop)?, last);
    let distance = if step < 0 { start - stop } else { stop - start };
    let count = if distance <= 0 {
        0
    } else {
        (i128::from(distance) + i128::from(step.unsigned_abs()) - 1)
            / i128::from(step.unsigned_abs())
    };
    Ok(Bounds {
        start,
        stop,
        step,
        count: count.to_usize().unwrap_or(0),
    })
}

impl Bounds {
    fn places(&self) -> impl Iterator<Item = usize> {
        let (start, step) = (self.start, self.step);
        (0..self.count).map(move |at| {
            let at = i64::try_from(at).unwrap_or(i64::MAX);
            usize::try_from(start + step.saturating_mul(at)).unwrap_or(usize::MAX)
        })
    }
}

/// `value[start:stop:step]`.
pub(crate) fn slice(value: &Value, parts: &[Value; 3]) -> Result<Value> {
    match value {
        Value::List(seq) | Value::Tuple(seq) => {
            let bounds = bounds(parts, seq.items.len())?;
            reserve_values(bounds.count)?;
            crate::limits::work(bounds.count as u64 / 16)?;
            let items = bounds.places().filter_map(|at| seq.items.get(at).cloned());
            let items = items.collect();
            if matches!(value, Value::List(_)) {
                Value::list(items)
            } else {
                Value::tuple(items)
            }
        }
        Value::Str(text) => slice_text(text.as_str(), text.is_safe(), parts),
        Value::Object(Object::Range(range)) => {
            let bounds = bounds(parts, range.len())?;
            let part = range.slice(bounds.start, bounds.stop, bounds.step)?;
            Ok(Value::Object(Object::Range(Rc::new(part))))
        }
        Value::Dict(_) => Err(type_error("unhashable type: 'slice'")),
        other => Err(other.undefined_error().unwrap_or_else(|| {
            type_error(format!(
                "'{}' object is not subscriptable",
                other.type_name()
            ))
        })),
    }
}

fn slice_text(text: &str, safe: bool, parts: &[Value; 3]) -> Result<Value> {
    scan(text.len())?;
    let ascii = text.is_ascii();
    let length = if ascii {
        text.len()
    } else {
        text.chars().count()
    };
    let bounds = bounds(parts, length)?;
    if bounds.count == 0 {
        return Ok(Value::text_like("", safe));
    }
    if bounds.step == 1 {
        let start = usize::try_from(bounds.start).unwrap_or(0);
        let part = if ascii {
            text.get(start..start + bounds.count)
        } else {
            let mut places = text.char_indices().map(|(at, _)| at);
            let from = places.nth(start).unwrap_or(text.len());
            let to = places.nth(bounds.count - 1).unwrap_or(text.len());
            text.get(from..to)
        };
        return Value::copied(part.unwrap_or(""), safe);
    }
    reserve(length.saturating_mul(4))?;
    let chars: Vec<char> = text.chars().collect();
    let part: String = bounds.places().filter_map(|at| chars.get(at)).collect();
    Value::copied(&part, safe)
}
