use std::fmt;

/// What kind of error something is: what a caller, or a server for its callers, can do about it.
///
/// | kind | what it says | does a retry help | HTTP status of a server |
/// |---|---|---|---|
/// | `InvalidInput` | the record, the conversation or the tokens are wrong | no | 400 |
/// | `TooLong` | it is longer than the limit | no | 413 |
/// | `Overloaded` | as much waits as may | yes, later | 503, or 429 |
/// | `Cancelled` | whoever asked does not wait any more | no | 499 |
/// | `DeadlineExceeded` | it was not scored in time | yes, later | 504 |
/// | `DeviceLost` | a device cannot be used by this process any more | elsewhere, or in a new process | 503 |
/// | `OutOfMemory` | a device or the machine has too little memory for this run | with less at once | 503 |
/// | `DamagedBundle` | files of the bundle are missing, wrong, or have changed | no | 500 |
/// | `BadOptions` | what was asked for does not fit the model or the machine | no | 500 |
/// | `Unavailable` | something outside of the process does not answer: a hub, a disk | yes, later | 502 |
/// | `Internal` | a fault of this program, of ONNX Runtime or of the model | no | 500 |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The record, the conversation or the tokens are wrong.
    InvalidInput,
    /// It is longer than the limit.
    TooLong,
    /// As much waits as may.
    Overloaded,
    /// Whoever asked does not wait any more.
    Cancelled,
    /// It was not scored in time.
    DeadlineExceeded,
    /// A device cannot be used by this process any more.
    DeviceLost,
    /// A device or the machine has too little memory for this run.
    OutOfMemory,
    /// Files of the bundle are missing, wrong, or have changed.
    DamagedBundle,
    /// What was asked for does not fit the model or the machine.
    BadOptions,
    /// Something outside of the process does not answer.
    Unavailable,
    /// A fault of this program, of ONNX Runtime or of the model.
    Internal,
}

impl ErrorKind {
    /// A name that stays, for logs, metrics and replies.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidInput => "invalid_input",
            Self::TooLong => "too_long",
            Self::Overloaded => "overloaded",
            Self::Cancelled => "cancelled",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::DeviceLost => "device_lost",
            Self::OutOfMemory => "out_of_memory",
            Self::DamagedBundle => "damaged_bundle",
            Self::BadOptions => "bad_options",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let all = [
            Self::InvalidInput,
            Self::TooLong,
            Self::Overloaded,
            Self::Cancelled,
            Self::DeadlineExceeded,
            Self::DeviceLost,
            Self::OutOfMemory,
            Self::DamagedBundle,
            Self::BadOptions,
            Self::Unavailable,
            Self::Internal,
        ];
        all.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Whether the same request may succeed later, in this process.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::Overloaded | Self::DeadlineExceeded | Self::OutOfMemory | Self::Unavailable
        )
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
