//! What goes through the scorer with the conversations of a record.

use std::sync::{Arc, OnceLock};

use crate::{cli::score::input::Place, records::Entry};

/// A record on its way.
pub(super) struct Item<O> {
    /// The number of its shard.
    pub(super) shard: usize,
    /// Its number in the shard, from 0.
    pub(super) record: u64,
    pub(super) place: Place,
    /// Where the outcomes of its conversations are, and whether it is this item that they come with.
    pub(super) outcomes: Vec<(Arc<OnceLock<O>>, bool)>,
}

impl<O> AsRef<Entry> for Item<O> {
    fn as_ref(&self) -> &Entry {
        &self.place.entry
    }
}
