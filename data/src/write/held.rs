//! Rows that wait until columns are made of them.

use crate::{
    added::{Name, Value},
    error::DataError,
    row::Columns,
};

/// Rows that are held at most until columns are made of them; of the first ones the columns and their types are found out.
pub(super) const HELD_ROWS: usize = 1024;

/// Bytes of text that are held at most, about.
pub(super) const HELD_BYTES: usize = 8 << 20;

/// A row that waits for others.
pub(super) struct Held {
    pub(super) columns: Columns,
    pub(super) values: Vec<(Name, Value)>,
}

/// That a row does not fit into columns which were found out from the first ones.
pub(super) fn misfit(row: usize, column: &str, problem: &str) -> DataError {
    DataError::Value {
        place: format!("row {row}, column `{column}`"),
        problem: format!("{problem}; JSON Lines (--output-format jsonl) has rows of any form"),
    }
}
