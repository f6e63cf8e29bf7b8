//! What the dynamic loader says, and what it is asked for.

pub(crate) mod needed;

use std::error::Error;

/// Why a library was not loaded, in the loader's own words: which file, and what is missing of it.
pub(crate) fn problem(error: &libloading::Error) -> String {
    error
        .source()
        .map_or_else(|| error.to_string(), ToString::to_string)
}
