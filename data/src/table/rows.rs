//! Rows of tables.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use worldpm_ort_runtime::{
    json::Json,
    records::{RecordError, RecordErrorKind, RowReader},
};

use super::{Batches, json};
use crate::{
    options::ReadOptions,
    row::Kept,
    rows::step::{PlainStep, Step, record, text_bytes},
};

pub(crate) struct TableRows {
    batches: Box<dyn Batches>,
    /// The part at hand, and how many of its rows are taken.
    current: Option<(Arc<RecordBatch>, usize)>,
    /// Rows taken of the file.
    taken: usize,
    limit: usize,
}

impl TableRows {
    pub(crate) fn new(batches: Box<dyn Batches>, options: &ReadOptions) -> Self {
        Self {
            batches,
            current: None,
            taken: 0,
            limit: options.max_record_bytes,
        }
    }

    pub(crate) fn known(&self) -> Option<u64> {
        self.batches.rows()
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        self.batches.schema()
    }

    pub(crate) fn next(&mut self, records: &mut RowReader) -> Option<Step> {
        Some(match self.take()? {
            Ok((batch, row)) => self.step(records, batch, row),
            Err(error) => (Err(error), Kept::Nothing),
        })
    }

    pub(crate) fn next_plain(&mut self) -> Option<PlainStep> {
        Some(match self.take()? {
            Ok((batch, row)) => (Ok(self.taken), Kept::Batch { batch, row }),
            Err(error) => (Err(error), Kept::Nothing),
        })
    }

    /// The part that the next row is in, and its place there.
    fn take(&mut self) -> Option<Result<(Arc<RecordBatch>, usize), RecordError>> {
        loop {
            if let Some((batch, at)) = &mut self.current
                && *at < batch.num_rows()
            {
                let (batch, row) = (Arc::clone(batch), *at);
                *at += 1;
                self.taken += 1;
                return Some(Ok((batch, row)));
            }
            match self.batches.next()? {
                Ok(batch) => self.current = Some((Arc::new(batch), 0)),
                Err(problem) => {
                    self.current = None;
                    let kind = RecordErrorKind::Source(problem.into());
                    let error = RecordError::in_row(self.taken + 1, None, kind);
                    return Some(Err(error.fatal()));
                }
            }
        }
    }

    fn step(&self, records: &mut RowReader, batch: Arc<RecordBatch>, row: usize) -> Step {
        let fields = Json::Object(json::object(&batch, row));
        let limit = self.limit;
        let read = match text_bytes(&fields) > limit {
            true => Err((None, RecordErrorKind::TooLong { limit })),
            false => record(records, fields),
        };
        let read = read.map(|record| (self.taken, record));
        let read = read.map_err(|(id, kind)| RecordError::in_row(self.taken, id, kind));
        (read, Kept::Batch { batch, row })
    }
}
