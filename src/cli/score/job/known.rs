//! What was scored before: by this process, or in a shard that is committed.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, OnceLock},
};

use anyhow::Result;
use worldpm_ort_jobs::{First, Job, Line, Seen, ShardResults};

use super::model::Model;
use crate::answers::Outcome;

/// Outcomes that are remembered, so that what is the same is computed once: about 30 MB.
const REMEMBERED: usize = 1 << 17;
/// Bytes of results of committed shards that are held, about.
const HELD_BYTES: usize = 32 << 20;

/// Outcomes that need not be computed again.
pub(super) struct KnownOutcomes<O> {
    seen: Seen<O>,
    /// Results of committed shards, those that were asked for last in front.
    held: VecDeque<(usize, ShardResults)>,
    /// Shards that were not committed at the last look.
    uncommitted: BTreeSet<usize>,
}

impl<O> KnownOutcomes<O> {
    /// None is known, and none will be unless `is_wanted`.
    pub(super) fn new(is_wanted: bool) -> Self {
        Self {
            seen: Seen::new(if is_wanted { REMEMBERED } else { 0 }),
            held: VecDeque::new(),
            uncommitted: BTreeSet::new(),
        }
    }

    /// The place of an outcome, and whether it is for the caller to fill it. One that is not may be filled by whoever it was for
    /// before. What came of its content where it was `first` is in `line`, or in the shard when that is committed.
    pub(super) fn place<M: Model<Outcome = O>>(
        &mut self,
        job: &Job,
        content: [u8; 16],
        first: Option<First>,
        line: Option<&Line>,
    ) -> Result<(Arc<OnceLock<O>>, bool)> {
        let (place, is_new) = self.seen.place(content);
        if let (true, Some(first)) = (is_new, first) {
            let before = match line {
                Some(line) => outcome::<M>(&line.bytes, first.part),
                None => self.recall::<M>(job, first)?,
            };
            if let Some(before) = before {
                let _ = place.set(before);
                return Ok((place, false));
            }
        }
        Ok((place, is_new))
    }

    /// Whether a content has a place.
    pub(super) fn is_seen(&self, content: &[u8; 16]) -> bool {
        self.seen.contains(content)
    }

    /// Whether a shard is committed, as of the last look.
    pub(super) fn is_committed(&mut self, job: &Job, shard: usize) -> Result<bool> {
        Ok(self.results(job, shard)?.is_some())
    }

    /// Shards may have been committed since.
    pub(super) fn look_again(&mut self) {
        self.uncommitted.clear();
    }

    /// What came of a content where it was first. `None` where it is not committed, or was not scored.
    fn recall<M: Model<Outcome = O>>(&mut self, job: &Job, first: First) -> Result<Option<O>> {
        let results = self.results(job, first.shard)?;
        let line = results.and_then(|results| results.line(first.record));
        Ok(line.and_then(|line| outcome::<M>(line, first.part)))
    }

    /// The results of a shard, when it is committed.
    fn results(&mut self, job: &Job, shard: usize) -> Result<Option<&ShardResults>> {
        if self.uncommitted.contains(&shard) {
            return Ok(None);
        }
        let held = self.held.iter().position(|(number, _)| *number == shard);
        let results = match held.and_then(|held| self.held.remove(held)) {
            Some((_, results)) => results,
            None => match job.results_if_committed(shard)? {
                Some(results) => results,
                None => {
                    self.uncommitted.insert(shard);
                    return Ok(None);
                }
            },
        };
        self.held.push_front((shard, results));
        let mut bytes = 0;
        self.held.retain(|(number, results)| {
            bytes += results.bytes();
            *number == shard || bytes <= HELD_BYTES
        });
        Ok(self.held.front().map(|(_, results)| results))
    }
}

/// What came of a part of a record, from its line. `None` where it was not scored.
pub(super) fn outcome<M: Model>(line: &[u8], part: usize) -> Option<M::Outcome> {
    match serde_json::from_slice(line).ok()? {
        Outcome::Answer(answer) => M::outcome(&answer, part),
        Outcome::Failure { .. } => None,
    }
}
