//! Inputs that are read as one data set.

use std::sync::Arc;

use worldpm_ort_runtime::records::RowReader;

use crate::{
    error::DataError,
    files::Files,
    format::Format,
    input::{self, OnRead},
    options::ReadOptions,
    part,
    rows::{Input, PlainRows, Reader, Rows},
    shape::Shape,
};

/// Files whose rows are read one after another. They have one format, and tables the same columns.
#[derive(Debug)]
pub struct DataSet {
    inputs: Vec<Input>,
    options: ReadOptions,
    on_read: OnRead,
    format: Format,
    shape: Shape,
    records: RowReader,
}

impl DataSet {
    /// Looks at how each file begins, which waits for whoever writes to a pipe.
    ///
    /// # Errors
    ///
    /// Names of columns that do not go together, files of different formats, tables with different columns, and files whose beginning (of Parquet, whose footer) cannot
    /// be read.
    pub fn open(files: Files, options: &ReadOptions) -> Result<Self, DataError> {
        let records = RowReader::new(&options.columns)?;
        let on_read = OnRead::default();
        let mut first: Option<(Arc<str>, Format, Shape)> = None;
        let mut inputs = Vec::with_capacity(files.places.len());
        let parts = part::of_files(files.parts(), files.places.len());
        for (place, part) in files.places.into_iter().zip(parts) {
            let opened = input::open(&place, options.format, &on_read)?;
            let (name, format) = (Arc::clone(&opened.name), opened.format);
            if let Some((first, first_format, _)) = &first
                && !are_alike(*first_format, format)
            {
                return Err(DataError::Mixed {
                    first: first.to_string(),
                    first_format: *first_format,
                    second: name.to_string(),
                    second_format: format,
                });
            }
            let reader = Reader::new(opened, options, &on_read)?;
            match &first {
                None => first = Some((name, format, reader.shape())),
                Some((first, _, shape)) => {
                    if let Some(difference) = shape.difference(&reader.shape()) {
                        return Err(DataError::Schema {
                            file: name.to_string(),
                            first: first.to_string(),
                            difference,
                        });
                    }
                }
            }
            let rows = reader.known_rows();
            let reader = (!place.is_regular()).then_some(reader);
            inputs.push(Input {
                place,
                reader,
                rows,
                part,
            });
        }
        let (_, format, shape) = first.unwrap_or(("".into(), Format::JsonLines, Shape::Open));
        Ok(Self {
            inputs,
            options: options.clone(),
            on_read,
            format,
            shape,
            records,
        })
    }

    /// How many rows files have: of Parquet as they say themselves, of others by reading them.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and a file that cannot be read to its end.
    pub fn count_rows(files: Files, options: &ReadOptions) -> Result<u64, DataError> {
        let mut options = options.clone();
        options.keep_fields = true;
        let set = Self::open(files, &options)?;
        let known: Option<u64> = set.inputs.iter().map(|input| input.rows).sum();
        if let Some(known) = known {
            return Ok(known);
        }
        let mut count = 0;
        for row in set.plain_rows(|_| ()) {
            match row.read {
                Err(error) if error.is_fatal => return Err(DataError::file(row.file, error)),
                _ => count += 1,
            }
        }
        Ok(count)
    }

    /// The format of the files.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// What is known of the columns before rows are read.
    pub(crate) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The rows. `on_read` is called with the number of bytes whenever some are read off a file.
    pub fn rows(self, on_read: impl Fn(u64) + Send + Sync + 'static) -> Rows {
        self.on_read.set(on_read);
        Rows::new(self.inputs, self.options, self.on_read, self.records)
    }

    /// The rows as they are, whatever is in them, of a set that was opened with [`ReadOptions::keep_fields`]. `on_read` as in
    /// [`rows`](Self::rows).
    pub fn plain_rows(self, on_read: impl Fn(u64) + Send + Sync + 'static) -> PlainRows {
        PlainRows(self.rows(on_read))
    }
}

/// Whether files of two formats may be read as one data set. The reader of JSON does not care how its values are arranged.
fn are_alike(one: Format, other: Format) -> bool {
    let kind = |format| match format {
        Format::JsonLines => Format::Json,
        Format::ArrowStream => Format::Arrow,
        other => other,
    };
    kind(one) == kind(other)
}
