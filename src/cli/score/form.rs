//! What becomes of a record in the output: a short line, or its row with what was added.

use anyhow::{Result, bail};
use worldpm_ort_data::{
    Columns, Compression, Compressor, DataSet, Format, RowForm, WriteOptions, Writer,
};

use super::ScoreArgs;
use crate::{
    answers::{AnswerLine, Outcome},
    json::Json,
};

pub(super) enum Form {
    /// One JSON object a line, with the record's `id` and the answer.
    Lines(Option<Box<Compressor>>),
    /// The record's columns, and those of the answer.
    Rows(Box<Writer>),
}

impl Default for Form {
    fn default() -> Self {
        Self::Lines(None)
    }
}

/// What was added of a record.
pub(super) enum Added {
    Line(Vec<u8>),
    /// Bytes, which may be of records before.
    Bytes(Vec<u8>),
    /// Nothing: the row could not be read, and the output is a table of rows that were.
    Nothing,
}

impl Form {
    /// Whether rows may be kept whole.
    pub(super) fn may_keep(args: &ScoreArgs) -> bool {
        let (format, _) = shown(args);
        !args.data.only_scores || format.is_some_and(|format| format != Format::JsonLines)
    }

    pub(super) fn new(args: &ScoreArgs, set: &DataSet) -> Result<Self> {
        let formats = &args.data.formats;
        let (format, compression) = formats.output(&args.output, set.format())?;
        check(args, format, compression)?;
        if format == Format::JsonLines && args.data.only_scores {
            let compressor = match compression {
                Compression::None => None,
                _ => Some(Box::new(Compressor::new(compression)?)),
            };
            return Ok(Self::Lines(compressor));
        }
        let mut options = WriteOptions::new(format);
        options.compression = compression;
        options
            .added_prefix
            .clone_from(&args.data.added.added_prefix);
        options.overwrite = args.data.added.overwrite_columns;
        options.only_scores = args.data.only_scores;
        options.with_errors = args.keep_going;
        Ok(Self::Rows(Box::new(Writer::new(&options, set)?)))
    }

    /// Whether a row, one of the first, can be written, as far as is known before it is scored.
    pub(super) fn check(&mut self, columns: &Columns, row: Option<RowForm>) -> Result<()> {
        match self {
            Self::Lines(_) => Ok(()),
            Self::Rows(writer) => Ok(writer.check(columns, row)?),
        }
    }

    /// Adds a record.
    pub(super) fn add(
        &mut self,
        columns: Columns,
        id: Option<&Json>,
        outcome: Outcome,
    ) -> Result<Added> {
        match self {
            Self::Lines(compressor) => {
                let mut line = serde_json::to_vec(&AnswerLine { id, outcome })?;
                Ok(match compressor {
                    None => Added::Line(line),
                    Some(compressor) => {
                        line.push(b'\n');
                        Added::Bytes(compressor.write(&line)?)
                    }
                })
            }
            Self::Rows(writer) => Ok(match writer.write(columns, id, outcome)? {
                true => Added::Bytes(writer.take()),
                false => Added::Nothing,
            }),
        }
    }

    /// Adds a short line that was made before.
    pub(super) fn add_line(&mut self, mut line: Vec<u8>) -> Result<Added> {
        match self {
            Self::Lines(Some(compressor)) => {
                line.push(b'\n');
                Ok(Added::Bytes(compressor.write(&line)?))
            }
            Self::Lines(None) | Self::Rows(_) => Ok(Added::Line(line)),
        }
    }

    /// Ends the output, so that it can be read. Gives the bytes that are left, and what was wrong with the rows that they
    /// are of.
    pub(super) fn close(&mut self) -> (Vec<u8>, Result<()>) {
        match self {
            Self::Lines(compressor) => {
                match compressor.take().map(|compressor| compressor.finish()) {
                    None => (Vec::new(), Ok(())),
                    Some(Ok(bytes)) => (bytes, Ok(())),
                    Some(Err(error)) => (Vec::new(), Err(error.into())),
                }
            }
            Self::Rows(writer) => {
                let closed = writer.close();
                (writer.take(), closed.map_err(Into::into))
            }
        }
    }
}

/// The format and compression of the output, as far as the options show them.
pub(super) fn shown(args: &ScoreArgs) -> (Option<Format>, Compression) {
    args.data.formats.shown(&args.output)
}

fn check(args: &ScoreArgs, format: Format, compression: Compression) -> Result<()> {
    if args.append && (format != Format::JsonLines || compression != Compression::None) {
        bail!(
            "--append adds lines to JSON Lines that are not compressed, and the output is something else"
        );
    }
    Ok(())
}
