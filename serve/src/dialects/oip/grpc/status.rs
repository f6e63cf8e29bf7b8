//! How a call ends: the status and the message that gRPC has in headers or trailers, in place of HTTP's status.

use std::fmt::Write;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};

use crate::http::{Problem, ProblemKind};

pub(super) const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// gRPC's numbers of the ways to end.
#[derive(Clone, Copy)]
enum Code {
    Cancelled = 1,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    Unauthenticated = 16,
}

impl From<ProblemKind> for Code {
    fn from(kind: ProblemKind) -> Self {
        match kind {
            // What is too large stays so: a client must not take it for overload, and try again.
            ProblemKind::InvalidInput | ProblemKind::TooLong | ProblemKind::TooLarge => {
                Self::InvalidArgument
            }
            ProblemKind::Overloaded | ProblemKind::RateLimited => Self::ResourceExhausted,
            ProblemKind::Cancelled => Self::Cancelled,
            ProblemKind::DeadlineExceeded | ProblemKind::SlowRequest => Self::DeadlineExceeded,
            ProblemKind::Unavailable => Self::Unavailable,
            ProblemKind::NotFound => Self::NotFound,
            ProblemKind::MethodNotAllowed => Self::Unimplemented,
            ProblemKind::Unauthorized => Self::Unauthenticated,
            ProblemKind::Internal => Self::Internal,
        }
    }
}

/// The trailers of a call that went well.
pub(super) fn good() -> HeaderMap {
    HeaderMap::from_iter([(STATUS, HeaderValue::from_static("0"))])
}

/// A call that was refused.
pub(super) struct Refusal(Problem);

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Problem { kind, message } = self.0;
        let mut response = Response::new(Body::empty());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, GRPC);
        headers.insert(STATUS, HeaderValue::from(Code::from(kind) as u16));
        if let Ok(message) = HeaderValue::from_str(&percent_encoded(&message)) {
            headers.insert(MESSAGE, message);
        }
        response.extensions_mut().insert(kind);
        response
    }
}

/// As gRPC writes a message in a header: what is no printable ASCII, and `%`, by its bytes.
fn percent_encoded(message: &str) -> String {
    let mut text = String::with_capacity(message.len());
    for byte in message.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => text.push(char::from(byte)),
            // Writing to a text cannot fail.
            _ => drop(write!(text, "%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_in_headers() {
        assert_eq!(percent_encoded("a b~"), "a b~");
        assert_eq!(percent_encoded("50%\n\u{e9}"), "50%25%0A%C3%A9");
    }
}
