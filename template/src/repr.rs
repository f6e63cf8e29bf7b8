//! `str` and `repr`.

use std::fmt;

use crate::{
    error::{Result, unsupported},
    limits::work,
    number::{big_repr, float_repr},
    quote::string_repr,
    value::{Buffer, Namespace, Object, Value},
};

/// `str(value)`.
pub(crate) fn to_str(value: &Value) -> Result<String> {
    if let Value::Str(text) = value {
        crate::limits::reserve(text.as_str().len())?;
        return Ok(text.as_str().to_owned());
    }
    let mut out = Buffer::new();
    push_str_of(value, &mut out)?;
    Ok(out.into_string())
}

/// Writes `str(value)`.
pub(crate) fn push_str_of(value: &Value, out: &mut Buffer) -> Result<()> {
    match value {
        Value::Str(text) => out.push_str(text.as_str()),
        Value::Undefined(_) => Ok(()),
        other => push_repr(other, out),
    }
}

/// `repr(value)`.
pub(crate) fn repr(value: &Value) -> Result<String> {
    let mut out = Buffer::new();
    push_repr(value, &mut out)?;
    Ok(out.into_string())
}

pub(crate) fn push_repr(value: &Value, out: &mut Buffer) -> Result<()> {
    work(1)?;
    match value {
        Value::Undefined(_) => out.push_str("Undefined"),
        Value::None => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Int(value) => out.push_str(&value.to_string()),
        Value::Big(value) => out.push_str(&big_repr(value)?),
        Value::Float(value) => out.push_str(&float_repr(*value)),
        Value::Str(text) if text.is_safe() => {
            out.push_str("Markup(")?;
            out.push_str(&string_repr(text.as_str()))?;
            out.push_str(")")
        }
        Value::Str(text) => {
            crate::limits::reserve(text.as_str().len())?;
            out.push_str(&string_repr(text.as_str()))
        }
        Value::List(seq) => {
            out.push_str("[")?;
            push_items(&seq.items, out)?;
            out.push_str("]")
        }
        Value::Tuple(seq) => {
            out.push_str("(")?;
            push_items(&seq.items, out)?;
            out.push_str(if seq.items.len() == 1 { ",)" } else { ")" })
        }
        Value::Dict(dict) => push_pairs(dict.iter(), out),
        Value::Object(object) => push_object(value, object, out),
    }
}

fn push_items(items: &[Value], out: &mut Buffer) -> Result<()> {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push_str(", ")?;
        }
        push_repr(item, out)?;
    }
    Ok(())
}

fn push_pairs<'a>(
    pairs: impl Iterator<Item = (&'a Value, &'a Value)>,
    out: &mut Buffer,
) -> Result<()> {
    out.push_str("{")?;
    for (at, (key, value)) in pairs.enumerate() {
        if at > 0 {
            out.push_str(", ")?;
        }
        push_repr(key, out)?;
        out.push_str(": ")?;
        push_repr(value, out)?;
    }
    out.push_str("}")
}

fn push_object(value: &Value, object: &Object, out: &mut Buffer) -> Result<()> {
    match object {
        Object::Range(range) => {
            let mut text = format!("range({}, {}", range.start(), range.stop());
            if range.step() != 1 {
                text += &format!(", {}", range.step());
            }
            out.push_str(&text)?;
            out.push_str(")")
        }
        Object::View(view) => {
            out.push_str(value.type_name())?;
            out.push_str("([")?;
            for at in 0..view.dict.len() {
                if at > 0 {
                    out.push_str(", ")?;
                }
                if let Some(item) = view.at(at)? {
                    push_repr(&item, out)?;
                }
            }
            out.push_str("])")
        }
        Object::Namespace(namespace) => {
            out.push_str("<Namespace ")?;
            if namespace.printing.replace(true) {
                // Inside itself, as Python prints a dict there.
                out.push_str("{...}")?;
            } else {
                crate::limits::check_stack()?;
                let written = push_namespace(namespace, out);
                namespace.printing.set(false);
                written?;
            }
            out.push_str(">")
        }
        Object::Macro(definition) => match &definition.def.name {
            Some(name) => out.push_str(&format!("<Macro {}>", string_repr(name))),
            None => out.push_str("<Macro anonymous>"),
        },
        Object::Loop(_) => Err(unsupported("`loop` inside another value that is printed")),
        _ => Err(unsupported(format!(
            "a {} that is printed: Python shows its address in memory",
            value.type_name()
        ))),
    }
}

fn push_namespace(namespace: &Namespace, out: &mut Buffer) -> Result<()> {
    out.push_str("{")?;
    // Writing does not run the template, so nothing can change the attributes meanwhile.
    for (at, (name, value)) in namespace.attributes.borrow().iter().enumerate() {
        if at > 0 {
            out.push_str(", ")?;
        }
        out.push_str(&string_repr(name))?;
        out.push_str(": ")?;
        push_repr(value, out)?;
    }
    out.push_str("}")
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match repr(self) {
            Ok(text) => f.write_str(&text),
            Err(_) => write!(f, "<{}>", self.type_name()),
        }
    }
}
