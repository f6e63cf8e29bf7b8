//! What every value can say of itself.

use std::rc::Rc;

use super::{
    entries::MaybeText,
    types::{Dict, Key, Object, Value, ViewKind},
};
use crate::error::{Error, Result, undefined_error};

impl Value {
    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text.as_str()),
            _ => None,
        }
    }

    pub(crate) fn is_undefined(&self) -> bool {
        matches!(self, Self::Undefined(_))
    }

    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    pub(crate) fn is_markup(&self) -> bool {
        matches!(self, Self::Str(text) if text.is_safe())
    }

    /// How deep other values are nested in this one.
    pub(crate) fn depth(&self) -> u16 {
        match self {
            Self::List(seq) | Self::Tuple(seq) => seq.depth,
            Self::Dict(dict) => dict.depth(),
            Self::Object(object) => object.depth(),
            _ => 0,
        }
    }

    /// `type(value).__name__`.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Undefined(_) => "Undefined",
            Self::None => "NoneType",
            Self::Bool(_) => "bool",
            Self::Int(_) | Self::Big(_) => "int",
            Self::Float(_) => "float",
            Self::Str(text) if text.is_safe() => "Markup",
            Self::Str(_) => "str",
            Self::List(_) => "list",
            Self::Tuple(seq) if seq.group => "_GroupTuple",
            Self::Tuple(_) => "tuple",
            Self::Dict(_) => "dict",
            Self::Object(object) => object.type_name(),
        }
    }

    /// `bool(value)`.
    pub(crate) fn is_true(&self) -> Result<bool> {
        Ok(match self {
            Self::Undefined(_) | Self::None => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Big(_) => true,
            Self::Float(value) => *value != 0.0,
            Self::Str(text) => !text.as_str().is_empty(),
            Self::List(seq) | Self::Tuple(seq) => !seq.items.is_empty(),
            Self::Dict(dict) => !dict.is_empty(),
            Self::Object(object) => object.is_true(),
        })
    }

    /// The error of an operation on an undefined value; none for any other.
    pub(crate) fn undefined_error(&self) -> Option<Error> {
        match self {
            Self::Undefined(Some(info)) => Some(info.error()),
            Self::Undefined(None) => Some(undefined_error("the value is undefined")),
            _ => None,
        }
    }
}

impl Key {
    pub(crate) fn value(&self) -> &Value {
        &self.0
    }
}

impl MaybeText for Key {
    fn text(&self) -> Option<&str> {
        self.0.as_str()
    }
}

impl Dict {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn depth(&self) -> u16 {
        self.depth
    }

    pub(crate) fn get_str(&self, key: &str) -> Option<&Value> {
        self.entries.get_str(key)
    }

    pub(crate) fn at(&self, index: usize) -> Option<(&Value, &Value)> {
        let found = self.entries.at(index);
        found.map(|(key, value)| (key.value(), value))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Value, &Value)> {
        (0..self.len()).filter_map(|index| self.at(index))
    }
}

impl Object {
    pub(crate) fn depth(&self) -> u16 {
        match self {
            Self::View(view) => view.dict.depth(),
            Self::Loop(state) => state.depth(),
            Self::Iterator(iterator) => iterator.depth,
            Self::Method(method) => method.depth,
            Self::Cycler(cycler) => cycler.items.depth(),
            Self::Joiner(joiner) => joiner.separator.depth(),
            // What these hold is let go of at the end of a render, one by one.
            Self::Namespace(_) | Self::Macro(_) | Self::Range(_) | Self::Function(_) => 0,
        }
    }

    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Range(_) => "range",
            Self::View(view) => match view.kind {
                ViewKind::Keys => "dict_keys",
                ViewKind::Values => "dict_values",
                ViewKind::Items => "dict_items",
            },
            Self::Namespace(_) => "TemplateNamespace",
            Self::Macro(_) => "Macro",
            Self::Loop(_) => "LoopContext",
            Self::Iterator(iterator) => iterator.type_name,
            Self::Method(_) => "builtin_function_or_method",
            Self::Function("dict") => "TemplateDict",
            Self::Function("range" | "raise_exception" | "strftime_now" | "lipsum") => "function",
            Self::Function(_) => "type",
            Self::Cycler(_) => "Cycler",
            Self::Joiner(_) => "Joiner",
        }
    }

    pub(crate) fn is_true(&self) -> bool {
        match self {
            Self::Range(range) => range.len() > 0,
            Self::View(view) => !view.dict.is_empty(),
            _ => true,
        }
    }

    /// What tells one object from another.
    pub(crate) fn address(&self) -> usize {
        match self {
            Self::Range(range) => Rc::as_ptr(range) as usize,
            Self::View(view) => Rc::as_ptr(view) as usize,
            Self::Namespace(namespace) => Rc::as_ptr(namespace) as usize,
            Self::Macro(definition) => Rc::as_ptr(definition) as usize,
            Self::Loop(state) => Rc::as_ptr(state).cast::<()>() as usize,
            Self::Iterator(iterator) => Rc::as_ptr(iterator).cast::<()>() as usize,
            Self::Method(method) => Rc::as_ptr(method) as usize,
            Self::Function(name) => name.as_ptr() as usize,
            Self::Cycler(cycler) => Rc::as_ptr(cycler) as usize,
            Self::Joiner(joiner) => Rc::as_ptr(joiner) as usize,
        }
    }
}
