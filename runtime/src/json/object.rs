//! Objects: each key once, in the order given.

use std::ops::Index;

use indexmap::{IndexMap, map::Entry};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::Json;

/// The fields of a JSON object, in the order given. Two objects are equal when they have the same fields, in any order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Object(Box<IndexMap<String, Json>>);

impl Object {
    /// An object without fields.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many fields there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A field's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.0.get(name)
    }

    /// Sets a field, and gives the value that it had. A field that is there keeps its place.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<Json>) -> Option<Json> {
        self.0.insert(name.into(), value.into())
    }

    /// Takes a field out; the others keep their order.
    pub fn remove(&mut self, name: &str) -> Option<Json> {
        self.0.shift_remove(name)
    }

    /// The fields.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Json)> {
        self.0.iter()
    }

    /// The names of the fields.
    pub fn keys(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// The values of the fields.
    pub fn values(&self) -> impl Iterator<Item = &Json> {
        self.0.values()
    }

    /// Adds a field, or gives its name back where it is there already.
    pub(crate) fn add(&mut self, name: String, value: Json) -> Result<(), String> {
        match self.0.entry(name) {
            Entry::Vacant(place) => {
                place.insert(value);
                Ok(())
            }
            Entry::Occupied(place) => Err(place.key().clone()),
        }
    }
}

impl Index<&str> for Object {
    type Output = Json;

    /// A field's value; `null` where there is none.
    fn index(&self, name: &str) -> &Json {
        self.get(name).unwrap_or(&Json::Null)
    }
}

impl FromIterator<(String, Json)> for Object {
    fn from_iter<I: IntoIterator<Item = (String, Json)>>(fields: I) -> Self {
        Self(Box::new(fields.into_iter().collect()))
    }
}

impl IntoIterator for Object {
    type Item = (String, Json);
    type IntoIter = indexmap::map::IntoIter<String, Json>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl From<Map<String, Value>> for Object {
    fn from(fields: Map<String, Value>) -> Self {
        let fields = fields.into_iter();
        fields.map(|(name, value)| (name, value.into())).collect()
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter())
    }
}
