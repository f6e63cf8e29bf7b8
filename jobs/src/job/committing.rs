//! The results of shards are kept.

use std::{collections::BTreeMap, io};

use super::{Committed, Job, SHARDS, Shard, key};
use crate::{
    error::{JobError, Result},
    journal::{self, Journal},
    results::{self, Line},
};

impl Job {
    /// A journal for a shard whose records are tried one by one.
    ///
    /// # Errors
    /// [`JobError::Io`]
    pub fn journal(&self, shard: &Shard) -> Result<Journal> {
        let number = {
            let mut state = self.state();
            state.journals_made += 1;
            state.journals_made
        };
        let token = self.leases.token();
        let name = format!("{SHARDS}/{:06}.{token}-{number}.part", shard.number);
        let journal = Journal::new(&*self.fs, &name)?;
        self.sync_shards()?;
        Ok(journal)
    }

    /// Commits the results of a shard, one for each of its records, in their order.
    ///
    /// # Errors
    /// [`JobError::Io`]: nothing is committed then, and the shard is still held.
    pub fn commit(&self, shard: &Shard, lines: &[Line]) -> Result<Committed> {
        let name = results::file(shard.number);
        let temporary = format!("{name}.{}.tmp", self.leases.token());
        let content = results::content(shard.number, lines);
        // Of a try that failed.
        let _ = self.fs.remove(&temporary);
        let put = || {
            results::write(&*self.fs, &temporary, &content)?;
            let is_first = match self.fs.publish(&temporary, &name) {
                // Removed as a left one, by whoever found all shards committed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => !self.fs.exists(&name)?,
                published => published?,
            };
            self.fs.sync_dir(SHARDS)?;
            Ok(is_first)
        };
        let is_first = put().map_err(|error| {
            let _ = self.fs.remove(&temporary);
            JobError::io("write", self.fs.locate(&name))(error)
        })?;
        let committed = if is_first {
            Committed::First
        } else {
            let _ = self.fs.remove(&temporary);
            let records = lines.len() as u64;
            let ours = results::parse(&*self.fs, shard.number, records, content)?;
            match results::read(&*self.fs, shard.number, records)? == ours {
                true => Committed::Same,
                false => Committed::Differs,
            }
        };
        let journals = {
            let mut state = self.state();
            state.held.remove(&shard.number);
            if let Some(done) = state.done.get_mut(shard.number) {
                *done = true;
            }
            state.journals.remove(&shard.number)
        };
        for journal in journals.into_iter().flatten() {
            let _ = self.fs.remove(&journal);
        }
        self.leases.finish(&key(shard.number));
        Ok(committed)
    }

    /// Gives a shard back with the results that there are, by the number of the record in the shard; whoever takes it next
    /// has the others to do.
    ///
    /// # Errors
    /// [`JobError::Io`] when the results could not be kept; the shard is given back nevertheless.
    pub fn give_back(&self, shard: &Shard, lines: &BTreeMap<u64, Line>) -> Result<()> {
        let keep = || {
            let mut journal = self.journal(shard)?;
            for (record, line) in lines {
                journal.done(*record, line)?;
            }
            journal.sync()?;
            // Where it cannot be made, or is there, the results are found by the next look.
            let _ = self.fs.create_new(&journal::left(shard.number));
            Ok(())
        };
        let kept = match lines.is_empty() {
            true => Ok(()),
            false => keep(),
        };
        self.state().held.remove(&shard.number);
        self.leases.give_back(&key(shard.number));
        kept
    }

    fn sync_shards(&self) -> Result<()> {
        self.fs
            .sync_dir(SHARDS)
            .map_err(JobError::io("write", self.fs.locate(SHARDS)))
    }
}
