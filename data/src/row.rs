//! A row of a data set: what it asks to have scored, and what it is given back with.

use std::sync::Arc;

use worldpm_ort_runtime::{
    json::{Json, Object},
    records::{Record, RecordError},
};

use crate::numeric::{self, Numeric};

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

/// A row whose columns are not looked at.
#[derive(Debug)]
#[non_exhaustive]
pub struct PlainRow {
    /// The file that it is in.
    pub file: Arc<str>,
    /// Its line (of a table its row), from 1, or why there is no row.
    pub read: Result<usize, RecordError>,
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

/// Columns that are no row's of a file.
impl From<Object> for Columns {
    fn from(fields: Object) -> Self {
        Self(Kept::Fields(fields))
    }
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

    /// The number in a column. A name with dots may also be that of a field: `chosen.score` is the `score` of the object
    /// `chosen`, unless there is a column of this whole name. Cells of text are read as numbers.
    #[must_use]
    pub fn number(&self, name: &str) -> Numeric {
        match &self.0 {
            Kept::Nothing => Numeric::Missing,
            Kept::Fields(fields) => numeric::of_object(fields, name),
            Kept::Cells { header, cells } => {
                let at = header.iter().position(|known| known == name);
                match at.and_then(|at| cells.get(at)) {
                    None => Numeric::Missing,
                    Some(cell) => numeric::of_cell(cell),
                }
            }
            #[cfg(feature = "parquet")]
            Kept::Batch { batch, row } => {
                crate::table::number::number(&|name| batch.column_by_name(name), *row, name)
            }
        }
    }

    /// A column as JSON; `None` where there is none, or nothing in it, or what JSON cannot have.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<Json> {
        let value = match &self.0 {
            Kept::Nothing => None,
            Kept::Fields(fields) => fields.get(name).cloned(),
            Kept::Cells { header, cells } => {
                let at = header.iter().position(|known| known == name);
                let cell = at.and_then(|at| cells.get(at));
                cell.filter(|cell| !cell.is_empty()).map(Json::from)
            }
            #[cfg(feature = "parquet")]
            Kept::Batch { batch, row } => {
                let column = batch.column_by_name(name);
                column.map(|column| crate::table::json::value(column.as_ref(), *row))
            }
        };
        value.filter(|value| !value.is_null())
    }

    /// The same without the rows around it, which a row of a table holds too.
    #[must_use]
    pub fn alone(self) -> Self {
        #[cfg(feature = "parquet")]
        if let Kept::Batch { batch, row } = &self.0
            && let Ok(Some(alone)) = crate::table::pick::pick(std::iter::once((batch, *row)))
        {
            let batch = Arc::new(alone);
            return Self(Kept::Batch { batch, row: 0 });
        }
        self
    }

    /// The names of the columns, in order.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        match &self.0 {
            Kept::Nothing => Vec::new(),
            Kept::Fields(fields) => fields.keys().cloned().collect(),
            Kept::Cells { header, .. } => header.to_vec(),
            #[cfg(feature = "parquet")]
            Kept::Batch { batch, .. } => {
                let fields = batch.schema_ref().fields().iter();
                fields.map(|field| field.name().clone()).collect()
            }
        }
    }
}
