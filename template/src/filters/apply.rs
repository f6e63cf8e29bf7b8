//! `map`, `select` and the like: a filter, a test or an attribute for each item.

use std::sync::Arc;

use super::getter::Getter;
use crate::{
    error::{Result, filter_argument_error, template_runtime_error},
    iter::{Source, generator},
    repr::repr,
    value::{Args, Generate, Interp, Value, depth_above},
};

/// What is done with each item.
enum Apply {
    Attribute(Getter),
    Filter(Value, Call),
    Test(Option<Getter>, Value, Call),
    Truth(Option<Getter>),
    /// An argument was wrong, which shows when the first item is asked for.
    Wrong(&'static str),
    Unexpected(Arc<str>),
}

/// The further arguments of a filter or a test.
struct Call {
    positional: Vec<Value>,
    named: Vec<(Arc<str>, Value)>,
}

impl Call {
    fn args(&self) -> Args {
        Args {
            positional: self.positional.clone(),
            named: self.named.clone(),
        }
    }
}

fn unknown(kind: &str, name: &Value) -> crate::error::Error {
    let shown = repr(name).unwrap_or_else(|_| name.type_name().to_owned());
    template_runtime_error(match name.undefined_error() {
        Some(error) => format!(
            "No {kind} named {shown}. ({}; did you forget to quote the callable name?)",
            error.message()
        ),
        None => format!("No {kind} named {shown}."),
    })
}

impl Apply {
    fn call(&self, interp: &mut Interp<'_>, item: Value) -> Result<Value> {
        match self {
            Self::Attribute(getter) => getter.get(interp, &item),
            Self::Filter(name, call) => {
                match name.as_str().and_then(|name| interp.library.filter(name)) {
                    Some(filter) => filter(interp, item, call.args()),
                    None => Err(unknown("filter", name)),
                }
            }
            Self::Test(getter, name, call) => {
                let item = match getter {
                    Some(getter) => getter.get(interp, &item)?,
                    None => item,
                };
                match name.as_str().and_then(|name| interp.library.test(name)) {
                    Some(test) => test(interp, &item, call.args()).map(Value::Bool),
                    None => Err(unknown("test", name)),
                }
            }
            Self::Truth(Some(getter)) => getter.get(interp, &item),
            Self::Truth(None) => Ok(item),
            Self::Wrong(message) => Err(filter_argument_error(*message)),
            Self::Unexpected(name) => Err(filter_argument_error(format!(
                "Unexpected keyword argument {}",
                crate::quote::string_repr(name)
            ))),
        }
    }
}

/// What is made of each item.
struct Map(Source, Apply);

impl Generate for Map {
    fn next(&mut self, interp: &mut Interp<'_>) -> Result<Option<Value>> {
        match self.0.next_if_true(interp)? {
            Some(item) => self.1.call(interp, item).map(Some),
            None => Ok(None),
        }
    }
}

/// Items whose truth value is the given one.
struct Select(Source, Apply, bool);

impl Generate for Select {
    fn next(&mut self, interp: &mut Interp<'_>) -> Result<Option<Value>> {
        let Self(source, apply, wanted) = self;
        while let Some(item) = source.next_if_true(interp)? {
            if apply.call(interp, item.clone())?.is_true()? == *wanted {
                return Ok(Some(item));
            }
        }
        Ok(None)
    }
}

fn depth(value: &Value, args: &Args) -> Result<u16> {
    let named = args.named.iter().map(|(_, value)| value);
    depth_above(args.positional.iter().chain(named).chain([value]))
}

pub(super) fn map(_: &mut Interp<'_>, value: Value, mut args: Args) -> Result<Value> {
    let depth = depth(&value, &args)?;
    let by_attribute =
        args.positional.is_empty() && args.named.iter().any(|(name, _)| **name == *"attribute");
    let apply = if by_attribute {
        let attribute = args.take_named("attribute");
        let default = args.take_named("default");
        match args.named.first() {
            Some((name, _)) => Apply::Unexpected(name.clone()),
            None => Apply::Attribute(Getter::new(attribute.as_ref(), default, false)),
        }
    } else if args.positional.is_empty() {
        Apply::Wrong("map requires a filter argument")
    } else {
        let name = args.positional.remove(0);
        let Args { positional, named } = args;
        Apply::Filter(name, Call { positional, named })
    };
    generator(Map(Source::Value(value), apply), "generator", depth)
}

fn choose(value: Value, mut args: Args, attribute: bool, wanted: bool) -> Result<Value> {
    let depth = depth(&value, &args)?;
    let apply = if attribute && args.positional.is_empty() {
        Apply::Wrong("Missing parameter for attribute name")
    } else {
        let getter = attribute.then(|| Getter::new(Some(&args.positional.remove(0)), None, false));
        if args.positional.is_empty() {
            Apply::Truth(getter)
        } else {
            let name = args.positional.remove(0);
            let Args { positional, named } = args;
            Apply::Test(getter, name, Call { positional, named })
        }
    };
    generator(
        Select(Source::Value(value), apply, wanted),
        "generator",
        depth,
    )
}

pub(super) fn select(_: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    choose(value, args, false, true)
}

pub(super) fn reject(_: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    choose(value, args, false, false)
}

pub(super) fn selectattr(_: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    choose(value, args, true, true)
}

pub(super) fn rejectattr(_: &mut Interp<'_>, value: Value, args: Args) -> Result<Value> {
    choose(value, args, true, false)
}
