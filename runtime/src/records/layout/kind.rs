//! What kind of thing a column holds.

use crate::json::Json;

/// What a value is, as far as layouts tell values apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    /// A list of messages, perhaps without any.
    Messages,
    /// A list of strings.
    Texts,
    /// A list of lists.
    Conversations,
    /// A list of several kinds of answers.
    Mixed,
    /// A list of objects that are no messages.
    Objects,
    Number,
    /// Something else, with its article.
    Other(&'static str),
}

pub(crate) fn kind(value: &Json) -> Kind {
    match value {
        Json::String(_) => Kind::Text,
        Json::Number(_) => Kind::Number,
        Json::Array(items) => list(items),
        other => Kind::Other(other.kind()),
    }
}

fn list(items: &[Json]) -> Kind {
    let all = |is: fn(&Json) -> bool| items.iter().all(is);
    let is_object = |item: &Json| item.as_object().is_some();
    if items.is_empty() || all(|item| item.get("role").is_some() || item.get("content").is_some()) {
        Kind::Messages
    } else if all(|item| item.as_str().is_some()) {
        Kind::Texts
    } else if all(|item| item.as_array().is_some()) {
        Kind::Conversations
    } else if all(is_object) {
        Kind::Objects
    } else if all(|item| item.as_str().is_some() || item.as_array().is_some()) {
        Kind::Mixed
    } else {
        // What is wrong with it is found in its messages.
        Kind::Messages
    }
}

impl Kind {
    /// How messages put it, of one column and of several.
    pub(super) fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Text => ("is a string", "are strings"),
            Self::Messages => ("is a message list", "are message lists"),
            Self::Texts => ("is a list of strings", "are lists of strings"),
            Self::Conversations => ("is a list of message lists", "are lists of message lists"),
            Self::Mixed => ("is a list of answers", "are lists of answers"),
            Self::Objects => ("is a list of objects", "are lists of objects"),
            Self::Number => ("is a number", "are numbers"),
            Self::Other(_) => ("is of another type", "are of other types"),
        }
    }
}
