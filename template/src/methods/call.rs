//! Calls of methods.

use super::{containers, names::changes, numbers, text};
use crate::{
    error::{Result, security_error, unsupported},
    value::{Args, Interp, Object, Value},
};

/// Calls a method that [`super::find`] found.
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
        Value::Object(Object::Loop(state)) => state.clone().call_method(interp, method, args),
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
