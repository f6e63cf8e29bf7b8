//! The functions that every template can call.

use std::{cell::Cell, rc::Rc};

use crate::error::{
    Error, ErrorKind, Result, overflow_error, runtime_error, security_error, type_error,
    unsupported,
};
use crate::number::machine_index;
use crate::value::{
    Args, Cycler, Dict, DictBuilder, Interp, Joiner, Namespace, Object, Range, Value,
};

/// `range` gives no more, as in Jinja's sandbox.
const MAX_RANGE: usize = 100_000;

const NAMES: [&str; 8] = [
    "range",
    "dict",
    "lipsum",
    "cycler",
    "joiner",
    "namespace",
    "raise_exception",
    "strftime_now",
];

pub(crate) fn find(name: &str) -> Option<Value> {
    let found = NAMES.iter().find(|known| **known == name)?;
    Some(Value::Object(Object::Function(found)))
}

pub(crate) fn call(interp: &mut Interp<'_>, name: &str, args: Args) -> Result<Value> {
    match name {
        "range" => range(args),
        "dict" => {
            let mut dict = Dict::builder();
            fill(interp, &mut dict, args, "dict")?;
            dict.finish()
        }
        "cycler" => {
            let items = args.only_positional("Cycler.__init__")?;
            if items.is_empty() {
                return Err(runtime_error("at least one item has to be provided"));
            }
            Ok(Value::Object(Object::Cycler(Rc::new(Cycler {
                items: Value::tuple(items)?,
                at: Cell::new(0),
            }))))
        }
        "joiner" => {
            let [separator] = args.bind("Joiner.__init__", ["sep"], 0)?;
            Ok(Value::Object(Object::Joiner(Rc::new(Joiner {
                separator: separator.unwrap_or_else(|| Value::str(", ")),
                used: Cell::new(false),
            }))))
        }
        "namespace" => namespace(interp, args),
        "raise_exception" => {
            let [message] = args.bind("raise_exception", ["message"], 1)?;
            let message = crate::repr::to_str(&message.unwrap_or(Value::None))?;
            Err(Error::new(ErrorKind::Raised, message))
        }
        "strftime_now" => {
            let [format] = args.bind("strftime_now", ["format"], 1)?;
            let format = format.unwrap_or(Value::None);
            let Some(format) = format.as_str() else {
                return Err(type_error(format!(
                    "strftime() argument 1 must be str, not {}",
                    format.type_name()
                )));
            };
            let Some(now) = interp.now else {
                return Err(unsupported("`strftime_now` without a time"));
            };
            crate::format::strftime(format, now).map(Value::str)
        }
        _ => Err(unsupported(format!(
            "`{name}`: its result is another one each time"
        ))),
    }
}

fn range(args: Args) -> Result<Value> {
    let [first, second, third] = args.positional("range", 1)?;
    let first = first.unwrap_or(Value::None);
    let index = |value: Option<Value>| value.map(|value| machine_index(&value)).transpose();
    let (start, stop) = match index(second)? {
        Some(stop) => (machine_index(&first)?, stop),
        None => (0, machine_index(&first)?),
    };
    let range = Range::new(start, stop, index(third)?.unwrap_or(1))?;
    if range.len() > MAX_RANGE {
        return Err(overflow_error(format!(
            "Range too big. The sandbox blocks ranges larger than MAX_RANGE ({MAX_RANGE})."
        )));
    }
    Ok(Value::Object(Object::Range(Rc::new(range))))
}

/// `dict(mapping or pairs, **named)`.
fn fill(interp: &mut Interp<'_>, dict: &mut DictBuilder, args: Args, name: &str) -> Result<()> {
    if args.positional.len() > 1 {
        return Err(type_error(format!(
            "{name} expected at most 1 argument, got {}",
            args.positional.len()
        )));
    }
    match args.positional.first() {
        Some(Value::Dict(given)) => dict.insert_all(given)?,
        Some(pairs) => {
            let mut iter = crate::iter::iterate(pairs)?;
            let mut at = 0;
            while let Some(pair) = iter.next(interp)? {
                if !crate::iter::is_iterable(&pair) {
                    return Err(type_error(format!(
                        "cannot convert dictionary update sequence element #{at} to a sequence"
                    )));
                }
                let pair = crate::iter::collect(interp, &pair)?;
                let length = pair.len();
                let Ok([key, value]) = <[Value; 2]>::try_from(pair) else {
                    return Err(crate::error::value_error(format!(
                        "dictionary update sequence element #{at} has length {length}; 2 is required"
                    )));
                };
                dict.insert(key, value)?;
                at += 1;
            }
        }
        None => {}
    }
    for (name, value) in args.named {
        dict.insert(Value::from(&*name), value)?;
    }
    Ok(())
}

/// # Errors
///
/// `transformers` lets no template keep a name that starts with an underscore.
pub(crate) fn check_attribute_name(name: &str) -> Result<()> {
    if name.starts_with('_') {
        return Err(security_error(format!(
            "Chat templates cannot store underscore-prefixed attributes on a namespace, but got {}. Please rename the \
             attribute.",
            crate::quote::string_repr(name)
        )));
    }
    Ok(())
}

fn namespace(interp: &mut Interp<'_>, args: Args) -> Result<Value> {
    let mut dict = Dict::builder();
    fill(interp, &mut dict, args, "dict")?;
    let Value::Dict(dict) = dict.finish()? else {
        return Err(unsupported("this namespace"));
    };
    let namespace = Rc::new(Namespace::new());
    let bytes = size_of::<Namespace>() + (dict.len() + 4) * 4 * size_of::<Value>();
    interp.hold(namespace.clone(), bytes)?;
    for (name, value) in dict.iter() {
        let Some(name) = name.as_str() else {
            return Err(unsupported("a namespace attribute whose name is not text"));
        };
        check_attribute_name(name)?;
        namespace.set(name.into(), value.clone())?;
    }
    Ok(Value::Object(Object::Namespace(namespace)))
}
