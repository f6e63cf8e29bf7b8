//! TEI's way to refuse.

use http::StatusCode;
use serde_json::{Value, json};

use crate::http::{Dialect, Problem, ProblemKind};

/// `{"error", "error_type"}`, and 429 on overload.
pub(super) struct Tei;

impl Dialect for Tei {
    fn status(kind: ProblemKind) -> StatusCode {
        match kind {
            ProblemKind::Overloaded => StatusCode::TOO_MANY_REQUESTS,
            ProblemKind::InvalidInput => StatusCode::UNPROCESSABLE_ENTITY,
            ProblemKind::Internal => StatusCode::FAILED_DEPENDENCY,
            other => other.status(),
        }
    }

    fn body(problem: &Problem) -> Value {
        let error_type = match problem.kind {
            ProblemKind::Overloaded | ProblemKind::RateLimited => "Overloaded",
            ProblemKind::Unavailable => "Unhealthy",
            ProblemKind::Internal => "Backend",
            _ => "Validation",
        };
        json!({"error": problem.message, "error_type": error_type})
    }
}
