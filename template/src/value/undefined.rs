//! Why a value is undefined.

use std::sync::Arc;

use super::text::Text;
use crate::{
    error::{Error, security_error, undefined_error},
    quote::string_repr,
};

/// Why a value is undefined, as the message says when it is used.
pub struct Undefined {
    why: Why,
    unsafe_attribute: bool,
}

/// The message in parts: most undefined values are never complained about.
enum Why {
    Message(String),
    Name(Arc<str>),
    /// The type of what has no such attribute, and its name.
    Attribute(&'static str, Text),
}

/// A type as Jinja's messages name it.
pub(crate) fn described(type_name: &str) -> String {
    match type_name {
        "NoneType" => "None".to_owned(),
        "Markup" => "markupsafe.Markup object".to_owned(),
        "LoopContext" | "Macro" => format!("jinja2.runtime.{type_name} object"),
        other => format!("{other} object"),
    }
}

impl Undefined {
    fn because(why: Why) -> Self {
        Self {
            why,
            unsafe_attribute: false,
        }
    }

    pub(super) fn message(message: String) -> Self {
        Self::because(Why::Message(message))
    }

    pub(super) fn name(name: Arc<str>) -> Self {
        Self::because(Why::Name(name))
    }

    pub(super) fn attribute(of: &'static str, name: Text) -> Self {
        Self::because(Why::Attribute(of, name))
    }

    pub(super) fn unsafe_attribute(of: &str, name: &str) -> Self {
        Self {
            why: Why::Message(format!(
                "access to attribute {} of {} object is unsafe.",
                string_repr(name),
                string_repr(of)
            )),
            unsafe_attribute: true,
        }
    }

    /// The error of an operation on the value.
    pub(super) fn error(&self) -> Error {
        let message = match &self.why {
            Why::Message(message) => message.clone(),
            Why::Name(name) => format!("{} is undefined", string_repr(name)),
            Why::Attribute(of, name) => format!(
                "{} has no attribute {}",
                string_repr(&described(of)),
                string_repr(name.as_str())
            ),
        };
        if self.unsafe_attribute {
            security_error(message)
        } else {
            undefined_error(message)
        }
    }
}
