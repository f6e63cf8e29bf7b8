//! Streams of records: JSON Lines, one JSON list, or JSON values that span
//! lines.

mod beginning;

use std::io::BufRead;

use super::{
    error::{RecordError, RecordErrorKind},
    layout::{ColumnNames, ColumnNamesError, Layout as RowLayout, RowReader},
    place::{Place, PlaceLayout},
    record::Record,
    source::{Position, Scanner, Source, Taken},
};

/// The longest record that is read by default: 64 MiB, far past any context
/// window, so that a file that is not what it seems does not fill memory.
pub const DEFAULT_MAX_RECORD_BYTES: usize = 64 << 20;

/// The largest buffer that is kept between records.
const KEPT_BYTES: usize = 1 << 20;

/// Reads records one after another; holds one at a time.
///
/// The layout follows from the first value of the input:
/// - **JSON Lines:** one record a line; blank lines are skipped. After a
///   malformed line, reading goes on with the next.
/// - **A list of records,** on one line or many. A list whose first element is
///   an object with `role` is a conversation, so a record itself; `[]` alone is
///   a list without records.
/// - **Values that span lines,** such as a single pretty-printed record, or
///   many, one after another.
///
/// In the last two a syntax error ends reading, since where the next record
/// starts is unsure. A record of the wrong form or an overlong one does not. An
/// input that begins as another format does (Parquet, gzip, CSV, …) is not read
/// either, and the error names the format.
///
/// A byte order mark at the start is skipped. Items carry the line where the
/// record starts, from 1.
///
/// ```
/// # use worldpm_ort_runtime as worldpm_ort;
/// use worldpm_ort::records::RecordReader;
///
/// let input = r#"{"id": 1, "prompt": "Tips?", "response": "Sleep."}
/// {"prompt": "Tips?"}
/// [{"role": "user", "content": "Tips?"}, {"role": "assistant", "content": "Sleep."}]"#;
/// let mut records = RecordReader::new(input.as_bytes());
///
/// let (line, record) = records.next().unwrap()?;
/// assert_eq!((line, record.id), (1, Some(1.into())));
/// let error = records.next().unwrap().unwrap_err();
/// assert_eq!((error.line, error.is_fatal), (2, false));
/// assert_eq!(records.next().unwrap()?.0, 3);
/// assert!(records.next().is_none());
/// # Ok::<(), worldpm_ort::records::RecordError>(())
/// ```
#[derive(Debug)]
pub struct RecordReader<R> {
    source: Source<R>,
    layout: Layout,
    /// The text of the record being read.
    pub(super) buffer: Vec<u8>,
    max_record_bytes: usize,
    rows: RowReader,
}

#[derive(Debug, Clone, Copy)]
enum Layout {
    Unknown,
    Lines,
    Values,
    /// Inside a list, after this many elements.
    List(usize),
    Done,
}

type Item = (usize, Record);

impl<R: BufRead> RecordReader<R> {
    /// Reads records from `input`, which should be buffered.
    pub fn new(input: R) -> Self {
        Self {
            source: Source::new(input),
            layout: Layout::Unknown,
            buffer: Vec::new(),
            max_record_bytes: DEFAULT_MAX_RECORD_BYTES,
            rows: RowReader::default(),
        }
    }

    /// Sets the longest record that is read, in bytes. Default
    /// [`DEFAULT_MAX_RECORD_BYTES`].
    #[must_use]
    pub fn with_max_record_bytes(mut self, max_record_bytes: usize) -> Self {
        self.max_record_bytes = max_record_bytes;
        self
    }

    /// Keeps every field of a record that is an object in [`Record::fields`], so that it can be given back.
    /// A key that is there twice is an error then, whatever it is.
    #[must_use]
    pub fn with_fields_kept(mut self) -> Self {
        self.rows.keep_fields();
        self
    }

    /// Takes the columns of records for what they are named as.
    ///
    /// # Errors
    /// Names that do not go together.
    pub fn with_columns(mut self, names: &ColumnNames) -> Result<Self, ColumnNamesError> {
        self.rows.set_columns(names)?;
        Ok(self)
    }

    /// Reads records by the layout that another reader found in the same data set.
    #[must_use]
    pub fn with_layout(mut self, layout: RowLayout) -> Self {
        self.rows.set_layout(layout);
        self
    }

    /// Reads rows as another reader does, but for whether their fields are kept.
    pub fn share_rows(&mut self, rows: &RowReader) {
        self.rows.read_as(rows);
    }

    /// The layout of the records, once one of them has decided on it.
    pub fn layout(&self) -> Option<&RowLayout> {
        self.rows.layout()
    }

    /// Goes on where another reader of the same input stood ([`place`](Self::place)); `input` begins there.
    #[must_use]
    pub fn at_place(mut self, place: Place) -> Self {
        self.layout = match place.layout {
            PlaceLayout::Unknown => Layout::Unknown,
            PlaceLayout::Lines => Layout::Lines,
            PlaceLayout::Values => Layout::Values,
            PlaceLayout::List(taken) => Layout::List(taken),
            PlaceLayout::Done => Layout::Done,
        };
        self.source.position = place.position;
        self
    }

    /// Where the reader stands: after the last record that it gave, or passed over.
    pub fn place(&self) -> Place {
        Place {
            layout: match self.layout {
                Layout::Unknown => PlaceLayout::Unknown,
                Layout::Lines => PlaceLayout::Lines,
                Layout::Values => PlaceLayout::Values,
                Layout::List(taken) => PlaceLayout::List(taken),
                Layout::Done => PlaceLayout::Done,
            },
            position: self.source.position,
        }
    }

    /// Passes over a record, be it well-formed or not; false when there is none. Lines are not parsed, but for the first.
    ///
    /// # Errors
    /// The error that ends reading.
    pub fn pass_over(&mut self) -> Result<bool, RecordError> {
        if let Layout::Lines = self.layout {
            if self.skip_whitespace()?.is_none() {
                self.layout = Layout::Done;
                return Ok(false);
            }
            let skipped = self.source.skip_line();
            skipped.map_err(|error| self.fail(self.source.position, RecordErrorKind::Io(error)))?;
            return Ok(true);
        }
        match self.next() {
            None => Ok(false),
            Some(Err(error)) if error.is_fatal => Err(error),
            Some(_) => Ok(true),
        }
    }

    /// The input, of which nothing but records was taken.
    pub fn input_mut(&mut self) -> &mut R {
        self.source.input_mut()
    }

    fn read(&mut self) -> Result<Option<Item>, RecordError> {
        self.buffer.clear();
        match self.layout {
            Layout::Unknown => self.read_first(),
            Layout::Lines => match self.skip_whitespace()? {
                Some(_) => self.read_line(self.source.position).map(Some),
                None => Ok(None),
            },
            Layout::Values => match self.skip_whitespace()? {
                Some(_) => self.read_value(self.source.position).map(Some),
                None => Ok(None),
            },
            Layout::List(taken) => self.read_element(taken),
            Layout::Done => Ok(None),
        }
    }

    /// Reads the rest of a line that began at `start`.
    fn read_line(&mut self, start: Position) -> Result<Item, RecordError> {
        match self
            .source
            .take_line(&mut self.buffer, self.max_record_bytes)
        {
            Ok(Taken::TooLong) => Err(self.too_long(start)),
            Ok(Taken::Complete | Taken::Cut) => self.parse(start),
            Err(error) => Err(self.fail(start, RecordErrorKind::Io(error))),
        }
    }

    fn read_value(&mut self, start: Position) -> Result<Item, RecordError> {
        let taken = self.source.take_value(
            &mut Scanner::default(),
            &mut self.buffer,
            self.max_record_bytes,
        );
        match taken {
            Ok(Taken::TooLong) => Err(self.too_long(start)),
            Ok(Taken::Complete | Taken::Cut) if self.buffer.is_empty() => {
                Err(self.fail(start, RecordErrorKind::syntax(start, "expected a record")))
            }
            Ok(Taken::Complete | Taken::Cut) => self.parse(start),
            Err(error) => Err(self.fail(start, RecordErrorKind::Io(error))),
        }
    }

    /// Reads on in a list of which `taken` elements are read.
    fn read_element(&mut self, taken: usize) -> Result<Option<Item>, RecordError> {
        self.layout = Layout::List(taken + 1);
        let next = self.skip_whitespace()?;
        let at = self.source.position;
        let wrong = match next {
            None => "the list is not closed: the input ends before `]`",
            Some(b']') => {
                self.source.bump(b']');
                if self.skip_whitespace()?.is_none() {
                    return Ok(None);
                }
                "expected nothing more after the list"
            }
            Some(_) if taken == 0 => return self.read_value(at).map(Some),
            Some(b',') => {
                self.source.bump(b',');
                self.skip_whitespace()?;
                return self.read_value(self.source.position).map(Some);
            }
            Some(_) => "expected `,` or `]` after an element of the list",
        };
        let at = if next == Some(b']') {
            self.source.position
        } else {
            at
        };
        Err(self.fail(at, RecordErrorKind::syntax(at, wrong)))
    }

    /// Reads the record in the buffer, which starts at `start`.
    fn parse(&mut self, start: Position) -> Result<Item, RecordError> {
        let parsed = self.rows.parse(&self.buffer, start);
        if self.buffer.capacity() > KEPT_BYTES && parsed.is_ok() {
            // What is done with a large record needs the memory.
            self.buffer = Vec::new();
        }
        let mut raw = parsed.map_err(|kind| self.fail(start, kind))?;
        let fields = raw.take_all();
        match self.rows.read_raw(raw) {
            Ok(record) => Ok((start.line, Record { fields, ..record })),
            Err((id, kind)) => Err(RecordError {
                id,
                fields,
                ..self.fail(start, *kind)
            }),
        }
    }

    fn too_long(&mut self, start: Position) -> RecordError {
        // Of lines, the next one is still sure.
        if let Layout::Lines = self.layout
            && let Err(error) = self.source.skip_line()
        {
            return self.fail(start, RecordErrorKind::Io(error));
        }
        let limit = self.max_record_bytes;
        self.fail(start, RecordErrorKind::TooLong { limit })
    }

    fn fail(&self, start: Position, kind: RecordErrorKind) -> RecordError {
        let element = match self.layout {
            Layout::List(taken) => Some(taken),
            _ => None,
        };
        let is_unsure = matches!(kind, RecordErrorKind::Syntax { .. });
        let by_lines = matches!(self.layout, Layout::Lines);
        RecordError {
            line: start.line,
            element,
            id: None,
            fields: None,
            counts_rows: false,
            is_fatal: matches!(kind, RecordErrorKind::Io(_)) || is_unsure && !by_lines,
            kind: kind.into(),
        }
    }

    fn skip_whitespace(&mut self) -> Result<Option<u8>, RecordError> {
        let next = self.source.skip_whitespace();
        next.map_err(|error| self.fail(self.source.position, RecordErrorKind::Io(error)))
    }
}

impl<R: BufRead> Iterator for RecordReader<R> {
    type Item = Result<Item, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        let read = self.read();
        match &read {
            Ok(Some(_)) => {}
            Ok(None) => self.layout = Layout::Done,
            Err(error) if error.is_fatal => self.layout = Layout::Done,
            Err(_) => {}
        }
        read.transpose()
    }
}

impl<R: BufRead> std::iter::FusedIterator for RecordReader<R> {}
