//! Rows of text with a separator between cells (CSV).

use std::{
    io::{self, Read},
    sync::Arc,
};

use csv::{ByteRecord, ErrorKind, ReaderBuilder, StringRecord};
use worldpm_ort_runtime::{
    json::{Json, Object},
    records::{RecordError, RecordErrorKind, RowReader},
};

use super::step::{PlainStep, Step, record};
use crate::{error::DataError, input::Stream, options::ReadOptions, row::Kept, shape::Shape};

/// Bytes that the reader of cells may take ahead of the row that it reads.
const AHEAD: usize = 64 << 10;

/// Columns that hold nothing but lists, which are written as JSON.
const LISTS: [&str; 2] = ["messages", "tools"];

pub(super) struct Cells {
    reader: csv::Reader<Limited>,
    header: Arc<[String]>,
    separator: u8,
    limit: usize,
}

impl Cells {
    /// Reads the names of the columns off the stream.
    pub(super) fn new(
        stream: Stream,
        separator: u8,
        options: &ReadOptions,
        name: &str,
    ) -> Result<Self, DataError> {
        let limit = options.max_record_bytes;
        let mut reader = ReaderBuilder::new()
            .delimiter(separator)
            .flexible(true)
            .has_headers(false)
            .from_reader(Limited {
                inner: stream,
                left: limit.saturating_add(AHEAD),
                chunk: Vec::new(),
                start: 0,
                lines_before: 0,
            });
        let mut names = StringRecord::new();
        let wrong = |problem: String| DataError::file(name, problem);
        reader
            .read_record(&mut names)
            .map_err(|error| match error.kind() {
                ErrorKind::Io(error) if is_limit(error) => wrong(format!(
                    "its first line, the names of the columns, is longer than {limit} bytes"
                )),
                ErrorKind::Utf8 { .. } => {
                    wrong("the names of its columns are not UTF-8: convert the file".into())
                }
                _ => wrong(format!(
                    "its first line, the names of the columns, cannot be read: {error}"
                )),
            })?;
        let header: Arc<[String]> = names.iter().map(str::to_owned).collect();
        let mut seen = std::collections::HashSet::new();
        if let Some(twice) = header.iter().find(|name| !seen.insert(*name)) {
            return Err(wrong(format!(
                "it has the column {twice:?} twice: keep one"
            )));
        }
        Ok(Self {
            reader,
            header,
            separator,
            limit,
        })
    }

    pub(super) fn shape(&self) -> Shape {
        Shape::Header {
            names: Arc::clone(&self.header),
            separator: self.separator,
        }
    }

    pub(super) fn next(&mut self, records: &mut RowReader) -> Option<Step> {
        let (line, cells) = match self.take()? {
            Ok(taken) => taken,
            Err(error) => return Some((Err(error), Kept::Nothing)),
        };
        let values = self.header.iter().zip(&cells);
        let values = values.map(|(name, cell)| Ok((name.clone(), value(name, cell)?)));
        let read = values
            .collect::<Result<Object, _>>()
            .map_err(|kind| (None, kind))
            .and_then(|fields| record(records, Json::Object(fields)))
            .map(|record| (line, record))
            .map_err(|(id, kind)| RecordError::in_line(line, id, kind));
        Some((read, self.kept(cells)))
    }

    pub(super) fn next_plain(&mut self) -> Option<PlainStep> {
        Some(match self.take()? {
            Ok((line, cells)) => (Ok(line), self.kept(cells)),
            Err(error) => (Err(error), Kept::Nothing),
        })
    }

    fn kept(&self, cells: StringRecord) -> Kept {
        let header = Arc::clone(&self.header);
        Kept::Cells { header, cells }
    }

    /// The cells of the next row, with its line.
    fn take(&mut self) -> Option<Result<(usize, StringRecord), RecordError>> {
        self.reader.get_mut().left = self.limit.saturating_add(AHEAD);
        let mut row = ByteRecord::new();
        let failed = |line, kind| RecordError::in_line(line, None, kind);
        match self.reader.read_byte_record(&mut row) {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => {
                let line = self.line_at_end();
                let kind = match error.into_kind() {
                    ErrorKind::Io(error) if is_limit(&error) => {
                        let limit = self.limit;
                        RecordErrorKind::TooLong { limit }
                    }
                    ErrorKind::Io(error) => RecordErrorKind::Io(error),
                    other => source(format!("the cells cannot be read: {other:?}")),
                };
                return Some(Err(failed(line, kind).fatal()));
            }
        }
        let line = self.line_at_end().saturating_sub(breaks(row.as_slice()));
        let cells = self.cells(row).map(|cells| (line, cells));
        Some(cells.map_err(|kind| failed(line, kind)))
    }

    /// The line that the row ended in which was read last. The reader's own count takes the second byte of a CRLF, and blank
    /// lines, for the beginning of the next row.
    fn line_at_end(&self) -> usize {
        self.reader
            .get_ref()
            .line_before(self.reader.position().byte())
    }

    /// The cells of a row, one for each column.
    fn cells(&self, row: ByteRecord) -> Result<StringRecord, RecordErrorKind> {
        let limit = self.limit;
        if row.as_slice().len() > limit {
            return Err(RecordErrorKind::TooLong { limit });
        }
        if row.len() != self.header.len() {
            let (cells, columns) = (row.len(), self.header.len());
            return Err(source(format!(
                "the row has {cells} cells, and there are {columns} columns: a cell that has separators, quotes or line \
                 breaks in it stands in double quotes"
            )));
        }
        StringRecord::from_byte_record(row).map_err(|error| {
            let column = &self.header[error.utf8_error().field()];
            source(format!(
                "the cell of `{column}` is not UTF-8: convert the file"
            ))
        })
    }
}

/// What a cell stands for: nothing where it is empty, a list where it is one of messages as JSON, else its text.
fn value(column: &str, cell: &str) -> Result<Json, RecordErrorKind> {
    if cell.is_empty() {
        return Ok(Json::Null);
    }
    let is_list = LISTS.contains(&column);
    if !is_list && !cell.trim_start().starts_with('[') {
        return Ok(cell.into());
    }
    match Json::parse(cell) {
        Ok(list) if is_list || is_messages(&list) => Ok(list),
        Err(error) if is_list => Err(source(format!(
            "the cell of `{column}` is not a list as JSON ({error}): write it with json.dumps, where Python writes what it prints"
        ))),
        _ => Ok(cell.into()),
    }
}

fn is_messages(value: &Json) -> bool {
    let items = value.as_array().unwrap_or_default();
    !items.is_empty() && items.iter().all(|item| item.get("role").is_some())
}

fn source(problem: String) -> RecordErrorKind {
    RecordErrorKind::Source(problem.into())
}

/// What is read of a row until it is longer than rows may be, as one whose quotes are not closed is.
struct Limited {
    inner: Stream,
    left: usize,
    /// What was read last, where it begins, and the line breaks before it.
    chunk: Vec<u8>,
    start: u64,
    lines_before: usize,
}

impl Limited {
    /// The line, from 1, of the byte before this one, which was among those read last.
    fn line_before(&self, end: u64) -> usize {
        let within = end.saturating_sub(1).saturating_sub(self.start);
        let within =
            usize::try_from(within).map_or(self.chunk.len(), |within| within.min(self.chunk.len()));
        1 + self.lines_before + breaks(&self.chunk[..within])
    }
}

fn breaks(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte == b'\n').count()
}

#[derive(Debug, thiserror::Error)]
#[error("the row is too long")]
struct TooLong;

fn is_limit(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<TooLong>())
}

impl Read for Limited {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other(TooLong));
        }
        let most = buffer.len().min(self.left);
        let read = self.inner.read(&mut buffer[..most])?;
        self.left -= read;
        if read > 0 {
            self.lines_before += breaks(&self.chunk);
            self.start += self.chunk.len() as u64;
            self.chunk.clear();
            self.chunk.extend_from_slice(&buffer[..read]);
        }
        Ok(read)
    }
}
