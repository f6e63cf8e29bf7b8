//! Weights that are too large for the type that they are converted to.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A tensor with finite values that are infinite in the type it was converted to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OverflowedTensor {
    /// Name in the checkpoint.
    pub tensor: String,
    /// Number of such values.
    pub count: u64,
    /// Largest magnitude.
    pub largest: f32,
}

impl fmt::Display for OverflowedTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            tensor,
            count,
            largest,
        } = self;
        let values = if *count == 1 { "value" } else { "values" };
        write!(f, "`{tensor}` ({count} {values}, the largest {largest:e})")
    }
}
