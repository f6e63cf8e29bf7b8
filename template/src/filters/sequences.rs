//! Filters over items.

use std::collections::HashSet;

use super::{
    generators::{Batch, Items, Ready, Slice, Unique},
    getter::Getter,
};
use crate::{
    ast::BinaryOp,
    error::{Result, filter_argument_error, type_error},
    index,
    iter::{self, Iter, Source, generator, iterate},
    value::{Args, Interp, Object, Value, depth_above},
};

pub(super) fn length(interp: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let [] = args.positional("len", 0)?;
    iter::length(interp, &value).map(Value::usize)
}

pub(super) fn list(interp: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let [] = args.bind("do_list", [], 0)?;
    Value::list(iter::collect(interp, &value)?)
}

pub(super) fn default(_: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let [default, boolean] = args.bind("do_default", ["default_value", "boolean"], 0)?;
    let boolean = boolean.map_or(Ok(false), |boolean| boolean.is_true())?;
    if value.is_undefined() || (boolean && !value.is_true()?) {
        return Ok(default.unwrap_or_else(|| Value::str("")));
    }
    Ok(value)
}

pub(super) fn first(interp: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let [] = args.bind("do_first", [], 0)?;
    let found = iterate(&value)?.next(interp)?;
    Ok(found.unwrap_or_else(|| Value::undefined("No first item, sequence was empty.")))
}

/// The items backwards, and the type of Python's iterator over them; none where it has to make a list first.
fn reversed(interp: &mut Interp<'_>, value: &Value) -> Result<Option<(Vec<Value>, &'static str)>> {
    let type_name = match value {
        Value::List(_) => "list_reverseiterator",
        Value::Str(_) | Value::Tuple(_) | Value::Undefined(_) => "reversed",
        Value::Dict(_) => "dict_reversekeyiterator",
        Value::Object(Object::Range(_)) => "range_iterator",
        Value::Object(Object::View(view)) => match view.kind {
            crate::value::ViewKind::Keys => "dict_reversekeyiterator",
            crate::value::ViewKind::Values => "dict_reversevalueiterator",
            crate::value::ViewKind::Items => "dict_reverseitemiterator",
        },
        _ => return Ok(None),
    };
    let mut items = iter::collect(interp, value)?;
    items.reverse();
    Ok(Some((items, type_name)))
}

pub(super) fn last(interp: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let [] = args.bind("do_last", [], 0)?;
    let found = match &value {
        Value::List(seq) | Value::Tuple(seq) => seq.items.last().cloned(),
        Value::Str(_) => index::item(&value, &Value::Int(-1))?,
        other => match reversed(interp, other)? {
            Some((items, _)) => items.into_iter().next(),
            None => {
                return Err(type_error(format!(
                    "'{}' object is not reversible",
                    other.type_name()
                )));
            }
        },
    };
    Ok(found.unwrap_or_else(|| Value::undefined("No last item, sequence was empty.")))
}

pub(super) fn reverse(interp: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let [] = args.bind("do_reverse", [], 0)?;
    if matches!(value, Value::Str(_)) {
        return index::slice(&value, &[Value::None, Value::None, Value::Int(-1)]);
    }
    if let Some((items, type_name)) = reversed(interp, &value)? {
        let depth = depth_above(&items)?;
        let Value::List(items) = Value::list(items)? else {
            return Ok(value);
        };
        return generator(Ready(Iter::Seq(items, 0)), type_name, depth);
    }
    if !iter::is_iterable(&value) {
        return Err(filter_argument_error("argument must be iterable"));
    }
    let mut items = iter::collect(interp, &value)?;
    items.reverse();
    Value::list(items)
}

pub(super) fn attr(interp: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let [name] = args.bind("do_attr", ["name"], 1)?;
    let name = name.unwrap_or(Value::None);
    let Some(name) = name.as_str() else {
        return Err(type_error(format!(
            "attribute name must be string, not '{}'",
            name.type_name()
        )));
    };
    match index::attribute(interp, &value, name)? {
        Some(found) => Ok(found),
        None => Ok(Value::undefined(format!(
            "'{} object' has no attribute {}",
            value.type_name(),
            crate::quote::string_repr(name)
        ))),
    }
}

pub(super) fn batch(_: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let [size, fill] = args.bind("do_batch", ["linecount", "fill_with"], 1)?;
    let (size, fill) = (size.unwrap_or(Value::None), fill.unwrap_or(Value::None));
    let depth = depth_above([&value, &fill])?;
    let batch = Batch {
        source: Source::Value(value),
        size,
        fill,
        line: Vec::new(),
    };
    generator(batch, "generator", depth)
}

pub(super) fn slice(_: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let [slices, fill] = args.bind("do_slice", ["slices", "fill_with"], 1)?;
    let (slices, fill) = (slices.unwrap_or(Value::None), fill.unwrap_or(Value::None));
    let depth = depth_above([&value, &fill])?;
    let slice = Slice {
        value,
        slices,
        fill,
        at: 0,
    };
    generator(slice, "generator", depth)
}

pub(super) fn unique(_: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let [case_sensitive, attribute] = args.bind("do_unique", ["case_sensitive", "attribute"], 0)?;
    let case_sensitive = case_sensitive.map_or(Ok(false), |value| value.is_true())?;
    let getter = Getter::new(attribute.as_ref(), None, !case_sensitive);
    let depth = depth_above([&value])?;
    let unique = Unique(Source::Value(value), getter, HashSet::new());
    generator(unique, "generator", depth)
}

pub(super) fn items(_: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let [] = args.bind("do_items", [], 0)?;
    let depth = depth_above([&value])?;
    generator(Items(Source::Value(value)), "generator", depth)
}

pub(super) fn sum(interp: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let [attribute, start] = args.bind("do_sum", ["attribute", "start"], 0)?;
    let attribute = attribute.filter(|attribute| !attribute.is_none());
    let getter = attribute.map(|attribute| Getter::new(Some(&attribute), None, false));
    let mut total = start.unwrap_or(Value::Int(0));
    let mut iter = iterate(&value)?;
    if matches!(total, Value::Str(_)) {
        return Err(type_error(
            "sum() can't sum strings [use ''.join(seq) instead]",
        ));
    }
    while let Some(item) = iter.next(interp)? {
        let item = match &getter {
            Some(getter) => getter.get(interp, &item)?,
            None => item,
        };
        total = crate::ops::binary(BinaryOp::Add, &total, &item)?;
    }
    Ok(total)
}
