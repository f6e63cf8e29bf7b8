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
use serde_json::json;

use crate::http::{Problem, ProblemKind};

/// Whether a request is a call of gRPC, which has statuses of its own.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    content_type.is_some_and(|value| value.starts_with(b"application/grpc"))
}

/// `{"error": {"message", "type", "kind"}}`, in which clients of most dialects find what they look for.
pub(super) fn refuse(problem: &Problem, grpc: bool) -> Response {
    let kind = problem.kind;
    let mut response = if grpc {
        call_refused(problem)
    } else {
        let body = json!({"error": {
            "message": problem.message,
            "type": kind.as_str(),
            "kind": kind.as_str(),
        }});
        (kind.status(), Json(body)).into_response()
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
