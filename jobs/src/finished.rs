//! A job that is complete, for whoever has nothing but its directory.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    error::{JobError, Result},
    fs::FileSystem,
    identity::Identity,
    index::Index,
    ordered::{InOrder, OrderOptions},
    results,
};

/// A job all of whose shards are committed.
pub struct Finished {
    fs: Arc<dyn FileSystem>,
    identity: Identity,
    index: Index,
}

impl Finished {
    /// Opens the job in a directory.
    ///
    /// # Errors
    /// [`JobError::NotFinished`] where there is none, or where some of its records have no results yet; those of its files.
    pub fn open(fs: Arc<dyn FileSystem>) -> Result<Self> {
        let unfinished = |problem: String| JobError::NotFinished {
            path: fs.locate(""),
            problem,
        };
        let Some(identity) = Identity::read(&*fs)? else {
            return Err(unfinished("there is no job.json in it".into()));
        };
        let Some(index) = Index::read(&*fs)? else {
            return Err(unfinished("its input is not divided yet".into()));
        };
        let names = fs.list(results::DIR);
        let names = names.map_err(JobError::io("read", fs.locate(results::DIR)))?;
        let done = names.iter().filter_map(|name| results::shard_of(name));
        let done = done.filter(|&shard| shard < index.shards());
        let (shards, records) = done.fold((0, 0), |(shards, records), shard| {
            (shards + 1, records + index.records_of(shard))
        });
        if shards < index.shards() {
            return Err(unfinished(format!(
                "{records} of its {} records are scored: go on with it first (score --job)",
                index.records()
            )));
        }
        Ok(Self {
            fs,
            identity,
            index,
        })
    }

    /// What the job was begun with.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Its index.
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// How many results are errors, by kind. Reads all of them.
    ///
    /// # Errors
    /// [`JobError::Damaged`] and [`JobError::Io`]
    pub fn failures(&self) -> Result<BTreeMap<String, u64>> {
        let mut all = BTreeMap::new();
        for shard in 0..self.index.shards() {
            let results = results::read(&*self.fs, shard, self.index.records_of(shard))?;
            for (kind, count) in results.failures {
                *all.entry(kind).or_default() += count;
            }
        }
        Ok(all)
    }

    /// The results in the order of the input, in bounded memory; `None` when `is_wanted` says so while they are sorted.
    ///
    /// # Errors
    /// [`JobError::Damaged`] and [`JobError::Io`]
    pub fn in_order(
        &self,
        options: OrderOptions,
        is_wanted: impl Fn() -> bool,
    ) -> Result<Option<InOrder<'_>>> {
        InOrder::new(&*self.fs, &self.index, options, is_wanted)
    }
}
