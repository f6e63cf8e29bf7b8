//! Rows as JSON: one a line, or a list of them.

use std::io::{self, Write};

use worldpm_ort_runtime::json::{Json, Object};

use super::{encoder::Encoder, held::Held, layout::Naming};
use crate::{error::DataError, format::Format, options::WriteOptions, row::Kept, shape::Shape};

pub(super) struct JsonRows {
    encoder: Encoder,
    naming: Naming,
    format: Format,
    rows: usize,
}

impl JsonRows {
    pub(super) fn new(
        encoder: Encoder,
        options: &WriteOptions,
        shape: &Shape,
    ) -> Result<Self, DataError> {
        shape.check_json(options.format, |name| !options.only_scores || name == "id")?;
        Ok(Self {
            encoder,
            naming: Naming::of(options),
            format: options.format,
            rows: 0,
        })
    }

    pub(super) fn write(
        &mut self,
        held: Held,
        id: Option<&Json>,
        line: Option<usize>,
    ) -> Result<(), DataError> {
        let mut object = match held.columns.0 {
            Kept::Fields(fields) => fields,
            Kept::Nothing => id
                .map(|id| ("id".to_owned(), id.clone()))
                .into_iter()
                .collect(),
            _ => held.columns.to_object(),
        };
        if self.naming.only_id {
            let id = object.remove("id");
            object = id.map(|id| ("id".to_owned(), id)).into_iter().collect();
        }
        if let Some(line) = line {
            object.insert("line", line);
        }
        for (name, value) in &held.values {
            let name = self.naming.added(name);
            object.remove(&name);
            if let Some(value) = value.to_json() {
                object.insert(name, value);
            }
        }
        self.put(&object).map_err(|error| DataError::Encode {
            format: self.format,
            problem: error.to_string(),
        })
    }

    fn put(&mut self, object: &Object) -> io::Result<()> {
        let before: &[u8] = match (self.format, self.rows) {
            (Format::Json, 0) => b"[\n",
            (Format::Json, _) => b",\n",
            _ => b"",
        };
        let mut text = before.to_vec();
        serde_json::to_writer(&mut text, object)?;
        if self.format != Format::Json {
            text.push(b'\n');
        }
        self.rows += 1;
        self.encoder.write_all(&text)
    }

    pub(super) fn close(mut self) -> Result<(), DataError> {
        let end: &[u8] = match (self.format, self.rows) {
            (Format::Json, 0) => b"[]\n",
            (Format::Json, _) => b"\n]\n",
            _ => b"",
        };
        let ended = self
            .encoder
            .write_all(end)
            .and_then(|()| self.encoder.finish());
        ended.map_err(|error| DataError::Encode {
            format: self.format,
            problem: error.to_string(),
        })
    }
}
