//! Making values.

use std::{rc::Rc, sync::Arc};

use num_bigint::BigInt;

use super::{
    text::Text,
    types::{Seq, Value},
    undefined::Undefined,
};
use crate::{
    error::{Result, limit},
    limits::{MAX_VALUE_DEPTH, Tracked, reserve, reserve_items},
    number::Big,
};

/// One more than the deepest of `values`.
pub(crate) fn depth_above<'a>(values: impl IntoIterator<Item = &'a Value>) -> Result<u16> {
    let depth = 1 + values.into_iter().map(Value::depth).max().unwrap_or(0);
    if depth > MAX_VALUE_DEPTH {
        return Err(limit(format!(
            "a value is nested more than {MAX_VALUE_DEPTH} levels deep"
        )));
    }
    Ok(depth)
}

fn seq(items: Vec<Value>, group: bool) -> Result<Rc<Seq>> {
    Ok(Rc::new(Seq {
        depth: depth_above(&items)?,
        _tracked: Tracked::new(items.capacity() * size_of::<Value>() + size_of::<Seq>()),
        items,
        group,
    }))
}

impl Value {
    /// A list of `items`.
    ///
    /// # Errors
    ///
    /// Items that are nested too deeply.
    pub fn list(items: Vec<Value>) -> Result<Self> {
        Ok(Self::List(seq(items, false)?))
    }

    pub(crate) fn tuple(items: Vec<Value>) -> Result<Self> {
        Ok(Self::Tuple(seq(items, false)?))
    }

    pub(crate) fn group(grouper: Value, items: Value) -> Result<Self> {
        Ok(Self::Tuple(seq(vec![grouper, items], true)?))
    }

    pub(crate) fn undefined(message: impl Into<String>) -> Self {
        Self::Undefined(Some(Rc::new(Undefined::message(message.into()))))
    }

    pub(crate) fn undefined_name(name: Arc<str>) -> Self {
        Self::Undefined(Some(Rc::new(Undefined::name(name))))
    }

    pub(crate) fn missing_attribute(of: &Value, name: Text) -> Self {
        Self::Undefined(Some(Rc::new(Undefined::attribute(of.type_name(), name))))
    }

    pub(crate) fn unsafe_attribute(of: &Value, name: &str) -> Self {
        Self::Undefined(Some(Rc::new(Undefined::unsafe_attribute(
            of.type_name(),
            name,
        ))))
    }

    pub(crate) fn int(value: BigInt) -> Self {
        match i64::try_from(&value) {
            Ok(small) => Self::Int(small),
            Err(_) => Self::Big(Rc::new(Big::from(value))),
        }
    }

    pub(crate) fn usize(value: usize) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }

    pub(crate) fn str(text: impl Into<Text>) -> Self {
        Self::Str(text.into())
    }

    pub(crate) fn markup(text: impl Into<Text>) -> Self {
        Self::Str(text.into().with_safe(true))
    }

    /// Text of the same kind as another: plain, or `Markup`.
    #[inline]
    pub(crate) fn text_like(text: impl Into<Text>, safe: bool) -> Self {
        Self::Str(text.into().with_safe(safe))
    }

    /// New text of at most the memory allowed.
    #[inline]
    pub(crate) fn copied(text: &str, safe: bool) -> Result<Self> {
        reserve(text.len())?;
        Ok(Self::text_like(text, safe))
    }
}

/// Room for `count` values that are about to be collected.
pub(crate) fn reserve_values(count: usize) -> Result<()> {
    reserve_items(count, size_of::<Value>())
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

/// Text of the caller's, which is shared and not counted as memory of the template.
impl From<Arc<str>> for Value {
    fn from(text: Arc<str>) -> Self {
        Self::Str(Text::constant(text))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::str(text)
    }
}
