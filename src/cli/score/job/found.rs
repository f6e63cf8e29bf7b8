//! A record of a job, and where it stands.

use std::sync::Arc;

use crate::{
    Conversation,
    cli::score::input::Place,
    records::{Entry, Record, RecordError},
};

/// What was read as one record.
pub(super) type Read = std::result::Result<(usize, Record), RecordError>;

/// A record with where it stands.
pub(super) struct Found {
    pub(super) read: Read,
    pub(super) file: Arc<str>,
    /// What is counted in it.
    pub(super) unit: &'static str,
}

impl Found {
    /// The record with its place, and its conversations.
    pub(super) fn prepare(self, allow_no_answer: bool) -> (Place, Vec<Conversation>) {
        let (entry, conversations) = Entry::prepare(self.read, allow_no_answer);
        (Place::new(entry, self.file, self.unit), conversations)
    }
}
