//! Bodies of refusals that several dialects have.

use serde::Serialize;
use utoipa::ToSchema;

use super::problem::Problem;

/// A bare message.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorText {
    /// What is wrong, and what to do.
    error: String,
}

/// What is wrong, by its kind and in words.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorObject {
    #[schema(inline)]
    error: Refusal,
}

/// An error, as it stands in replies.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Refusal {
    /// A name that stays, such as `invalid_input`.
    kind: &'static str,
    /// What is wrong, and what to do.
    message: String,
}

impl From<&Problem> for ErrorText {
    fn from(problem: &Problem) -> Self {
        Self {
            error: problem.message.clone(),
        }
    }
}

impl From<&Problem> for ErrorObject {
    fn from(problem: &Problem) -> Self {
        Self {
            error: problem.into(),
        }
    }
}

impl From<&Problem> for Refusal {
    fn from(problem: &Problem) -> Self {
        Self {
            kind: problem.kind.as_str(),
            message: problem.message.clone(),
        }
    }
}
