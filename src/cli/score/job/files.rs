//! The files of a job's input, and whether they are what they were.

use std::{
    fs::{self, File},
    path::PathBuf,
};

use anyhow::{Context, Result, bail};
use worldpm_ort_jobs::{InputFile, JobError};

/// How the files are now, each of which must be one that is read again.
pub(super) fn fingerprints(paths: &[PathBuf]) -> Result<Vec<InputFile>> {
    let one = |path: &PathBuf| {
        let name = path.display().to_string();
        let found = fs::metadata(path).with_context(|| format!("cannot open {name}"))?;
        if !found.is_file() {
            bail!(
                "{name} is no regular file: a job needs a regular file, parts of which it can read again"
            );
        }
        let file = File::open(path).with_context(|| format!("cannot open {name}"))?;
        InputFile::of(&name, &file).with_context(|| format!("cannot read {name}"))
    };
    paths.iter().map(one).collect()
}

/// Refuses files that are not what they were when they were `begun` to be read.
pub(super) fn check_unchanged(paths: &[PathBuf], begun: &[InputFile]) -> Result<()> {
    for (begun, now) in begun.iter().zip(fingerprints(paths)?) {
        if now != *begun {
            return Err(JobError::InputChanged {
                input: begun.name.clone(),
                problem: "it was written to while it was read".to_owned(),
            }
            .into());
        }
    }
    Ok(())
}
