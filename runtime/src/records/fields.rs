//! The outermost layer of a record: which fields it has.

use std::sync::Arc;

use super::error::RecordErrorKind;
use crate::json::{Json, JsonError, JsonErrorKind, Object, Parser};

/// The fields that say what is scored, in the order in which forms name them.
const BODY: [&str; 5] = ["messages", "prompt", "response", "chosen", "rejected"];
const OTHERS: [&str; 4] = ["id", "tools", "system", "system_prompt"];

/// How many other fields are remembered by name.
const MAX_OTHERS: usize = 20;

/// A JSON value, before it is known to be a record.
#[derive(Debug)]
pub(super) enum Raw {
    Object(Fields),
    Array(Vec<Json>),
    /// Neither; what it is instead.
    Scalar(&'static str),
}

impl Raw {
    /// Reads the text of one JSON value. Fields that records do not have are skipped, unless all are to be kept.
    pub(super) fn parse(text: &str, keep_all: bool) -> Result<Self, JsonError> {
        let mut parser = Parser::new(text);
        let raw = match parser.peek() {
            Some(b'{') => {
                let mut fields = Fields {
                    all: keep_all.then(Object::new),
                    ..Fields::default()
                };
                parser.object(|parser, name, place| {
                    let known = known(&name);
                    if known.is_none() && fields.all.is_none() {
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
                    match known {
                        Some(known) => fields.add(known, value),
                        None => fields.add_other(name),
                    }
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

impl From<Json> for Raw {
    fn from(value: Json) -> Self {
        match value {
            Json::Object(object) => Self::Object(object.into()),
            Json::Array(items) => Self::Array(items),
            other => Self::Scalar(other.kind()),
        }
    }
}

fn known(name: &str) -> Option<&'static str> {
    BODY.into_iter().chain(OTHERS).find(|known| *known == name)
}

/// The fields of an object. Those that records do not have are skipped, unless
/// all are kept: data sets carry columns larger than the conversation.
#[derive(Debug, Default)]
pub(super) struct Fields {
    known: Vec<(&'static str, Json)>,
    /// Every field as it was read, where that is wanted.
    pub(super) all: Option<Object>,
    /// Known fields that are null.
    null: Vec<&'static str>,
    others: Vec<String>,
    is_message: bool,
    /// A known field that is there twice: JSON readers differ in which of the
    /// two they take.
    pub(super) repeated: Option<&'static str>,
}

impl From<Object> for Fields {
    fn from(object: Object) -> Self {
        let mut fields = Self::default();
        for (name, value) in object {
            match known(&name) {
                Some(known) => fields.add(known, value),
                None => fields.add_other(name),
            }
        }
        fields
    }
}

/// What stands for one side of a conversation.
#[derive(Debug, Clone)]
pub(super) enum Content {
    Text(Arc<str>),
    Messages(Vec<Json>),
}

impl Fields {
    fn add(&mut self, name: &'static str, value: Json) {
        if self.get(name).is_some() || self.null.contains(&name) {
            self.repeated = Some(name);
        }
        match value {
            Json::Null => self.null.push(name),
            value => self.known.push((name, value)),
        }
    }

    fn add_other(&mut self, name: String) {
        self.is_message |= name == "role" || name == "content";
        if self.others.len() < MAX_OTHERS {
            self.others.push(name);
        }
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Json> {
        let position = self.known.iter().position(|(known, _)| *known == name)?;
        Some(self.known.swap_remove(position).1)
    }

    /// Takes a field that is a string or a list of messages.
    pub(super) fn content(&mut self, name: &'static str) -> Result<Content, RecordErrorKind> {
        match self.take(name).unwrap_or_default() {
            Json::String(text) => Ok(Content::Text(text)),
            Json::Array(messages) => Ok(Content::Messages(messages)),
            other => Err(RecordErrorKind::wrong_type(
                name,
                "a string or a list of messages",
                &other,
            )),
        }
    }

    /// Takes a field that is a list.
    pub(super) fn list(
        &mut self,
        name: &'static str,
        expected: &'static str,
    ) -> Result<Vec<Json>, RecordErrorKind> {
        match self.take(name).unwrap_or_default() {
            Json::Array(list) => Ok(list),
            other => Err(RecordErrorKind::wrong_type(name, expected, &other)),
        }
    }

    /// Takes the system prompt, which has two names.
    pub(super) fn system(&mut self) -> Result<Option<Arc<str>>, RecordErrorKind> {
        let mut found = None;
        for name in ["system", "system_prompt"] {
            let text = match self.take(name) {
                None => continue,
                Some(Json::String(text)) => text,
                Some(other) => {
                    return Err(RecordErrorKind::wrong_type(name, "a string", &other));
                }
            };
            if found.as_ref().is_some_and(|found| *found != text) {
                return Err(RecordErrorKind::SystemDiffers {
                    one: "system",
                    other: "system_prompt",
                });
            }
            found = Some(text);
        }
        Ok(found)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Json> {
        let known = self.known.iter().find(|(known, _)| *known == name)?;
        Some(&known.1)
    }

    /// The fields present that say what is scored.
    pub(super) fn present(&self) -> Vec<&'static str> {
        let is_known = |name: &&str| self.known.iter().any(|(known, _)| known == name);
        BODY.into_iter().filter(is_known).collect()
    }

    /// Names for an error: fields that say what is scored, and some others.
    pub(super) fn names(&self) -> Vec<String> {
        let present = self.present().into_iter().map(String::from);
        present.chain(self.others.iter().cloned()).collect()
    }

    /// The fields that say what is scored and are null.
    pub(super) fn null(&self) -> Vec<String> {
        let is_null = |name: &&str| self.null.contains(name);
        BODY.into_iter().filter(is_null).map(String::from).collect()
    }

    /// Takes the names of the fields that have no meaning here, the first of them.
    pub(super) fn take_others(&mut self) -> Vec<String> {
        std::mem::take(&mut self.others)
    }
}
