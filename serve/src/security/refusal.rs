//! Refusals before it is known which dialect a request speaks.

use axum::{
    Json,
    body::Body,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderValue,
    header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::{Problem, ProblemKind};

/// Whether a request is a call of gRPC, which has statuses of its own.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    content_type.is_some_and(|value| value.starts_with(b"application/grpc"))
}

/// What is wrong, where clients of most dialects look for it.
#[derive(Serialize, ToSchema)]
pub(super) struct Refused {
    #[schema(inline)]
    error: Reason,
}

#[derive(Serialize, ToSchema)]
struct Reason {
    /// What is wrong, and what to do.
    message: String,
    /// The same as `kind`, as clients of OpenAI's API read it.
    #[serde(rename = "type")]
    of_type: &'static str,
    /// A name that stays, such as `unauthorized`.
    kind: &'static str,
}

pub(super) fn body(problem: &Problem) -> Refused {
    let kind = problem.kind.as_str();
    Refused {
        error: Reason {
            message: problem.message.clone(),
            of_type: kind,
            kind,
        },
    }
}

/// Refuses with [`Refused`], or as gRPC does.
pub(super) fn refuse(problem: &Problem, grpc: bool) -> Response {
    let kind = problem.kind;
    let mut response = if grpc {
        call_refused(problem)
    } else {
        (kind.status(), Json(body(problem))).into_response()
    };
    if kind == ProblemKind::Unauthorized {
        let bearer = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(WWW_AUTHENTICATE, bearer);
    }
    if kind.is_worth_a_retry() {
        let second = HeaderValue::from_static("1");
        response.headers_mut().insert(RETRY_AFTER, second);
    }
    response.extensions_mut().insert(kind);
    response
}

/// A reply of nothing but its status.
fn call_refused(problem: &Problem) -> Response {
    let status = match problem.kind {
        ProblemKind::Unauthorized => "16",
        ProblemKind::Overloaded | ProblemKind::RateLimited => "8",
        _ => "13",
    };
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from_static(status));
    if let Ok(message) = HeaderValue::from_str(&problem.message) {
        headers.insert("grpc-message", message);
    }
    response
}
