//! What a client learns of an error: never a path, nor anything else of the inside.

use http::StatusCode;
use worldpm_ort_runtime::{Error, ErrorKind};

use crate::ops::RequestContext;

/// Why a request, or a conversation of one, has no score.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) kind: ProblemKind,
    /// For the client.
    pub(crate) message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProblemKind {
    /// The request cannot be read, or asks for what cannot be had.
    InvalidInput,
    /// A conversation is longer than the limit.
    TooLong,
    /// The body, or the number of conversations, is larger than the limit.
    TooLarge,
    /// As much waits as may.
    Overloaded,
    /// This client asks too often.
    RateLimited,
    /// The client has gone.
    Cancelled,
    /// It was not scored in time.
    DeadlineExceeded,
    /// The body did not come in time.
    SlowRequest,
    /// Nothing is scored at the moment: the model is loaded, the server ends, or a device was lost.
    Unavailable,
    /// There is no such model or path.
    NotFound,
    /// There is such a path, but not for this method.
    MethodNotAllowed,
    /// No key, or a wrong one.
    Unauthorized,
    /// A fault that is not the client's.
    Internal,
}

impl ProblemKind {
    /// A name that stays, for replies, logs and metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::InvalidInput => "invalid_input",
            Self::TooLong => "too_long",
            Self::TooLarge => "too_large",
            Self::Overloaded => "overloaded",
            Self::RateLimited => "rate_limited",
            Self::Cancelled => "cancelled",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::SlowRequest => "slow_request",
            Self::Unavailable => "unavailable",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Unauthorized => "unauthorized",
            Self::Internal => "internal",
        }
    }

    /// The status of most dialects.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::InvalidInput => StatusCode::BAD_REQUEST,
            Self::TooLong | Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Overloaded | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            // Nobody reads it; as in nginx.
            Self::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
            Self::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
            Self::SlowRequest => StatusCode::REQUEST_TIMEOUT,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Whether the same request may be answered a little later.
    pub(crate) fn is_worth_a_retry(self) -> bool {
        matches!(
            self,
            Self::Overloaded | Self::RateLimited | Self::Unavailable
        )
    }
}

impl Problem {
    pub(crate) fn new(kind: ProblemKind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { kind, message }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ProblemKind::InvalidInput, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(ProblemKind::NotFound, message)
    }

    /// A fault of which the client learns only where the log says more.
    pub(crate) fn internal() -> Self {
        let of = RequestContext::current_id().map(|id| format!(" of request {id}"));
        let of = of.unwrap_or_default();
        let message = format!("an error of the server; its log says more{of}");
        Self::new(ProblemKind::Internal, message)
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ProblemKind::Unavailable, message)
    }

    /// The same, said of one of several conversations.
    pub(crate) fn at(mut self, index: usize) -> Self {
        self.message = format!("conversation {index}: {}", self.message);
        self
    }
}

impl From<&Error> for Problem {
    /// What the client can mend is passed on as it is. Anything else is logged, and the client gets only its kind.
    fn from(error: &Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::InvalidInput => ProblemKind::InvalidInput,
            ErrorKind::TooLong => ProblemKind::TooLong,
            ErrorKind::Overloaded => ProblemKind::Overloaded,
            ErrorKind::Cancelled => ProblemKind::Cancelled,
            ErrorKind::DeadlineExceeded => ProblemKind::DeadlineExceeded,
            other => {
                tracing::error!(kind = other.as_str(), %error, "no score");
                return match other {
                    ErrorKind::DeviceLost => Self::unavailable("a device of the model was lost"),
                    ErrorKind::OutOfMemory => Self::unavailable(
                        "there was not enough memory to score it; try again, with less at once",
                    ),
                    ErrorKind::Unavailable => Self {
                        kind: ProblemKind::Unavailable,
                        ..Self::internal()
                    },
                    ErrorKind::DamagedBundle => {
                        Self::new(ProblemKind::Internal, "the files of the model are damaged")
                    }
                    _ => Self::internal(),
                };
            }
        };
        Self::new(kind, error.to_string())
    }
}
