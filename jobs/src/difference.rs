//! What differs between two identities of a job.

use std::fmt;

/// One thing that differs between two identities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What it is.
    pub what: String,
    /// What the job was begun with.
    pub job: String,
    /// What it is now.
    pub now: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was {}, and now is {}", self.what, self.job, self.now)
    }
}
