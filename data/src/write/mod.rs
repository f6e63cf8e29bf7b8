//! A data set of the rows that were scored, with what was said of them.

mod cells;
#[cfg(feature = "parquet")]
mod columns;
mod encoder;
mod held;
mod json;
mod layout;
#[cfg(feature = "parquet")]
mod table;

use worldpm_ort_runtime::json::{Json, Object};

use crate::{
    added::{self, AddedColumns, ERROR, Name, RowForm, Value},
    error::DataError,
    format::Format,
    options::WriteOptions,
    row::Columns,
    sets::DataSet,
    shape::Shape,
};
use cells::CellRows;
use encoder::{Encoder, Sink};
use held::Held;
use json::JsonRows;
use layout::Naming;

#[cfg(feature = "parquet")]
use table::TableRows;

pub use encoder::Compressor;

/// Makes the bytes of a data set. Whoever has it [takes](Self::take) them to where they belong.
pub struct Writer {
    rows: Rows,
    sink: Sink,
    naming: Naming,
    with_errors: bool,
    drops_unread: bool,
}

enum Rows {
    Json(JsonRows),
    Cells(CellRows),
    #[cfg(feature = "parquet")]
    Table(Box<TableRows>),
    Closed,
}

impl Writer {
    /// For rows of this data set.
    ///
    /// # Errors
    ///
    /// Columns that the format cannot hold, where those of the input are known: they are named.
    pub fn new(options: &WriteOptions, set: &DataSet) -> Result<Self, DataError> {
        Self::of_shape(options, set.shape())
    }

    /// For rows that are no file's and are written as they are: `like` has columns that there are whatever the first rows
    /// have, with values of their types.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn of_objects(options: &WriteOptions, like: Object) -> Result<Self, DataError> {
        let mut options = options.clone();
        options.plain = true;
        Self::of_shape(&options, &Shape::Like(like.into()))
    }

    fn of_shape(options: &WriteOptions, shape: &Shape) -> Result<Self, DataError> {
        let sink = Sink::default();
        let encoder = Encoder::new(sink.clone(), options.compression)
            .map_err(|error| DataError::io("compress", "the output", error))?;
        let naming = Naming::of(options);
        let rows = match options.format {
            format if format.is_cells() => Rows::Cells(CellRows::new(encoder, options, shape)?),
            Format::JsonLines | Format::Json => Rows::Json(JsonRows::new(encoder, options, shape)?),
            #[cfg(feature = "parquet")]
            _ => Rows::Table(Box::new(TableRows::new(encoder, options, shape)?)),
            #[cfg(not(feature = "parquet"))]
            format => {
                return Err(DataError::Encode {
                    format,
                    problem: "this build is without the feature `parquet`".into(),
                });
            }
        };
        Ok(Self {
            rows,
            sink,
            naming,
            with_errors: options.with_errors,
            drops_unread: options.format.is_table() && shape.is_table(),
        })
    }

    /// Whether a row, one of the first, can be written, as far as is known before it is scored: whether the columns that its
    /// answer will usually add can be added to it (`None` where there will be none), and whether its own fit to those of the rows
    /// before it.
    ///
    /// # Errors
    ///
    /// [`DataError::ColumnTaken`] and [`DataError::Value`].
    pub fn check(&mut self, columns: &Columns, form: Option<RowForm>) -> Result<(), DataError> {
        let usual = form.map(added::usual).unwrap_or_default();
        let names = usual.iter().map(|(name, _)| name.as_ref());
        let error = self.with_errors.then_some(ERROR);
        names
            .chain(error)
            .try_for_each(|name| self.naming.check(columns, name))?;
        match &mut self.rows {
            #[cfg(feature = "parquet")]
            Rows::Table(rows) => rows.preview(&columns.0),
            _ => Ok(()),
        }
    }

    /// Adds a row with what came of it; `id` is the one of a row that has no columns. Returns whether it was added: a row
    /// of a table that could not be read cannot be in a table.
    ///
    /// # Errors
    ///
    /// A value or an added column that the data set cannot have. The rows before are written then, and no more can be.
    pub fn write(
        &mut self,
        columns: Columns,
        id: Option<&Json>,
        came: impl Into<AddedColumns>,
    ) -> Result<bool, DataError> {
        if columns.is_empty() && self.drops_unread {
            return Ok(false);
        }
        let AddedColumns { values, line } = came.into();
        let line = line.filter(|_| columns.is_empty());
        self.put(columns, id, line, values)?;
        Ok(true)
    }

    /// A row that may not be written: a table has its columns as if it were one of the first rows, and those of what came of it.
    pub fn expect(&mut self, columns: &Columns, came: &AddedColumns) {
        match &mut self.rows {
            Rows::Cells(rows) => rows.expect(&columns.0, &came.values),
            #[cfg(feature = "parquet")]
            Rows::Table(rows) => rows.expect(&columns.0, &came.values),
            Rows::Json(_) | Rows::Closed => {}
        }
    }

    /// Adds a row as it is.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub fn copy(&mut self, columns: Columns) -> Result<(), DataError> {
        self.put(columns, None, None, Vec::new())
    }

    fn put(
        &mut self,
        columns: Columns,
        id: Option<&Json>,
        line: Option<usize>,
        values: Vec<(Name, Value)>,
    ) -> Result<(), DataError> {
        let taken = values
            .iter()
            .try_for_each(|(name, _)| self.naming.check(&columns, name));
        let held = Held { columns, values };
        let written = taken.and_then(|()| match &mut self.rows {
            Rows::Json(rows) => rows.write(held, id, line),
            Rows::Cells(rows) => rows.write(held),
            #[cfg(feature = "parquet")]
            Rows::Table(rows) => rows.write(held),
            Rows::Closed => Ok(()),
        });
        if written.is_err() {
            // What is wrong is reported already; the rows before it are whole.
            let _ = self.close();
        }
        written
    }

    /// The bytes so far that were not taken yet.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        self.sink.take()
    }

    /// Ends the data set, so that it can be read, however many rows it has. Does nothing the second time.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write), of rows that were held.
    pub fn close(&mut self) -> Result<(), DataError> {
        match std::mem::replace(&mut self.rows, Rows::Closed) {
            Rows::Json(rows) => rows.close(),
            Rows::Cells(rows) => rows.close(),
            #[cfg(feature = "parquet")]
            Rows::Table(rows) => rows.close(),
            Rows::Closed => Ok(()),
        }
    }
}
