//! Jinja's tests: what can stand after `is`.

use num_integer::Integer;

use crate::{
    ast::{BinaryOp, CompareOp},
    compare::compare,
    error::Result,
    iter::{is_iterable, search},
    ops, unicode,
    value::{Args, Interp, Object, Test, Value, equals, is_same},
};

pub(crate) const TESTS: [(&str, Test); 39] = [
    ("!=", |_, value, args| two(CompareOp::Ne, value, args)),
    ("<", |_, value, args| two(CompareOp::Lt, value, args)),
    ("<=", |_, value, args| two(CompareOp::Le, value, args)),
    ("==", |_, value, args| two(CompareOp::Eq, value, args)),
    (">", |_, value, args| two(CompareOp::Gt, value, args)),
    (">=", |_, value, args| two(CompareOp::Ge, value, args)),
    ("boolean", |_, value, args| {
        alone(args, matches!(value, Value::Bool(_)))
    }),
    ("callable", |_, value, args| alone(args, callable(value))),
    ("defined", |_, value, args| {
        alone(args, !value.is_undefined())
    }),
    ("divisibleby", divisible_by),
    ("eq", |_, value, args| two(CompareOp::Eq, value, args)),
    ("equalto", |_, value, args| two(CompareOp::Eq, value, args)),
    ("escaped", |_, value, args| alone(args, value.is_markup())),
    ("even", |_, value, args| remainder(value, args, 0)),
    ("false", |_, value, args| {
        alone(args, matches!(value, Value::Bool(false)))
    }),
    ("filter", |interp, value, args| {
        known(value, args, |name| interp.library.filter(name).is_some())
    }),
    ("float", |_, value, args| {
        alone(args, matches!(value, Value::Float(_)))
    }),
    ("ge", |_, value, args| two(CompareOp::Ge, value, args)),
    ("greaterthan", |_, value, args| {
        two(CompareOp::Gt, value, args)
    }),
    ("gt", |_, value, args| two(CompareOp::Gt, value, args)),
    ("in", within),
    ("integer", |_, value, args| {
        alone(args, matches!(value, Value::Int(_) | Value::Big(_)))
    }),
    ("iterable", |_, value, args| alone(args, is_iterable(value))),
    ("le", |_, value, args| two(CompareOp::Le, value, args)),
    ("lessthan", |_, value, args| two(CompareOp::Lt, value, args)),
    ("lower", |_, value, args| {
        let lower = unicode::is_lower(&crate::repr::to_str(value)?);
        alone(args, lower)
    }),
    ("lt", |_, value, args| two(CompareOp::Lt, value, args)),
    ("mapping", |_, value, args| {
        alone(args, matches!(value, Value::Dict(_)))
    }),
    ("ne", |_, value, args| two(CompareOp::Ne, value, args)),
    ("none", |_, value, args| alone(args, value.is_none())),
    ("number", |_, value, args| {
        alone(args, crate::number::Number::of(value).is_some())
    }),
    ("odd", |_, value, args| remainder(value, args, 1)),
    ("sameas", |_, value, args| {
        let [other] = args.bind("test_sameas", ["other"], 1)?;
        Ok(is_same(value, &other.unwrap_or(Value::None)))
    }),
    ("sequence", |_, value, args| {
        let sequence = matches!(
            value,
            Value::Str(_)
                | Value::List(_)
                | Value::Tuple(_)
                | Value::Dict(_)
                | Value::Undefined(_)
                | Value::Object(Object::Range(_))
        );
        alone(args, sequence)
    }),
    ("string", |_, value, args| {
        alone(args, matches!(value, Value::Str(_)))
    }),
    ("test", |interp, value, args| {
        known(value, args, |name| interp.library.test(name).is_some())
    }),
    ("true", |_, value, args| {
        alone(args, matches!(value, Value::Bool(true)))
    }),
    ("undefined", |_, value, args| {
        alone(args, value.is_undefined())
    }),
    ("upper", |_, value, args| {
        let upper = unicode::is_upper(&crate::repr::to_str(value)?);
        alone(args, upper)
    }),
];

fn alone(args: Args, holds: bool) -> Result<bool> {
    let [] = args.bind("test", [], 0)?;
    Ok(holds)
}

fn two(op: CompareOp, value: &Value, args: Args) -> Result<bool> {
    let [other] = args.positional("operator", 1)?;
    compare(op, value, &other.unwrap_or(Value::None))
}

fn remainder(value: &Value, args: Args, wanted: i64) -> Result<bool> {
    let [] = args.bind("test", [], 0)?;
    if let Value::Int(value) = value {
        return Ok(value.mod_floor(&2) == wanted);
    }
    let rest = ops::binary(BinaryOp::Mod, value, &Value::Int(2))?;
    equals(&rest, &Value::Int(wanted))
}

fn divisible_by(_: &mut Interp<'_>, value: &Value, args: Args) -> Result<bool> {
    let [number] = args.bind("test_divisibleby", ["num"], 1)?;
    let rest = ops::binary(BinaryOp::Mod, value, &number.unwrap_or(Value::None))?;
    equals(&rest, &Value::Int(0))
}

fn within(interp: &mut Interp<'_>, value: &Value, args: Args) -> Result<bool> {
    let [container] = args.bind("test_in", ["seq"], 1)?;
    let container = container.unwrap_or(Value::None);
    if matches!(container, Value::Object(Object::Iterator(_))) {
        return search(interp, value, &container);
    }
    compare(CompareOp::In, value, &container)
}

fn known(value: &Value, args: Args, find: impl FnOnce(&str) -> bool) -> Result<bool> {
    let [] = args.bind("test", [], 0)?;
    crate::value::Key::new(value.clone())?;
    Ok(value.as_str().is_some_and(find))
}

fn callable(value: &Value) -> bool {
    match value {
        Value::Undefined(_) => true,
        Value::Object(object) => matches!(
            object,
            Object::Macro(_)
                | Object::Loop(_)
                | Object::Method(_)
                | Object::Function(_)
                | Object::Joiner(_)
        ),
        _ => false,
    }
}
