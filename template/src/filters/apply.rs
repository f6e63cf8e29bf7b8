//! `map`, `select` and the like: a filter, a test or an attribute for each item.

use std::sync::Arc;

use crate::args::Args;
use crate::error::{Result, filter_argument_error, template_runtime_error};
use crate::eval::Interp;
use crate::index::item_or_attribute;
use crate::iter::{Generator, Source};
use crate::repr::repr;
use crate::value::{Value, depth_above};
use crate::{filters, tests};

/// Reads an attribute, or a path of several with dots between.
pub(crate) struct Getter {
    parts: Vec<Value>,
    default: Option<Value>,
    ignore_case: bool,
}

impl Getter {
    pub(crate) fn new(
        attribute: Option<&Value>,
        default: Option<Value>,
        ignore_case: bool,
    ) -> Self {
        let parts = match attribute {
            None | Some(Value::None) => Vec::new(),
            Some(Value::Str(path)) => path
                .as_str()
                .split('.')
                .map(|part| match part.parse() {
                    Ok(index) if part.bytes().all(|byte| byte.is_ascii_digit()) => {
                        Value::Int(index)
                    }
                    _ => Value::from(part),
                })
                .collect(),
            Some(other) => vec![other.clone()],
        };
        Self {
            parts,
            default: default.filter(|default| !default.is_none()),
            ignore_case,
        }
    }

    pub(crate) fn get(&self, interp: &mut Interp<'_>, item: &Value) -> Result<Value> {
        let mut value = item.clone();
        for part in &self.parts {
            value = item_or_attribute(interp, &value, part)?;
            if let (true, Some(default)) = (value.is_undefined(), &self.default) {
                value = default.clone();
            }
        }
        Ok(match &value {
            Value::Str(text) if self.ignore_case => {
                crate::limits::reserve(text.as_str().len())?;
                Value::text_like(text.as_str().to_lowercase(), text.is_safe())
            }
            _ => value,
        })
    }

    /// A single list of attributes has commas between the paths.
    pub(crate) fn several(attribute: Option<&Value>, ignore_case: bool) -> Vec<Self> {
        match attribute {
            Some(Value::Str(paths)) => paths
                .as_str()
                .split(',')
                .map(|path| Self::new(Some(&Value::from(path)), None, ignore_case))
                .collect(),
            other => vec![Self::new(other, None, ignore_case)],
        }
    }
}

/// What is done with each item.
pub(crate) enum Apply {
    Attribute(Getter),
    Filter(Value, Call),
    Test(Option<Getter>, Value, Call),
    Truth(Option<Getter>),
    /// An argument was wrong, which shows when the first item is asked for.
    Wrong(&'static str),
    Unexpected(Arc<str>),
}

/// The further arguments of a filter or a test.
pub(crate) struct Call {
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
    pub(crate) fn call(&self, interp: &mut Interp<'_>, item: Value) -> Result<Value> {
        match self {
            Self::Attribute(getter) => getter.get(interp, &item),
            Self::Filter(name, call) => match name.as_str().and_then(filters::find) {
                Some(filter) => (filter.run)(interp, item, call.args()),
                None => Err(unknown("filter", name)),
            },
            Self::Test(getter, name, call) => {
                let item = match getter {
                    Some(getter) => getter.get(interp, &item)?,
                    None => item,
                };
                match name.as_str().and_then(tests::find) {
                    Some(test) => (test.run)(interp, &item, call.args()).map(Value::Bool),
                    None => Err(unknown("test", name)),
                }
            }
            Self::Truth(Some(getter)) => getter.get(interp, &item),
            Self::Truth(None) => Ok(item),
            Self::Wrong(message) => Err(filter_argument_error(*message)),
            Self::Unexpected(name) => Err(filter_argument_error(format!(
                "Unexpected keyword argument {}",
                crate::repr::string_repr(name)
            ))),
        }
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
    Generator::Map(Source::Value(value), apply).into_value("generator", depth)
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
    Generator::Select(Source::Value(value), apply, wanted).into_value("generator", depth)
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
