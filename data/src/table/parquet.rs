//! Tables of Parquet files, a row group after another.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    os::unix::fs::FileExt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use bytes::Bytes;
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{
            ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
            ParquetRecordBatchReaderBuilder,
        },
    },
    errors::{ParquetError, Result},
    file::{
        metadata::ParquetMetaData,
        reader::{ChunkReader, Length},
    },
};

use super::{BATCH_ROWS, Batches, check, guard::guarded};
use crate::{
    error::DataError,
    input::{Body, OnRead, became_shorter},
};

/// Bytes that a part of a table should have at most, where its rows are all of a size.
const BATCH_BYTES: i64 = 4 << 20;

/// Bytes that are read of a file at a time.
const CHUNK: usize = 64 << 10;

struct RowGroups {
    file: Pages,
    metadata: ArrowReaderMetadata,
    next: usize,
    current: Option<ParquetRecordBatchReader>,
}

/// Opens a file that is read here and there.
pub(crate) fn open(
    body: Body,
    name: &str,
    on_read: &OnRead,
) -> std::result::Result<Box<dyn Batches>, DataError> {
    let wrong = |problem| DataError::file(name, format!("it cannot be read as Parquet: {problem}"));
    let (file, length) = match body {
        Body::File(file) => {
            let found = file.metadata();
            let found = found.map_err(|error| DataError::io("read", name, error))?;
            (Source::File(Arc::new(file)), found.len())
        }
        #[cfg(feature = "object-store")]
        Body::Object(ranges) => {
            let length = ranges.len();
            (Source::Object(ranges), length)
        }
        Body::Stream(_) => return Err(wrong("it is read from its start only".to_owned())),
    };
    let file = Pages {
        file,
        length,
        on_read: on_read.clone(),
        is_lost: Arc::default(),
    };
    let metadata = guarded(|| {
        let options = ArrowReaderOptions::new();
        let metadata = ArrowReaderMetadata::load(&file, options).map_err(|error| said(&error))?;
        check(metadata.schema())?;
        Ok(metadata)
    });
    Ok(Box::new(RowGroups {
        file,
        metadata: metadata.map_err(wrong)?,
        next: 0,
        current: None,
    }))
}

impl RowGroups {
    fn groups(&self) -> &ParquetMetaData {
        self.metadata.metadata()
    }

    /// A reader of a row group, of all columns or of one.
    fn reader(
        &self,
        group: usize,
        column: Option<usize>,
    ) -> std::result::Result<ParquetRecordBatchReader, String> {
        guarded(|| {
            let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(
                self.file.clone(),
                self.metadata.clone(),
            );
            let found = self.groups().row_group(group);
            let mean = found.total_byte_size() / found.num_rows().max(1);
            let rows = usize::try_from(BATCH_BYTES / mean.max(1)).unwrap_or(1);
            let mut builder = builder
                .with_row_groups(vec![group])
                .with_batch_size(rows.clamp(1, BATCH_ROWS));
            if let Some(column) = column {
                let mask = ProjectionMask::leaves(self.metadata.parquet_schema(), [column]);
                builder = builder.with_projection(mask);
            }
            builder.build().map_err(|error| said(&error))
        })
    }

    /// A row group that cannot be read: which column of it, where that can be found out.
    fn problem(&self, group: usize, problem: &str) -> String {
        let (number, groups) = (group + 1, self.groups().num_row_groups());
        let columns = self.metadata.parquet_schema().columns();
        let is_wrong = |column: &usize| {
            let mut reader = match self.reader(group, Some(*column)) {
                Ok(reader) => reader,
                Err(_) => return true,
            };
            loop {
                match guarded(|| Ok(reader.next())) {
                    Ok(Some(Ok(_))) => {}
                    Ok(None) => return false,
                    Ok(Some(Err(_))) | Err(_) => return true,
                }
            }
        };
        let is_lost = self.file.is_lost.load(Ordering::Relaxed);
        let column = (0..columns.len()).find(|column| !is_lost && is_wrong(column));
        let column = column.map(|column| format!(", column `{}`", columns[column].path().string()));
        format!(
            "row group {number} of {groups}{} cannot be read: {problem}",
            column.unwrap_or_default()
        )
    }
}

impl Batches for RowGroups {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.metadata.schema())
    }

    fn rows(&self) -> Option<u64> {
        u64::try_from(self.groups().file_metadata().num_rows()).ok()
    }

    fn next(&mut self) -> Option<std::result::Result<RecordBatch, String>> {
        loop {
            if let Some(reader) = &mut self.current {
                match guarded(|| reader.next().transpose().map_err(|error| error.to_string())) {
                    Ok(Some(batch)) => return Some(Ok(batch)),
                    Ok(None) => self.current = None,
                    Err(problem) => {
                        self.current = None;
                        let group = self.next - 1;
                        self.next = self.groups().num_row_groups();
                        return Some(Err(self.problem(group, &problem)));
                    }
                }
            }
            if self.next == self.groups().num_row_groups() {
                return None;
            }
            let group = self.next;
            self.next += 1;
            match self.reader(group, None) {
                Ok(reader) => self.current = Some(reader),
                Err(problem) => {
                    self.next = self.groups().num_row_groups();
                    return Some(Err(self.problem(group, &problem)));
                }
            }
        }
    }
}

/// What is wrong, without the name of the kind of error.
fn said(error: &ParquetError) -> String {
    let text = error.to_string();
    let kinds = ["Parquet error: ", "Arrow: ", "External: "];
    let bare = kinds.iter().find_map(|kind| text.strip_prefix(kind));
    bare.map_or(text.clone(), str::to_owned)
}

/// What is read here and there.
#[derive(Clone)]
enum Source {
    File(Arc<File>),
    #[cfg(feature = "object-store")]
    Object(worldpm_ort_stores::Ranges),
}

/// A file that is read here and there, and counted.
#[derive(Clone)]
struct Pages {
    file: Source,
    length: u64,
    on_read: OnRead,
    /// Whether bytes could not be had, so that it is no use to look for the column that is damaged.
    is_lost: Arc<AtomicBool>,
}

impl Pages {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let (read, counted) = match &self.file {
            Source::File(file) => {
                let read = file.read_at(buffer, at)?;
                (read, read)
            }
            #[cfg(feature = "object-store")]
            Source::Object(ranges) => ranges
                .read_at(buffer, at)
                .inspect_err(|_| self.is_lost.store(true, Ordering::Relaxed))?,
        };
        self.on_read.count(counted);
        if read == 0 && !buffer.is_empty() && at < self.length {
            return Err(became_shorter(self.length, at));
        }
        Ok(read)
    }
}

impl Length for Pages {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Pages {
    type T = BufReader<From>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(BufReader::with_capacity(
            CHUNK,
            From {
                pages: self.clone(),
                at: start,
            },
        ))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let end = start
            .checked_add(length as u64)
            .filter(|end| *end <= self.length);
        if end.is_none() {
            return Err(ParquetError::EOF(format!(
                "{length} bytes at byte {start} are named, and the file has {}",
                self.length
            )));
        }
        let mut bytes = Vec::with_capacity(length);
        self.get_read(start)?
            .take(length as u64)
            .read_to_end(&mut bytes)?;
        if bytes.len() != length {
            return Err(became_shorter(self.length, start + bytes.len() as u64).into());
        }
        Ok(bytes.into())
    }
}

/// A file from a place on.
struct From {
    pages: Pages,
    at: u64,
}

impl Read for From {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.pages.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
