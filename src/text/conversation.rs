use std::borrow::Cow;

use serde_json::{Map, Value};
use worldpm_ort_export::json::kind;

use super::error::ConversationError;

/// The roles a message may have. Others are refused, since most templates drop a role they do not know without a word.
pub const ROLES: [&str; 4] = ["system", "user", "assistant", "tool"];

/// One message: `role`, `content` and whatever else the chat template reads (`tool_calls`, `name`, …), in given order.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    fields: Map<String, Value>,
}

impl Message {
    /// A message with a role and a text, and nothing else.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        let mut fields = Map::new();
        fields.insert("role".to_owned(), Value::String(role.into()));
        fields.insert("content".to_owned(), Value::String(content.into()));
        Self { fields }
    }

    /// An assistant message that is given step by step, for a model that scores every step.
    pub fn from_steps<S: Into<String>>(steps: impl IntoIterator<Item = S>) -> Self {
        let steps = steps.into_iter().map(|step| Value::String(step.into()));
        let mut fields = Map::new();
        fields.insert("role".to_owned(), Value::String("assistant".to_owned()));
        fields.insert("content".to_owned(), Value::Array(steps.collect()));
        Self { fields }
    }

    /// A message with any fields. [`Conversation::validate`] says whether they make a message.
    pub fn from_fields(fields: Map<String, Value>) -> Self {
        Self { fields }
    }

    /// All fields, in the order given.
    pub fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }

    /// The role; empty when it is missing or not a string, which [`Conversation::validate`] refuses.
    pub fn role(&self) -> &str {
        self.fields
            .get("role")
            .and_then(Value::as_str)
            .unwrap_or("")
    }

    /// The text, where there is one.
    pub fn content(&self) -> Option<&str> {
        self.fields.get("content").and_then(Value::as_str)
    }

    /// The steps, where the content is a list of them.
    pub fn steps(&self) -> Option<impl Iterator<Item = &str>> {
        let steps = self.fields.get("content")?.as_array()?;
        Some(steps.iter().filter_map(Value::as_str))
    }

    /// Replaces the text, keeping the other fields and their order.
    pub fn set_content(&mut self, content: impl Into<String>) {
        self.fields
            .insert("content".to_owned(), Value::String(content.into()));
    }

    fn validate(&self, index: usize) -> Result<(), ConversationError> {
        let role = match self.fields.get("role") {
            None | Some(Value::Null) => return Err(ConversationError::RoleMissing { index }),
            Some(Value::String(role)) => role.as_str(),
            Some(other) => {
                let found = kind(other);
                return Err(ConversationError::RoleNotAString { index, found });
            }
        };
        if !ROLES.contains(&role) {
            let role = role.to_owned();
            return Err(ConversationError::RoleUnknown { index, role });
        }
        let calls = match self.fields.get("tool_calls") {
            None | Some(Value::Null) => false,
            Some(Value::Array(calls)) => !calls.is_empty(),
            Some(other) => {
                let found = kind(other);
                return Err(ConversationError::ToolCallsNotAList { index, found });
            }
        };
        match self.fields.get("content") {
            Some(Value::String(_)) => Ok(()),
            None | Some(Value::Null) if role == "assistant" && calls => Ok(()),
            None | Some(Value::Null) => Err(ConversationError::ContentMissing { index }),
            Some(Value::Array(steps)) if role == "assistant" => validate_steps(index, steps),
            Some(other) => {
                let found = kind(other);
                Err(ConversationError::ContentNotText { index, found })
            }
        }
    }
}

/// A list stands for the steps of an answer, which are texts.
fn validate_steps(index: usize, steps: &[Value]) -> Result<(), ConversationError> {
    if steps.is_empty() {
        return Err(ConversationError::NoSteps { index });
    }
    match steps.iter().position(|step| !step.is_string()) {
        Some(step) => {
            let found = kind(&steps[step]);
            Err(ConversationError::StepNotText { index, step, found })
        }
        None => Ok(()),
    }
}

/// Messages, oldest first, and the tools offered in them.
#[derive(Debug, Clone, PartialEq)]
pub struct Conversation {
    /// The messages, oldest first.
    pub messages: Vec<Message>,
    /// JSON schemas of the tools the assistant could call. Default: none.
    pub tools: Option<Vec<Value>>,
}

impl Conversation {
    /// A conversation without tools.
    pub fn new(messages: Vec<Message>) -> Self {
        Self {
            messages,
            tools: None,
        }
    }

    /// One user message and the assistant's reply.
    pub fn exchange(prompt: impl Into<String>, response: impl Into<String>) -> Self {
        Self::new(vec![
            Message::new("user", prompt),
            Message::new("assistant", response),
        ])
    }

    /// Reads a list of messages, or an object with `messages` and perhaps `tools`; other keys are left alone.
    ///
    /// # Errors
    ///
    /// [`ConversationError`], naming the message and the field, for whatever [`Conversation::validate`] refuses.
    pub fn from_value(value: Value) -> Result<Self, ConversationError> {
        let (messages, tools) = match value {
            Value::Object(mut object) => {
                let messages = object.remove("messages").unwrap_or(Value::Null);
                (messages, object.remove("tools").unwrap_or(Value::Null))
            }
            other => (other, Value::Null),
        };
        let Value::Array(messages) = messages else {
            let found = kind(&messages);
            return Err(ConversationError::NotAConversation { found });
        };
        let tools = match tools {
            Value::Null => None,
            Value::Array(tools) => Some(tools),
            other => {
                let found = kind(&other);
                return Err(ConversationError::ToolsNotAList { found });
            }
        };
        let messages = messages
            .into_iter()
            .enumerate()
            .map(|(index, message)| match message {
                Value::Object(fields) => Ok(Message { fields }),
                other => {
                    let found = kind(&other);
                    Err(ConversationError::NotAnObject { index, found })
                }
            })
            .collect::<Result<Vec<_>, _>>()?;
        let conversation = Self { messages, tools };
        conversation.validate()?;
        Ok(conversation)
    }

    /// Whether this can be given to a chat template.
    ///
    /// # Errors
    ///
    /// [`ConversationError`] for an empty conversation, a missing or unknown role, content that is not a string (it may
    /// be null or absent only where an assistant calls tools, and a list of strings only where an assistant answers
    /// step by step), and tools that are not objects.
    pub fn validate(&self) -> Result<(), ConversationError> {
        if self.messages.is_empty() {
            return Err(ConversationError::Empty);
        }
        for (index, message) in self.messages.iter().enumerate() {
            message.validate(index)?;
        }
        for (index, tool) in self.tools.iter().flatten().enumerate() {
            if !tool.is_object() {
                let found = kind(tool);
                return Err(ConversationError::ToolNotAnObject { index, found });
            }
        }
        Ok(())
    }

    /// The conversation with a step token behind every step of the answers that are lists of steps.
    ///
    /// # Errors
    ///
    /// [`ConversationError`] where there are steps and no token for them, and for a step that holds the token: there
    /// would be more scores than steps.
    pub(super) fn join_steps(
        &self,
        token: Option<&str>,
    ) -> Result<Cow<'_, Self>, ConversationError> {
        let mut joined = Cow::Borrowed(self);
        for (index, message) in self.messages.iter().enumerate() {
            let Some(mut steps) = message.steps() else {
                continue;
            };
            let Some(token) = token else {
                return Err(ConversationError::StepsNotScored { index });
            };
            if let Some(step) = steps.position(|step| step.contains(token)) {
                let token = token.to_owned();
                return Err(ConversationError::TokenInStep { index, step, token });
            }
            let steps = message.steps().into_iter().flatten();
            let text = steps.flat_map(|step| [step, token]).collect::<String>();
            joined.to_mut().messages[index].set_content(text);
        }
        Ok(joined)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn refusals_name_the_message_and_the_field() {
        let user = json!({"role": "user", "content": "hi"});
        for (value, expected) in [
            (
                json!("text"),
                "a conversation is a list of messages, or an object with `messages`, not a string",
            ),
            (
                json!({"prompt": "x"}),
                "a conversation is a list of messages, or an object with `messages`, not null",
            ),
            (
                json!([]),
                "`messages` is empty: a conversation needs at least one message",
            ),
            (
                json!([user, 3]),
                "messages[1] is a number: a message is an object with `role` and `content`",
            ),
            (
                json!([user, {"content": "x"}]),
                "messages[1].role is missing: it must be one of system, user, assistant, tool",
            ),
            (
                json!([{"role": 1, "content": "x"}]),
                "messages[0].role is a number: it must be one of system, user, assistant, tool",
            ),
            (
                json!([{"role": "User", "content": "x"}]),
                "messages[0].role is \"User\": it must be one of system, user, assistant, tool",
            ),
            (
                json!([user, {"role": "assistant"}]),
                "messages[1].content is missing: only an assistant message with tool_calls may leave it out",
            ),
            (
                json!([user, {"role": "assistant", "content": null, "tool_calls": []}]),
                "messages[1].content is missing: only an assistant message with tool_calls may leave it out",
            ),
            (
                json!([{"role": "user", "content": null, "tool_calls": [{}]}]),
                "messages[0].content is missing: only an assistant message with tool_calls may leave it out",
            ),
            (
                json!([{"role": "user", "content": [{"type": "text", "text": "x"}]}]),
                "messages[0].content is a list: it must be a string (only text is scored)",
            ),
            (
                json!([user, {"role": "assistant", "content": ["a", {"type": "text", "text": "x"}]}]),
                "messages[1].content[1] is an object: a list is the steps of the answer, each of them a string",
            ),
            (
                json!([user, {"role": "assistant", "content": []}]),
                "messages[1].content is an empty list: give the steps of the answer, or one string",
            ),
            (
                json!([{"role": "assistant", "content": "x", "tool_calls": {}}]),
                "messages[0].tool_calls is an object: it must be a list",
            ),
            (
                json!({"messages": [user], "tools": {}}),
                "`tools` is an object: it must be a list of JSON schemas",
            ),
            (
                json!({"messages": [user], "tools": ["f"]}),
                "tools[0] is a string: a tool is a JSON schema, an object",
            ),
        ] {
            let error = Conversation::from_value(value).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn fields_keep_their_order() {
        let value = json!([{"zeta": 1, "role": "tool", "name": "f", "content": "x", "alpha": 2}]);
        let conversation = Conversation::from_value(value).unwrap();
        let names: Vec<_> = conversation.messages[0].fields().keys().collect();
        assert_eq!(names, ["zeta", "role", "name", "content", "alpha"]);
    }

    #[test]
    fn tool_calls_may_stand_without_content() {
        for content in [json!(null), json!(""), json!("text")] {
            let value =
                json!([{"role": "assistant", "content": content, "tool_calls": [{"name": "f"}]}]);
            assert!(Conversation::from_value(value).is_ok());
        }
    }

    #[test]
    fn steps_are_joined_with_their_token() {
        let answer = Message::from_steps(["a", "", "b c"]);
        let json = json!({"role": "assistant", "content": ["a", "", "b c"]});
        assert_eq!(Value::Object(answer.fields().clone()), json);
        let conversation = Conversation::new(vec![Message::new("user", "q"), answer]);
        conversation.validate().unwrap();
        let joined = conversation.join_steps(Some("<s>")).unwrap();
        assert_eq!(joined.messages[0], conversation.messages[0]);
        assert_eq!(joined.messages[1].content(), Some("a<s><s>b c<s>"));
        let plain = Conversation::exchange("q", "a<s>b<s>");
        for token in [None, Some("<s>")] {
            assert!(matches!(plain.join_steps(token), Ok(Cow::Borrowed(_))));
        }

        let error = conversation.join_steps(None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "messages[1].content is a list of steps, and the model does not score steps: give the whole answer as one string"
        );
        let error = conversation.join_steps(Some(" ")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "messages[1].content[2] holds the step token \" \", which is put behind every step of a list: \
             take it out of the step"
        );
    }

    #[test]
    fn constructors_make_what_json_makes() {
        let json = json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]);
        assert_eq!(
            Conversation::exchange("a", "b"),
            Conversation::from_value(json).unwrap()
        );
    }
}
