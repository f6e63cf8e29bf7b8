//! The outermost layer of a record: which fields it has.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::error::RecordErrorKind;

/// The fields that say what is scored, in the order in which forms name them.
const BODY: [&str; 5] = ["messages", "prompt", "response", "chosen", "rejected"];
const OTHERS: [&str; 2] = ["id", "tools"];

/// How many other fields an error lists.
const MAX_OTHERS: usize = 20;

/// A JSON value, before it is known to be a record.
#[derive(Debug)]
pub(super) enum Raw {
    Object(Fields),
    Array(Vec<Value>),
    /// Neither; what it is instead.
    Scalar(&'static str),
}

impl Raw {
    /// Whether this is a message of a conversation, well-formed or not, rather
    /// than a record.
    pub(super) fn is_message(&self) -> bool {
        match self {
            Self::Object(fields) => fields.is_message && fields.present().is_empty(),
            Self::Array(_) | Self::Scalar(_) => false,
        }
    }
}

/// The fields of an object. Those that records do not have are skipped without
/// being kept: data sets carry columns larger than the conversation.
#[derive(Debug, Default)]
pub(super) struct Fields {
    known: Vec<(&'static str, Value)>,
    others: Vec<String>,
    is_message: bool,
    /// A known field that is there twice: JSON readers differ in which of the
    /// two they take.
    pub(super) repeated: Option<&'static str>,
}

/// What stands for one side of a conversation.
#[derive(Debug)]
pub(super) enum Content {
    Text(String),
    Messages(Vec<Value>),
}

impl Fields {
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        let position = self.known.iter().position(|(known, _)| *known == name)?;
        Some(self.known.swap_remove(position).1)
    }

    /// Takes a field that is a string or a list of messages.
    pub(super) fn content(&mut self, name: &'static str) -> Result<Content, RecordErrorKind> {
        match self.take(name).unwrap_or_default() {
            Value::String(text) => Ok(Content::Text(text)),
            Value::Array(messages) => Ok(Content::Messages(messages)),
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
    ) -> Result<Vec<Value>, RecordErrorKind> {
        match self.take(name).unwrap_or_default() {
            Value::Array(list) => Ok(list),
            other => Err(RecordErrorKind::wrong_type(name, expected, &other)),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
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
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut fields = Fields::default();
        let mut seen = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            let Some(known) = BODY.into_iter().chain(OTHERS).find(|known| *known == name) else {
                map.next_value::<IgnoredAny>()?;
                fields.is_message |= name == "role" || name == "content";
                if fields.others.len() < MAX_OTHERS {
                    fields.others.push(name);
                }
                continue;
            };
            if seen.contains(&known) {
                fields.repeated = Some(known);
            }
            seen.push(known);
            let value: Value = map.next_value()?;
            if !value.is_null() {
                fields.known.push((known, value));
            }
        }
        Ok(Raw::Object(fields))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Raw, A::Error> {
        let mut messages = Vec::new();
        while let Some(message) = sequence.next_element()? {
            messages.push(message);
        }
        Ok(Raw::Array(messages))
    }

    fn visit_str<E>(self, _: &str) -> Result<Raw, E> {
        Ok(Raw::Scalar("a string"))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Raw, E> {
        Ok(Raw::Scalar("a boolean"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Scalar("a number"))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Scalar("a number"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Scalar("a number"))
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar("null"))
    }
}
