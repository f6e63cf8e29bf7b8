//! What goes through the scorer with the conversations of a record.

use std::sync::{Arc, OnceLock};

use super::{content, found::Found};
use crate::{Conversation, cli::score::input::Place, records::Entry};

/// A record that was read.
pub(super) struct Prepared {
    /// The number of its shard.
    pub(super) shard: usize,
    /// Its number in the shard, from 0.
    pub(super) record: u64,
    pub(super) place: Place,
    /// What is scored as one, with a hash of its content.
    pub(super) parts: Vec<Vec<Conversation>>,
    pub(super) contents: Vec<[u8; 16]>,
}

impl Prepared {
    /// `is_whole`: all conversations of the record are scored as one.
    pub(super) fn new(
        (shard, record): (usize, u64),
        found: Found,
        allow_no_answer: bool,
        is_whole: bool,
    ) -> Self {
        let (place, conversations) = found.prepare(allow_no_answer);
        let contents = content::keys(&place.entry, &conversations, is_whole);
        let parts = match (is_whole, conversations.len()) {
            (_, 0) => Vec::new(),
            (true, _) => vec![conversations],
            (false, _) => conversations.into_iter().map(|one| vec![one]).collect(),
        };
        Self {
            shard,
            record,
            place,
            parts,
            contents,
        }
    }
}

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

impl<O> Item<O> {
    /// Whether the outcomes of all its conversations have come.
    pub(super) fn is_known(&self) -> bool {
        self.outcomes.iter().all(|(place, _)| place.get().is_some())
    }
}

impl<O> AsRef<Entry> for Item<O> {
    fn as_ref(&self) -> &Entry {
        &self.place.entry
    }
}
