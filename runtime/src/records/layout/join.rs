//! A prompt and its answer as one conversation.

use std::{borrow::Cow, sync::Arc};

use super::{form::opens, message::message};
use crate::{
    json::Json,
    records::{body::Split, error::RecordErrorKind, fields::Content},
};

type Name = Cow<'static, str>;

/// What becomes of a prompt of one kind, and an answer of the other.
#[derive(Clone, Copy)]
pub(super) enum Mixed {
    Refused,
    Fine,
}

pub(super) struct Joined {
    pub(super) messages: Vec<Json>,
    pub(super) split: Split,
}

/// A prompt, which `before` holds, followed by an answer, which `field` holds.
pub(super) fn join(
    prompt: &Content,
    before: &Name,
    field: &Name,
    answer: Content,
    mixed: Mixed,
) -> Result<Joined, RecordErrorKind> {
    let split = |count| Split {
        prompt_messages: Some(count),
        is_text: false,
    };
    let assistant = |text| message("assistant", text);
    match (prompt, answer) {
        (Content::Text(prompt), Content::Text(answer)) => Ok(Joined {
            messages: vec![message("user", Arc::clone(prompt)), assistant(answer)],
            split: Split {
                is_text: true,
                ..split(1)
            },
        }),
        (Content::Messages(prompt), Content::Messages(answer)) => {
            // Scored as given, the prompt would stand there twice.
            if !prompt.is_empty() && answer.starts_with(prompt) {
                return Err(RecordErrorKind::PromptRepeated {
                    prompt: before.clone(),
                    field: field.clone(),
                });
            }
            Ok(Joined {
                messages: prompt.iter().cloned().chain(answer).collect(),
                split: split(prompt.len()),
            })
        }
        // The answer is a whole conversation, and the prompt says again how it begins.
        (Content::Text(prompt), Content::Messages(messages)) if opens(&messages, prompt) => {
            Ok(Joined {
                messages,
                split: Split::default(),
            })
        }
        (Content::Messages(prompt), Content::Text(answer)) if matches!(mixed, Mixed::Fine) => {
            Ok(Joined {
                messages: prompt.iter().cloned().chain([assistant(answer)]).collect(),
                split: split(prompt.len()),
            })
        }
        (Content::Text(prompt), Content::Messages(answer))
            if matches!(mixed, Mixed::Fine) && begins_with_answer(&answer) =>
        {
            let prompt = message("user", Arc::clone(prompt));
            Ok(Joined {
                messages: std::iter::once(prompt).chain(answer).collect(),
                split: split(1),
            })
        }
        (Content::Text(_), Content::Messages(_)) | (Content::Messages(_), Content::Text(_)) => {
            Err(RecordErrorKind::MixedContent {
                prompt: before.clone(),
                field: field.clone(),
            })
        }
    }
}

fn begins_with_answer(messages: &[Json]) -> bool {
    let role = messages.first().and_then(|first| first.get("role"));
    role.and_then(Json::as_str) == Some("assistant")
}
