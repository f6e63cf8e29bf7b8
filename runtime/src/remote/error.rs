//! Why servers give no answers.

use crate::error::ErrorKind;

/// Why a [`RemoteStream`](super::RemoteStream) ends before its records do.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// What is given as the address of a server is none.
    #[error("{endpoint:?} is not the address of a server: {problem}")]
    Address {
        /// What was given.
        endpoint: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A server will not answer a request, however often it is sent.
    #[error("{endpoint} refuses the request with status {status}: {message}")]
    Refused {
        /// The server.
        endpoint: String,
        /// Its status.
        status: u16,
        /// What it says.
        message: String,
    },
    /// No server answered a request in all the times that it was sent.
    #[error("no answer in {tries} tries; the last, of {endpoint}: {problem}")]
    NoAnswer {
        /// The server that was asked last.
        endpoint: String,
        /// How often the request was sent.
        tries: u32,
        /// What came of the last try.
        problem: String,
    },
    /// An answer is not what it should be.
    #[error(
        "{endpoint} answers with something else than scores ({problem}): check that it is `worldpm-ort serve`"
    )]
    Reply {
        /// The server.
        endpoint: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The system gives no thread.
    #[error("cannot start a thread: {0}")]
    Thread(String),
}

impl RemoteError {
    /// What kind of error this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Address { .. } => ErrorKind::BadOptions,
            Self::Refused { status: 413, .. } => ErrorKind::TooLong,
            Self::Refused { .. } => ErrorKind::InvalidInput,
            Self::NoAnswer { .. } | Self::Reply { .. } => ErrorKind::Unavailable,
            Self::Thread(_) => ErrorKind::Internal,
        }
    }
}
