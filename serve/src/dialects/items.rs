//! Inputs that several dialects write alike.

use serde::{Deserialize, de::Error as _};
use worldpm_ort_runtime::{Conversation, json::Json};

use crate::{http::Problem, scoring::Item};

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

/// The conversation of messages, which ends with an answer.
pub(crate) fn conversation(
    messages: Vec<Json>,
    tools: Option<Vec<Json>>,
) -> Result<Conversation, Problem> {
    let conversation = Conversation::from_parts(messages, tools);
    conversation.map_err(|error| Problem::invalid(error.to_string()))
}
