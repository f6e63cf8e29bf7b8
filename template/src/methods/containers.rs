//! Methods of lists, tuples, ranges, dicts and their views.

use std::rc::Rc;

use crate::value::{
    Args, Dict, Interp, Object, Range, Value, View, ViewKind, reserve_values, same_or_equal,
};
use crate::{
    error::{Result, type_error, value_error},
    limits::work,
    number::{Number, clamped_index},
    repr::repr,
};

pub(super) fn sequence(value: &Value, items: &[Value], method: &str, args: Args) -> Result<Value> {
    match method {
        "copy" => {
            let [] = args.positional(method, 0)?;
            reserve_values(items.len())?;
            Value::list(items.to_vec())
        }
        "count" => {
            let [wanted] = args.positional(method, 1)?;
            let wanted = wanted.unwrap_or(Value::None);
            let mut count = 0;
            for item in items {
                work(1)?;
                count += i64::from(same_or_equal(item, &wanted)?);
            }
            Ok(Value::Int(count))
        }
        _ => {
            let [wanted, start, stop] = args.positional(method, 1)?;
            let wanted = wanted.unwrap_or(Value::None);
            let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
            let place = |value: Option<Value>, default: i64| -> Result<usize> {
                let place = match value {
                    None => default,
                    Some(value @ (Value::Int(_) | Value::Big(_) | Value::Bool(_))) => {
                        clamped_index(&value)?
                    }
                    Some(_) => {
                        return Err(type_error(
                            "slice indices must be integers or have an __index__ method",
                        ));
                    }
                };
                let place = if place < 0 {
                    place.saturating_add(length).max(0)
                } else {
                    place
                };
                Ok(usize::try_from(place).unwrap_or(usize::MAX))
            };
            let (start, stop) = (place(start, 0)?, place(stop, length)?);
            for (at, item) in items.iter().enumerate().take(stop).skip(start) {
                work(1)?;
                if same_or_equal(item, &wanted)? {
                    return Ok(Value::usize(at));
                }
            }
            Err(value_error(match value {
                Value::List(_) => format!("{} is not in list", repr(&wanted)?),
                _ => "tuple.index(x): x not in tuple".to_owned(),
            }))
        }
    }
}

pub(super) fn range(range: &Range, method: &str, args: Args) -> Result<Value> {
    let [wanted] = args.positional(method, 1)?;
    let wanted = wanted.unwrap_or(Value::None);
    let found = Number::of(&wanted)
        .and_then(|number| number.exact())
        .and_then(|number| range.index_of(number));
    match (method, found) {
        ("count", found) => Ok(Value::Int(i64::from(found.is_some()))),
        (_, Some(at)) => Ok(Value::usize(at)),
        (_, None) => Err(value_error(format!("{} is not in range", repr(&wanted)?))),
    }
}

pub(super) fn dict(
    interp: &mut Interp<'_>,
    dict: &Rc<Dict>,
    method: &str,
    args: Args,
) -> Result<Value> {
    let kind = match method {
        "get" => {
            let [key, default] = args.positional(method, 1)?;
            let found = dict.get(&key.unwrap_or(Value::None))?.cloned();
            return Ok(found.or(default).unwrap_or(Value::None));
        }
        "copy" => {
            let [] = args.positional(method, 0)?;
            let mut copy = Dict::builder();
            copy.insert_all(dict)?;
            return copy.finish();
        }
        "fromkeys" => return from_keys(interp, args),
        "items" => ViewKind::Items,
        "keys" => ViewKind::Keys,
        _ => ViewKind::Values,
    };
    let [] = args.positional(method, 0)?;
    Ok(Value::Object(Object::View(Rc::new(View {
        kind,
        dict: dict.clone(),
    }))))
}

pub(super) fn from_keys(interp: &mut Interp<'_>, args: Args) -> Result<Value> {
    let [keys, value] = args.positional("fromkeys", 1)?;
    let value = value.unwrap_or(Value::None);
    let mut iter = crate::iter::iterate(&keys.unwrap_or(Value::None))?;
    let mut dict = Dict::builder();
    while let Some(key) = iter.next(interp)? {
        dict.insert(key, value.clone())?;
    }
    dict.finish()
}

pub(super) fn view(interp: &mut Interp<'_>, view: &Rc<View>, args: Args) -> Result<Value> {
    let [other] = args.positional("isdisjoint", 1)?;
    let mut iter = crate::iter::iterate(&other.unwrap_or(Value::None))?;
    let container = Value::Object(Object::View(view.clone()));
    while let Some(item) = iter.next(interp)? {
        if crate::value::contains(&container, &item)? {
            return Ok(Value::Bool(false));
        }
    }
    Ok(Value::Bool(true))
}
