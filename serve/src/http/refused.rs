//! Requests that are refused before their body is read.

use super::problem::Problem;

/// An extension of a request that is not to be answered: its dialect says why, as it says everything else.
#[derive(Clone, Debug)]
pub(crate) struct Refused(pub(crate) Problem);
