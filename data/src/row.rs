//! A row of a data set: what it asks to have scored, and what it is given back with.

use std::sync::Arc;

use worldpm_ort_runtime::{
    json::{Json, Object},
    records::{Record, RecordError},
};

/// A row of a data set.
#[derive(Debug)]
#[non_exhaustive]
pub struct Row {
    /// The file that it is in.
    pub file: Arc<str>,
    /// What it asks to have scored, with its line (of a table its row), from 1. Its fields are in `columns`.
    pub read: Result<(usize, Record), RecordError>,
    /// What is in it.
    pub columns: Columns,
}

/// The columns of a row, as they are given back: whatever their types are, and without a copy where they are of a table.
#[derive(Debug, Default)]
pub struct Columns(pub(crate) Kept);

#[derive(Debug, Default)]
pub(crate) enum Kept {
    /// They could not be read, or are not wanted.
    #[default]
    Nothing,
    Fields(Object),
    Cells {
        header: Arc<[String]>,
        cells: csv::StringRecord,
    },
    #[cfg(feature = "parquet")]
    Batch {
        batch: Arc<arrow_array::RecordBatch>,
        row: usize,
    },
}

impl Columns {
    /// Whether there are none: the row could not be read, or its columns are not wanted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self.0, Kept::Nothing)
    }

    /// Whether there is a column of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        match &self.0 {
            Kept::Nothing => false,
            Kept::Fields(fields) => fields.get(name).is_some(),
            Kept::Cells { header, .. } => header.iter().any(|known| known == name),
            #[cfg(feature = "parquet")]
            Kept::Batch { batch, .. } => batch.schema_ref().index_of(name).is_ok(),
        }
    }

    /// The columns as JSON. Empty cells are null, and columns whose values JSON cannot have are not there.
    #[must_use]
    pub fn to_object(&self) -> Object {
        match &self.0 {
            Kept::Nothing => Object::new(),
            Kept::Fields(fields) => fields.clone(),
            Kept::Cells { header, cells } => {
                let value = |cell: &str| match cell {
                    "" => Json::Null,
                    text => text.into(),
                };
                let fields = header
                    .iter()
                    .zip(cells)
                    .map(|(name, cell)| (name.clone(), value(cell)));
                fields.collect()
            }
            #[cfg(feature = "parquet")]
            Kept::Batch { batch, row } => crate::table::json::object(batch, *row),
        }
    }
}
