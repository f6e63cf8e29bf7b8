//! How each dialect says that a request was refused.

use std::marker::PhantomData;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use serde::Serialize;
use utoipa::PartialSchema;

use super::problem::{Problem, ProblemKind};

/// Seconds after which a client may try again.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// What is peculiar to a dialect when it refuses.
pub(crate) trait Dialect: Send + Sync + 'static {
    /// What says that a request was refused.
    type Body: Serialize + PartialSchema;

    /// The status of an error.
    fn status(kind: ProblemKind) -> StatusCode {
        kind.status()
    }

    /// The body of an error.
    fn body(problem: &Problem) -> Self::Body;
}

/// A request that was refused, for a client of a dialect.
pub(crate) struct Failure<D> {
    problem: Problem,
    dialect: PhantomData<D>,
}

impl<D> From<Problem> for Failure<D> {
    fn from(problem: Problem) -> Self {
        Self {
            problem,
            dialect: PhantomData,
        }
    }
}

impl<D: Dialect> IntoResponse for Failure<D> {
    fn into_response(self) -> Response {
        let kind = self.problem.kind;
        let mut response = (D::status(kind), Json(D::body(&self.problem))).into_response();
        if kind.is_worth_a_retry() {
            response.headers_mut().insert(RETRY_AFTER, RETRY_SECONDS);
        }
        response.extensions_mut().insert(kind);
        response
    }
}

/// The same for a request that has a body, and asks for no scores: there are fewer reasons.
pub(crate) struct BodyFailure<D>(Failure<D>);

impl<D> From<Problem> for BodyFailure<D> {
    fn from(problem: Problem) -> Self {
        Self(problem.into())
    }
}

impl<D: Dialect> IntoResponse for BodyFailure<D> {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}
