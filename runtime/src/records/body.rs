//! What a record asks to have scored.

use serde::{Deserialize, Serialize};

use super::parts;
use crate::{
    json::Json,
    text::{Conversation, ConversationError},
};

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
    /// Several conversations, with answers to one prompt. There is at least one.
    Candidates(Vec<Candidate>),
}

/// One of several conversations with answers to one prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Which answers it belongs to, where there are two kinds of them.
    pub group: Option<Group>,
    /// The conversation.
    pub conversation: RawConversation,
}

/// One of the two kinds of answers to a prompt, where there may be several of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// The preferred answers.
    Chosen,
    /// The others.
    Rejected,
}

/// Where the answers of a record begin, and how it was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Split {
    /// How many messages the prompt has, at the beginning of each conversation. `None` where the record has none of its own:
    /// then it is what its conversations begin with alike.
    pub prompt_messages: Option<usize>,
    /// Whether the prompt and the answers are strings in the record, and no system prompt is beside them.
    pub is_text: bool,
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
    /// The conversation, which is checked for being one. Content that is a list of parts, `{"type": "text", "text": …}`,
    /// becomes the text of them, with nothing between.
    ///
    /// # Errors
    ///
    /// As [`Conversation::from_value`]; a part that is not text.
    pub fn into_conversation(mut self) -> Result<Conversation, ConversationError> {
        for (index, message) in self.messages.iter_mut().enumerate() {
            parts::join(index, message)?;
        }
        Conversation::from_parts(self.messages, self.tools)
    }
}
