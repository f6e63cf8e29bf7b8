//! The outermost layer of a record: which fields it has.

use std::sync::Arc;

use super::layout::{Column, Columns};
use crate::json::{Json, JsonError, JsonErrorKind, Object, Parser};

/// How many fields are remembered by name.
const MAX_NAMES: usize = 28;

/// How many fields without a meaning are named.
const MAX_UNUSED: usize = 20;

/// A JSON value, before it is known to be a record.
#[derive(Debug)]
pub(crate) enum Raw {
    Object(Fields),
    Array(Vec<Json>),
    /// Neither; what it is instead.
    Scalar(&'static str),
}

impl Raw {
    /// Reads the text of one JSON value. Fields that have no meaning in any layout are skipped, unless all are to be kept.
    pub(super) fn parse(text: &str, columns: &Columns, keep_all: bool) -> Result<Self, JsonError> {
        let mut parser = Parser::new(text);
        let raw = match parser.peek() {
            Some(b'{') => {
                let mut fields = Fields {
                    all: keep_all.then(Object::new),
                    ..Fields::default()
                };
                parser.object(|parser, name, place| {
                    let column = columns.of(&name);
                    if column.is_none() && fields.all.is_none() {
                        fields.add_other(name);
                        return parser.skip();
                    }
                    let value = parser.value()?;
                    if let Some(all) = &mut fields.all {
                        let added = all.add(name.clone(), value.clone());
                        added.map_err(|name| {
                            parser.error_at(place, JsonErrorKind::RepeatedKey(name))
                        })?;
                    }
                    fields.add(name, column, value);
                    Ok(())
                })?;
                Self::Object(fields)
            }
            Some(b'[') => {
                let mut items = Vec::new();
                parser.array(|parser| {
                    items.push(parser.value()?);
                    Ok(())
                })?;
                Self::Array(items)
            }
            _ => Self::Scalar(parser.value()?.kind()),
        };
        parser.end()?;
        Ok(raw)
    }

    /// The same of a value that was read before.
    pub(super) fn of(value: Json, columns: &Columns, keep_all: bool) -> Self {
        match value {
            Json::Object(object) => Self::Object(Fields::of(object, columns, keep_all)),
            Json::Array(items) => Self::Array(items),
            other => Self::Scalar(other.kind()),
        }
    }

    /// Takes every field as it was read, where they were kept.
    pub(super) fn take_all(&mut self) -> Option<Object> {
        match self {
            Self::Object(fields) => fields.all.take(),
            Self::Array(_) | Self::Scalar(_) => None,
        }
    }

    /// Whether this is a message of a conversation, well-formed or not, rather
    /// than a record.
    pub(super) fn is_message(&self) -> bool {
        match self {
            Self::Object(fields) => fields.is_message && fields.present().is_empty(),
            Self::Array(_) | Self::Scalar(_) => false,
        }
    }
}

/// The fields of an object. Those that have no meaning are skipped, unless
/// all are kept: data sets carry columns larger than the conversation.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    known: Vec<(Column, Json)>,
    /// Every field as it was read, where that is wanted.
    pub(super) all: Option<Object>,
    /// Known fields that are null.
    null: Vec<Column>,
    /// The names of all but those that every form of record may have, in the order given; the first of them.
    names: Vec<(String, Option<Column>)>,
    is_message: bool,
    /// A known field that is there twice: JSON readers differ in which of the
    /// two they take.
    pub(super) repeated: Option<Column>,
}

/// What stands for one side of a conversation.
#[derive(Debug, Clone)]
pub(super) enum Content {
    Text(Arc<str>),
    Messages(Vec<Json>),
}

impl Fields {
    fn of(object: Object, columns: &Columns, keep_all: bool) -> Self {
        let mut fields = Self {
            all: keep_all.then(|| object.clone()),
            ..Self::default()
        };
        for (name, value) in object {
            let column = columns.of(&name);
            fields.add(name, column, value);
        }
        fields
    }

    fn add(&mut self, name: String, column: Option<Column>, value: Json) {
        let Some(column) = column else {
            return self.add_other(name);
        };
        if self.has(column) || self.null.contains(&column) {
            self.repeated = Some(column);
        }
        if !column.is_aside() && self.names.len() < MAX_NAMES {
            self.names.push((name, Some(column)));
        }
        match value {
            Json::Null => self.null.push(column),
            value => self.known.push((column, value)),
        }
    }

    fn add_other(&mut self, name: String) {
        self.is_message |= name == "role" || name == "content";
        if self.names.len() < MAX_NAMES {
            self.names.push((name, None));
        }
    }

    pub(super) fn take(&mut self, column: Column) -> Option<Json> {
        let position = self.known.iter().position(|(known, _)| *known == column)?;
        Some(self.known.swap_remove(position).1)
    }

    pub(super) fn get(&self, column: Column) -> Option<&Json> {
        let known = self.known.iter().find(|(known, _)| *known == column)?;
        Some(&known.1)
    }

    /// Whether a field is there and not null.
    pub(super) fn has(&self, column: Column) -> bool {
        self.get(column).is_some()
    }

    /// Whether there is a field of this name, among the first.
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.names.iter().any(|(known, _)| known == name)
    }

    /// The fields that are there and not null.
    pub(super) fn known(&self) -> impl Iterator<Item = (Column, &Json)> {
        self.known.iter().map(|(column, value)| (*column, value))
    }

    /// The fields present that say what is scored in plain records.
    pub(super) fn present(&self) -> Vec<Column> {
        let plain = Column::PLAIN.into_iter();
        plain.filter(|column| self.has(*column)).collect()
    }

    /// Names for an error: fields that say what is scored, and some others.
    pub(super) fn names(&self, columns: &Columns) -> Vec<String> {
        let present = self.present().into_iter();
        let others = self.names.iter().filter(|(_, column)| {
            column.is_none_or(|column| !Column::PLAIN.contains(&column) && self.has(column))
        });
        present
            .map(|column| columns.name(column).into_owned())
            .chain(others.map(|(name, _)| name.clone()))
            .collect()
    }

    /// The fields that are null and have a meaning that is more than that of a note.
    pub(super) fn null(&self, columns: &Columns) -> Vec<String> {
        let plain = Column::PLAIN.into_iter();
        let others = self.null.iter().copied();
        let others = others.filter(|column| !Column::PLAIN.contains(column) && !column.is_aside());
        plain
            .filter(|column| self.null.contains(column))
            .chain(others)
            .map(|column| columns.name(column).into_owned())
            .collect()
    }

    /// Takes the names of the fields that had no meaning: all but those that were taken.
    pub(super) fn take_unused(&mut self) -> Vec<String> {
        let names = std::mem::take(&mut self.names).into_iter();
        let unused = names.filter(|(_, column)| column.is_none_or(|column| self.has(column)));
        unused.map(|(name, _)| name).take(MAX_UNUSED).collect()
    }
}
