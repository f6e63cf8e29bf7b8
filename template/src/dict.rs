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

/// An immutable dict: templates cannot change one.
pub struct Dict {
    map: IndexMap<Key, Value>,
    depth: u16,
    _tracked: Tracked,
}

impl Dict {
    pub(crate) fn builder() -> DictBuilder {
        DictBuilder {
            map: IndexMap::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    pub(crate) fn depth(&self) -> u16 {
        self.depth
    }

    pub(crate) fn get_str(&self, key: &str) -> Option<&Value> {
        self.map.get(&StrKey(key))
    }

    /// # Errors
    ///
    /// A key that cannot be one.
    pub(crate) fn get(&self, key: &Value) -> Result<Option<&Value>> {
        match key {
            Value::Str(text) => Ok(self.get_str(text.as_str())),
            key => Ok(self.map.get(&Key::new(key.clone())?)),
        }
    }

    pub(crate) fn at(&self, index: usize) -> Option<(&Value, &Value)> {
        self.map
            .get_index(index)
            .map(|(key, value)| (key.value(), value))
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (&Value, &Value)> {
        self.map.iter().map(|(key, value)| (key.value(), value))
    }
}

/// A dict that is being put together.
pub(crate) struct DictBuilder {
    map: IndexMap<Key, Value>,
}

/// What an entry takes, with its share of the hash table.
const ENTRY: usize = 2 * size_of::<Value>() + 3 * size_of::<usize>();

impl DictBuilder {
    /// # Errors
    ///
    /// A key that cannot be one, or too much memory.
    pub(crate) fn insert(&mut self, key: Value, value: Value) -> Result<()> {
        if self.map.len() == self.map.capacity() {
            reserve((self.map.len() + 4) * ENTRY)?;
        }
        self.map.insert(Key::new(key)?, value);
        Ok(())
    }

    pub(crate) fn insert_all(&mut self, other: &Dict) -> Result<()> {
        other
            .iter()
            .try_for_each(|(key, value)| self.insert(key.clone(), value.clone()))
    }

    pub(crate) fn finish(self) -> Result<Value> {
        let values = self.map.iter();
        let depth = depth_above(values.flat_map(|(key, value)| [key.value(), value]))?;
        Ok(Value::Dict(Rc::new(Dict {
            depth,
            _tracked: Tracked::new(self.map.capacity() * ENTRY + size_of::<Dict>()),
            map: self.map,
        })))
    }
}
