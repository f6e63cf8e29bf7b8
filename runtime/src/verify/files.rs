//! Compares whole weight files with the hashes that the manifest has of them.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use worldpm_ort_bundle::{hash::file_sha256, manifest};

use super::VerifyError;
use crate::Bundle;

/// What came of one weight file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileCheck {
    /// The file.
    pub path: PathBuf,
    /// The SHA-256 that the manifest has.
    pub expected: String,
    /// The SHA-256 of the file, or why it could not be read.
    pub found: Result<String, String>,
}

impl FileCheck {
    /// Whether the file has the bytes that it had at export.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.found.as_ref() == Ok(&self.expected)
    }
}

/// Hashes every weight file of a bundle, as many at a time as there are cores, and calls `done` after each.
///
/// # Errors
/// [`VerifyError::NoChecksums`] when the manifest has no hash of some file.
pub fn check_files(
    bundle: &Bundle,
    done: impl Fn(&FileCheck) + Sync,
) -> Result<Vec<FileCheck>, VerifyError> {
    let files: Option<Vec<(PathBuf, &String)>> = bundle
        .manifest()
        .weights
        .files
        .iter()
        .map(|file| Some((bundle.weights().join(&file.name), file.sha256.as_ref()?)))
        .collect();
    let Some(files) = files else {
        return Err(VerifyError::NoChecksums {
            manifest: bundle.directory().join(manifest::FILE_NAME),
        });
    };
    let check = |(path, expected): &(PathBuf, &String)| {
        let check = FileCheck {
            path: path.clone(),
            expected: (*expected).clone(),
            found: file_sha256(path).map_err(|error| error.to_string()),
        };
        done(&check);
        check
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let work = || {
        let mine = std::iter::from_fn(|| {
            let at = next.fetch_add(1, Ordering::Relaxed);
            Some((at, check(files.get(at)?)))
        });
        mine.collect::<Vec<_>>()
    };
    let mut checks = thread::scope(|scope| {
        let workers: Vec<_> = (0..cores.min(files.len()))
            .map(|_| scope.spawn(work))
            .collect();
        let each = workers.into_iter().map(|worker| {
            let joined = worker.join();
            joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        each.flatten().collect::<Vec<_>>()
    });
    checks.sort_unstable_by_key(|(at, _)| *at);
    Ok(checks.into_iter().map(|(_, check)| check).collect())
}
