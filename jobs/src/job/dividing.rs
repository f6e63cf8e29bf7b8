//! The input of a job is divided once, by one process.

use super::{INDEX_LEASE, Job};
use crate::{
    error::{JobError, Result},
    index::{self, Index, IndexWriter},
    repeats, spool,
};

impl Job {
    /// The index of the job. One process makes it with `make`; others wait for that, and call `wait` now and then, which may
    /// end the waiting with an error.
    ///
    /// # Errors
    /// Those of `make` and `wait`, [`JobError::Damaged`], and whatever the system says.
    pub fn index<E: From<JobError>>(
        &self,
        make: impl Fn(&mut IndexWriter<'_>) -> std::result::Result<(), E>,
        mut wait: impl FnMut() -> std::result::Result<(), E>,
    ) -> std::result::Result<&Index, E> {
        loop {
            if let Some(index) = self.index.get() {
                return Ok(index);
            }
            if let Some(index) = Index::read(&*self.fs)? {
                self.leases.give_back(INDEX_LEASE);
                self.check_identity()?;
                self.state().done = vec![false; index.shards()];
                return Ok(self.index.get_or_init(|| index));
            }
            if self.take(INDEX_LEASE)? {
                if self.exists(index::FILE)? {
                    continue;
                }
                if let Err(error) = self.check_identity() {
                    self.leases.give_back(INDEX_LEASE);
                    return Err(error.into());
                }
                let mut writer = IndexWriter::new(&*self.fs, self.leases.token())?;
                let made = make(&mut writer).and_then(|()| Ok(writer.finish()?));
                match made {
                    Ok(()) => {
                        self.leases.finish(INDEX_LEASE);
                        self.remove_copies()?;
                    }
                    Err(error) => {
                        let token = self.leases.token();
                        let (copy, repeats) = (spool::file(token), repeats::file(token));
                        for left in [index::temporary(token), copy, repeats] {
                            let _ = self.fs.remove(&left);
                        }
                        self.leases.give_back(INDEX_LEASE);
                        return Err(error);
                    }
                }
            } else {
                wait()?;
            }
        }
    }

    /// Removes copies of the input, and notes of what is in it more than once, that the index is not of: of processes that died,
    /// or were slower.
    pub(super) fn remove_copies(&self) -> Result<()> {
        let index = match self.index.get() {
            Some(_) => None,
            None => Index::read(&*self.fs)?,
        };
        let Some(index) = self.index.get().or(index.as_ref()) else {
            return Ok(());
        };
        let names = self.fs.list("");
        for name in names.map_err(JobError::io("read", self.fs.locate("")))? {
            let repeats = index.repeats().map(|repeats| repeats.file.as_str());
            let is_left = spool::is_file(&name) && index.copy() != Some(name.as_str())
                || repeats::is_file(&name) && repeats != Some(name.as_str());
            if is_left {
                let _ = self.fs.remove(&name);
            }
        }
        Ok(())
    }
}
