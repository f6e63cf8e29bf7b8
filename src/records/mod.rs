//! Input records: what a line of JSON asks to have scored.
//!
//! | form | scored |
//! |---|---|
//! | `{"messages": […]}`, optional `tools` | one conversation |
//! | `[…]`, a bare list of messages | one conversation |
//! | `{"prompt": …, "response": …}` | one conversation |
//! | `{"chosen": …, "rejected": …}`, optional `prompt` | a pair |
//!
//! A message is an object with `role` and `content`; this module takes lists of
//! messages as they are, and their content is checked where they become text:
//! it is a string, or in an assistant's message for a model that scores steps a
//! list of strings, the steps.
//! `prompt` with `response`, or with `chosen` and `rejected`, are either all
//! strings (one user turn and one assistant turn) or all lists of messages (the
//! prompt's followed by the completion's). Without `prompt`, `chosen` and
//! `rejected` are lists that hold whole conversations. A column that repeats
//! another is no matter: a string `prompt` beside lists that open with it, and
//! `messages` that are `chosen` again, as in UltraFeedback.
//!
//! Any record may have an `id` (string or number), which is handed back, and
//! any object form may have `tools`. Other fields are ignored, since data sets
//! carry more columns than are scored, and a field that is `null` counts as
//! absent. What could be read in two ways is an error, never a guess.
//!
//! [`RecordReader`] reads streams of records, [`Record::from_slice`] and
//! [`Record::from_value`] single ones.

mod error;
mod fields;
mod reader;
mod source;

pub use error::{RecordError, RecordErrorKind};
pub use reader::{DEFAULT_MAX_RECORD_BYTES, RecordReader};

use serde::Deserialize;
use serde_json::{Value, json};

use fields::{Content, Fields, Raw};
use source::Position;

/// One thing to score.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Record {
    /// The record's `id`, a string or a number, as given.
    pub id: Option<Value>,
    /// What is scored.
    pub body: Body,
}

/// What a record asks to have scored.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// One conversation.
    Single(RawConversation),
    /// A preferred conversation and a rejected one.
    Pair {
        /// The preferred conversation.
        chosen: RawConversation,
        /// The other one.
        rejected: RawConversation,
    },
}

/// A conversation as read: whether its messages are well-formed is not known
/// yet.
#[derive(Debug, Clone, PartialEq)]
pub struct RawConversation {
    /// The messages, oldest first.
    pub messages: Vec<Value>,
    /// The tools the assistant may call, for chat templates that list them.
    pub tools: Option<Vec<Value>>,
}

impl Record {
    /// Reads a record from the text of one JSON value.
    ///
    /// # Errors
    ///
    /// Text that is not JSON, or not one of the four forms.
    pub fn from_slice(json: &[u8]) -> Result<Self, RecordErrorKind> {
        let raw = serde_json::from_slice(json)
            .map_err(|error| RecordErrorKind::from_json(&error, json, Position::START))?;
        Self::from_raw(raw).map_err(|(_, kind)| *kind)
    }

    /// Reads a record from a JSON value.
    ///
    /// # Errors
    ///
    /// A value that is not one of the four forms.
    pub fn from_value(value: Value) -> Result<Self, RecordErrorKind> {
        let raw = Raw::deserialize(value)
            .map_err(|error| RecordErrorKind::from_json(&error, &[], Position::START))?;
        Self::from_raw(raw).map_err(|(_, kind)| *kind)
    }

    /// On failure also gives the record's id, if that could be read.
    fn from_raw(raw: Raw) -> Result<Self, (Option<Value>, Box<RecordErrorKind>)> {
        match raw {
            Raw::Scalar(found) => Err((None, RecordErrorKind::NotARecord { found }.into())),
            Raw::Array(messages) => Ok(Self {
                id: None,
                body: Body::Single(RawConversation {
                    messages,
                    tools: None,
                }),
            }),
            Raw::Object(mut fields) => {
                let id = match fields.take("id") {
                    None => None,
                    Some(id @ (Value::String(_) | Value::Number(_))) => Some(id),
                    Some(other) => {
                        let kind =
                            RecordErrorKind::wrong_type("id", "a string or a number", &other);
                        return Err((None, kind.into()));
                    }
                };
                if let Some(field) = fields.repeated {
                    return Err((id, RecordErrorKind::RepeatedField { field }.into()));
                }
                match body(fields) {
                    Ok(body) => Ok(Self { id, body }),
                    Err(kind) => Err((id, kind.into())),
                }
            }
        }
    }
}

fn body(mut fields: Fields) -> Result<Body, RecordErrorKind> {
    let present = fields.present();
    let tools = match fields.take("tools") {
        None => None,
        Some(Value::Array(tools)) => Some(tools),
        Some(other) => {
            return Err(RecordErrorKind::wrong_type("tools", "a list", &other));
        }
    };
    let conversation = |messages| RawConversation {
        messages,
        tools: tools.clone(),
    };
    match present.as_slice() {
        // Data sets repeat themselves: UltraFeedback's `messages` are its `chosen` again, and a `prompt`
        // is often the first user message again.
        ["messages", .., "chosen", "rejected"]
            if fields.get("messages") == fields.get("chosen") =>
        {
            fields.take("messages");
            pair(&mut fields, &conversation)
        }
        ["messages", "prompt"] if prompt_opens(&fields, "messages") => {
            fields.take("prompt");
            Ok(Body::Single(conversation(
                fields.list("messages", "a list of messages")?,
            )))
        }
        ["messages"] => Ok(Body::Single(conversation(
            fields.list("messages", "a list of messages")?,
        ))),
        ["prompt", "response"] => {
            let prompt = fields.content("prompt")?;
            let response = fields.content("response")?;
            let messages = join(&prompt, "response", response)?;
            Ok(Body::Single(conversation(messages)))
        }
        ["prompt", "chosen", "rejected"] | ["chosen", "rejected"] => {
            pair(&mut fields, &conversation)
        }
        _ => Err(RecordErrorKind::NoSingleForm {
            present: fields.names(),
        }),
    }
}

fn pair(
    fields: &mut Fields,
    conversation: &impl Fn(Vec<Value>) -> RawConversation,
) -> Result<Body, RecordErrorKind> {
    let prompt = match fields.get("prompt") {
        Some(_) => Some(fields.content("prompt")?),
        None => None,
    };
    let mut side = |field| {
        let completion = fields.content(field)?;
        let messages = match &prompt {
            Some(prompt) => join(prompt, field, completion)?,
            None => whole(field, completion)?,
        };
        Ok(conversation(messages))
    };
    Ok(Body::Pair {
        chosen: side("chosen")?,
        rejected: side("rejected")?,
    })
}

/// A prompt followed by a completion.
fn join(
    prompt: &Content,
    field: &'static str,
    completion: Content,
) -> Result<Vec<Value>, RecordErrorKind> {
    match (prompt, completion) {
        (Content::Text(prompt), Content::Text(completion)) => Ok(vec![
            json!({"role": "user", "content": prompt}),
            json!({"role": "assistant", "content": completion}),
        ]),
        (Content::Messages(prompt), Content::Messages(completion)) => {
            // Scored as given, the prompt would stand there twice.
            if !prompt.is_empty() && completion.starts_with(prompt) {
                return Err(RecordErrorKind::PromptRepeated { field });
            }
            Ok(prompt.iter().cloned().chain(completion).collect())
        }
        // The completion is a whole conversation, and the prompt says again how it begins.
        (Content::Text(prompt), Content::Messages(messages)) if opens(&messages, prompt) => {
            Ok(messages)
        }
        (Content::Text(_), Content::Messages(_)) | (Content::Messages(_), Content::Text(_)) => {
            Err(RecordErrorKind::MixedContent { field })
        }
    }
}

/// Whether the record's string `prompt` opens its list `field`.
fn prompt_opens(fields: &Fields, field: &str) -> bool {
    let list = fields.get(field).and_then(Value::as_array);
    let prompt = fields.get("prompt").and_then(Value::as_str);
    matches!((list, prompt), (Some(list), Some(prompt)) if opens(list, prompt))
}

/// Whether `prompt` is the text of the first message that is not the system's.
fn opens(messages: &[Value], prompt: &str) -> bool {
    let is = |message: &&Value, field: &str, text: &str| message[field].as_str() == Some(text);
    let first = messages
        .iter()
        .find(|message| !is(message, "role", "system"));
    first.is_some_and(|first| is(&first, "role", "user") && is(&first, "content", prompt))
}

/// A completion that is a conversation by itself.
fn whole(field: &'static str, content: Content) -> Result<Vec<Value>, RecordErrorKind> {
    match content {
        Content::Messages(messages) => Ok(messages),
        Content::Text(_) => Err(RecordErrorKind::NoPrompt { field }),
    }
}

#[cfg(test)]
mod tests;
