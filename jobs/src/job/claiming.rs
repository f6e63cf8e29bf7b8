//! Shards are taken by one process at a time.

use super::{Awaited, Claim, Job, SHARDS, Shard, State, key};
use crate::{
    error::{JobError, Result},
    journal::{self, Known},
    results,
};

impl Job {
    /// Takes a shard that nobody who lives works on. One whose owners have died again and again is given out only while this
    /// process has no other.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn claim(&self) -> Result<Claim> {
        let mut state = self.state();
        if state.next.is_none() {
            self.look(&mut state)?;
            state.next = Some(0);
        }
        // At first those that nobody has begun, with no other look at the directory.
        while let Some(shard) = state.next.filter(|&next| next < state.done.len()) {
            state.next = Some(shard + 1);
            let is_free = !state.done[shard] && !state.leases.contains_key(&key(shard));
            if is_free && let Some(shard) = self.try_shard(&mut state, shard, None)? {
                return Ok(Claim::Shard(shard));
            }
        }
        self.look(&mut state)?;
        let left: Vec<usize> = (0..state.done.len())
            .filter(|&shard| !state.done[shard])
            .collect();
        if left.is_empty() {
            return Ok(Claim::Done);
        }
        let latest = |state: &State, shard| state.leases.get(&key(shard)).copied();
        let (suspect, sound): (Vec<usize>, Vec<usize>) = left
            .into_iter()
            .filter(|shard| !state.held.contains(shard))
            .partition(|&shard| self.is_suspect(latest(&state, shard)));
        let suspect = match state.held.is_empty() {
            true => suspect,
            false => Vec::new(),
        };
        for shard in sound.into_iter().chain(suspect) {
            let latest = latest(&state, shard);
            if let Some(shard) = self.try_shard(&mut state, shard, latest)? {
                return Ok(Claim::Shard(shard));
            }
        }
        Ok(Claim::Wait)
    }

    /// Takes a shard that is waited for, if nobody who lives has it. One whose owners have died again and again is given out
    /// only while this process has no other.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn claim_awaited(&self, shard: usize) -> Result<Awaited> {
        let mut state = self.state();
        self.look(&mut state)?;
        if state.held.contains(&shard) || state.done.get(shard) != Some(&false) {
            return Ok(Awaited::UnderWay);
        }
        let key = key(shard);
        let latest = state.leases.get(&key).copied();
        if self.is_suspect(latest) && !state.held.is_empty() {
            return Ok(match self.leases.is_free(&key, latest)? {
                true => Awaited::Alone,
                false => Awaited::UnderWay,
            });
        }
        let taken = self.try_shard(&mut state, shard, latest)?;
        Ok(taken.map_or(Awaited::UnderWay, Awaited::Shard))
    }

    /// Whether somebody has a shard who lives.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn has_living_owner(&self, shard: usize) -> Result<bool> {
        let key = key(shard);
        let latest = self.leases.list()?.get(&key).copied();
        Ok(!self.leases.is_free(&key, latest)?)
    }

    /// Whether so many owners of a shard have died that it goes to a process that has no other.
    fn is_suspect(&self, latest: Option<u32>) -> bool {
        latest.is_some_and(|latest| latest + 1 >= self.options.deaths)
    }

    /// Takes a shard, unless another has it or has committed it.
    fn try_shard(
        &self,
        state: &mut State,
        number: usize,
        latest: Option<u32>,
    ) -> Result<Option<Shard>> {
        let key = key(number);
        let Some(generation) = self.leases.take(&key, latest)? else {
            return Ok(None);
        };
        // Whoever committed it has removed its leases, so that they are free to take.
        if self.exists(&results::file(number))? {
            self.leases.finish(&key);
            state.done[number] = true;
            return Ok(None);
        }
        // Given back since the last look, perhaps.
        if self.exists(&journal::left(number))? {
            self.look(state)?;
        }
        let mut known = Known::default();
        for journal in state.journals.get(&number).into_iter().flatten() {
            known.read(&*self.fs, journal)?;
        }
        let Some((offset, first, stretch)) = self.index.get().and_then(|all| all.get(number))
        else {
            return Ok(None);
        };
        state.held.insert(number);
        let poison = known.deaths.iter().filter(|(record, deaths)| {
            **deaths >= self.options.tries && !known.lines.contains_key(record)
        });
        Ok(Some(Shard {
            number,
            offset,
            first,
            stretch: stretch.clone(),
            poison: poison.map(|(record, deaths)| (*record, *deaths)).collect(),
            known: known.lines,
            alone: generation >= self.options.deaths,
        }))
    }

    /// Sees what is in the directory.
    fn look(&self, state: &mut State) -> Result<()> {
        state.leases = self.leases.list()?;
        let names = self
            .fs
            .list(SHARDS)
            .map_err(JobError::io("read", self.fs.locate(SHARDS)))?;
        state.journals.clear();
        // One that is gone was damaged, and removed so that it is made again.
        state.done.fill(false);
        for name in names {
            if let Some(done) = results::shard_of(&name).and_then(|shard| state.done.get_mut(shard))
            {
                *done = true;
            } else if name.ends_with(".part")
                && let Some(shard) = name.split('.').next().and_then(|shard| shard.parse().ok())
            {
                let journals: &mut Vec<String> = state.journals.entry(shard).or_default();
                journals.push(format!("{SHARDS}/{name}"));
            }
        }
        Ok(())
    }
}
