//! A shard that this process has under way.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, OnceLock},
};

use worldpm_ort_jobs::{First, Line, Repeats, Shard};

pub(super) struct UnderWay<O> {
    pub(super) shard: Shard,
    /// The results that there are.
    pub(super) lines: BTreeMap<u64, Line>,
    /// What of it was in an earlier one.
    pub(super) repeats: Repeats,
    /// Where the outcomes of its contents are: none is forgotten while others of its records wait.
    places: HashMap<[u8; 16], Arc<OnceLock<O>>>,
}

impl<O> UnderWay<O> {
    pub(super) fn new(shard: Shard, repeats: Repeats) -> Self {
        Self {
            lines: shard.known.clone(),
            shard,
            repeats,
            places: HashMap::new(),
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.lines.len() as u64 == self.shard.stretch.records
    }

    pub(super) fn place(&self, content: &[u8; 16]) -> Option<&Arc<OnceLock<O>>> {
        self.places.get(content)
    }

    pub(super) fn remember(&mut self, content: [u8; 16], place: &Arc<OnceLock<O>>) {
        self.places.insert(content, Arc::clone(place));
    }

    /// Whether the outcome of a content that was first here has come, or comes without waiting for another process.
    pub(super) fn has(&self, content: &[u8; 16], first: First) -> bool {
        self.places.contains_key(content) || self.lines.contains_key(&first.record)
    }
}
