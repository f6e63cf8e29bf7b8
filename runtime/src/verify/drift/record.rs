//! What is kept of a record: how it is called, what it was scored, and which prompt it answers.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::{Conversation, Output, Result, Reward, json::Json};

/// How a record is called.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordName {
    /// Its line in the data, from 1.
    pub line: usize,
    /// Its `id`, a string or a number, if it has one.
    pub id: Option<Json>,
}

impl fmt::Display for RecordName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.id {
            Some(Json::String(id)) => f.write_str(id),
            Some(id) => write!(f, "{id}"),
            None => write!(f, "line {}", self.line),
        }
    }
}

/// What a model gives for a conversation.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Numbers {
    /// The score, or one for each label; of steps, what the scorer's reduction makes of them.
    pub values: Vec<f32>,
    /// Tokens of the conversation.
    pub tokens: usize,
}

impl Numbers {
    /// The numbers that are compared.
    ///
    /// # Errors
    /// [`Error::NotOneScore`](crate::Error::NotOneScore) where it takes an option to make one number.
    pub fn of(reward: &Reward) -> Result<Self> {
        let values = match &reward.output {
            Output::Labels(labels) => labels.values().to_vec(),
            _ => vec![reward.score()?.score],
        };
        Ok(Self {
            values,
            tokens: reward.tokens,
        })
    }
}

/// What came of a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It could not be read or scored.
    Failed,
    /// One conversation.
    Single(Numbers),
    /// A preferred conversation and a rejected one.
    Pair(Numbers, Numbers),
}

/// Stands for the prompt of a conversation: two conversations with the same key are answers to the same
/// prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PromptKey([u8; 16]);

impl PromptKey {
    /// The key of all messages but the last, and of the tools. `None` for a conversation of one message.
    #[must_use]
    pub fn of(conversation: &Conversation) -> Option<Self> {
        let (_, prompt) = conversation.messages.split_last()?;
        if prompt.is_empty() {
            return None;
        }
        let messages: Vec<_> = prompt.iter().map(|message| message.fields()).collect();
        let text = serde_json::to_vec(&(messages, &conversation.tools)).ok()?;
        let mut key = [0; 16];
        // Half of the digest: it takes 2^64 prompts to make two of them meet.
        key.copy_from_slice(&Sha256::digest(text)[..16]);
        Some(Self(key))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn prompts() {
        let key = |value| PromptKey::of(&Conversation::from_value(value).unwrap());
        let user = |text: &str| json!({"role": "user", "content": text});
        let answer = |text: &str| json!({"role": "assistant", "content": text});
        let of_one = key(json!([user("Q"), answer("A")]));
        assert!(of_one.is_some());
        assert_eq!(of_one, key(json!([user("Q"), answer("B")])));
        assert_ne!(of_one, key(json!([user("q"), answer("A")])));
        assert_ne!(
            of_one,
            key(json!([user("Q"), answer("A"), user("R"), answer("A")]))
        );
        let tools = json!([{"name": "f"}]);
        assert_ne!(
            of_one,
            key(json!({"messages": [user("Q"), answer("A")], "tools": tools}))
        );
        assert_eq!(key(json!([user("Q")])), None);
    }

    #[test]
    fn names() {
        let name = |id: Option<serde_json::Value>| {
            let id = id.map(Json::from);
            RecordName { line: 7, id }.to_string()
        };
        assert_eq!(name(None), "line 7");
        assert_eq!(name(Some(json!("a b"))), "a b");
        assert_eq!(name(Some(json!(12))), "12");
    }
}
