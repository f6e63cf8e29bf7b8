//! Records that wait: a content of theirs was first in an earlier shard, and nothing has come of it there yet.
//!
//! No two processes wait for each other, and none waits for a process that has ended. A record waits for earlier shards only.
//! Of all shards that any process waits for, take the first, S. Its own records wait for nothing, since that would be earlier.
//!
//! - Where a process that lives has S, it reads S to its end, has it computed and commits it: shards with records that wait keep a
//!   process from beginning others, never from going on with those that it has.
//! - Where S is free, or its owner is dead, each process that waits for S tries to take it, and one does: S is the first that it
//!   waits for, and however many of its shards have records that wait, it may take that one.
//! - Where so many owners of S died that only a process without other shards gets it, each one that waits for S gives back what it
//!   has. One takes S, and for the others it has an owner that lives.
//!
//! So what is waited for is committed, and then another S is the first, until there is none. Whether an owner lives is read from
//! its lease, by the clock of the file system. Where that is wrong, or an owner lives and does nothing, a wait is long, but nothing
//! is lost by it: without the shard of that owner the job does not end for any process, whether its records are waited for or not.

use std::{
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use super::item::Prepared;

/// How long it is waited before another look at what others do; the longest after many in vain.
pub(super) const WAITS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Records with the first shard that each waits for, in the order in which they were read.
#[derive(Default)]
pub(super) struct Waiting {
    records: VecDeque<(usize, Prepared)>,
    looked: Option<Instant>,
}

impl Waiting {
    pub(super) fn add(&mut self, awaited: usize, record: Prepared) {
        self.records.push_back((awaited, record));
        self.looked.get_or_insert_with(Instant::now);
    }

    /// Takes all of them for a look at what each waits for now.
    pub(super) fn take(&mut self) -> VecDeque<(usize, Prepared)> {
        self.looked = Some(Instant::now());
        std::mem::take(&mut self.records)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// How many shards have a record that waits.
    pub(super) fn shards(&self) -> usize {
        let shards: BTreeSet<usize> = self.records.iter().map(|(_, one)| one.shard).collect();
        shards.len()
    }

    /// The first shard that is waited for.
    pub(super) fn first(&self) -> Option<usize> {
        self.records.iter().map(|(awaited, _)| *awaited).min()
    }

    /// Whether it is time for another look at what is waited for.
    pub(super) fn is_due(&self) -> bool {
        let is_old = |looked: Instant| looked.elapsed() >= WAITS.0;
        !self.is_empty() && self.looked.is_none_or(is_old)
    }
}
