//! From the fields of an object to what is scored.

use std::sync::Arc;

use super::{
    error::RecordErrorKind,
    fields::{Content, Fields, Raw},
    source::Position,
};
use crate::{
    json::{Json, Object},
    text::{Conversation, ConversationError},
};

/// One thing to score.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Record {
    /// The record's `id`, a string or a number, as given.
    pub id: Option<Json>,
    /// All its fields, in the order given, where the reader was asked to keep them
    /// ([`RecordReader::with_fields_kept`](super::RecordReader::with_fields_kept)); texts are shared with the body.
    pub fields: Option<Object>,
    /// What is scored.
    pub body: Body,
    /// Names of fields that have no meaning here and were left alone, at most twenty.
    pub unused: Vec<String>,
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
    pub messages: Vec<Json>,
    /// The tools the assistant may call, for chat templates that list them.
    pub tools: Option<Vec<Json>>,
}

impl RawConversation {
    /// The conversation, which is checked for being one.
    ///
    /// # Errors
    ///
    /// As [`Conversation::from_value`].
    pub fn into_conversation(self) -> Result<Conversation, ConversationError> {
        Conversation::from_parts(self.messages, self.tools)
    }
}

impl Record {
    /// Reads a record from the text of one JSON value.
    ///
    /// # Errors
    ///
    /// Text that is not JSON, or not one of the four forms.
    pub fn from_slice(json: &[u8]) -> Result<Self, RecordErrorKind> {
        let raw = parse(json, Position::START, false)?;
        Self::from_raw(raw).map_err(|(_, kind)| *kind)
    }

    /// Reads a record from a JSON value.
    ///
    /// # Errors
    ///
    /// A value that is not one of the four forms.
    pub fn from_value(value: impl Into<Json>) -> Result<Self, RecordErrorKind> {
        Self::from_raw(value.into().into()).map_err(|(_, kind)| *kind)
    }

    /// On failure also gives the record's id, if that could be read.
    pub(super) fn from_raw(raw: Raw) -> Result<Self, (Option<Json>, Box<RecordErrorKind>)> {
        match raw {
            Raw::Scalar(found) => Err((None, RecordErrorKind::NotARecord { found }.into())),
            Raw::Array(messages) => Ok(Self {
                id: None,
                fields: None,
                body: Body::Single(RawConversation {
                    messages,
                    tools: None,
                }),
                unused: Vec::new(),
            }),
            Raw::Object(mut fields) => {
                let id = match fields.take("id") {
                    None => None,
                    Some(id @ (Json::String(_) | Json::Number(_))) => Some(id),
                    Some(other) => {
                        let kind =
                            RecordErrorKind::wrong_type("id", "a string or a number", &other);
                        return Err((None, kind.into()));
                    }
                };
                if let Some(field) = fields.repeated {
                    return Err((id, RecordErrorKind::RepeatedField { field }.into()));
                }
                match body(&mut fields) {
                    Ok(body) => Ok(Self {
                        id,
                        fields: None,
                        body,
                        unused: fields.take_others(),
                    }),
                    Err(kind) => Err((id, kind.into())),
                }
            }
        }
    }
}

/// Reads JSON that stands at `start` in the input.
pub(super) fn parse(json: &[u8], start: Position, keep_all: bool) -> Result<Raw, RecordErrorKind> {
    let text = std::str::from_utf8(json)
        .map_err(|error| RecordErrorKind::not_utf8(json, error.valid_up_to(), start))?;
    Raw::parse(text, keep_all).map_err(|error| RecordErrorKind::from_json(error, start))
}

fn body(fields: &mut Fields) -> Result<Body, RecordErrorKind> {
    let present = fields.present();
    let system = fields.system()?;
    let tools = match fields.take("tools") {
        None => None,
        Some(Json::Array(tools)) => Some(tools),
        Some(other) => {
            return Err(RecordErrorKind::wrong_type("tools", "a list", &other));
        }
    };
    let conversation = |field, mut messages: Vec<Json>| {
        if let Some(system) = &system {
            put_in_front(system, field, &mut messages)?;
        }
        Ok(RawConversation {
            messages,
            tools: tools.clone(),
        })
    };
    match present.as_slice() {
        // Data sets repeat themselves: UltraFeedback's `messages` are its `chosen` again, and a `prompt`
        // is often the first user message again.
        ["messages", .., "chosen", "rejected"]
            if fields.get("messages") == fields.get("chosen") =>
        {
            fields.take("messages");
            pair(fields, &conversation)
        }
        ["messages", "prompt"] if prompt_opens(fields, "messages") => {
            fields.take("prompt");
            let messages = fields.list("messages", "a list of messages")?;
            conversation("messages", messages).map(Body::Single)
        }
        ["messages"] => {
            let messages = fields.list("messages", "a list of messages")?;
            conversation("messages", messages).map(Body::Single)
        }
        ["prompt", "response"] => {
            let prompt = fields.content("prompt")?;
            let response = fields.content("response")?;
            let messages = join(prompt, "response", response)?;
            conversation("prompt", messages).map(Body::Single)
        }
        ["prompt", "chosen", "rejected"] | ["chosen", "rejected"] => pair(fields, &conversation),
        _ => Err(RecordErrorKind::NoSingleForm {
            present: fields.names(),
            null: fields.null(),
        }),
    }
}

/// Puts a system message in front of messages of the field `field`, unless the same is there.
fn put_in_front(
    system: &Arc<str>,
    field: &'static str,
    messages: &mut Vec<Json>,
) -> Result<(), RecordErrorKind> {
    let is = |message: &Json, field: &str, text: &str| {
        message.get(field).and_then(Json::as_str) == Some(text)
    };
    match messages.first() {
        Some(first) if is(first, "role", "system") => match is(first, "content", system) {
            true => Ok(()),
            false => Err(RecordErrorKind::SystemDiffers {
                one: "system",
                other: field,
            }),
        },
        _ => {
            messages.insert(0, message("system", Arc::clone(system)));
            Ok(())
        }
    }
}

fn message(role: &str, content: Arc<str>) -> Json {
    let mut fields = Object::new();
    fields.insert("role", role);
    fields.insert("content", content);
    fields.into()
}

fn pair(
    fields: &mut Fields,
    conversation: &impl Fn(&'static str, Vec<Json>) -> Result<RawConversation, RecordErrorKind>,
) -> Result<Body, RecordErrorKind> {
    let prompt = match fields.get("prompt") {
        Some(_) => Some(fields.content("prompt")?),
        None => None,
    };
    let mut side = |field, prompt| {
        let completion = fields.content(field)?;
        let messages = match prompt {
            Some(prompt) => join(prompt, field, completion)?,
            None => whole(field, completion)?,
        };
        conversation(field, messages)
    };
    Ok(Body::Pair {
        chosen: side("chosen", prompt.clone())?,
        rejected: side("rejected", prompt)?,
    })
}

/// A prompt followed by a completion.
fn join(
    prompt: Content,
    field: &'static str,
    completion: Content,
) -> Result<Vec<Json>, RecordErrorKind> {
    match (prompt, completion) {
        (Content::Text(prompt), Content::Text(completion)) => Ok(vec![
            message("user", prompt),
            message("assistant", completion),
        ]),
        (Content::Messages(mut prompt), Content::Messages(completion)) => {
            // Scored as given, the prompt would stand there twice.
            if !prompt.is_empty() && completion.starts_with(&prompt) {
                return Err(RecordErrorKind::PromptRepeated { field });
            }
            prompt.extend(completion);
            Ok(prompt)
        }
        // The completion is a whole conversation, and the prompt says again how it begins.
        (Content::Text(prompt), Content::Messages(messages)) if opens(&messages, &prompt) => {
            Ok(messages)
        }
        (Content::Text(_), Content::Messages(_)) | (Content::Messages(_), Content::Text(_)) => {
            Err(RecordErrorKind::MixedContent { field })
        }
    }
}

/// Whether the record's string `prompt` opens its list `field`.
fn prompt_opens(fields: &Fields, field: &str) -> bool {
    let list = fields.get(field).and_then(Json::as_array);
    let prompt = fields.get("prompt").and_then(Json::as_str);
    matches!((list, prompt), (Some(list), Some(prompt)) if opens(list, prompt))
}

/// Whether `prompt` is the text of the first message that is not the system's.
fn opens(messages: &[Json], prompt: &str) -> bool {
    let is = |message: &&Json, field: &str, text: &str| {
        message.get(field).and_then(Json::as_str) == Some(text)
    };
    let first = messages
        .iter()
        .find(|message| !is(message, "role", "system"));
    first.is_some_and(|first| is(&first, "role", "user") && is(&first, "content", prompt))
}

/// A completion that is a conversation by itself.
fn whole(field: &'static str, content: Content) -> Result<Vec<Json>, RecordErrorKind> {
    match content {
        Content::Messages(messages) => Ok(messages),
        Content::Text(_) => Err(RecordErrorKind::NoPrompt { field }),
    }
}
