//! Rows as tables: Parquet, and Arrow's files and streams.

mod file;
mod found;
mod parts;

use std::{borrow::Cow, sync::Arc};

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use worldpm_ort_runtime::json::Object;

use self::{
    file::{TableFile, refused},
    found::{add_columns, inferred, place_of},
};
use super::{
    columns::{added, data_type},
    encoder::Encoder,
    held::{HELD_BYTES, HELD_ROWS, Held, misfit},
    layout::{Layout, Naming},
};
use crate::{
    added::{Name, RowForm, Value},
    error::DataError,
    format::Format,
    options::WriteOptions,
    row::Kept,
    rows::step::text_bytes,
    shape::Shape,
    table::{
        build::{self, Misfit},
        infer::{Clash, Type},
    },
};

pub(super) struct TableRows {
    format: Format,
    naming: Naming,
    with_errors: bool,
    /// Whether rows may be few of the tables that they are parts of.
    is_sparse: bool,
    /// The columns of the input, where they are known beforehand.
    known: Option<Known>,
    like: Option<Arc<Object>>,
    /// Columns of rows that may not be written, and of how many.
    expected: Vec<(String, Type)>,
    expected_rows: usize,
    /// What the first rows show of the columns, before they are scored.
    preview: Vec<(String, Type)>,
    previewed: usize,
    encoder: Option<Encoder>,
    open: Option<Open>,
    held: Vec<Held>,
    held_bytes: usize,
    /// Rows that are held and hold no rows around them.
    alone: usize,
    written: usize,
}

#[derive(Clone)]
struct Known {
    schema: SchemaRef,
    /// Whether rows come as parts of tables that have this schema.
    is_table: bool,
}

struct Open {
    file: TableFile,
    /// The columns of the input that are kept; the added ones follow them.
    kept: Vec<usize>,
    /// All columns of the input.
    input: SchemaRef,
    layout: Layout,
}

impl TableRows {
    pub(super) fn new(
        encoder: Encoder,
        options: &WriteOptions,
        shape: &Shape,
    ) -> Result<Self, DataError> {
        let known = match shape {
            Shape::Open | Shape::Like(_) => None,
            Shape::Header { names, .. } => {
                let fields = names
                    .iter()
                    .map(|name| Field::new(name, DataType::Utf8, true));
                Some(Known {
                    schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
                    is_table: false,
                })
            }
            Shape::Table(schema) => Some(Known {
                schema: Arc::clone(schema),
                is_table: true,
            }),
        };
        let rows = Self {
            format: options.format,
            naming: Naming::of(options),
            with_errors: options.with_errors,
            is_sparse: options.plain || options.sparse,
            known,
            like: shape.like(),
            expected: Vec::new(),
            expected_rows: 0,
            preview: Vec::new(),
            previewed: 0,
            encoder: Some(encoder),
            open: None,
            held: Vec::new(),
            held_bytes: 0,
            alone: 0,
            written: 0,
        };
        if let Some(known) = &rows.known {
            rows.check(&known.schema)?;
        }
        Ok(rows)
    }

    /// Refuses columns that the format cannot hold before anything is scored.
    fn check(&self, schema: &Schema) -> Result<(), DataError> {
        let kept = schema
            .fields()
            .iter()
            .filter(|field| self.naming.keeps(field.name()));
        file::check(self.format, Schema::new(kept.cloned().collect::<Vec<_>>()))
    }

    /// Whether a row of JSON fits into columns with those that were looked at before it.
    pub(super) fn preview(&mut self, kept: &Kept) -> Result<(), DataError> {
        let Kept::Fields(fields) = kept else {
            return Ok(());
        };
        self.previewed += 1;
        let is_parquet = self.format == Format::Parquet;
        for (name, value) in fields.iter().filter(|(name, _)| self.naming.keeps(name)) {
            let known = place_of(&mut self.preview, name);
            let added = known
                .add(value)
                .and_then(|()| known.data_type(is_parquet).map(drop));
            added.map_err(|clash| {
                let clash = clash.within(name);
                misfit(self.previewed, &clash.path, &clash.problem)
            })?;
        }
        Ok(())
    }

    /// There are the columns of a row that may not be written, if it is one of the first. One that does not go together with
    /// those before it is no matter unless it is written.
    pub(super) fn expect(&mut self, kept: &Kept, values: &[(Name, Value)]) {
        if self.open.is_some() {
            return;
        }
        self.naming.expect(values);
        self.expected_rows += 1;
        if let (Kept::Fields(fields), true) = (kept, self.expected_rows <= HELD_ROWS) {
            let _ = add_columns(&mut self.expected, fields);
        }
    }

    pub(super) fn write(&mut self, held: Held) -> Result<(), DataError> {
        let lacking = self.open.as_ref().and_then(|open| open.layout.lacks(&held));
        if let Some(name) = lacking {
            let (row, name) = (self.written + self.held.len() + 1, name.clone());
            self.flush()?;
            return Err(misfit(
                row,
                &name,
                "it is not among the columns of the first rows",
            ));
        }
        self.held_bytes += match &held.columns.0 {
            Kept::Fields(fields) => fields.values().map(text_bytes).sum(),
            Kept::Cells { cells, .. } => cells.as_slice().len(),
            _ => 0,
        };
        self.let_go(&held)?;
        self.held.push(held);
        match self.held.len() < HELD_ROWS && self.held_bytes < HELD_BYTES {
            true => Ok(()),
            false => self.flush(),
        }
    }

    /// Writes the rows that are held. Of those that do not fit the first is reported, and the ones before it are written.
    fn flush(&mut self) -> Result<(), DataError> {
        let held = std::mem::take(&mut self.held);
        self.held_bytes = 0;
        self.alone = 0;
        let mut wrong = None;
        let mut count = held.len();
        if self.open.is_none() {
            let known = self.known.clone();
            let (schema, found) = match known {
                Some(known) => (known.schema, None),
                None => {
                    let expected = std::mem::take(&mut self.expected);
                    inferred(expected, &held, self.like.as_deref(), self.format)
                }
            };
            if let Some((row, clash)) = found {
                count = row;
                wrong = Some((row, clash));
            }
            self.start(schema, &held[..count])?;
        }
        let is_table = self.known.as_ref().is_some_and(|known| known.is_table);
        if is_table {
            self.put_parts(&held[..count])?;
        } else if let Err(found) = self.put_objects(&held[..count])? {
            self.put_objects(&held[..found.0])?
                .map_err(|(row, clash)| {
                    misfit(self.written + row + 1, &clash.path, &clash.problem)
                })?;
            wrong = Some(found);
            count = wrong.as_ref().map_or(0, |(row, _)| *row);
        }
        let first = self.written;
        self.written += count;
        match wrong {
            None => Ok(()),
            Some((row, clash)) => Err(misfit(first + row + 1, &clash.path, &clash.problem)),
        }
    }

    fn start(&mut self, input: SchemaRef, rows: &[Held]) -> Result<(), DataError> {
        let form = RowForm::of_columns(|name| input.index_of(name).is_ok());
        let layout = self.naming.layout(rows, self.with_errors, form);
        let added = layout
            .0
            .iter()
            .map(|(name, kind)| Field::new(self.naming.added(name), data_type(*kind), true));
        let added: Vec<Field> = added.collect();
        let is_kept = |field: &Field| {
            self.naming.keeps(field.name())
                && !added.iter().any(|added| added.name() == field.name())
        };
        let kept: Vec<usize> = (0..input.fields().len())
            .filter(|at| is_kept(input.field(*at)))
            .collect();
        let fields = kept.iter().map(|at| match self.format {
            Format::Parquet => without_order(&input.fields()[*at]),
            _ => Arc::clone(&input.fields()[*at]),
        });
        let fields: Vec<_> = fields.chain(added.into_iter().map(Arc::new)).collect();
        let schema = Arc::new(Schema::new_with_metadata(fields, input.metadata().clone()));
        let Some(encoder) = self.encoder.take() else {
            return Ok(());
        };
        self.open = Some(Open {
            file: TableFile::new(encoder, self.format, schema)?,
            kept,
            input,
            layout,
        });
        Ok(())
    }

    /// Rows of text: columns are made of them.
    fn put_objects(&mut self, rows: &[Held]) -> Result<Result<(), Misfit>, DataError> {
        let Some(open) = &self.open else {
            return Ok(Ok(()));
        };
        let objects: Vec<Cow<'_, Object>> = rows
            .iter()
            .map(|row| match &row.columns.0 {
                Kept::Fields(fields) => Cow::Borrowed(fields),
                _ => Cow::Owned(row.columns.to_object()),
            })
            .collect();
        let is_known = |name: &String| open.input.index_of(name).is_ok();
        for (row, object) in objects.iter().enumerate() {
            let new = object
                .keys()
                .find(|name| self.naming.keeps(name) && !is_known(name));
            if let Some(name) = new {
                let problem = "it is not among the columns of the first rows".to_owned();
                return Ok(Err((row, clash(name, problem))));
            }
        }
        let mut columns = Vec::with_capacity(open.input.fields().len());
        for field in open.input.fields() {
            let values = objects.iter().enumerate();
            let values: Vec<_> = values
                .map(|(row, object)| (row, object.get(field.name())))
                .collect();
            match build::column(&values, field.data_type()) {
                Ok(column) => columns.push(column),
                Err((row, clash)) => return Ok(Err((row, clash.within(field.name())))),
            }
        }
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let part = RecordBatch::try_new_with_options(Arc::clone(&open.input), columns, &options);
        let part = part.map_err(|error| refused(self.format, &error))?;
        self.put(&part, rows).map(Ok)
    }

    /// Writes rows whose columns of the input these are.
    fn put(&mut self, part: &RecordBatch, rows: &[Held]) -> Result<(), DataError> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        if rows.is_empty() {
            return Ok(());
        }
        let mut columns: Vec<ArrayRef> = open
            .kept
            .iter()
            .map(|at| Arc::clone(part.column(*at)))
            .collect();
        columns.extend(
            open.layout
                .0
                .iter()
                .map(|(name, kind)| added(rows, name, *kind)),
        );
        open.file.write(columns)
    }

    pub(super) fn close(mut self) -> Result<(), DataError> {
        let flushed = match self.held.is_empty() && self.open.is_some() {
            true => Ok(()),
            false => self.flush(),
        };
        match self.open.take() {
            Some(open) => flushed.and(open.file.close()),
            None => flushed,
        }
    }
}

fn clash(path: &str, problem: String) -> Clash {
    Clash {
        path: path.to_owned(),
        problem,
    }
}

/// A column as Parquet has it: its pages have the values of a dictionary in the order in which rows have them, so that another
/// order, which means something, would become a wrong one.
fn without_order(field: &FieldRef) -> FieldRef {
    match field.dict_is_ordered() {
        Some(true) => Arc::new(field.as_ref().clone().with_dict_is_ordered(false)),
        _ => Arc::clone(field),
    }
}
