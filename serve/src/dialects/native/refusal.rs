//! Our way to refuse.

use crate::http::{Dialect, ErrorObject, Problem};

/// `{"error": {"kind", "message"}}`.
pub(super) struct Native;

impl Dialect for Native {
    type Body = ErrorObject;

    fn body(problem: &Problem) -> ErrorObject {
        problem.into()
    }
}
