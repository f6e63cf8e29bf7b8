//! Everything that can go wrong in a download.

use std::{io, path::PathBuf};

use crate::error::ErrorKind;

/// Why a download from a hub failed. The text says what is wrong, where, and what to do; it never holds a token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// The text does not name a repository.
    #[error("`{text}` is not a repository, OWNER/NAME or OWNER/NAME@REVISION: {problem}")]
    Name {
        /// The text.
        text: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A setting, mostly from the environment, has no use.
    #[error("{setting}: {problem}")]
    Setting {
        /// The environment variable or option.
        setting: String,
        /// What is wrong with its value.
        problem: String,
    },
    /// The hub wants to know who asks (401) or does not let them (403).
    #[error("{repository}: the hub refuses access (status {status}{}). {advice}", .message.as_deref().map(|m| format!(", it says: {m}")).unwrap_or_default())]
    Access {
        /// The repository.
        repository: String,
        /// 401 or 403.
        status: u16,
        /// What the hub says.
        message: Option<String>,
        /// What to do.
        advice: String,
    },
    /// There is no such repository, revision or file (404).
    #[error("{endpoint} has no {what}{}", .message.as_deref().map(|m| format!("; it says: {m}")).unwrap_or_default())]
    NotFound {
        /// Address of the hub.
        endpoint: String,
        /// The repository, revision or file.
        what: String,
        /// What the hub says.
        message: Option<String>,
    },
    /// The hub asks for fewer requests (429), and went on asking after several waits.
    #[error(
        "{url}: the hub limits the rate of requests (status 429), also after {attempts} attempts{}; try again later, \
         or give a token (HF_TOKEN): with one the limit is higher", .wait.map(|s| format!("; it asks to wait {s} seconds")).unwrap_or_default()
    )]
    RateLimited {
        /// What was asked for.
        url: String,
        /// How often.
        attempts: u32,
        /// The wait that the hub asks for, in seconds.
        wait: Option<u64>,
    },
    /// The hub does not answer, answers with an error of its own, or cuts the connection, also after several attempts.
    #[error(
        "{url}: {problem}{}. Check the network, a proxy (HTTPS_PROXY) and the hub's address (HF_ENDPOINT); \
         HF_HUB_OFFLINE=1 uses the cache alone. What has arrived is kept, and the same command goes on from there", if *.attempts > 1 { format!(" ({attempts} attempts)") } else { String::new() }
    )]
    Unreachable {
        /// What was asked for.
        url: String,
        /// How often, without any progress.
        attempts: u32,
        /// What happened the last time.
        problem: String,
    },
    /// The hub's answer makes no sense.
    #[error("{url}: {problem}")]
    Answer {
        /// What was asked for.
        url: String,
        /// What is wrong with the answer.
        problem: String,
    },
    /// A file is not what the hub says it is. It was removed where its hash is wrong.
    #[error(
        "{file} of {repository}: {problem}. Try again; if that does not help, the hub is at fault"
    )]
    Mismatch {
        /// The file.
        file: String,
        /// The repository.
        repository: String,
        /// Which size or hash differs.
        problem: String,
    },
    /// The repository holds no model that can be exported.
    #[error("{repository}: {problem}")]
    Content {
        /// The repository and its revision.
        repository: String,
        /// What it lacks.
        problem: String,
    },
    /// A data set has not what is asked for.
    #[error("{data_set}: {problem}")]
    DataSet {
        /// Its name.
        data_set: String,
        /// What it lacks, or what is to be named.
        problem: String,
    },
    /// Rows of a split are not named as `datasets` names them.
    #[error("{text}: {problem}")]
    Slice {
        /// What was given.
        text: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The disk is too small.
    #[error(
        "{}: {needed} bytes are needed for the download, and {free} are free; free some space, or choose a directory on another disk with \
         HF_HUB_CACHE", path.display()
    )]
    Space {
        /// The cache directory.
        path: PathBuf,
        /// Bytes to download.
        needed: u64,
        /// Bytes that may be written there.
        free: u64,
    },
    /// Offline, and the cache does not have it.
    #[error(
        "{repository}: {problem} in the cache, {}, and HF_HUB_OFFLINE is set (or TRANSFORMERS_OFFLINE); download it on a \
         machine with a connection, or unset them", cache.display()
    )]
    Offline {
        /// The repository and its revision.
        repository: String,
        /// What the cache lacks.
        problem: String,
        /// The cache directory.
        cache: PathBuf,
    },
    /// A file of the cache cannot be read or written.
    #[error("{}: cannot {action}: {source}{}", path.display(), if is_unwritable(source) { ". HF_HUB_CACHE names another cache" } else { "" })]
    Cache {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Another file failed first; never returned by [`download`](super::download).
    #[error("the download was stopped")]
    Stopped,
}

/// Whether a file cannot be written because of where it is.
pub(super) fn is_unwritable(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
    )
}

impl HubError {
    /// What kind of error this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::DataSet { .. }
            | Self::Slice { .. }
            | Self::Name { .. }
            | Self::Setting { .. }
            | Self::NotFound { .. }
            | Self::Access { .. } => ErrorKind::BadOptions,
            Self::Stopped => ErrorKind::Cancelled,
            _ => ErrorKind::Unavailable,
        }
    }
}
