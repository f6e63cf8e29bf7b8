//! What can go wrong with an object store, told without anything secret.

/// What kind of error it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The URL is none that is known.
    Url,
    /// There is no such object or bucket.
    NotFound,
    /// Those who ask may not do it, or are not known.
    Access,
    /// Nothing says who asks.
    Credentials,
    /// The store cannot be reached, or went away.
    Unreachable,
    /// The object is another than when it was found.
    Changed,
    /// Settings of the environment do not go together.
    Setting,
    /// The store refuses for another reason.
    Refused,
}

/// Why an object store was not read or written. The text names the URL, what is wrong and what to do; never a key or token.
#[derive(Debug, thiserror::Error)]
#[error("{url}: {problem}")]
pub struct StoreError {
    url: String,
    kind: StoreErrorKind,
    problem: String,
}

impl StoreError {
    pub(crate) fn new(url: &str, kind: StoreErrorKind, problem: &str) -> Self {
        Self {
            url: url.to_owned(),
            kind,
            problem: problem.to_owned(),
        }
    }

    /// What kind of error it is.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}
