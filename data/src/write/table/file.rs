//! The file of a table, in any of its formats, and what they cannot hold.

use std::{fmt::Display, sync::Arc};

use arrow_array::{ArrayRef, RecordBatch};
use arrow_ipc::writer::{FileWriter, StreamWriter};
use arrow_schema::{DataType, Schema, SchemaRef};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression as PageCompression, ZstdLevel},
    errors::ParquetError,
    file::{metadata::KeyValue, properties::WriterProperties},
};

use crate::{error::DataError, format::Format, write::encoder::Encoder};

/// Bytes of a row group, encoded, that are held until it is written.
const ROW_GROUP_BYTES: usize = 64 << 20;

/// Half of what level 3 takes, and little larger.
const PAGE_LEVEL: i32 = 1;

pub(super) struct TableFile {
    format: Format,
    schema: SchemaRef,
    writer: TableWriter,
}

enum TableWriter {
    Parquet(ArrowWriter<Encoder>),
    File(FileWriter<Encoder>),
    Stream(StreamWriter<Encoder>),
}

impl TableFile {
    pub(super) fn new(
        encoder: Encoder,
        format: Format,
        schema: SchemaRef,
    ) -> Result<Self, DataError> {
        let writer = match format {
            Format::Parquet => {
                let properties = Some(properties(&schema));
                ArrowWriter::try_new(encoder, Arc::clone(&schema), properties)
                    .map(TableWriter::Parquet)
                    .map_err(|error| refused(format, &error))
            }
            Format::Arrow => FileWriter::try_new(encoder, &schema)
                .map(TableWriter::File)
                .map_err(|error| refused(format, &error)),
            _ => StreamWriter::try_new(encoder, &schema)
                .map(TableWriter::Stream)
                .map_err(|error| refused(format, &error)),
        };
        Ok(Self {
            format,
            schema,
            writer: writer?,
        })
    }

    pub(super) fn write(&mut self, columns: Vec<ArrayRef>) -> Result<(), DataError> {
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns);
        let written = batch
            .map_err(ParquetError::from)
            .and_then(|batch| match &mut self.writer {
                TableWriter::Parquet(writer) => {
                    writer.write(&batch)?;
                    match writer.in_progress_size() > ROW_GROUP_BYTES {
                        true => writer.flush(),
                        false => Ok(()),
                    }
                }
                TableWriter::File(writer) => writer.write(&batch).map_err(ParquetError::from),
                TableWriter::Stream(writer) => writer.write(&batch).map_err(ParquetError::from),
            });
        written.map_err(|error| refused(self.format, &error))
    }

    pub(super) fn close(self) -> Result<(), DataError> {
        let format = self.format;
        let encoder = match self.writer {
            TableWriter::Parquet(writer) => {
                writer.into_inner().map_err(|error| refused(format, &error))
            }
            TableWriter::File(writer) => {
                writer.into_inner().map_err(|error| refused(format, &error))
            }
            TableWriter::Stream(writer) => {
                writer.into_inner().map_err(|error| refused(format, &error))
            }
        };
        encoder?
            .finish()
            .map_err(|error| DataError::io("compress", "the output", error))
    }
}

/// Refuses columns that the format cannot hold.
pub(super) fn check(format: Format, schema: Schema) -> Result<(), DataError> {
    let dictionary = schema
        .fields()
        .iter()
        .find(|field| has_dictionary(field.data_type()));
    match (format, dictionary) {
        (Format::Parquet, _) => {
            let tried = ArrowWriter::try_new(std::io::sink(), Arc::new(schema), None);
            tried.map(drop).map_err(|error| refused(format, &error))
        }
        (Format::Arrow, Some(field)) => Err(DataError::Encode {
            format,
            problem: format!(
                "the column `{}` has values in dictionaries, which must be the same throughout a file: write a stream \
                 (--output-format arrow-stream), or Parquet",
                field.name()
            ),
        }),
        _ => Ok(()),
    }
}

pub(super) fn refused(format: Format, error: &dyn Display) -> DataError {
    DataError::Encode {
        format,
        problem: error.to_string(),
    }
}

fn properties(schema: &Schema) -> WriterProperties {
    let notes = schema.metadata().iter();
    let mut notes: Vec<_> = notes
        .map(|(key, value)| KeyValue::new(key.clone(), value.clone()))
        .collect();
    notes.sort_by(|one, other| one.key.cmp(&other.key));
    let level = ZstdLevel::try_new(PAGE_LEVEL).unwrap_or_default();
    WriterProperties::builder()
        .set_created_by(concat!("worldpm-ort ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(PageCompression::ZSTD(level))
        .set_key_value_metadata((!notes.is_empty()).then_some(notes))
        .build()
}

fn has_dictionary(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(..) => true,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => has_dictionary(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_dictionary(field.data_type())),
        _ => false,
    }
}
