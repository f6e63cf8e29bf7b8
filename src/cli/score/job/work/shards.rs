//! Which shards this process has: those that it takes, and what it gives back.

use std::{collections::BTreeMap, thread};

use anyhow::Result;
use worldpm_ort_jobs::{Awaited, Claim, JobError, Shard};

use super::{Next, Run, State};
use crate::cli::score::job::{
    model::Model,
    under_way::UnderWay,
    waiting::{WAITS, Waiting},
};

/// Shards with records that wait. With so many no other is begun, so that they take no more memory.
const WAITING_SHARDS: usize = 4;

impl<M: Model> Run<'_, '_, M> {
    /// Takes another shard.
    pub(super) fn begin(&self, state: &mut State<M::Outcome>) -> Result<Next<M::Outcome>> {
        if state.waiting.shards() >= WAITING_SHARDS {
            return self.wait(state);
        }
        match self.work.job.claim()? {
            Claim::Shard(shard) if shard.alone => state.suspect = Some(shard),
            Claim::Shard(shard) => return self.open(state, shard),
            Claim::Wait | Claim::Done if !state.waiting.is_empty() => return self.wait(state),
            Claim::Wait => {}
            Claim::Done => state.is_done = true,
        }
        Ok(Next::Nothing)
    }

    fn open(&self, state: &mut State<M::Outcome>, shard: Shard) -> Result<Next<M::Outcome>> {
        let records = self.work.input.records(self.work.job, &shard)?;
        let under_way = self.work.under_way(&shard)?;
        state.shards.insert(shard.number, under_way);
        state.reading = Some((shard, records));
        Ok(Next::Again)
    }

    /// Looks again at what records wait for, and goes for the first shard of that if nobody who lives has it.
    fn wait(&self, state: &mut State<M::Outcome>) -> Result<Next<M::Outcome>> {
        self.look_at_waiting(state)?;
        let Some(shard) = state.waiting.first() else {
            return Ok(Next::Again);
        };
        if !state.ready.is_empty() {
            return Ok(Next::Again);
        }
        match self.work.job.claim_awaited(shard)? {
            Awaited::Shard(shard) => return self.open(state, shard),
            Awaited::Alone => state.awaited_suspect = Some(shard),
            Awaited::UnderWay => {}
        }
        Ok(Next::Nothing)
    }

    /// Gives back what it has, all of which waits, and takes a shard that only a process gets that has no other.
    pub(super) fn make_way(&self, shard: usize) -> Result<()> {
        self.give_back();
        while !self.work.interrupt.asked() && !self.committing.has_failed() {
            match self.work.job.claim_awaited(shard)? {
                Awaited::Shard(shard) if shard.alone => {
                    self.state.borrow_mut().suspect = Some(shard);
                    break;
                }
                Awaited::Shard(shard) => {
                    self.open(&mut self.state.borrow_mut(), shard)?;
                    break;
                }
                Awaited::UnderWay => break,
                // What is complete is not committed yet.
                Awaited::Alone => thread::sleep(WAITS.0),
            }
        }
        Ok(())
    }

    /// Says once of each shard that it is waited for.
    pub(super) fn report_waiting(&self, reported: &mut Option<usize>) {
        let awaited = self.state.borrow().waiting.first();
        if let Some(shard) = awaited
            && awaited != *reported
        {
            *reported = awaited;
            self.work.progress.report(&format!(
                "another process has {} under way, whose contents are here again; waiting for it",
                self.work.job.name_of(shard)
            ));
        }
    }

    /// Gives back what is not complete, with the results that there are.
    pub(super) fn give_back(&self) {
        let mut state = self.state.borrow_mut();
        state.reading = None;
        state.waiting = Waiting::default();
        state.ready.clear();
        if let Some(shard) = state.suspect.take() {
            let _ = self.work.job.give_back(&shard, &BTreeMap::new());
        }
        for (
            _,
            UnderWay {
                shard, mut lines, ..
            },
        ) in std::mem::take(&mut state.shards)
        {
            // Those of an input that has changed are of no use.
            if self.work.input.check(&shard).is_err() {
                lines.clear();
            }
            if let Err(JobError::Io { source, .. }) = self.work.job.give_back(&shard, &lines) {
                self.work.progress.report(&format!(
                    "note: {} results of a shard that is not complete could not be kept: {source}",
                    lines.len()
                ));
            }
        }
    }
}
