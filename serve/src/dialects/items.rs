//! Inputs that several dialects write alike.

use serde::{Deserialize, de::Error as _};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema, schema},
};
use worldpm_ort_runtime::{Conversation, json::Json};

use crate::{
    http::Problem,
    openapi::{any_of, list, object, text},
    scoring::Item,
};

/// `"text"`, `["text", …]`, `[1, 2, …]` or `[[1, 2], …]`: texts that the template made, or their token ids.
pub(crate) struct Texts(pub(crate) Vec<Item>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Text(String),
            Texts(Vec<String>),
            Ids(Vec<u32>),
            Lists(Vec<Vec<u32>>),
        }
        let form = Form::deserialize(deserializer).map_err(|_| {
            D::Error::custom(
                "it must be a text, a list of texts, a list of token ids, or a list of such lists",
            )
        })?;
        Ok(Self(match form {
            Form::Text(text) => vec![Item::Templated(text)],
            Form::Texts(texts) => texts.into_iter().map(Item::Templated).collect(),
            Form::Ids(ids) => vec![Item::Ids(ids)],
            Form::Lists(lists) => lists.into_iter().map(Item::Ids).collect(),
        }))
    }
}

impl ToSchema for Texts {}

impl PartialSchema for Texts {
    fn schema() -> RefOr<Schema> {
        let forms = [
            String::schema(),
            Vec::<String>::schema(),
            Vec::<u32>::schema(),
            Vec::<Vec<u32>>::schema(),
        ];
        let description = "A text that the chat template made, several, or their token ids: one conversation each.";
        any_of(description, forms).into()
    }
}

/// A message of a conversation, in descriptions: the chat template reads it.
pub(crate) struct Message;

impl ToSchema for Message {}

impl PartialSchema for Message {
    fn schema() -> RefOr<Schema> {
        let content = schema::empty();
        object("A message, as chat templates read it.")
            .property("role", text("`system`, `user`, `assistant` or `tool`."))
            .property("content", content)
            .required("role")
            .into()
    }
}

/// A text that stands for one message, or messages, in descriptions.
pub(crate) struct TextOrMessages;

impl ToSchema for TextOrMessages {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Message::name().into(), Message::schema()));
    }
}

impl PartialSchema for TextOrMessages {
    fn schema() -> RefOr<Schema> {
        let messages = list(schema::Ref::from_schema_name(Message::name()));
        let forms = [String::schema(), messages.into()];
        any_of("A text, or messages.", forms).into()
    }
}

/// The conversation of messages, which ends with an answer.
pub(crate) fn conversation(
    messages: Vec<Json>,
    tools: Option<Vec<Json>>,
) -> Result<Conversation, Problem> {
    let conversation = Conversation::from_parts(messages, tools);
    conversation.map_err(|error| Problem::invalid(error.to_string()))
}
