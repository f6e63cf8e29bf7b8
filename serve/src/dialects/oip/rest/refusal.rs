//! The protocol's way to refuse.

use serde_json::{Value, json};

use crate::http::{Dialect, Problem};

/// `{"error": message}`.
pub(super) struct Oip;

impl Dialect for Oip {
    fn body(problem: &Problem) -> Value {
        json!({"error": problem.message})
    }
}
