//! Iteration, lazily where Python is lazy.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use crate::ast::For;
use crate::dict::{Dict, Key};
use crate::error::{Result, limit, type_error, value_error};
use crate::eval::{Activation, Interp};
use crate::filters::apply::{Apply, Getter};
use crate::limits::{MAX_VALUE_DEPTH, work};
use crate::object::{Object, Range, ViewKind, view_item};
use crate::value::{Seq, Text, Value, reserve_values};

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

/// A generator: its items can be taken once.
pub(crate) struct IterObject {
    pub(crate) type_name: &'static str,
    pub(crate) depth: u16,
    state: RefCell<Generator>,
}

/// What a generator takes its items from: a value, until the first item is asked for.
pub(crate) enum Source {
    Value(Value),
    Iter(Iter),
    Done,
}

pub(crate) enum Generator {
    /// Items that are there already.
    Ready(Iter),
    Map(Source, Apply),
    /// Items whose truth value is the given one.
    Select(Source, Apply, bool),
    Unique(Source, Getter, HashSet<Key>),
    Batch(Source, Value, Value, Vec<Value>),
    Slice(Value, Value, Value, usize),
    Items(Source),
    /// The `if` of a loop.
    Filtered(Source, Arc<For>, Rc<Activation>),
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
            crate::limits::scan(text.as_str().len())?;
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
                let item = range.at(*at);
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
                return Err(crate::error::unsupported("a loop over `loop` itself"));
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

impl Source {
    fn next(&mut self, interp: &mut Interp<'_>) -> Result<Option<Value>> {
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
    fn next_if_true(&mut self, interp: &mut Interp<'_>) -> Result<Option<Value>> {
        if let Self::Value(value) = self
            && !value.is_true()?
        {
            *self = Self::Done;
        }
        self.next(interp)
    }
}

impl Generator {
    /// A generator as a value; `depth` is that of what it holds.
    pub(crate) fn into_value(self, type_name: &'static str, depth: u16) -> Result<Value> {
        if depth >= MAX_VALUE_DEPTH {
            return Err(limit(format!(
                "generators are nested more than {MAX_VALUE_DEPTH} levels deep"
            )));
        }
        crate::limits::reserve(size_of::<IterObject>())?;
        Ok(Value::Object(Object::Iterator(Rc::new(IterObject {
            type_name,
            depth: depth + 1,
            state: RefCell::new(self),
        }))))
    }

    fn next(&mut self, interp: &mut Interp<'_>) -> Result<Option<Value>> {
        match self {
            Self::Ready(iter) => iter.next(interp),
            Self::Map(source, apply) => match source.next_if_true(interp)? {
                Some(item) => apply.call(interp, item).map(Some),
                None => Ok(None),
            },
            Self::Select(source, apply, wanted) => {
                while let Some(item) = source.next_if_true(interp)? {
                    if apply.call(interp, item.clone())?.is_true()? == *wanted {
                        return Ok(Some(item));
                    }
                }
                Ok(None)
            }
            Self::Unique(source, getter, seen) => {
                while let Some(item) = source.next(interp)? {
                    crate::limits::reserve(2 * size_of::<Value>())?;
                    if seen.insert(Key::new(getter.get(interp, &item)?)?) {
                        return Ok(Some(item));
                    }
                }
                Ok(None)
            }
            Self::Batch(source, size, fill, line) => batch(interp, source, size, fill, line),
            Self::Slice(value, slices, fill, at) => {
                let item = slice(interp, value, slices, fill, *at)?;
                *at += 1;
                Ok(item)
            }
            Self::Items(source) => {
                if let Source::Value(value) = source {
                    *source = match value {
                        Value::Undefined(_) => Source::Done,
                        Value::Dict(dict) => {
                            Source::Iter(Iter::Dict(dict.clone(), ViewKind::Items, 0))
                        }
                        _ => return Err(type_error("Can only get item pairs from a mapping.")),
                    };
                }
                source.next(interp)
            }
            Self::Filtered(source, node, activation) => {
                while let Some(item) = source.next(interp)? {
                    if interp.passes(node, activation, &item)? {
                        return Ok(Some(item));
                    }
                }
                Ok(None)
            }
        }
    }
}

/// The next line of `batch`; `line` holds what was taken for it so far.
fn batch(
    interp: &mut Interp<'_>,
    source: &mut Source,
    size: &Value,
    fill: &Value,
    line: &mut Vec<Value>,
) -> Result<Option<Value>> {
    while let Some(item) = source.next(interp)? {
        reserve_values(1)?;
        if crate::compare::equals(&Value::usize(line.len()), size)? {
            let full = std::mem::replace(line, vec![item]);
            return Value::list(full).map(Some);
        }
        line.push(item);
    }
    if line.is_empty() {
        return Ok(None);
    }
    let mut items = std::mem::take(line);
    if !fill.is_none() && crate::compare::less(&Value::usize(items.len()), size)? {
        let wanted = usize::try_from(crate::number::index(size)?).unwrap_or(usize::MAX);
        reserve_values(wanted.saturating_sub(items.len()))?;
        items.resize(wanted, fill.clone());
    }
    Value::list(items).map(Some)
}

/// Part number `at` of `slice`.
fn slice(
    interp: &mut Interp<'_>,
    value: &mut Value,
    slices: &Value,
    fill: &Value,
    at: usize,
) -> Result<Option<Value>> {
    if at == 0 {
        *value = Value::list(collect(interp, value)?)?;
    }
    let Value::List(seq) = value else {
        return Ok(None);
    };
    let zero = Value::Int(0);
    if crate::compare::equals(slices, &zero)? {
        return Err(crate::error::zero_division_error(
            "integer division or modulo by zero",
        ));
    }
    let count = crate::number::clamped_index(slices)?;
    let Ok(count) = usize::try_from(count) else {
        return Ok(None);
    };
    if at >= count {
        return Ok(None);
    }
    let (each, extra) = (seq.items.len() / count, seq.items.len() % count);
    let start = at * each + at.min(extra);
    let end = start + each + usize::from(at < extra);
    let mut items = seq.items.get(start..end).unwrap_or(&[]).to_vec();
    reserve_values(items.len() + 4)?;
    if !fill.is_none() && at >= extra {
        items.push(fill.clone());
    }
    Value::list(items).map(Some)
}
