//! Rows, each with its score.

use std::{fmt, sync::Arc};

use anyhow::{Result, anyhow, bail};
use worldpm_ort_data::{Columns, DataSet, Files, Numeric, PlainRow, ReadOptions};

use super::FilterArgs;
use crate::cli::common::progress::InputProgress;

/// A row with its score. Whatever scores come from, this is what rows are chosen by.
pub(super) struct Scored {
    pub(super) place: Place,
    pub(super) columns: Columns,
    pub(super) score: Score,
}

/// The score of a row, or why there is none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Score {
    Is(f64),
    /// The row says that it could not be scored.
    Error,
    /// The column has nothing in this row.
    Null,
    /// The row has no such column.
    Missing,
}

/// Where a row stands.
pub(super) struct Place {
    file: Arc<str>,
    unit: &'static str,
    number: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} {}", self.file, self.unit, self.number)
    }
}

/// Opens files of rows that hold their scores.
pub(super) fn open(args: &FilterArgs, files: Files) -> Result<DataSet> {
    let mut options = ReadOptions::default();
    options.format = args.formats.input_format;
    options.max_record_bytes = usize::try_from(args.max_record_bytes.0).unwrap_or(usize::MAX);
    options.keep_fields = true;
    Ok(DataSet::open(files, &options)?)
}

/// The rows of such files, with the scores that are in a column of them.
pub(super) fn by_column(
    args: &FilterArgs,
    set: DataSet,
    progress: &InputProgress,
) -> impl Iterator<Item = Result<Scored>> {
    let format = set.format();
    let bar = progress.clone();
    let column = args.column.clone();
    let error_column = args.error_column.clone();
    let rows = set.plain_rows(move |bytes| bar.advance(bytes));
    rows.map(move |row| {
        let PlainRow {
            file,
            read,
            columns,
            ..
        } = row;
        let number = read.map_err(|error| anyhow!("{file}: {error}"))?;
        let unit = if format.is_table() { "row" } else { "line" };
        let place = Place { file, unit, number };
        let score = match columns.number(&column) {
            _ if columns.value(&error_column).is_some() => Score::Error,
            Numeric::Number(score) => Score::Is(score),
            Numeric::Null => Score::Null,
            // Of tables and cells, no other row has it either.
            Numeric::Missing if format.is_table() || format.is_cells() => {
                return Err(missing(&column, &place, &columns));
            }
            Numeric::Missing => Score::Missing,
            Numeric::Other(found) => {
                bail!("{place}: `{column}` is {found}, and rows are kept by a number: name its column with --column")
            }
        };
        Ok(Scored {
            place,
            columns,
            score,
        })
    })
}

/// That a row has no column of this name.
pub(super) fn missing(column: &str, place: &Place, columns: &Columns) -> anyhow::Error {
    let names: Vec<_> = columns
        .names()
        .iter()
        .map(|name| format!("`{name}`"))
        .collect();
    anyhow!(
        "{place}: there is no column `{column}`; there are {}: name one with --column, one within another as in chosen.score",
        names.join(", ")
    )
}
