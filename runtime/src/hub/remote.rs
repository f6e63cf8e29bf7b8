//! A file as the hub describes it.

/// How large a file is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// The hub's own word.
    Promised(u64),
    /// A header that may be of something else, as where a proxy answers.
    Supposed(u64),
    Unknown,
}

impl Size {
    /// Bytes, as far as they are known.
    pub(super) fn known(self) -> Option<u64> {
        match self {
            Self::Promised(size) | Self::Supposed(size) => Some(size),
            Self::Unknown => None,
        }
    }

    /// Bytes that the file must have.
    pub(super) fn promised(self) -> Option<u64> {
        match self {
            Self::Promised(size) => Some(size),
            Self::Supposed(_) | Self::Unknown => None,
        }
    }
}

/// A file as the hub describes it.
#[derive(Debug)]
pub(super) struct Remote {
    pub(super) file: String,
    /// Its SHA-256 for a large file, Git's hash for a small one; also its name in the cache.
    pub(super) etag: String,
    pub(super) size: Size,
}
