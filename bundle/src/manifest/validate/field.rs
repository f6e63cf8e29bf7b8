//! What a single value of a manifest has to be: a size, a list, a hash, a path, text that is shown; and the fault when
//! it is not.

use std::path::{Component, Path};

/// The field that is wrong, with dots and places in lists, and how.
type Fault = (String, String);
pub(super) type Checked = Result<(), Fault>;

/// Most files, labels or probes that are listed.
const MOST_LISTED: usize = 1 << 20;
/// Most bytes of a file of weights, or of a stage's weights.
pub(super) const MOST_BYTES: u64 = 1 << 50;
/// Most bytes of a path.
const MOST_PATH: usize = 4096;

pub(super) const AGAIN: &str = "export the checkpoint again";

pub(super) fn fault(field: impl Into<String>, problem: impl Into<String>) -> Checked {
    Err((field.into(), problem.into()))
}

pub(super) fn within(field: &str, size: usize, least: usize, most: usize) -> Checked {
    match (least..=most).contains(&size) {
        true => Ok(()),
        false => fault(
            field,
            format!("is {size}, and must be {least} to {most}; {AGAIN}"),
        ),
    }
}

pub(super) fn listed(field: &str, count: usize) -> Checked {
    match count <= MOST_LISTED {
        true => Ok(()),
        false => fault(
            field,
            format!("has {count} entries, more than {MOST_LISTED}"),
        ),
    }
}

pub(super) fn sha256(field: &str, hash: &str) -> Checked {
    let is_digit = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
    match hash.len() == 64 && hash.bytes().all(is_digit) {
        true => Ok(()),
        false => fault(
            field,
            format!("is no SHA-256: it must be 64 digits of 0 to 9 and a to f; {AGAIN}"),
        ),
    }
}

/// Text that is shown to people: there, and without control characters.
pub(super) fn printable(field: &str, text: &str) -> Checked {
    match text.is_empty() || text.chars().any(char::is_control) {
        true => fault(
            field,
            format!("is {text:?}, empty or with control characters"),
        ),
        false => Ok(()),
    }
}

pub(super) fn no_nul(field: &str, text: &str) -> Checked {
    match text.contains('\0') || text.len() > MOST_PATH {
        true => fault(
            field,
            format!("is no path: it has a NUL, or more than {MOST_PATH} bytes"),
        ),
        false => Ok(()),
    }
}

/// A path in a folder, which leads to nothing outside of it.
pub(super) fn path(field: &str, path: &str) -> Checked {
    no_nul(field, path)?;
    let parts = Path::new(path).components();
    let mut parts = parts
        .map(|part| matches!(part, Component::Normal(_)))
        .peekable();
    match parts.peek().is_some() && parts.all(|normal| normal) && !path.ends_with('/') {
        true => Ok(()),
        false => fault(
            field,
            format!("is {path:?}, and must be the path of a file inside the folder; {AGAIN}"),
        ),
    }
}
