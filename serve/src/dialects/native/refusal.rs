//! Our way to refuse.

use serde::Serialize;
use serde_json::{Value, json};

use crate::http::{Dialect, Problem};

/// `{"error": {"kind", "message"}}`.
pub(super) struct Native;

impl Dialect for Native {
    fn body(problem: &Problem) -> Value {
        json!({"error": Refusal::of(problem)})
    }
}

/// An error, as it stands in replies.
#[derive(Debug, Serialize)]
pub(super) struct Refusal {
    kind: &'static str,
    message: String,
}

impl Refusal {
    pub(super) fn of(problem: &Problem) -> Self {
        Self {
            kind: problem.kind.as_str(),
            message: problem.message.clone(),
        }
    }
}
