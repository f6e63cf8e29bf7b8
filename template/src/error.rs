//! What can go wrong, said as Python says it.

use std::{fmt, sync::Arc};

/// The result of anything that runs inside a template.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a template did not compile or did not render.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The text is not a template.
    Syntax,
    /// The template called `raise_exception`.
    Raised,
    /// Python would raise an exception of this class.
    Python(&'static str),
    /// A limit of [`crate::Limits`] was reached.
    Limit,
    /// Python would go on; this crate does not have the feature, or its result cannot be repeated.
    Unsupported,
}

/// An error with the template's name and line.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    template: Option<Arc<str>>,
    line: u32,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            template: None,
            line: 0,
        }))
    }

    pub(crate) fn syntax(message: impl Into<String>, line: u32) -> Self {
        let mut error = Self::new(ErrorKind::Syntax, message);
        error.0.line = line;
        error
    }

    pub(crate) fn at(mut self, template: &Arc<str>, line: u32) -> Self {
        if self.0.line == 0 {
            self.0.line = line;
        }
        self.0.template.get_or_insert_with(|| template.clone());
        self
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What happened, without the place. For [`ErrorKind::Raised`], exactly what the template raised.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The line of the template, from 1; 0 where none is known.
    #[must_use]
    pub fn line(&self) -> u32 {
        self.0.line
    }

    /// Whether Python would raise this class, or one derived from it that we can raise.
    pub(crate) fn is_python(&self, classes: &[&str]) -> bool {
        matches!(self.0.kind, ErrorKind::Python(class) if classes.contains(&class))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.0.template {
            write!(f, "{name}, ")?;
        }
        if self.0.line > 0 {
            write!(f, "line {}: ", self.0.line)?;
        }
        match self.0.kind {
            ErrorKind::Python(class) => write!(f, "{class}: ")?,
            ErrorKind::Limit => f.write_str("limit reached: ")?,
            ErrorKind::Unsupported => f.write_str("not supported: ")?,
            ErrorKind::Syntax | ErrorKind::Raised => {}
        }
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({self})", self.0.kind)
    }
}

impl std::error::Error for Error {}

macro_rules! classes {
    ($($name:ident $class:literal;)*) => {$(
        pub(crate) fn $name(message: impl Into<String>) -> Error {
            Error::new(ErrorKind::Python($class), message)
        }
    )*};
}

classes! {
    assertion_error "AssertionError";
    attribute_error "AttributeError";
    filter_argument_error "FilterArgumentError";
    index_error "IndexError";
    key_error "KeyError";
    overflow_error "OverflowError";
    runtime_error "RuntimeError";
    security_error "SecurityError";
    template_runtime_error "TemplateRuntimeError";
    type_error "TypeError";
    undefined_error "UndefinedError";
    value_error "ValueError";
    zero_division_error "ZeroDivisionError";
}

pub(crate) fn unsupported(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Unsupported, message)
}

pub(crate) fn limit(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Limit, message)
}
