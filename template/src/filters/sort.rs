//! Filters that put items in order.

use super::getter::Getter;
use crate::{
    compare::{greater, less, sort_by_key},
    error::{Result, attribute_error, filter_argument_error},
    iter::{collect, iterate},
    limits::work,
    value::{Args, Interp, Value, same_or_equal},
};

fn truth(value: Option<Value>) -> Result<bool> {
    value.map_or(Ok(false), |value| value.is_true())
}

fn sorted(keyed: Vec<(Value, Value)>, reverse: bool) -> Result<Vec<(Value, Value)>> {
    let mut keyed = keyed;
    sort_by_key(&mut keyed, |pair| &pair.0, reverse)?;
    Ok(keyed)
}

pub(super) fn sort(interp: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let [reverse, case_sensitive, attribute] =
        args.bind("do_sort", ["reverse", "case_sensitive", "attribute"], 0)?;
    let getters = Getter::several(attribute.as_ref(), !truth(case_sensitive)?);
    let mut keyed = Vec::new();
    for item in collect(interp, &value)? {
        let keys = getters.iter().map(|getter| getter.get(interp, &item));
        let key = Value::list(keys.collect::<Result<_>>()?)?;
        keyed.push((key, item));
    }
    let reverse = match reverse {
        None => false,
        Some(value @ (Value::Bool(_) | Value::Int(_) | Value::Big(_))) => value.is_true()?,
        Some(other) => return Err(crate::number::not_an_integer(&other)),
    };
    let items = sorted(keyed, reverse)?.into_iter().map(|pair| pair.1);
    Value::list(items.collect())
}

pub(super) fn dictsort(_: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let [case_sensitive, by, reverse] =
        args.bind("do_dictsort", ["case_sensitive", "by", "reverse"], 0)?;
    let by_value = match by.as_ref().map(Value::as_str) {
        None | Some(Some("key")) => false,
        Some(Some("value")) => true,
        _ => {
            return Err(filter_argument_error(
                "You can only sort by either \"key\" or \"value\"",
            ));
        }
    };
    let Value::Dict(dict) = &value else {
        return Err(value.undefined_error().unwrap_or_else(|| {
            attribute_error(format!(
                "'{}' object has no attribute 'items'",
                value.type_name()
            ))
        }));
    };
    let ignore_case = !truth(case_sensitive)?;
    let mut keyed = Vec::new();
    for (key, item) in dict.iter() {
        work(1)?;
        let by = if by_value { item } else { key };
        let by = match by {
            Value::Str(text) if ignore_case => Value::str(text.as_str().to_lowercase()),
            other => other.clone(),
        };
        keyed.push((by, Value::tuple(vec![key.clone(), item.clone()])?));
    }
    let reverse = match reverse {
        None => false,
        Some(value @ (Value::Bool(_) | Value::Int(_) | Value::Big(_))) => value.is_true()?,
        Some(other) => return Err(crate::number::not_an_integer(&other)),
    };
    let items = sorted(keyed, reverse)?.into_iter().map(|pair| pair.1);
    Value::list(items.collect())
}

pub(super) fn groupby(interp: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    let [attribute, default, case_sensitive] =
        args.bind("do_groupby", ["attribute", "default", "case_sensitive"], 1)?;
    let ignore_case = !truth(case_sensitive)?;
    let getter = Getter::new(attribute.as_ref(), default.clone(), ignore_case);
    let exact = Getter::new(attribute.as_ref(), default, false);
    let mut keyed = Vec::new();
    for item in collect(interp, &value)? {
        keyed.push((getter.get(interp, &item)?, item));
    }
    let mut groups: Vec<(Value, Vec<Value>)> = Vec::new();
    for (key, item) in sorted(keyed, false)? {
        match groups.last_mut() {
            Some((last, items)) if same_or_equal(last, &key)? => items.push(item),
            _ => groups.push((key, vec![item])),
        }
    }
    let mut out = Vec::with_capacity(groups.len());
    for (key, items) in groups {
        let key = match items.first() {
            Some(first) if ignore_case => exact.get(interp, first)?,
            _ => key,
        };
        out.push(Value::group(key, Value::list(items)?)?);
    }
    Value::list(out)
}

fn extreme(
    interp: &mut Interp<'_>,
    value: &Value,
    args: Args,
    name: &str,
    better: fn(&Value, &Value) -> Result<bool>,
) -> Result<Value> {
    let [case_sensitive, attribute] = args.bind(name, ["case_sensitive", "attribute"], 0)?;
    let getter = Getter::new(attribute.as_ref(), None, !truth(case_sensitive)?);
    let mut iter = iterate(value)?;
    let Some(mut best) = iter.next(interp)? else {
        return Ok(Value::undefined("No aggregated item, sequence was empty."));
    };
    let mut best_key = getter.get(interp, &best)?;
    while let Some(item) = iter.next(interp)? {
        let key = getter.get(interp, &item)?;
        if better(&key, &best_key)? {
            (best, best_key) = (item, key);
        }
    }
    Ok(best)
}

pub(super) fn min(interp: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    extreme(interp, &value, args, "do_min", less)
}

pub(super) fn max(interp: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    extreme(interp, &value, args, "do_max", greater)
}
