//! Records, and the text that they are read from.

use super::{
    body::{Body, Split},
    error::RecordErrorKind,
    fields::Raw,
    layout::Columns,
    source::Position,
};
use crate::json::{Json, Object};

/// One thing to score.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Record {
    /// The record's `id`, a string or a number, as given.
    pub id: Option<Json>,
    /// All its fields, in the order given, where the reader was asked to keep them
    /// ([`RecordReader::with_fields_kept`](super::RecordReader::with_fields_kept)); texts are shared with the body.
    pub fields: Option<Object>,
    /// What is scored.
    pub body: Body,
    /// Where the answers begin in it.
    pub split: Split,
    /// Names of fields that have no meaning here and were left alone, at most twenty.
    pub unused: Vec<String>,
}

/// Reads JSON that stands at `start` in the input.
pub(super) fn parse(
    json: &[u8],
    start: Position,
    columns: &Columns,
    keep_all: bool,
) -> Result<Raw, RecordErrorKind> {
    let text = std::str::from_utf8(json)
        .map_err(|error| RecordErrorKind::not_utf8(json, error.valid_up_to(), start))?;
    Raw::parse(text, columns, keep_all).map_err(|error| RecordErrorKind::from_json(error, start))
}
