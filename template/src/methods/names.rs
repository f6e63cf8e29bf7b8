//! Which methods a value has.

use crate::value::{Object, Value};

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
