//! Python's `dict`: keys in the order of their first insertion, equal when Python finds them equal.

use std::rc::Rc;

use super::{
    build::depth_above,
    entries::Entries,
    types::{Dict, Key, Value},
};
use crate::{
    error::Result,
    limits::{Tracked, reserve},
};

impl Dict {
    pub(crate) fn builder() -> DictBuilder {
        DictBuilder {
            entries: Entries::new(),
        }
    }
}

/// A dict that is being put together.
pub(crate) struct DictBuilder {
    entries: Entries<Key, Value>,
}

/// What an entry takes, with its share of the hash table.
const ENTRY: usize = 2 * size_of::<Value>() + 3 * size_of::<usize>();

impl DictBuilder {
    /// # Errors
    ///
    /// A key that cannot be one, or too much memory.
    pub(crate) fn insert(&mut self, key: Value, value: Value) -> Result<()> {
        if self.entries.len() == self.entries.capacity() {
            reserve((self.entries.len() + 4) * ENTRY)?;
        }
        self.entries.insert(Key::new(key)?, value);
        Ok(())
    }

    pub(crate) fn insert_all(&mut self, other: &Dict) -> Result<()> {
        other
            .iter()
            .try_for_each(|(key, value)| self.insert(key.clone(), value.clone()))
    }

    pub(crate) fn finish(self) -> Result<Value> {
        let places = 0..self.entries.len();
        let entries = places.filter_map(|index| self.entries.at(index));
        let depth = depth_above(entries.flat_map(|(key, value)| [key.value(), value]))?;
        Ok(Value::Dict(Rc::new(Dict {
            depth,
            _tracked: Tracked::new(self.entries.capacity() * ENTRY + size_of::<Dict>()),
            entries: self.entries,
        })))
    }
}

impl Value {
    /// A dict of `pairs`; the last of several equal keys wins, at the place of the first.
    ///
    /// # Errors
    ///
    /// Values that are nested too deeply.
    pub fn dict<K: AsRef<str>>(pairs: impl IntoIterator<Item = (K, Value)>) -> Result<Self> {
        let mut dict = Dict::builder();
        for (key, value) in pairs {
            dict.insert(Value::from(key.as_ref()), value)?;
        }
        dict.finish()
    }
}
