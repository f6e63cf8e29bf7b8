//! What is put into the queue.

use crate::batch::BatchError;

/// A sequence, and where it is scored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sequence {
    /// Token ids, up to the last one that is scored.
    pub ids: Vec<u32>,
    /// Positions of those that are scored.
    pub scored: Vec<usize>,
}

impl Sequence {
    /// A sequence that is scored at these positions. What follows the last of them has no say and is left out.
    #[must_use]
    pub fn new(mut ids: Vec<u32>, scored: Vec<usize>) -> Self {
        let used = scored.iter().max().map_or(0, |last| last + 1);
        ids.truncate(used);
        Self { ids, scored }
    }

    /// Whether it can be computed: what is wrong with one must not touch those that it would be planned with.
    pub(super) fn check(&self) -> Result<(), BatchError> {
        if self.ids.is_empty() {
            return Err(BatchError::EmptySequence { index: 0 });
        }
        let tokens = self.ids.len();
        match self.scored.iter().find(|&&position| position >= tokens) {
            Some(&position) => Err(BatchError::NoSuchPosition {
                index: 0,
                tokens,
                position,
            }),
            None => Ok(()),
        }
    }
}
