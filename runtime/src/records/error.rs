//! What can be wrong with an input record.

use std::{borrow::Cow, fmt, io};

use thiserror::Error;

use super::{format::Format, source::Position};
use crate::{
    error::ErrorKind,
    json::{Json, JsonError, JsonErrorKind, Object},
};

/// A record that could not be read, and where it stands.
#[derive(Debug)]
#[non_exhaustive]
pub struct RecordError {
    /// The line where the record starts, from 1.
    pub line: usize,
    /// The record's place in the list, from 1, when the input is one JSON list.
    pub element: Option<usize>,
    /// The record's `id`, if that could be read.
    pub id: Option<Json>,
    /// All its fields, where they could be read and the reader was asked to keep them.
    pub fields: Option<Object>,
    /// Whether `line` counts rows of a table in place of lines.
    pub(super) counts_rows: bool,
    /// Whether reading ends here. Otherwise the next record can still be read.
    pub is_fatal: bool,
    /// What is wrong.
    pub kind: Box<RecordErrorKind>,
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let RecordErrorKind::Told { .. } = *self.kind {
            return write!(f, "{}", self.kind);
        }
        let unit = if self.counts_rows { "row" } else { "line" };
        write!(f, "{unit} {}", self.line)?;
        if let Some(element) = self.element {
            write!(f, ", element {element}")?;
        }
        write!(f, ": {}", self.kind)?;
        let is_plain = matches!(
            *self.kind,
            RecordErrorKind::Io(_) | RecordErrorKind::Format { .. } | RecordErrorKind::Source(_)
        );
        if self.is_fatal && !is_plain {
            f.write_str(
                "; nothing after it is read, since where the next record starts is unsure",
            )?;
        }
        Ok(())
    }
}

impl RecordError {
    /// Of what stands in a line, of a source of records that is not JSON.
    #[must_use]
    pub fn in_line(line: usize, id: Option<Json>, kind: RecordErrorKind) -> Self {
        Self {
            line,
            element: None,
            id,
            fields: None,
            counts_rows: false,
            is_fatal: false,
            kind: kind.into(),
        }
    }

    /// Of what stands in a row of a table, which `line` then counts.
    #[must_use]
    pub fn in_row(row: usize, id: Option<Json>, kind: RecordErrorKind) -> Self {
        Self {
            counts_rows: true,
            ..Self::in_line(row, id, kind)
        }
    }

    /// The same, where nothing after it is read.
    #[must_use]
    pub fn fatal(self) -> Self {
        Self {
            is_fatal: true,
            ..self
        }
    }
}

// The kind, with what caused it, is part of the message above.
impl std::error::Error for RecordError {}

/// What is wrong with a record.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecordErrorKind {
    /// The input could not be read.
    #[error("the input could not be read: {0}")]
    Io(io::Error),
    /// Something else that records come from says why there is none here.
    #[error("{0}")]
    Source(Box<dyn std::error::Error + Send + Sync>),
    /// It was reported before, with its place; only its text and its kind are known.
    #[error("{text}")]
    Told {
        /// All that was said.
        text: String,
        /// What kind of error it was.
        kind: ErrorKind,
    },
    /// The text is not JSON.
    #[error("not valid JSON: {message} (line {line}, column {column})")]
    Syntax {
        /// The line where reading stopped, from 1.
        line: usize,
        /// The byte of that line, from 1.
        column: usize,
        /// What the parser met.
        message: String,
    },
    /// An object has a key twice.
    #[error(
        "the key {key:?} is there twice in one object: keep one (line {line}, column {column})"
    )]
    RepeatedKey {
        /// The key.
        key: String,
        /// The line where it stands for the second time, from 1.
        line: usize,
        /// The byte of that line, from 1.
        column: usize,
    },
    /// The input is of another format.
    #[error("the input is {found}: {remedy}")]
    Format {
        /// What it is.
        found: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// The text is not UTF-8.
    #[error("not valid UTF-8 at line {line}, byte {column}: convert the input to UTF-8")]
    NotUtf8 {
        /// The line of the first wrong byte, from 1.
        line: usize,
        /// Its place in that line, from 1.
        column: usize,
    },
    /// A record is longer than the reader's limit.
    #[error(
        "the record is longer than {limit} bytes, the most that is read: \
         split it, or raise the limit (--max-record-bytes)"
    )]
    TooLong {
        /// The limit in force, in bytes.
        limit: usize,
    },
    /// JSON, but neither an object nor a list.
    #[error("expected a record (an object, or a list of messages), found {found}")]
    NotARecord {
        /// What there is instead.
        found: &'static str,
    },
    /// The fields present make none of the forms, or more than one.
    #[error(
        "the record's fields must make exactly one form: `messages`, or `prompt` and `response`, \
         or `chosen` and `rejected` with or without `prompt`, or those of another layout that is known; found {}{}{}",
        list(present),
        nulls(null),
        near.as_ref().map(ToString::to_string).unwrap_or_default()
    )]
    NoSingleForm {
        /// Fields of the record that are not null: those that have a meaning,
        /// then some of the others.
        present: Vec<String>,
        /// Fields with a meaning that are null.
        null: Vec<String>,
        /// The layout that it is nearest to, where there is one.
        near: Option<NearLayout>,
    },
    /// The fields make several layouts.
    #[error(
        "the record's fields make several layouts: {}; name the columns that are meant (--prompt-column, \
         --response-column, --chosen-column, …)",
        layouts.join(", and ")
    )]
    SeveralLayouts {
        /// The name of each, and its columns.
        layouts: Vec<String>,
    },
    /// The record is not of the layout that the records before it have.
    #[error(
        "the record does not fit the layout {layout}, which has {}; found {}{}",
        list(needed),
        list(present),
        nulls(null)
    )]
    OtherLayout {
        /// The layout of the records before it, or of the columns that were named.
        layout: String,
        /// The columns that it must have.
        needed: Vec<String>,
        /// Fields of the record that are not null.
        present: Vec<String>,
        /// Fields with a meaning that are null.
        null: Vec<String>,
    },
    /// A column holds a part of the conversation, and the layout has no place for it.
    #[error(
        "`{field}` holds a part of the conversation, which would be scored without it, since it has no place in the \
         layout {layout}: name the columns that are meant (--prompt-column, --system-column, …), or leave it out \
         (--ignore-column {field})"
    )]
    PartIgnored {
        /// The column.
        field: Cow<'static, str>,
        /// The layout.
        layout: &'static str,
    },
    /// A field with a meaning is there more than once.
    #[error("the field `{field}` is there more than once: keep one")]
    RepeatedField {
        /// The field.
        field: Cow<'static, str>,
    },
    /// Two system prompts are given, and they are not the same.
    #[error("`{one}` and {other} give different system prompts: keep one")]
    SystemDiffers {
        /// The field of one of them.
        one: Cow<'static, str>,
        /// Where the other is.
        other: String,
    },
    /// A field holds another type of value than it must.
    #[error("`{field}` must be {expected}, found {found}")]
    WrongType {
        /// The field.
        field: Cow<'static, str>,
        /// What it may hold.
        expected: &'static str,
        /// What it holds.
        found: &'static str,
    },
    /// Prompt and completion are not of one kind.
    #[error(
        "`{prompt}` and `{field}` must both be strings or both be lists of messages, \
         found one of each"
    )]
    MixedContent {
        /// The prompt.
        prompt: Cow<'static, str>,
        /// The completion.
        field: Cow<'static, str>,
    },
    /// A completion is text, and there is no prompt that it answers.
    #[error("`{field}` is a string, so a string `prompt` must say what it answers")]
    NoPrompt {
        /// The completion.
        field: Cow<'static, str>,
    },
    /// A completion has only an answer, and there is no prompt that it answers.
    #[error("`{field}` has nothing before the answer, so a `prompt` must say what it answers")]
    OnlyAnswer {
        /// The completion.
        field: Cow<'static, str>,
    },
    /// A completion begins with the prompt, which would then be there twice.
    #[error(
        "`{field}` begins with the messages of `{prompt}`: leave `{prompt}` out, \
         or keep only the messages after it in `{field}`"
    )]
    PromptRepeated {
        /// The prompt.
        prompt: Cow<'static, str>,
        /// The completion.
        field: Cow<'static, str>,
    },
    /// A list of answers has none.
    #[error("`{field}` is an empty list: there is nothing to score")]
    NoAnswers {
        /// The list.
        field: Cow<'static, str>,
    },
    /// A text that should be a transcript is none.
    #[error("`{field}` is not a transcript of \"Human:\" and \"Assistant:\" turns: {problem}")]
    NotATranscript {
        /// The field.
        field: Cow<'static, str>,
        /// Where it leaves the pattern.
        problem: String,
    },
    /// What says which answer is preferred says nothing that is known.
    #[error("`{field}` must be {expected}, found {found}")]
    NoPreference {
        /// The field.
        field: Cow<'static, str>,
        /// What it may hold.
        expected: &'static str,
        /// What it holds.
        found: String,
    },
}

/// A layout that a record would have, were other columns there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NearLayout {
    /// Its name.
    pub name: &'static str,
    /// The columns that are missing or null.
    pub missing: Vec<String>,
}

impl fmt::Display for NearLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "; for {} it lacks {}", self.name, list(&self.missing))
    }
}

impl RecordErrorKind {
    pub(super) fn wrong_type(
        field: impl Into<Cow<'static, str>>,
        expected: &'static str,
        value: &Json,
    ) -> Self {
        Self::WrongType {
            field: field.into(),
            expected,
            found: value.kind(),
        }
    }

    pub(super) fn format(format: Format) -> Self {
        Self::Format {
            found: format.name(),
            remedy: format.remedy(),
        }
    }

    /// Of text that stands at `start` in the input.
    pub(super) fn from_json(error: JsonError, start: Position) -> Self {
        let column = match error.line {
            1 => start.column + error.column - 1,
            _ => error.column,
        };
        let line = start.line + error.line - 1;
        match error.kind {
            JsonErrorKind::RepeatedKey(key) => Self::RepeatedKey { key, line, column },
            kind => Self::Syntax {
                line,
                column,
                message: kind.to_string(),
            },
        }
    }

    /// Of bytes that stand at `start` in the input and are not UTF-8 from `valid` on.
    pub(super) fn not_utf8(bytes: &[u8], valid: usize, start: Position) -> Self {
        let Position { line, column } = start.after(&bytes[..valid]);
        Self::NotUtf8 { line, column }
    }

    pub(super) fn syntax(at: Position, message: &str) -> Self {
        Self::Syntax {
            line: at.line,
            column: at.column,
            message: message.to_owned(),
        }
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "none of them".to_owned();
    }
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

fn nulls(names: &[String]) -> String {
    names
        .iter()
        .map(|name| format!("; `{name}` is null"))
        .collect()
}

impl RecordErrorKind {
    /// What kind of error this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Io(_) => ErrorKind::Unavailable,
            Self::TooLong { .. } => ErrorKind::TooLong,
            Self::Told { kind, .. } => *kind,
            _ => ErrorKind::InvalidInput,
        }
    }
}
