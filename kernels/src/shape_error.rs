use std::fmt;

/// Operands that do not fit each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeError {
    /// Which, and how.
    pub problem: String,
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl std::error::Error for ShapeError {}

pub(crate) fn require(holds: bool, problem: impl FnOnce() -> String) -> Result<(), ShapeError> {
    match holds {
        true => Ok(()),
        false => Err(ShapeError { problem: problem() }),
    }
}
