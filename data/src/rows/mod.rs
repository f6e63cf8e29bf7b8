//! Rows of files, one after another.

mod cells;
mod lines;
pub(crate) mod step;

use std::{collections::VecDeque, fmt, sync::Arc};

use worldpm_ort_runtime::records::{Layout, RecordError, RecordErrorKind, RowReader};

use crate::{
    error::DataError,
    input::{self, Body, OnRead, Opened},
    options::ReadOptions,
    part::{InPart, Passed, Row as NextRow},
    place::Place,
    row::{Columns, Kept, PlainRow, Row},
    shape::Shape,
};
use cells::Cells;
use lines::Lines;
use step::{PlainStep, Step};

#[cfg(feature = "parquet")]
use crate::table::{self, rows::TableRows};

/// The rows of a [`DataSet`](crate::DataSet), in the order of its files. After a row that ends its file, as an error of the file does, the
/// next file's come.
#[derive(Debug)]
pub struct Rows {
    inputs: VecDeque<Input>,
    options: ReadOptions,
    on_read: OnRead,
    current: Option<Reader>,
    passed: Passed,
    records: RowReader,
}

/// An input, and its reader where it can be opened once only.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) place: Place,
    pub(crate) reader: Option<Reader>,
    /// How many rows it has, where that is known.
    pub(crate) rows: Option<u64>,
    /// Which of its rows are read; `None` for all.
    pub(crate) part: Option<InPart>,
}

/// What reads a file.
pub(crate) struct Reader {
    name: Arc<str>,
    rows: Kind,
}

enum Kind {
    Lines(Lines),
    Cells(Cells),
    #[cfg(feature = "parquet")]
    Table(TableRows),
    Done,
}

impl Rows {
    pub(crate) fn new(
        inputs: Vec<Input>,
        options: ReadOptions,
        on_read: OnRead,
        records: RowReader,
    ) -> Self {
        Self {
            records,
            inputs: inputs.into(),
            options,
            on_read,
            current: None,
            passed: Passed::default(),
        }
    }

    /// What the columns mean, once a row has decided on it.
    #[must_use]
    pub fn layout(&self) -> Option<&Layout> {
        self.records.layout()
    }

    fn open_next(&mut self) -> Option<Result<Reader, (Arc<str>, RecordError)>> {
        let input = loop {
            let input = self.inputs.pop_front()?;
            if self.passed.enter(input.part.as_ref(), input.rows) {
                break input;
            }
        };
        let opened = match input.reader {
            Some(reader) => return Some(Ok(reader)),
            None => input::open(&input.place, self.options.format, &self.on_read),
        };
        let reader = opened.and_then(|opened| Reader::new(opened, &self.options, &self.on_read));
        // It could be opened before.
        Some(reader.map_err(|error| {
            let error = RecordErrorKind::Source(Box::new(error));
            let error = RecordError::in_line(1, None, error).fatal();
            (input.place.name(), error)
        }))
    }
}

impl Rows {
    /// What `next` makes of the next row of a file, and the file.
    fn advance<T>(
        &mut self,
        next: impl Fn(&mut Reader, &mut RowReader) -> Option<(Result<T, RecordError>, Kept)>,
    ) -> Option<(Arc<str>, Result<T, RecordError>, Columns)> {
        loop {
            if let Some(reader) = &mut self.current {
                match self.passed.next() {
                    NextRow::Taken => {}
                    NextRow::Late => {
                        self.current = None;
                        continue;
                    }
                    NextRow::PassedOver => {
                        match reader.next_plain() {
                            None => self.current = None,
                            Some((Err(error), _)) if error.is_fatal => {
                                reader.rows = Kind::Done;
                                return Some((
                                    Arc::clone(&reader.name),
                                    Err(error),
                                    Columns::default(),
                                ));
                            }
                            Some(_) => self.passed.pass(),
                        }
                        continue;
                    }
                }
                if let Some((read, kept)) = next(reader, &mut self.records) {
                    self.passed.pass();
                    if read.as_ref().is_err_and(|error| error.is_fatal) {
                        reader.rows = Kind::Done;
                    }
                    return Some((Arc::clone(&reader.name), read, Columns(kept)));
                }
                self.current = None;
            }
            match self.open_next()? {
                Ok(reader) => self.current = Some(reader),
                Err((file, error)) => return Some((file, Err(error), Columns::default())),
            }
        }
    }
}

impl Iterator for Rows {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        let (file, read, columns) = self.advance(Reader::next)?;
        Some(Row {
            file,
            read,
            columns,
        })
    }
}

/// The rows of a [`DataSet`](crate::DataSet) as they are, whatever is in them, in the order of its files.
#[derive(Debug)]
pub struct PlainRows(pub(crate) Rows);

impl Iterator for PlainRows {
    type Item = PlainRow;

    fn next(&mut self) -> Option<PlainRow> {
        let (file, read, columns) = self.0.advance(|reader, _| reader.next_plain())?;
        Some(PlainRow {
            file,
            read,
            columns,
        })
    }
}

impl Reader {
    pub(crate) fn new(
        opened: Opened,
        options: &ReadOptions,
        on_read: &OnRead,
    ) -> Result<Self, DataError> {
        let Opened {
            name,
            format,
            separator,
            body,
        } = opened;
        let rows = match body {
            Body::Stream(stream) if format.is_cells() => {
                Kind::Cells(Cells::new(stream, separator, options, &name)?)
            }
            Body::Stream(stream) if format.is_text() => Kind::Lines(Lines::new(stream, options)),
            body => Self::table(&name, body, options, on_read)?,
        };
        Ok(Self { name, rows })
    }

    #[cfg(feature = "parquet")]
    fn table(
        name: &str,
        body: Body,
        options: &ReadOptions,
        on_read: &OnRead,
    ) -> Result<Kind, DataError> {
        let batches = match body {
            Body::Stream(stream) => table::arrow::open(stream, name)?,
            body => table::parquet::open(body, name, on_read)?,
        };
        Ok(Kind::Table(TableRows::new(batches, options)))
    }

    #[cfg(not(feature = "parquet"))]
    fn table(name: &str, _: Body, _: &ReadOptions, _: &OnRead) -> Result<Kind, DataError> {
        let problem = "Parquet and Arrow files are not read by this build, which is without the feature `parquet`";
        Err(DataError::file(name, problem))
    }

    /// How many rows the file says that it has.
    pub(crate) fn known_rows(&self) -> Option<u64> {
        match &self.rows {
            #[cfg(feature = "parquet")]
            Kind::Table(rows) => rows.known(),
            _ => None,
        }
    }

    pub(crate) fn shape(&self) -> Shape {
        match &self.rows {
            Kind::Cells(cells) => cells.shape(),
            #[cfg(feature = "parquet")]
            Kind::Table(rows) => Shape::Table(rows.schema()),
            Kind::Lines(_) | Kind::Done => Shape::Open,
        }
    }

    fn next(&mut self, records: &mut RowReader) -> Option<Step> {
        match &mut self.rows {
            Kind::Lines(lines) => lines.next(records),
            Kind::Cells(cells) => cells.next(records),
            #[cfg(feature = "parquet")]
            Kind::Table(rows) => rows.next(records),
            Kind::Done => None,
        }
    }

    fn next_plain(&mut self) -> Option<PlainStep> {
        match &mut self.rows {
            Kind::Lines(lines) => lines.next_plain(),
            Kind::Cells(cells) => cells.next_plain(),
            #[cfg(feature = "parquet")]
            Kind::Table(rows) => rows.next_plain(),
            Kind::Done => None,
        }
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
