//! Iteration, lazily where Python is lazy.

use std::{cell::RefCell, rc::Rc};

use crate::value::{
    Dict, Generate, Interp, IterObject, Object, Range, Seq, Text, Value, ViewKind, reserve_values,
    same_or_equal, view_item,
};
use crate::{
    error::{Result, limit, type_error, unsupported, value_error},
    limits::{MAX_VALUE_DEPTH, reserve, scan, work},
};

/// A position in something that is iterated over.
pub(crate) enum Iter {
    Empty,
    Seq(Rc<Seq>, usize),
    Str(Text, usize),
    Dict(Rc<Dict>, ViewKind, usize),
    Range(Rc<Range>, usize),
    Object(Rc<IterObject>),
    /// `loop`, which says so when it is asked for items.
    Loop,
}

/// What a generator takes its items from: a value, until the first item is asked for.
pub(crate) enum Source {
    Value(Value),
    Iter(Iter),
    Done,
}

/// `iter(value)`.
pub(crate) fn iterate(value: &Value) -> Result<Iter> {
    Ok(match value {
        Value::List(seq) | Value::Tuple(seq) => Iter::Seq(seq.clone(), 0),
        Value::Str(text) => Iter::Str(text.clone(), 0),
        Value::Dict(dict) => Iter::Dict(dict.clone(), ViewKind::Keys, 0),
        Value::Undefined(_) => Iter::Empty,
        Value::Object(Object::Range(range)) => Iter::Range(range.clone(), 0),
        Value::Object(Object::View(view)) => Iter::Dict(view.dict.clone(), view.kind, 0),
        Value::Object(Object::Iterator(iterator)) => Iter::Object(iterator.clone()),
        Value::Object(Object::Loop(_)) => Iter::Loop,
        other => {
            return Err(type_error(format!(
                "'{}' object is not iterable",
                other.type_name()
            )));
        }
    })
}

/// Whether `iter(value)` works.
pub(crate) fn is_iterable(value: &Value) -> bool {
    iterate(value).is_ok()
}

/// `len(value)`.
pub(crate) fn length(interp: &mut Interp<'_>, value: &Value) -> Result<usize> {
    Ok(match value {
        Value::Str(text) => {
            scan(text.as_str().len())?;
            text.as_str().chars().count()
        }
        Value::List(seq) | Value::Tuple(seq) => seq.items.len(),
        Value::Dict(dict) => dict.len(),
        Value::Undefined(_) => 0,
        Value::Object(Object::Range(range)) => range.len(),
        Value::Object(Object::View(view)) => view.dict.len(),
        Value::Object(Object::Loop(state)) => state.length(interp)?,
        other => {
            return Err(type_error(format!(
                "object of type '{}' has no len()",
                other.type_name()
            )));
        }
    })
}

impl Iter {
    /// How many items are left, where that is known.
    pub(crate) fn size_hint(&self) -> usize {
        match self {
            Self::Seq(seq, at) => seq.items.len() - at,
            Self::Dict(dict, _, at) => dict.len() - at,
            Self::Range(range, at) => range.len() - at,
            _ => 0,
        }
    }

    pub(crate) fn next(&mut self, interp: &mut Interp<'_>) -> Result<Option<Value>> {
        work(1)?;
        Ok(match self {
            Self::Empty => None,
            Self::Seq(seq, at) => {
                let item = seq.items.get(*at).cloned();
                *at += usize::from(item.is_some());
                item
            }
            Self::Str(text, at) => {
                let c = text
                    .as_str()
                    .get(*at..)
                    .and_then(|rest| rest.chars().next());
                match c {
                    Some(c) => {
                        *at += c.len_utf8();
                        let c = c.encode_utf8(&mut [0; 4]).to_owned();
                        Some(Value::copied(&c, false)?)
                    }
                    None => None,
                }
            }
            Self::Dict(dict, kind, at) => {
                let item = view_item(dict, *kind, *at)?;
                *at += usize::from(item.is_some());
                item
            }
            Self::Range(range, at) => {
                let item = range.at(*at).map(Value::Int);
                *at += usize::from(item.is_some());
                item
            }
            Self::Object(iterator) => {
                let iterator = iterator.clone();
                let Ok(mut state) = iterator.state.try_borrow_mut() else {
                    return Err(value_error("generator already executing"));
                };
                interp.deeper(|interp| state.next(interp))?
            }
            Self::Loop => {
                return Err(unsupported("a loop over `loop` itself"));
            }
        })
    }

    /// The items that are left.
    pub(crate) fn collect(mut self, interp: &mut Interp<'_>) -> Result<Vec<Value>> {
        let known = self.size_hint();
        reserve_values(known)?;
        let mut items = Vec::with_capacity(known);
        while let Some(item) = self.next(interp)? {
            if items.len() == items.capacity() {
                reserve_values(items.len().max(4))?;
            }
            items.push(item);
        }
        Ok(items)
    }
}

/// `list(value)`, as items.
pub(crate) fn collect(interp: &mut Interp<'_>, value: &Value) -> Result<Vec<Value>> {
    iterate(value)?.collect(interp)
}

/// `item in generator`, which takes the generator's items up to the one found.
pub(crate) fn search(interp: &mut Interp<'_>, item: &Value, generator: &Value) -> Result<bool> {
    let mut iter = iterate(generator)?;
    while let Some(other) = iter.next(interp)? {
        if same_or_equal(&other, item)? {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Source {
    #[inline]
    pub(crate) fn next(&mut self, interp: &mut Interp<'_>) -> Result<Option<Value>> {
        if let Self::Value(value) = self {
            let iter = iterate(value)?;
            *self = Self::Iter(iter);
        }
        let item = match self {
            Self::Iter(iter) => iter.next(interp)?,
            _ => None,
        };
        if item.is_none() {
            *self = Self::Done;
        }
        Ok(item)
    }

    /// As `next`, but a value that is false has no items, whatever it is.
    #[inline]
    pub(crate) fn next_if_true(&mut self, interp: &mut Interp<'_>) -> Result<Option<Value>> {
        if let Self::Value(value) = self
            && !value.is_true()?
        {
            *self = Self::Done;
        }
        self.next(interp)
    }
}

/// The memory that is asked for a generator, whichever it is: what the largest takes.
const GENERATOR: usize = 224;

/// A generator as a value; `depth` is that of what it holds.
pub(crate) fn generator<G: Generate + 'static>(
    generate: G,
    type_name: &'static str,
    depth: u16,
) -> Result<Value> {
    const { assert!(size_of::<IterObject<G>>() <= GENERATOR) }
    if depth >= MAX_VALUE_DEPTH {
        return Err(limit(format!(
            "generators are nested more than {MAX_VALUE_DEPTH} levels deep"
        )));
    }
    reserve(GENERATOR)?;
    Ok(Value::Object(Object::Iterator(Rc::new(IterObject {
        type_name,
        depth: depth + 1,
        state: RefCell::new(generate),
    }))))
}
