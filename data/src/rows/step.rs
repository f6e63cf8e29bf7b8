//! What one step in a file gives, and how records are made of values.

use worldpm_ort_runtime::{
    json::Json,
    records::{Record, RecordError, RecordErrorKind, RowReader},
};

use crate::row::Kept;

/// A record with its line or row, and its columns.
pub(crate) type Step = (Result<(usize, Record), RecordError>, Kept);

/// A row whose columns are not looked at: its line or row, and its columns.
pub(crate) type PlainStep = (Result<usize, RecordError>, Kept);

/// Reads a record from the values of a row. The `id` is given with an error too.
pub(crate) fn record(
    records: &mut RowReader,
    fields: Json,
) -> Result<Record, (Option<Json>, RecordErrorKind)> {
    records
        .read(fields)
        .map_err(|error| (error.id, *error.kind))
}

/// Bytes of the texts in a value, about as many as it takes as JSON.
pub(crate) fn text_bytes(value: &Json) -> usize {
    match value {
        Json::Null | Json::Bool(_) => 4,
        Json::Number(number) => number.as_str().len(),
        Json::String(text) => text.len(),
        Json::Array(items) => items.iter().map(text_bytes).sum(),
        Json::Object(fields) => fields
            .iter()
            .map(|(name, value)| name.len() + text_bytes(value))
            .sum(),
    }
}
