//! The conversations of a row: each is a prompt and an answer, or an answer that is one by itself.

use std::sync::Arc;

use super::{
    super::{
        column::Column,
        join::{Mixed, join},
        message::message,
    },
    row::{Name, Result, Row},
};
use crate::{
    json::Json,
    records::{
        body::{Body, Candidate, Group, RawConversation, Split},
        error::RecordErrorKind,
        fields::Content,
        parts,
    },
};

/// A conversation of a row.
pub(super) struct Answered {
    conversation: RawConversation,
    split: Split,
}

impl Row<'_> {
    /// The conversations of a list of answers.
    pub(super) fn answers(
        &self,
        prompt: Option<&Content>,
        column: Column,
        answers: Vec<Json>,
        group: Option<Group>,
    ) -> Result<Vec<(Option<Group>, Answered)>> {
        if answers.is_empty() {
            let field = self.columns.name(column);
            return Err(RecordErrorKind::NoAnswers { field });
        }
        let all = answers.into_iter().enumerate().map(|(index, answer)| {
            let field = || format!("{}[{index}]", self.columns.name(column));
            let content = match answer {
                Json::String(text) => Content::Text(text),
                Json::Array(messages) => Content::Messages(messages),
                message if message.get("role").is_some() => Content::Messages(vec![message]),
                other => {
                    return Err(RecordErrorKind::wrong_type(
                        field(),
                        "a string, a message or a list of messages",
                        &other,
                    ));
                }
            };
            let one = self.answered_as(prompt, column, field().into(), content, Mixed::Fine)?;
            Ok((group, one))
        });
        all.collect()
    }

    pub(super) fn answered(
        &self,
        prompt: Option<&Content>,
        column: Column,
        answer: Content,
        mixed: Mixed,
    ) -> Result<Answered> {
        self.answered_as(prompt, column, self.columns.name(column), answer, mixed)
    }

    /// The conversation of a prompt and its answer, which `field` holds; or of an answer that is one by itself.
    fn answered_as(
        &self,
        prompt: Option<&Content>,
        column: Column,
        field: Name,
        answer: Content,
        mixed: Mixed,
    ) -> Result<Answered> {
        match (prompt, answer) {
            (Some(prompt), answer) => {
                let before = self.columns.name(Column::Prompt);
                let joined = join(prompt, &before, &field, answer, mixed)?;
                self.conversation(column, joined.messages, Some(joined.split))
            }
            // Without what it answers it would be scored as something else.
            (None, Content::Messages(messages)) if is_only_answer(&messages) => {
                Err(RecordErrorKind::OnlyAnswer { field })
            }
            (None, Content::Messages(messages)) => self.conversation(column, messages, None),
            (None, Content::Text(_)) => Err(RecordErrorKind::NoPrompt { field }),
        }
    }

    /// Adds what the row says of all its conversations.
    pub(super) fn conversation(
        &self,
        column: Column,
        mut messages: Vec<Json>,
        split: Option<Split>,
    ) -> Result<Answered> {
        let mut split = split.unwrap_or_default();
        if let Some(system) = &self.system {
            split.is_text = false;
            let added = put_in_front(system, &mut messages).ok_or_else(|| {
                RecordErrorKind::SystemDiffers {
                    one: self.columns.name(Column::System),
                    other: format!("the system message of `{}`", self.columns.name(column)),
                }
            })?;
            split.prompt_messages = split
                .prompt_messages
                .map(|count| count + usize::from(added));
        }
        Ok(Answered {
            conversation: RawConversation {
                messages,
                tools: self.tools.clone(),
            },
            split,
        })
    }
}

pub(super) fn single(one: Answered) -> (Body, Split) {
    (Body::Single(one.conversation), one.split)
}

pub(super) fn pair(chosen: Answered, rejected: Answered) -> (Body, Split) {
    let split = both(chosen.split, rejected.split);
    let body = Body::Pair {
        chosen: chosen.conversation,
        rejected: rejected.conversation,
    };
    (body, split)
}

pub(super) fn candidates(all: Vec<(Option<Group>, Answered)>) -> (Body, Split) {
    let splits = all.iter().map(|(_, one)| one.split);
    let split = splits.reduce(both).unwrap_or_default();
    let all = all.into_iter().map(|(group, one)| Candidate {
        group,
        conversation: one.conversation,
    });
    (Body::Candidates(all.collect()), split)
}

/// What is so in two conversations of a record.
fn both(one: Split, other: Split) -> Split {
    Split {
        prompt_messages: one
            .prompt_messages
            .filter(|count| other.prompt_messages == Some(*count)),
        is_text: one.is_text && other.is_text,
    }
}

/// Puts a system message in front, unless the same is there: whether one was added. `None` where there is another one.
fn put_in_front(system: &Arc<str>, messages: &mut Vec<Json>) -> Option<bool> {
    let is_system = |message: &Json| message.get("role").and_then(Json::as_str) == Some("system");
    match messages.first() {
        Some(first) if is_system(first) => parts::say(first, system).then_some(false),
        _ => {
            messages.insert(0, message("system", Arc::clone(system)));
            Some(true)
        }
    }
}

fn is_only_answer(messages: &[Json]) -> bool {
    let is_answer =
        |message: &Json| message.get("role").and_then(Json::as_str) == Some("assistant");
    !messages.is_empty() && messages.iter().all(is_answer)
}
