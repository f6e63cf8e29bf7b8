//! What a conversation is refused for.

use super::roles::ROLES;

/// What is wrong with a conversation, and in which message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConversationError {
    /// Neither a list of messages nor an object with `messages`.
    #[error("a conversation is a list of messages, or an object with `messages`, not {found}")]
    NotAConversation {
        /// What was found instead.
        found: &'static str,
    },
    /// There are no messages.
    #[error("`messages` is empty: a conversation needs at least one message")]
    Empty,
    /// A message is not an object.
    #[error("messages[{index}] is {found}: a message is an object with `role` and `content`")]
    NotAnObject {
        /// Which message, from 0.
        index: usize,
        /// What was found instead.
        found: &'static str,
    },
    /// A message has no role.
    #[error("messages[{index}].role is {found}: it must be one of {}", ROLES.join(", "))]
    RoleMissing {
        /// Which message, from 0.
        index: usize,
        /// `missing` or `null`.
        found: &'static str,
    },
    /// A role is not a string.
    #[error("messages[{index}].role is {found}: it must be one of {}", ROLES.join(", "))]
    RoleNotAString {
        /// Which message, from 0.
        index: usize,
        /// What was found instead.
        found: &'static str,
    },
    /// A role is not one that chat templates know.
    #[error("messages[{index}].role is {role:?}: it must be one of {}", ROLES.join(", "))]
    RoleUnknown {
        /// Which message, from 0.
        index: usize,
        /// The role given.
        role: String,
    },
    /// A message has no content.
    #[error(
        "messages[{index}].content is {found}: only an assistant message with tool_calls may leave it out"
    )]
    ContentMissing {
        /// Which message, from 0.
        index: usize,
        /// `missing` or `null`.
        found: &'static str,
    },
    /// A message's content is not text.
    #[error("messages[{index}].content is {found}: it must be a string (only text is scored)")]
    ContentNotText {
        /// Which message, from 0.
        index: usize,
        /// What was found instead.
        found: &'static str,
    },
    /// A list of parts holds something else than text.
    #[error("messages[{index}].content[{part}] is {found}: only parts of type \"text\" are scored")]
    PartNotText {
        /// Which message, from 0.
        index: usize,
        /// Which part, from 0.
        part: usize,
        /// What was found instead.
        found: String,
    },
    /// The chat template writes nothing of a message, because of its role.
    #[error(
        "messages[{index}].role is {role:?}, and the model's chat template leaves such a message out: \
         use one of {}", ROLES.join(", ")
    )]
    RoleLeftOut {
        /// Which message, from 0.
        index: usize,
        /// The role given.
        role: String,
    },
    /// A list of steps holds something else than text.
    #[error(
        "messages[{index}].content[{step}] is {found}: a list is the steps of the answer, each of them a string"
    )]
    StepNotText {
        /// Which message, from 0.
        index: usize,
        /// Which step, from 0.
        step: usize,
        /// What was found instead.
        found: &'static str,
    },
    /// A list of steps is empty.
    #[error(
        "messages[{index}].content is an empty list: give the steps of the answer, or one string"
    )]
    NoSteps {
        /// Which message, from 0.
        index: usize,
    },
    /// Steps are given to a model that scores whole answers.
    #[error(
        "messages[{index}].content is a list of steps, and the model does not score steps: \
         give the whole answer as one string"
    )]
    StepsNotScored {
        /// Which message, from 0.
        index: usize,
    },
    /// A step holds the token that ends steps.
    #[error(
        "messages[{index}].content[{step}] holds the step token {token:?}, which is put behind every step of a list: \
         take it out of the step"
    )]
    TokenInStep {
        /// Which message, from 0.
        index: usize,
        /// Which step, from 0.
        step: usize,
        /// The token.
        token: String,
    },
    /// The step token stands where there are no steps.
    #[error(
        "{place} holds the step token {token:?}, behind which the model scores a step, and only an assistant's content has \
         steps: take it out"
    )]
    TokenOutsideAnswer {
        /// The message and the field, or the tool.
        place: String,
        /// The token.
        token: String,
    },
    /// The text of a special token stands in content, where it is refused.
    #[error(
        "{place} holds the text of the special token {token:?}, which would be taken for the chat template's own: take it \
         out (or have it taken for ordinary text, with --special-tokens literal)"
    )]
    SpecialToken {
        /// The message and the field, or the tool.
        place: String,
        /// The token.
        token: String,
    },
    /// The last message is not an assistant's.
    #[error(
        "the conversation does not end with an assistant's answer, but with messages[{index}], whose role is {role:?}: a \
         model scores the last answer; to have it scored all the same, allow conversations without an answer \
         (--allow-no-answer)"
    )]
    NoAnswer {
        /// The last message, from 0.
        index: usize,
        /// Its role.
        role: String,
    },
    /// A message's `tool_calls` is not a list.
    #[error("messages[{index}].tool_calls is {found}: it must be a list")]
    ToolCallsNotAList {
        /// Which message, from 0.
        index: usize,
        /// What was found instead.
        found: &'static str,
    },
    /// `tools` is not a list.
    #[error("`tools` is {found}: it must be a list of JSON schemas")]
    ToolsNotAList {
        /// What was found instead.
        found: &'static str,
    },
    /// A tool is not an object.
    #[error("tools[{index}] is {found}: a tool is a JSON schema, an object")]
    ToolNotAnObject {
        /// Which tool, from 0.
        index: usize,
        /// What was found instead.
        found: &'static str,
    },
}
