//! TEI's way to refuse.

use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::{Dialect, Problem, ProblemKind};

pub(super) const TAG: &str = "Text Embeddings Inference";

/// `{"error", "error_type"}`, and 429 on overload.
pub(super) struct Tei;

/// An error, as TEI's clients read it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TeiError {
    /// What is wrong, and what to do.
    error: String,
    /// `Validation`, `Overloaded`, `Unhealthy` or `Backend`.
    error_type: &'static str,
}

impl Dialect for Tei {
    type Body = TeiError;

    fn status(kind: ProblemKind) -> StatusCode {
        match kind {
            ProblemKind::Overloaded => StatusCode::TOO_MANY_REQUESTS,
            ProblemKind::InvalidInput => StatusCode::UNPROCESSABLE_ENTITY,
            ProblemKind::Internal => StatusCode::FAILED_DEPENDENCY,
            other => other.status(),
        }
    }

    fn body(problem: &Problem) -> TeiError {
        let error_type = match problem.kind {
            ProblemKind::Overloaded | ProblemKind::RateLimited => "Overloaded",
            ProblemKind::Unavailable => "Unhealthy",
            ProblemKind::Internal => "Backend",
            _ => "Validation",
        };
        TeiError {
            error: problem.message.clone(),
            error_type,
        }
    }
}
