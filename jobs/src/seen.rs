//! What was asked before, so that it is computed once.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, OnceLock},
};

/// Outcomes by the hash of what they are of; the oldest are forgotten.
#[derive(Debug)]
pub struct Seen<T> {
    outcomes: HashMap<[u8; 16], Arc<OnceLock<T>>>,
    order: VecDeque<[u8; 16]>,
    most: usize,
}

impl<T> Seen<T> {
    /// Remembers `most` of them.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            outcomes: HashMap::new(),
            order: VecDeque::new(),
            most,
        }
    }

    /// Whether an outcome has a place.
    #[must_use]
    pub fn contains(&self, key: &[u8; 16]) -> bool {
        self.outcomes.contains_key(key)
    }

    /// The place of an outcome, and whether it is new: then it is for the caller to fill it. One that is not may be filled
    /// later, by whoever it was new to.
    pub fn place(&mut self, key: [u8; 16]) -> (Arc<OnceLock<T>>, bool) {
        if let Some(place) = self.outcomes.get(&key) {
            return (Arc::clone(place), false);
        }
        let place = Arc::new(OnceLock::new());
        if self.most > 0 {
            if self.order.len() >= self.most
                && let Some(oldest) = self.order.pop_front()
            {
                self.outcomes.remove(&oldest);
            }
            self.order.push_back(key);
            self.outcomes.insert(key, Arc::clone(&place));
        }
        (place, true)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten() {
        let key = |number: u8| [number; 16];
        let mut seen = Seen::new(2);
        let (first, is_new) = seen.place(key(1));
        assert!(is_new);
        first.set("one").unwrap();
        assert!(seen.place(key(2)).1);
        let (again, is_new) = seen.place(key(1));
        assert_eq!((again.get(), is_new), (Some(&"one"), false));
        assert!(seen.contains(&key(1)) && !seen.contains(&key(3)));
        assert!(seen.place(key(3)).1);
        assert!(seen.place(key(1)).1);
        assert!(!seen.place(key(3)).1);
        // Whoever waits for one that is forgotten still has it.
        assert_eq!(again.get(), Some(&"one"));
        let mut none = Seen::<()>::new(0);
        assert!(none.place(key(1)).1 && none.place(key(1)).1);
    }
}
