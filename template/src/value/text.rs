//! Python's `str` and `Markup`, with the memory they take.

use std::{rc::Rc, sync::Arc};

use crate::{
    error::Result,
    limits::{Tracked, reserve},
};

/// Text that is shared: a template's own, or made while it runs.
#[derive(Clone)]
pub struct Text {
    source: Source,
    safe: bool,
}

#[derive(Clone)]
enum Source {
    Constant(Arc<str>),
    Made(Made),
}

/// Text whose memory is counted, once for all that share it.
#[derive(Clone)]
struct Made(Shared);

/// Text of at least so many bytes is not copied to be in one piece with its count.
const LONG: usize = 64 << 10;

#[derive(Clone)]
enum Shared {
    Short(Rc<str>),
    Long(Rc<String>),
}

impl Made {
    fn new(text: Shared) -> Self {
        let made = Self(text);
        Tracked::add(made.as_str().len());
        made
    }

    fn as_str(&self) -> &str {
        match &self.0 {
            Shared::Short(text) => text,
            Shared::Long(text) => text,
        }
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let owners = match &self.0 {
            Shared::Short(text) => Rc::strong_count(text),
            Shared::Long(text) => Rc::strong_count(text),
        };
        if owners == 1 {
            Tracked::remove(self.as_str().len());
        }
    }
}

impl Text {
    /// A template's own text.
    pub(crate) fn constant(text: Arc<str>) -> Self {
        Self {
            source: Source::Constant(text),
            safe: false,
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        match &self.source {
            Source::Constant(text) => text,
            Source::Made(made) => made.as_str(),
        }
    }

    /// Whether this is a `Markup`.
    pub(crate) fn is_safe(&self) -> bool {
        self.safe
    }

    pub(crate) fn with_safe(mut self, safe: bool) -> Self {
        self.safe = safe;
        self
    }

    /// The string of a long text that nothing else holds.
    fn sole(&mut self) -> Option<&mut String> {
        match &mut self.source {
            Source::Made(Made(Shared::Long(text))) => Rc::get_mut(text),
            _ => None,
        }
    }

    /// Appends to a long text that nothing else holds; says whether it is one.
    pub(crate) fn append(&mut self, more: &str) -> Result<bool> {
        let Some(text) = self.sole() else {
            return Ok(false);
        };
        reserve(more.len())?;
        Tracked::add(more.len());
        text.push_str(more);
        Ok(true)
    }

    /// Takes the string out of a long text that nothing else holds; it is no longer counted.
    pub(crate) fn take_long(&mut self) -> Option<String> {
        let text = std::mem::take(self.sole()?);
        Tracked::remove(text.len());
        Some(text)
    }

    pub(crate) fn same(&self, other: &Self) -> bool {
        match (&self.source, &other.source) {
            (Source::Constant(a), Source::Constant(b)) => Arc::ptr_eq(a, b),
            (Source::Made(a), Source::Made(b)) => match (&a.0, &b.0) {
                (Shared::Short(a), Shared::Short(b)) => Rc::ptr_eq(a, b),
                (Shared::Long(a), Shared::Long(b)) => Rc::ptr_eq(a, b),
                _ => false,
            },
            _ => false,
        }
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        if text.len() < LONG {
            return Self::from(text.as_str());
        }
        Self {
            source: Source::Made(Made::new(Shared::Long(Rc::new(text)))),
            safe: false,
        }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self {
            source: Source::Made(Made::new(Shared::Short(text.into()))),
            safe: false,
        }
    }
}
