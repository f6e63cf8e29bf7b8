//! The entries of a dict: keys and values in the order of their insertion.

use std::hash::{Hash, Hasher};

use indexmap::{Equivalent, IndexMap};

/// A key that may be text, and then has the hash of that text.
pub(super) trait MaybeText {
    fn text(&self) -> Option<&str>;
}

struct StrKey<'a>(&'a str);

impl Hash for StrKey<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<K: MaybeText> Equivalent<K> for StrKey<'_> {
    fn equivalent(&self, key: &K) -> bool {
        key.text() == Some(self.0)
    }
}

/// Up to so many entries are looked through one by one, which is faster than hashing.
const FEW: usize = 8;

/// Keys and values in the order of their insertion.
pub(crate) enum Entries<K, V> {
    Few(Vec<(K, V)>),
    Many(IndexMap<K, V>),
}

impl<K, V> Entries<K, V> {
    pub(super) fn new() -> Self {
        Self::Few(Vec::new())
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Few(entries) => entries.len(),
            Self::Many(map) => map.len(),
        }
    }

    pub(super) fn capacity(&self) -> usize {
        match self {
            Self::Few(entries) => entries.capacity(),
            Self::Many(map) => map.capacity(),
        }
    }

    pub(super) fn at(&self, index: usize) -> Option<(&K, &V)> {
        match self {
            Self::Few(entries) => entries.get(index).map(|(key, value)| (key, value)),
            Self::Many(map) => map.get_index(index),
        }
    }
}

impl<K: MaybeText, V> Entries<K, V> {
    pub(super) fn get_str(&self, key: &str) -> Option<&V> {
        match self {
            Self::Few(entries) => {
                let mut entries = entries.iter();
                let (_, value) = entries.find(|(known, _)| known.text() == Some(key))?;
                Some(value)
            }
            Self::Many(map) => map.get(&StrKey(key)),
        }
    }
}

impl<K: Eq + Hash, V> Entries<K, V> {
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        match self {
            Self::Few(entries) => {
                let (_, value) = entries.iter().find(|(known, _)| known == key)?;
                Some(value)
            }
            Self::Many(map) => map.get(key),
        }
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
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
