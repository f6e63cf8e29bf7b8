//! Rows as cells with a separator between them (CSV).

use std::{io::Write, sync::Arc};

use worldpm_ort_runtime::json::{Json, Object};

use super::{
    encoder::Encoder,
    held::{HELD_BYTES, HELD_ROWS, Held, misfit},
    layout::{Layout, Naming},
};
use crate::{
    added::{Name, RowForm, Value},
    error::DataError,
    format::Format,
    options::WriteOptions,
    row::Kept,
    rows::step::text_bytes,
    shape::Shape,
};

pub(super) struct CellRows {
    encoder: Encoder,
    naming: Naming,
    format: Format,
    separator: u8,
    with_errors: bool,
    /// The columns of the input, where they are known beforehand.
    names: Option<Vec<String>>,
    like: Option<Arc<Object>>,
    /// Columns of rows that may not be written, and of how many.
    expected: Object,
    expected_rows: usize,
    held: Vec<Held>,
    held_bytes: usize,
    open: Option<Open>,
    written: usize,
}

struct Open {
    /// The columns of the input that are kept, and their places.
    kept: Vec<(usize, String)>,
    layout: Layout,
}

impl CellRows {
    pub(super) fn new(
        encoder: Encoder,
        options: &WriteOptions,
        shape: &Shape,
    ) -> Result<Self, DataError> {
        shape.check_json(options.format, |name| !options.only_scores || name == "id")?;
        let separator = match (options.format, shape) {
            (Format::Tsv, _) => b'\t',
            (_, Shape::Header { separator, .. }) if *separator != b'\t' => *separator,
            _ => b',',
        };
        Ok(Self {
            encoder,
            naming: Naming::of(options),
            format: options.format,
            separator,
            with_errors: options.with_errors,
            names: shape
                .names()
                .map(|names| names.into_iter().map(str::to_owned).collect()),
            like: shape.like(),
            expected: Object::new(),
            expected_rows: 0,
            held: Vec::new(),
            held_bytes: 0,
            open: None,
            written: 0,
        })
    }

    /// There are the columns of a row that may not be written, if it is one of the first.
    pub(super) fn expect(&mut self, kept: &Kept, values: &[(Name, Value)]) {
        if self.open.is_some() {
            return;
        }
        self.naming.expect(values);
        self.expected_rows += 1;
        if let (Kept::Fields(fields), true) = (kept, self.expected_rows <= HELD_ROWS) {
            for name in fields.keys() {
                if self.expected.get(name).is_none() {
                    self.expected.insert(name, Json::Null);
                }
            }
        }
    }

    pub(super) fn write(&mut self, held: Held) -> Result<(), DataError> {
        if self.open.is_some() {
            return self.put(held);
        }
        self.held_bytes += match &held.columns.0 {
            Kept::Fields(fields) => fields.values().map(text_bytes).sum(),
            _ => 0,
        };
        self.held.push(held);
        match self.held.len() < HELD_ROWS && self.held_bytes < HELD_BYTES {
            true => Ok(()),
            false => self.open(),
        }
    }

    /// Writes the names of the columns, and the rows that were held until they are known.
    fn open(&mut self) -> Result<(), DataError> {
        let held = std::mem::take(&mut self.held);
        let names = self.names.take().unwrap_or_else(|| {
            let mut all = std::mem::take(&mut self.expected);
            let of_rows = held.iter().filter_map(|row| match &row.columns.0 {
                Kept::Fields(fields) => Some(fields),
                _ => None,
            });
            for name in of_rows.chain(self.like.as_deref()).flat_map(Object::keys) {
                if all.get(name).is_none() {
                    all.insert(name, Json::Null);
                }
            }
            all.into_iter().map(|(name, _)| name).collect()
        });
        let form = RowForm::of_columns(|name| names.iter().any(|known| known == name));
        let layout = self.naming.layout(&held, self.with_errors, form);
        let added: Vec<_> = layout
            .0
            .iter()
            .map(|(name, _)| self.naming.added(name))
            .collect();
        let kept = names.into_iter().enumerate();
        let kept: Vec<_> = kept
            .filter(|(_, name)| self.naming.keeps(name) && !added.contains(name))
            .collect();
        let mut line = Line::new(self.separator);
        kept.iter()
            .map(|(_, name)| name)
            .chain(&added)
            .for_each(|name| line.text(name));
        self.put_line(line)?;
        self.open = Some(Open { kept, layout });
        held.into_iter().try_for_each(|row| self.put(row))
    }

    fn put(&mut self, held: Held) -> Result<(), DataError> {
        let Some(open) = &self.open else {
            return Ok(());
        };
        let number = self.written + 1;
        if let Some(name) = open.layout.lacks(&held) {
            return Err(misfit(
                number,
                name,
                "it is not among the columns of the first rows",
            ));
        }
        let mut line = Line::new(self.separator);
        match &held.columns.0 {
            Kept::Cells { cells, .. } => {
                open.kept.iter().for_each(|(at, _)| line.cell(&cells[*at]))
            }
            _ => {
                let object = match held.columns.0 {
                    Kept::Fields(fields) => fields,
                    _ => held.columns.to_object(),
                };
                let is_known = |name: &String| {
                    let is_added = || {
                        open.layout
                            .0
                            .iter()
                            .any(|(added, _)| self.naming.added(added) == *name)
                    };
                    !self.naming.keeps(name)
                        || open.kept.iter().any(|(_, kept)| kept == name)
                        || is_added()
                };
                if let Some(name) = object.keys().find(|name| !is_known(name)) {
                    return Err(misfit(
                        number,
                        name,
                        "it is not among the columns of the first rows",
                    ));
                }
                open.kept
                    .iter()
                    .for_each(|(_, name)| line.json(&object[name.as_str()]));
            }
        }
        for (name, _) in &open.layout.0 {
            let value = held.values.iter().find(|(added, _)| added == name);
            match value.map(|(_, value)| value) {
                Some(Value::Bool(value)) => line.json(&(*value).into()),
                Some(value) => line.json(&value.to_json().unwrap_or_default()),
                None => line.cell(""),
            }
        }
        self.written += 1;
        self.put_line(line)
    }

    fn put_line(&mut self, line: Line) -> Result<(), DataError> {
        self.encoder
            .write_all(&line.end())
            .map_err(|error| DataError::Encode {
                format: self.format,
                problem: error.to_string(),
            })
    }

    pub(super) fn close(mut self) -> Result<(), DataError> {
        let opened = match self.open {
            None => self.open(),
            Some(_) => Ok(()),
        };
        let ended = self.encoder.finish().map_err(|error| DataError::Encode {
            format: self.format,
            problem: error.to_string(),
        });
        opened.and(ended)
    }
}

/// A line of cells.
struct Line {
    bytes: Vec<u8>,
    separator: u8,
}

impl Line {
    fn new(separator: u8) -> Self {
        Self {
            bytes: Vec::with_capacity(256),
            separator,
        }
    }

    /// A cell as it was read, where nothing is as good as an empty text.
    fn cell(&mut self, text: &str) {
        let is_special = |byte: u8| byte == self.separator || matches!(byte, b'"' | b'\n' | b'\r');
        let stands_out = text.starts_with([' ', '\t', '\u{feff}']) || text.ends_with([' ', '\t']);
        if text.bytes().any(is_special) || stands_out {
            self.bytes.push(b'"');
            self.bytes.extend(text.replace('"', "\"\"").bytes());
            self.bytes.push(b'"');
        } else {
            self.bytes.extend_from_slice(text.as_bytes());
        }
        self.bytes.push(self.separator);
    }

    /// A text, which is not nothing where it is empty.
    fn text(&mut self, text: &str) {
        match text {
            "" => {
                self.bytes.extend_from_slice(b"\"\"");
                self.bytes.push(self.separator);
            }
            text => self.cell(text),
        }
    }

    /// Lists and objects are written as JSON.
    fn json(&mut self, value: &Json) {
        match value {
            Json::Null => self.cell(""),
            Json::String(text) => self.text(text),
            other => self.cell(&other.to_string()),
        }
    }

    fn end(mut self) -> Vec<u8> {
        // In place of the last separator.
        match self.bytes.last_mut() {
            Some(last) => *last = b'\n',
            None => self.bytes.push(b'\n'),
        }
        self.bytes
    }
}
