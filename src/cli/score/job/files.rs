//! The files of a job's input, and whether they are what they were.

use std::{
    fs::{self, File},
    path::PathBuf,
};

use anyhow::{Context, Result, bail};
use worldpm_ort_data::Files;
use worldpm_ort_jobs::{InputFile, JobError};

use crate::cli::common::objects;

/// How the files are now, each of which must be one that is read again.
pub(super) fn fingerprints(paths: &[PathBuf]) -> Result<Vec<InputFile>> {
    let one = |path: &PathBuf| {
        if objects::url(path).is_some() {
            return of_object(path);
        }
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

/// How an object is now: its store says by a tag whether it is another one.
fn of_object(path: &PathBuf) -> Result<InputFile> {
    let files = Files::find(std::slice::from_ref(path))?;
    let found = files.fingerprints().into_iter().next();
    let known = found.and_then(|one| Some((one.name, one.bytes?, one.version?)));
    let Some((name, bytes, tag)) = known else {
        bail!(
            "{} has no tag (ETag) by which it could be known again, and a job reads it more than once: save it to a file",
            path.display()
        );
    };
    Ok(InputFile {
        name,
        bytes,
        modified: 0,
        sampled_sha256: tag,
    })
}

/// What shows that a file is another than it was.
pub(super) fn difference(begun: &InputFile, now: &InputFile) -> Option<String> {
    if begun.bytes != now.bytes {
        return Some(format!(
            "it had {} bytes, and has {}",
            begun.bytes, now.bytes
        ));
    }
    let is_other = begun.sampled_sha256 != now.sampled_sha256;
    is_other.then(|| "its content is another".to_owned())
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
