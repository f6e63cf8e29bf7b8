//! Rows of a data set, read by the layout of the first.

use std::fmt;

use super::{
    column::Column,
    form::{self, AS_NAMED, Form},
    kind::{Kind, kind},
    names::{ColumnNames, ColumnNamesError, Columns},
    read::read,
};
use crate::{
    json::Json,
    records::{
        body::{Body, RawConversation, Split},
        error::RecordErrorKind,
        fields::{Fields, Raw},
        record::{Record, parse},
        source::Position,
    },
};

/// What the columns of a data set mean. Its text says so: `UltraFeedback-binarized: chosen, rejected are message lists`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    form: Form,
    name: &'static str,
    columns: Vec<(String, Kind)>,
}

impl Layout {
    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The columns that say what is scored, of the row that it was found by.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|(name, _)| name.as_str())
    }

    fn of(form: Form, fields: &Fields, columns: &Columns) -> Self {
        let read = form.reads(fields).into_iter();
        let columns_read = read.filter_map(|column| {
            let value = fields.get(column)?;
            Some((columns.name(column).into_owned(), kind(value)))
        });
        Self {
            form,
            name: match columns.are_named() {
                true => AS_NAMED,
                false => name(form, fields),
            },
            columns: columns_read.collect(),
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        let alike = self.columns.chunk_by(|(_, one), (_, other)| one == other);
        for (index, columns) in alike.enumerate() {
            let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
            let (one, several) = columns[0].1.words();
            let are = if names.len() == 1 { one } else { several };
            let before = if index == 0 { ":" } else { ";" };
            write!(f, "{before} {} {are}", names.join(", "))?;
        }
        Ok(())
    }
}

/// The name of a layout, where columns that are not read tell data sets apart that are read alike.
fn name(form: Form, fields: &Fields) -> &'static str {
    let is_named = |name| fields.is_named(name);
    let is = |column, expected| fields.get(column).map(kind) == Some(expected);
    match form {
        Form::Pair if is(Column::Chosen, Kind::Messages) && is_named("score_chosen") => {
            "UltraFeedback-binarized"
        }
        Form::Pair if is_named("subset") && is_named("chosen_model") => "RewardBench",
        Form::Pair if fields.has(Column::Prompt) => "TRL preference, explicit prompt",
        Form::Pair => "TRL preference, implicit prompt",
        Form::Groups if is_named("num_correct") || is_named("subset") => "RewardBench 2",
        Form::Groups if is_named("domain") => "RM-Bench",
        Form::Completion if fields.has(Column::Label) => "TRL unpaired preference",
        other => other.name(),
    }
}

/// Reads rows of a data set. The first whose columns make a layout decides on it, and the others are read by it. Only the
/// plain forms of records may follow one another, since each says by its fields which one it is.
///
/// ```
/// # use worldpm_ort_runtime as worldpm_ort;
/// use serde_json::json;
/// use worldpm_ort::records::RowReader;
///
/// let mut rows = RowReader::default();
/// let row = |label| json!({"question": "2 + 2?", "response_A": "4", "response_B": "5", "label": label});
/// rows.read(row("A>B")).unwrap();
/// assert_eq!(rows.layout().unwrap().name(), "JudgeBench");
/// let error = rows.read(json!({"prompt": "2 + 2?", "response": "4"})).unwrap_err();
/// assert!(error.to_string().starts_with("the record does not fit the layout JudgeBench"));
/// ```
#[derive(Debug, Default)]
pub struct RowReader {
    columns: Columns,
    layout: Option<Layout>,
    keeps_fields: bool,
}

/// A row that is no record of the layout. Its text does not say which row.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
#[non_exhaustive]
pub struct RowError {
    /// The row's `id`, if that could be read.
    pub id: Option<Json>,
    /// What is wrong.
    pub kind: Box<RecordErrorKind>,
}

type Refused = (Option<Json>, Box<RecordErrorKind>);

impl RowReader {
    /// A reader of rows whose columns are named so.
    ///
    /// # Errors
    /// Names that do not go together.
    pub fn new(names: &ColumnNames) -> Result<Self, ColumnNamesError> {
        Ok(Self {
            columns: Columns::new(names)?,
            ..Self::default()
        })
    }

    /// Keeps every field of a row in [`Record::fields`].
    #[must_use]
    pub fn with_fields_kept(mut self) -> Self {
        self.keeps_fields = true;
        self
    }

    /// The layout, once a row has decided on it.
    #[must_use]
    pub fn layout(&self) -> Option<&Layout> {
        self.layout.as_ref()
    }

    /// Reads by the layout that another reader found in the same data set.
    #[must_use]
    pub fn with_layout(mut self, layout: Layout) -> Self {
        self.layout = Some(layout);
        self
    }

    /// Reads the next row.
    ///
    /// # Errors
    /// A value that is no record, or not one of the layout.
    pub fn read(&mut self, row: impl Into<Json>) -> Result<Record, RowError> {
        let raw = Raw::of(row.into(), &self.columns, self.keeps_fields);
        self.read_raw(raw)
            .map_err(|(id, kind)| RowError { id, kind })
    }

    /// The value of a JSON text that stands at `start` in the input.
    pub(crate) fn parse(&self, json: &[u8], start: Position) -> Result<Raw, RecordErrorKind> {
        parse(json, start, &self.columns, self.keeps_fields)
    }

    pub(crate) fn read_as(&mut self, other: &Self) {
        self.columns = other.columns.clone();
        self.layout = other.layout.clone();
    }

    pub(crate) fn keep_fields(&mut self) {
        self.keeps_fields = true;
    }

    /// Reads by the layout that another reader found in the same data set from now on.
    pub fn set_layout(&mut self, layout: Layout) {
        self.layout = Some(layout);
    }

    pub(crate) fn set_columns(&mut self, names: &ColumnNames) -> Result<(), ColumnNamesError> {
        self.columns = Columns::new(names)?;
        Ok(())
    }

    /// On failure also gives the record's id, if that could be read.
    pub(crate) fn read_raw(&mut self, raw: Raw) -> Result<Record, Refused> {
        let mut fields = match raw {
            Raw::Scalar(found) => return Err((None, RecordErrorKind::NotARecord { found }.into())),
            Raw::Array(messages) => {
                return self.read_list(messages).map_err(|kind| (None, kind.into()));
            }
            Raw::Object(fields) => fields,
        };
        let id = match fields.take(Column::Id) {
            None => None,
            Some(id @ (Json::String(_) | Json::Number(_))) => Some(id),
            Some(other) => {
                let kind = RecordErrorKind::wrong_type("id", "a string or a number", &other);
                return Err((None, kind.into()));
            }
        };
        match self.read_fields(&mut fields) {
            Ok((body, split)) => Ok(Record {
                id,
                fields: fields.all.take(),
                body,
                split,
                unused: fields.take_unused(),
            }),
            Err(kind) => Err((id, kind.into())),
        }
    }

    fn read_fields(&mut self, fields: &mut Fields) -> Result<(Body, Split), RecordErrorKind> {
        if let Some(column) = fields.repeated {
            let field = self.columns.name(column);
            return Err(RecordErrorKind::RepeatedField { field });
        }
        let form = self.form_of(fields)?;
        if self.layout.is_none() {
            self.layout = Some(Layout::of(form, fields, &self.columns));
        }
        read(form, fields, &self.columns)
    }

    fn form_of(&self, fields: &Fields) -> Result<Form, RecordErrorKind> {
        let decided = self.layout.as_ref().map(|layout| layout.form);
        match decided {
            None => form::find(fields, &self.columns),
            Some(form) if form.is_plain() => match form::find(fields, &self.columns)? {
                // The numbers that tell it from others may be null in some rows.
                Form::Response if form == Form::HelpSteer2 => Ok(form),
                found if found.is_plain() => Ok(found),
                _ => Err(form.other(fields, &self.columns)),
            },
            Some(form) => form.check_fits(fields, &self.columns).map(|()| form),
        }
    }

    fn read_list(&mut self, messages: Vec<Json>) -> Result<Record, RecordErrorKind> {
        let form = self
            .layout
            .as_ref()
            .map_or(Form::List, |layout| layout.form);
        if !form.is_plain() || self.columns.are_named() {
            return Err(form.other(&Fields::default(), &self.columns));
        }
        self.layout.get_or_insert_with(|| Layout {
            form,
            name: form.name(),
            columns: Vec::new(),
        });
        Ok(Record {
            id: None,
            fields: None,
            body: Body::Single(RawConversation {
                messages,
                tools: None,
            }),
            split: Split::default(),
            unused: Vec::new(),
        })
    }
}

impl Record {
    /// Reads a record from the text of one JSON value.
    ///
    /// # Errors
    ///
    /// Text that is not JSON, or not a record of a known layout.
    pub fn from_slice(json: &[u8]) -> Result<Self, RecordErrorKind> {
        let mut rows = RowReader::default();
        let raw = rows.parse(json, Position::START)?;
        rows.read_raw(raw).map_err(|(_, kind)| *kind)
    }

    /// Reads a record from a JSON value.
    ///
    /// # Errors
    ///
    /// A value that is not a record of a known layout.
    pub fn from_value(value: impl Into<Json>) -> Result<Self, RecordErrorKind> {
        let mut rows = RowReader::default();
        let raw = Raw::of(value.into(), &rows.columns, false);
        rows.read_raw(raw).map_err(|(_, kind)| *kind)
    }
}
