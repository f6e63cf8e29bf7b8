//! What can go wrong with a job.

use std::{io, path::PathBuf};

use crate::difference::Difference;

/// The result of what is done with a job.
pub type Result<T> = std::result::Result<T, JobError>;

/// What is wrong with a job, its directory or its input.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// The system did not do what was asked of it.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was to be done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The directory holds something else.
    #[error(
        "{} is no directory of a job: it holds {found:?} and no job.json; name one that is new or empty",
        path.display()
    )]
    NotAJob {
        /// The directory.
        path: PathBuf,
        /// A name in it.
        found: String,
    },
    /// The job was made by a version that keeps it otherwise.
    #[error(
        "{} is of version {found}, and this program knows version {known}: go on with the program that made it, or begin \
         anew in another directory",
        path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// The version that it says.
        found: u64,
        /// The version that is known.
        known: u64,
    },
    /// The job is about something else.
    #[error(
        "{} is a job with other settings: {}; give it those that it was begun with, or begin a new job in another directory",
        path.display(),
        listed(differences)
    )]
    Different {
        /// The directory.
        path: PathBuf,
        /// All that differs.
        differences: Vec<Difference>,
    },
    /// The results of a job are wanted, and it is not complete.
    #[error("{} is no job that is complete: {problem}", path.display())]
    NotFinished {
        /// The directory.
        path: PathBuf,
        /// What is missing.
        problem: String,
    },
    /// A file of the job is not as it was written.
    #[error("{} is damaged: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// The input is not what it was when the job was begun.
    #[error(
        "{input} is not what it was when the job was begun: {problem}; restore it, or begin a new job in another directory"
    )]
    InputChanged {
        /// The input.
        input: String,
        /// What differs.
        problem: String,
    },
}

impl JobError {
    pub(crate) fn io(action: &'static str, path: PathBuf) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}

fn listed(differences: &[Difference]) -> String {
    let all: Vec<String> = differences.iter().map(Difference::to_string).collect();
    all.join("; ")
}
