//! One token, as a checkpoint's file gives it and as it is added.

use serde_json::Value;
use tokenizers::AddedToken;

/// A token as a file gives it. Two are the same when they are of one kind, and equal.
#[derive(Clone, PartialEq)]
pub(super) enum Token {
    Text(String),
    /// With whether it is normalised, where that is said: else it is when it is not special.
    Object(AddedToken, Option<bool>),
}

impl Token {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Object(token, _) => &token.content,
        }
    }

    pub(super) fn read(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(Self::Text(text.clone())),
            value => {
                let normalized = value.get("normalized").and_then(Value::as_bool);
                Some(Self::Object(added_token(value)?, normalized))
            }
        }
    }

    /// As it is added when it stands under a name.
    pub(super) fn special(&self) -> AddedToken {
        match self {
            Self::Text(text) => AddedToken::from(text.as_str(), true),
            Self::Object(token, normalized) => {
                let mut token = token.clone();
                token.special = true;
                token.normalized(normalized.unwrap_or(false))
            }
        }
    }

    /// As it is added when it stands in a list.
    pub(super) fn listed(&self) -> AddedToken {
        match self {
            Self::Text(text) => AddedToken::from(text.as_str(), true),
            Self::Object(token, _) => token.clone(),
        }
    }
}

/// A token that is an object.
pub(super) fn added_token(value: &Value) -> Option<AddedToken> {
    let content = value.get("content").and_then(Value::as_str)?;
    let flag = |name: &str| value.get(name).and_then(Value::as_bool);
    let special = flag("special").unwrap_or(false);
    Some(
        AddedToken::from(content, special)
            .single_word(flag("single_word").unwrap_or(false))
            .lstrip(flag("lstrip").unwrap_or(false))
            .rstrip(flag("rstrip").unwrap_or(false))
            .normalized(flag("normalized").unwrap_or(!special)),
    )
}
