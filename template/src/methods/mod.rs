//! The methods of Python's built-in types.

mod case;
mod containers;
mod numbers;
mod split;
mod text;

use crate::args::Args;
use crate::error::{Result, security_error, unsupported};
use crate::eval::Interp;
use crate::object::Object;
use crate::value::Value;

pub(crate) use case::{capitalize, lower, upper};
pub(crate) use split::split_lines;
pub(crate) use text::{center, strip};

const TEXT: [&str; 47] = [
    "capitalize",
    "casefold",
    "center",
    "count",
    "encode",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "maketrans",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "translate",
    "upper",
    "zfill",
];
const MARKUP: [&str; 3] = ["escape", "striptags", "unescape"];
const LIST: [&str; 11] = [
    "append", "clear", "copy", "count", "extend", "index", "insert", "pop", "remove", "reverse",
    "sort",
];
const LIST_CHANGES: [&str; 8] = [
    "append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort",
];
const TUPLE: [&str; 2] = ["count", "index"];
const DICT: [&str; 11] = [
    "clear",
    "copy",
    "fromkeys",
    "get",
    "items",
    "keys",
    "pop",
    "popitem",
    "setdefault",
    "update",
    "values",
];
const DICT_CHANGES: [&str; 5] = ["clear", "pop", "popitem", "setdefault", "update"];
const INT: [&str; 6] = [
    "as_integer_ratio",
    "bit_count",
    "bit_length",
    "conjugate",
    "from_bytes",
    "to_bytes",
];
const FLOAT: [&str; 5] = [
    "as_integer_ratio",
    "conjugate",
    "fromhex",
    "hex",
    "is_integer",
];

/// The name of the method, if the value's type has it.
pub(crate) fn find(value: &Value, name: &str) -> Option<&'static str> {
    let within = |names: &[&'static str]| names.iter().find(|known| **known == name).copied();
    match value {
        Value::Str(text) if text.is_safe() => within(&TEXT).or_else(|| within(&MARKUP)),
        Value::Str(_) => within(&TEXT),
        Value::List(_) => within(&LIST),
        Value::Tuple(_) => within(&TUPLE),
        Value::Dict(_) => within(&DICT),
        Value::Bool(_) | Value::Int(_) | Value::Big(_) => within(&INT),
        Value::Float(_) => within(&FLOAT),
        Value::Object(Object::Range(_)) => within(&TUPLE),
        Value::Object(Object::View(_)) => within(&["isdisjoint"]),
        Value::Object(Object::Cycler(_)) => within(&["next", "reset"]),
        Value::Object(Object::Function("dict")) => within(&["fromkeys"]),
        _ => None,
    }
}

/// Whether the method would change the value, which the sandbox does not let happen.
pub(crate) fn changes(value: &Value, method: &str) -> bool {
    match value {
        Value::List(_) => LIST_CHANGES.contains(&method),
        Value::Dict(_) => DICT_CHANGES.contains(&method),
        _ => false,
    }
}

/// Calls a method that [`find`] found.
pub(crate) fn call(
    interp: &mut Interp<'_>,
    value: &Value,
    method: &'static str,
    args: Args,
) -> Result<Value> {
    if changes(value, method) {
        return Err(security_error(format!(
            "access to attribute '{method}' of '{}' object is unsafe.",
            value.type_name()
        )));
    }
    match value {
        Value::Str(text) => text::call(interp, text, method, args),
        Value::List(seq) | Value::Tuple(seq) => {
            containers::sequence(value, &seq.items, method, args)
        }
        Value::Dict(dict) => containers::dict(interp, dict, method, args),
        Value::Bool(_) | Value::Int(_) | Value::Big(_) => numbers::int(value, method, args),
        Value::Float(float) => numbers::float(*float, method, args),
        Value::Object(Object::Range(range)) => containers::range(range, method, args),
        Value::Object(Object::View(view)) => containers::view(interp, view, args),
        Value::Object(Object::Loop(state)) => state.call_method(interp, method, args),
        Value::Object(Object::Cycler(cycler)) => {
            let [] = args.positional(method, 0)?;
            if method == "reset" {
                cycler.at.set(0);
                return Ok(Value::None);
            }
            let current = cycler.current();
            cycler
                .at
                .set((cycler.at.get() + 1) % cycler.items().len().max(1));
            Ok(current)
        }
        Value::Object(Object::Function(_)) => containers::from_keys(interp, args),
        other => Err(unsupported(format!(
            "the method `{method}` of {}",
            other.type_name()
        ))),
    }
}
