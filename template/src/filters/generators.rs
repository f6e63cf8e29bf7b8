//! The generators that filters make.

use std::collections::HashSet;

use super::getter::Getter;
use crate::{
    compare::less,
    error::{Result, type_error, zero_division_error},
    iter::{Iter, Source, collect},
    limits::reserve,
    number::{clamped_index, index},
    value::{Generate, Interp, Key, Value, ViewKind, equals, reserve_values},
};

/// Items that are there already.
pub(super) struct Ready(pub(super) Iter);

impl Generate for Ready {
    fn next(&mut self, interp: &mut Interp<'_>) -> Result<Option<Value>> {
        self.0.next(interp)
    }
}

/// The first items of each value of an attribute.
pub(super) struct Unique(
    pub(super) Source,
    pub(super) Getter,
    pub(super) HashSet<Key>,
);

impl Generate for Unique {
    fn next(&mut self, interp: &mut Interp<'_>) -> Result<Option<Value>> {
        let Self(source, getter, seen) = self;
        while let Some(item) = source.next(interp)? {
            reserve(2 * size_of::<Value>())?;
            if seen.insert(Key::new(getter.get(interp, &item)?)?) {
                return Ok(Some(item));
            }
        }
        Ok(None)
    }
}

/// The pairs of a dict.
pub(super) struct Items(pub(super) Source);

impl Generate for Items {
    fn next(&mut self, interp: &mut Interp<'_>) -> Result<Option<Value>> {
        if let Source::Value(value) = &self.0 {
            self.0 = match value {
                Value::Undefined(_) => Source::Done,
                Value::Dict(dict) => Source::Iter(Iter::Dict(dict.clone(), ViewKind::Items, 0)),
                _ => return Err(type_error("Can only get item pairs from a mapping.")),
            };
        }
        self.0.next(interp)
    }
}

/// Lines of as many items each.
pub(super) struct Batch {
    pub(super) source: Source,
    pub(super) size: Value,
    pub(super) fill: Value,
    /// What was taken for the next line so far.
    pub(super) line: Vec<Value>,
}

impl Generate for Batch {
    fn next(&mut self, interp: &mut Interp<'_>) -> Result<Option<Value>> {
        while let Some(item) = self.source.next(interp)? {
            reserve_values(1)?;
            if equals(&Value::usize(self.line.len()), &self.size)? {
                let full = std::mem::replace(&mut self.line, vec![item]);
                return Value::list(full).map(Some);
            }
            self.line.push(item);
        }
        if self.line.is_empty() {
            return Ok(None);
        }
        let mut items = std::mem::take(&mut self.line);
        if !self.fill.is_none() && less(&Value::usize(items.len()), &self.size)? {
            let wanted = usize::try_from(index(&self.size)?).unwrap_or(usize::MAX);
            reserve_values(wanted.saturating_sub(items.len()))?;
            items.resize(wanted, self.fill.clone());
        }
        Value::list(items).map(Some)
    }
}

/// As many parts as asked for, of nearly equal length.
pub(super) struct Slice {
    pub(super) value: Value,
    pub(super) slices: Value,
    pub(super) fill: Value,
    /// The number of the next part.
    pub(super) at: usize,
}

impl Slice {
    fn part(&mut self, interp: &mut Interp<'_>) -> Result<Option<Value>> {
        let at = self.at;
        if at == 0 {
            self.value = Value::list(collect(interp, &self.value)?)?;
        }
        let Value::List(seq) = &self.value else {
            return Ok(None);
        };
        if equals(&self.slices, &Value::Int(0))? {
            return Err(zero_division_error("integer division or modulo by zero"));
        }
        let count = clamped_index(&self.slices)?;
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
        if !self.fill.is_none() && at >= extra {
            items.push(self.fill.clone());
        }
        Value::list(items).map(Some)
    }
}

impl Generate for Slice {
    fn next(&mut self, interp: &mut Interp<'_>) -> Result<Option<Value>> {
        let part = self.part(interp)?;
        self.at += 1;
        Ok(part)
    }
}
