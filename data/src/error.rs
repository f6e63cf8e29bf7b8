//! What can be wrong with a data set as a whole.

use std::{io, path::PathBuf};

use thiserror::Error;
use worldpm_ort_runtime::records::ColumnNamesError;

use crate::format::Format;

/// Why a data set is not read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// The system refuses a file or folder.
    #[error("cannot {action} {file}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        file: String,
        /// What the system says.
        source: io::Error,
    },
    /// Names of columns do not go together.
    #[error(transparent)]
    Columns(#[from] ColumnNamesError),
    /// An input stands for no file.
    #[error("{input}: {why}")]
    NoFiles {
        /// As it was given.
        input: String,
        /// Why not, and what to do.
        why: String,
    },
    /// A folder holds several data sets.
    #[error(
        "{} holds the splits {}: name one of them, as in {}",
        folder.display(),
        splits.join(", "),
        folder.join(splits.first().map_or("train", String::as_str)).display()
    )]
    Splits {
        /// The folder.
        folder: PathBuf,
        /// Their names.
        splits: Vec<String>,
    },
    /// An object store gives no object.
    #[cfg(feature = "object-store")]
    #[error(transparent)]
    Store(#[from] worldpm_ort_stores::StoreError),
    /// Files that are read as one data set have different formats.
    #[error(
        "{first} is {first_format}, and {second} is {second_format}: one data set has one format; \
         choose files with a pattern such as 'DIR/*.jsonl', or name them one by one"
    )]
    Mixed {
        /// One file.
        first: String,
        /// Its format.
        first_format: Format,
        /// Another.
        second: String,
        /// And its format.
        second_format: Format,
    },
    /// A file is not what it must be.
    #[error("{file}: {problem}")]
    File {
        /// The file.
        file: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// Tables of one data set have different columns.
    #[error(
        "{file}: {difference} in {first}: the tables of one data set must have the same columns"
    )]
    Schema {
        /// The file that differs.
        file: String,
        /// From which.
        first: String,
        /// How.
        difference: String,
    },
    /// A column of the input has the name of an added one.
    #[error(
        "the input has a column {0:?} already, which would be added: give the added ones other names \
         (--added-prefix model_), or let them take its place (--overwrite-columns)"
    )]
    ColumnTaken(String),
    /// A value cannot be written in the output's format.
    #[error("{place}: {problem}")]
    Value {
        /// The row and the column.
        place: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The encoder of the output's format refuses.
    #[error("the output cannot be written as {format}: {problem}")]
    Encode {
        /// The output's format.
        format: Format,
        /// What the encoder says.
        problem: String,
    },
}

impl DataError {
    pub(crate) fn io(action: &'static str, file: impl ToString, source: io::Error) -> Self {
        let file = file.to_string();
        Self::Io {
            action,
            file,
            source,
        }
    }

    pub(crate) fn file(file: impl ToString, problem: impl ToString) -> Self {
        Self::File {
            file: file.to_string(),
            problem: problem.to_string(),
        }
    }
}
