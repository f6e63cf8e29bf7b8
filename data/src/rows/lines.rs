//! Rows of JSON, by the library's own reader of records.

use worldpm_ort_runtime::{
    json::{Json, Object},
    records::{Body, Record, RecordReader, RowReader},
};

use super::step::{PlainStep, Step};
use crate::{input::Stream, options::ReadOptions, row::Kept};

pub(super) struct Lines {
    records: RecordReader<Stream>,
    keeps: bool,
}

impl Lines {
    pub(super) fn new(stream: Stream, options: &ReadOptions) -> Self {
        let mut records = RecordReader::new(stream).with_max_record_bytes(options.max_record_bytes);
        if options.keep_fields {
            records = records.with_fields_kept();
        }
        Self {
            records,
            keeps: options.keep_fields,
        }
    }

    /// What the columns mean is known from the files before, or it is learnt from this one.
    pub(super) fn next(&mut self, records: &mut RowReader) -> Option<Step> {
        if self.records.layout().is_none() {
            self.records.share_rows(records);
        }
        let mut read = self.records.next()?;
        if records.layout().is_none()
            && let Some(layout) = self.records.layout()
        {
            records.set_layout(layout.clone());
        }
        let fields = match &mut read {
            Ok((_, record)) => {
                let fields = record.fields.take();
                fields.or_else(|| self.keeps.then(|| bare(record))?)
            }
            Err(error) => error.fields.take(),
        };
        Some((read, fields.map_or(Kept::Nothing, Kept::Fields)))
    }
}

impl Lines {
    /// What the columns mean is not asked: any object is a row.
    pub(super) fn next_plain(&mut self) -> Option<PlainStep> {
        let (line, fields) = match self.records.next()? {
            Ok((line, mut record)) => {
                let fields = record.fields.take();
                (line, fields.or_else(|| bare(&record)))
            }
            Err(mut error) => match error.fields.take() {
                Some(fields) => (error.line, Some(fields)),
                None => return Some((Err(error), Kept::Nothing)),
            },
        };
        Some((Ok(line), fields.map_or(Kept::Nothing, Kept::Fields)))
    }
}

/// The columns of a record that is a list of messages: one, of that list.
fn bare(record: &Record) -> Option<Object> {
    let Body::Single(conversation) = &record.body else {
        return None;
    };
    let mut fields = Object::new();
    fields.insert("messages", Json::Array(conversation.messages.clone()));
    Some(fields)
}
