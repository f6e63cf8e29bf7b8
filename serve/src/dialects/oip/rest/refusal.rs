//! The protocol's way to refuse.

use crate::http::{Dialect, ErrorText, Problem};

/// `{"error": message}`.
pub(super) struct Oip;

impl Dialect for Oip {
    type Body = ErrorText;

    fn body(problem: &Problem) -> ErrorText {
        problem.into()
    }
}
