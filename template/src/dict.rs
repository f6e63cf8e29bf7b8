//! Python's `dict`: keys in the order of their first insertion, equal when Python finds them equal.

use std::hash::{Hash, Hasher};
use std::rc::Rc;

use indexmap::{Equivalent, IndexMap};
use num_traits::ToPrimitive;

use crate::compare::equals;
use crate::error::{Result, type_error};
use crate::limits::{Tracked, reserve};
use crate::object::Object;
use crate::value::{Value, depth_above};

/// A value that can be a key.
pub(crate) struct Key(Value);

impl Key {
    /// # Errors
    ///
    /// Python's for a list, a dict, or a tuple that holds one.
    pub(crate) fn new(value: Value) -> Result<Self> {
        check_hashable(&value)?;
        Ok(Self(value))
    }

    pub(crate) fn value(&self) -> &Value {
        &self.0
    }
}

fn check_hashable(value: &Value) -> Result<()> {
    match value {
        Value::List(_) | Value::Dict(_) => Err(type_error(format!(
            "unhashable type: '{}'",
            value.type_name()
        ))),
        Value::Object(Object::View(view)) if view.hashable_like_a_set() => Err(type_error(
            format!("unhashable type: '{}'", value.type_name()),
        )),
        Value::Tuple(seq) => seq.items.iter().try_for_each(check_hashable),
        _ => Ok(()),
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        let nan = |value: &Value| matches!(value, Value::Float(float) if float.is_nan());
        equals(&self.0, &other.0).unwrap_or(false) && !nan(&self.0)
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_value(&self.0, state);
    }
}

fn hash_value<H: Hasher>(value: &Value, state: &mut H) {
    match value {
        Value::Str(text) => text.as_str().hash(state),
        Value::Undefined(_) => 1u8.hash(state),
        Value::None => 2u8.hash(state),
        Value::Bool(value) => i64::from(*value).hash(state),
        Value::Int(value) => value.hash(state),
        Value::Big(value) => value
            .to_f64()
            .unwrap_or(f64::INFINITY)
            .to_bits()
            .hash(state),
        // Equal numbers must hash equally, whatever their type.
        Value::Float(value) => match crate::number::exact_i64(*value) {
            Some(integer) => integer.hash(state),
            None => value.to_bits().hash(state),
        },
        Value::Tuple(seq) | Value::List(seq) => {
            for item in &seq.items {
                hash_value(item, state);
            }
        }
        Value::Dict(_) => 3u8.hash(state),
        Value::Object(object) => object.address().hash(state),
    }
}

struct StrKey<'a>(&'a str);

impl Hash for StrKey<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Equivalent<Key> for StrKey<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        key.0.as_str() == Some(self.0)
    }
}

/// Up to so many entries are looked through one by one, which is faster than hashing.
const FEW: usize = 8;

/// Keys and values in the order of their insertion.
enum Entries {
    Few(Vec<(Key, Value)>),
    Many(IndexMap<Key, Value>),
}

impl Entries {
    fn len(&self) -> usize {
        match self {
            Self::Few(entries) => entries.len(),
            Self::Many(map) => map.len(),
        }
    }

    fn capacity(&self) -> usize {
        match self {
            Self::Few(entries) => entries.capacity(),
            Self::Many(map) => map.capacity(),
        }
    }

    fn get_str(&self, key: &str) -> Option<&Value> {
        match self {
            Self::Few(entries) => {
                let mut entries = entries.iter();
                let (_, value) = entries.find(|(known, _)| known.0.as_str() == Some(key))?;
                Some(value)
            }
            Self::Many(map) => map.get(&StrKey(key)),
        }
    }

    fn get(&self, key: &Key) -> Option<&Value> {
        match self {
            Self::Few(entries) => {
                let (_, value) = entries.iter().find(|(known, _)| known == key)?;
                Some(value)
            }
            Self::Many(map) => map.get(key),
        }
    }

    fn at(&self, index: usize) -> Option<(&Key, &Value)> {
        match self {
            Self::Few(entries) => entries.get(index).map(|(key, value)| (key, value)),
            Self::Many(map) => map.get_index(index),
        }
    }

    fn insert(&mut self, key: Key, value: Value) {
        match self {
            Self::Few(entries) => {
                if let Some((_, old)) = entries.iter_mut().find(|(known, _)| *known == key) {
                    *old = value;
                } else if entries.len() < FEW {
                    entries.push((key, value));
                } else {
                    let mut map: IndexMap<_, _> = std::mem::take(entries).into_iter().collect();
                    map.insert(key, value);
                    *self = Self::Many(map);
                }
            }
            Self::Many(map) => {
                map.insert(key, value);
            }
        }
    }
}

/// An immutable dict: templates cannot change one.
pub struct Dict {
    entries: Entries,
    depth: u16,
    _tracked: Tracked,
}

impl Dict {
    pub(crate) fn builder() -> DictBuilder {
        DictBuilder {
            entries: Entries::Few(Vec::new()),
        }
    }

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

    /// # Errors
    ///
    /// A key that cannot be one.
    pub(crate) fn get(&self, key: &Value) -> Result<Option<&Value>> {
        match key {
            Value::Str(text) => Ok(self.get_str(text.as_str())),
            key => Ok(self.entries.get(&Key::new(key.clone())?)),
        }
    }

    pub(crate) fn at(&self, index: usize) -> Option<(&Value, &Value)> {
        let found = self.entries.at(index);
        found.map(|(key, value)| (key.value(), value))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Value, &Value)> {
        (0..self.len()).filter_map(|index| self.at(index))
    }
}

/// A dict that is being put together.
pub(crate) struct DictBuilder {
    entries: Entries,
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
