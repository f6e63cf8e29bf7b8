//! The results of a job that is complete.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result, bail};
use worldpm_ort_jobs::{Directory, Finished};

/// Opens the job in a directory, all of whose records have their results. [`Finished::in_order`] gives these in the order of
/// the input, in bounded memory.
pub(crate) fn open(dir: &Path) -> Result<Finished> {
    if !dir.is_dir() {
        bail!("{} is no directory of a job", dir.display());
    }
    let files = Directory::open(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    Ok(Finished::open(Arc::new(files))?)
}
