//! How data sets are read and written.

use worldpm_ort_runtime::records::{ColumnNames, DEFAULT_MAX_RECORD_BYTES};

use crate::format::{Compression, Format};

/// How a data set is read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReadOptions {
    /// The format of all files. Default: what each file begins with, and its name, show it.
    pub format: Option<Format>,
    /// The longest row that is read, in bytes. Default [`DEFAULT_MAX_RECORD_BYTES`].
    pub max_record_bytes: usize,
    /// Whether the fields of JSON are kept as [`Columns`](crate::Columns). Those of tables always are. Default: no.
    pub keep_fields: bool,
    /// Which columns hold what. Default: they have names that are known.
    pub columns: ColumnNames,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            format: None,
            max_record_bytes: DEFAULT_MAX_RECORD_BYTES,
            keep_fields: false,
            columns: ColumnNames::default(),
        }
    }
}

/// How a data set is written.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WriteOptions {
    /// Its format.
    pub format: Format,
    /// How it is compressed as a whole. Parquet is within itself too. Default: not.
    pub compression: Compression,
    /// What the names of added columns begin with. Default: nothing.
    pub added_prefix: String,
    /// Whether an added column takes the place of one that has its name, which is an error otherwise. Default: no.
    pub overwrite: bool,
    /// Whether of the input's columns `id` alone is kept. Default: no.
    pub only_scores: bool,
    /// Whether rows without an answer are written too, so that there is a column for why. Default: no.
    pub with_errors: bool,
    /// Whether rows are written as they are ([`Writer::copy`](crate::Writer::copy)), and no columns added. Default: no.
    pub plain: bool,
    /// Whether rows may be few of the tables that they are parts of, as those that were chosen are. Default: no.
    pub sparse: bool,
}

impl WriteOptions {
    /// The defaults, for a format.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self {
            format,
            compression: Compression::None,
            added_prefix: String::new(),
            overwrite: false,
            only_scores: false,
            with_errors: false,
            plain: false,
            sparse: false,
        }
    }
}
