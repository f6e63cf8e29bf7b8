use std::borrow::Cow;

use super::{conversation_error::ConversationError, roles};
use crate::json::{Json, Object};

/// One message: `role`, `content` and whatever else the chat template reads (`tool_calls`, `name`, …), in given order.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    fields: Object,
}

impl Message {
    /// A message with a role and a text, and nothing else.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        let mut fields = Object::new();
        fields.insert("role", role.into());
        fields.insert("content", content.into());
        Self { fields }
    }

    /// An assistant message that is given step by step, for a model that scores every step.
    pub fn from_steps<S: Into<String>>(steps: impl IntoIterator<Item = S>) -> Self {
        let steps = steps.into_iter().map(|step| Json::from(step.into()));
        let mut fields = Object::new();
        fields.insert("role", "assistant");
        fields.insert("content", steps.collect::<Vec<_>>());
        Self { fields }
    }

    /// A message with any fields. [`Conversation::validate`] says whether they make a message.
    pub fn from_fields(fields: impl Into<Object>) -> Self {
        Self {
            fields: fields.into(),
        }
    }

    /// All fields, in the order given.
    pub fn fields(&self) -> &Object {
        &self.fields
    }

    /// The role; empty when it is missing or not a string, which [`Conversation::validate`] refuses.
    pub fn role(&self) -> &str {
        self.fields.get("role").and_then(Json::as_str).unwrap_or("")
    }

    /// The text, where there is one.
    pub fn content(&self) -> Option<&str> {
        self.fields.get("content").and_then(Json::as_str)
    }

    /// The steps, where the content is a list of them.
    pub fn steps(&self) -> Option<impl Iterator<Item = &str>> {
        let steps = self.fields.get("content")?.as_array()?;
        Some(steps.iter().filter_map(Json::as_str))
    }

    /// Replaces the text, keeping the other fields and their order.
    pub fn set_content(&mut self, content: impl Into<String>) {
        self.fields.insert("content", content.into());
    }

    fn validate(&self, index: usize) -> Result<(), ConversationError> {
        let role = match self.fields.get("role") {
            role @ (None | Some(Json::Null)) => {
                let found = absent(role);
                return Err(ConversationError::RoleMissing { index, found });
            }
            Some(Json::String(role)) => &**role,
            Some(other) => {
                let found = other.kind();
                return Err(ConversationError::RoleNotAString { index, found });
            }
        };
        if !roles::may_be(role) {
            let role = role.to_owned();
            return Err(ConversationError::RoleUnknown { index, role });
        }
        let calls = match self.fields.get("tool_calls") {
            None | Some(Json::Null) => false,
            Some(Json::Array(calls)) => !calls.is_empty(),
            Some(other) => {
                let found = other.kind();
                return Err(ConversationError::ToolCallsNotAList { index, found });
            }
        };
        match self.fields.get("content") {
            Some(Json::String(_)) => Ok(()),
            None | Some(Json::Null) if role == "assistant" && calls => Ok(()),
            content @ (None | Some(Json::Null)) => {
                let found = absent(content);
                Err(ConversationError::ContentMissing { index, found })
            }
            Some(Json::Array(steps)) if role == "assistant" => validate_steps(index, steps),
            Some(other) => {
                let found = other.kind();
                Err(ConversationError::ContentNotText { index, found })
            }
        }
    }
}

/// What an absent field is called.
fn absent(field: Option<&Json>) -> &'static str {
    field.map_or("missing", Json::kind)
}

/// A list stands for the steps of an answer, which are texts.
fn validate_steps(index: usize, steps: &[Json]) -> Result<(), ConversationError> {
    if steps.is_empty() {
        return Err(ConversationError::NoSteps { index });
    }
    match steps.iter().position(|step| step.as_str().is_none()) {
        Some(step) => {
            let found = steps[step].kind();
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
    pub tools: Option<Vec<Json>>,
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
    pub fn from_value(value: impl Into<Json>) -> Result<Self, ConversationError> {
        let (messages, tools) = match value.into() {
            Json::Object(mut object) => {
                let messages = object.remove("messages").unwrap_or(Json::Null);
                (messages, object.remove("tools").unwrap_or(Json::Null))
            }
            other => (other, Json::Null),
        };
        let Json::Array(messages) = messages else {
            let found = messages.kind();
            return Err(ConversationError::NotAConversation { found });
        };
        let tools = match tools {
            Json::Null => None,
            Json::Array(tools) => Some(tools),
            other => {
                let found = other.kind();
                return Err(ConversationError::ToolsNotAList { found });
            }
        };
        Self::from_parts(messages, tools)
    }

    /// A conversation of the values of its messages, oldest first, and of its tools.
    ///
    /// # Errors
    ///
    /// As [`Conversation::validate`]; a message that is no object.
    pub fn from_parts(
        messages: Vec<Json>,
        tools: Option<Vec<Json>>,
    ) -> Result<Self, ConversationError> {
        let messages = messages
            .into_iter()
            .enumerate()
            .map(|(index, message)| match message {
                Json::Object(fields) => Ok(Message { fields }),
                other => {
                    let found = other.kind();
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
            if tool.as_object().is_none() {
                let found = tool.kind();
                return Err(ConversationError::ToolNotAnObject { index, found });
            }
        }
        Ok(())
    }

    /// Whether the last message is an assistant's, be it a text or calls of tools. A model that has learned to judge
    /// answers gives a number for a conversation without one too, which says nothing.
    ///
    /// # Errors
    ///
    /// [`ConversationError::NoAnswer`] names the last message.
    pub fn check_answer(&self) -> Result<(), ConversationError> {
        match self.messages.last() {
            Some(last) if last.role() != "assistant" => Err(ConversationError::NoAnswer {
                index: self.messages.len() - 1,
                role: last.role().to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// Refuses the step token wherever it would be scored without being behind a step of an answer.
    fn check_no_other_steps(&self, token: &str) -> Result<(), ConversationError> {
        let refuse = |place| {
            let token = token.to_owned();
            Err(ConversationError::TokenOutsideAnswer { place, token })
        };
        for (index, message) in self.messages.iter().enumerate() {
            for (name, value) in message.fields.iter() {
                let has_steps = name == "content" && message.role() == "assistant";
                if !has_steps && (name.contains(token) || holds(value, token)) {
                    return refuse(format!("messages[{index}].{name}"));
                }
            }
        }
        let mut tools = self.tools.iter().flatten();
        match tools.position(|tool| holds(tool, token)) {
            Some(index) => refuse(format!("tools[{index}]")),
            None => Ok(()),
        }
    }

    /// The conversation with a step token behind every step of the answers that are lists of steps.
    ///
    /// # Errors
    ///
    /// [`ConversationError`] where there are steps and no token for them, and for a step that holds the token, or
    /// anything else that is not an answer: there would be more scores than steps.
    pub(super) fn join_steps(
        &self,
        token: Option<&str>,
    ) -> Result<Cow<'_, Self>, ConversationError> {
        if let Some(token) = token {
            self.check_no_other_steps(token)?;
        }
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

/// Whether a value has a string or a key with `text` in it.
fn holds(value: &Json, text: &str) -> bool {
    match value {
        Json::String(string) => string.contains(text),
        Json::Array(items) => items.iter().any(|item| holds(item, text)),
        Json::Object(fields) => fields
            .iter()
            .any(|(name, value)| name.contains(text) || holds(value, text)),
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
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
                json!([{"role": null, "content": "x"}]),
                "messages[0].role is null: it must be one of system, user, assistant, tool",
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
                "messages[1].content is null: only an assistant message with tool_calls may leave it out",
            ),
            (
                json!([{"role": "user", "content": null, "tool_calls": [{}]}]),
                "messages[0].content is null: only an assistant message with tool_calls may leave it out",
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
        assert_eq!(Json::from(answer.fields().clone()), json.into());
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
        // A token that the roles and the names of fields do not have.
        let error = conversation.join_steps(Some(" ")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "messages[1].content[2] holds the step token \" \", which is put behind every step of a list: \
             take it out of the step"
        );
    }

    #[test]
    fn only_answers_have_steps() {
        let token = "<s>";
        let answer = json!({"role": "assistant", "content": ["one", "two"]});
        for (value, place) in [
            (
                json!([{"role": "user", "content": "put <s> there"}, answer]),
                "messages[0].content",
            ),
            (
                json!([{"role": "system", "content": "<s>"}, {"role": "user", "content": "q"}, answer]),
                "messages[0].content",
            ),
            (
                json!([{"role": "tool", "content": "", "name": "a<s>"}, answer]),
                "messages[0].name",
            ),
            (
                json!([{"role": "assistant", "content": "a<s>", "tool_calls": [{"f": [{"<s>": 1}]}]}]),
                "messages[0].tool_calls",
            ),
            (
                json!([{"role": "assistant", "content": "a<s>", "reasoning_content": "b<s>"}]),
                "messages[0].reasoning_content",
            ),
            (
                json!({"messages": [answer], "tools": [{}, {"d": "<s>"}]}),
                "tools[1]",
            ),
        ] {
            let conversation = Conversation::from_value(value).unwrap();
            let error = conversation.join_steps(Some(token)).unwrap_err();
            let expected = format!("{place} holds the step token \"<s>\", behind which");
            assert!(error.to_string().starts_with(&expected), "{error}");
            assert!(conversation.join_steps(Some("<t>")).is_ok());
        }
        let several = json!([{"role": "assistant", "content": "a<s>b<s>"}, {"role": "user", "content": "q"}, answer]);
        let several = Conversation::from_value(several).unwrap();
        assert!(several.join_steps(Some(token)).is_ok());
    }

    #[test]
    fn an_answer_comes_last() {
        let user = json!({"role": "user", "content": "q"});
        for answer in [
            json!({"role": "assistant", "content": ""}),
            json!({"role": "assistant", "content": null, "tool_calls": [{"name": "f"}]}),
            json!({"role": "assistant", "content": ["step"]}),
        ] {
            let conversation = Conversation::from_value(json!([user, answer])).unwrap();
            assert_eq!(conversation.check_answer(), Ok(()));
        }
        let answer = json!({"role": "assistant", "content": "a"});
        for (last, role) in [
            (user.clone(), "user"),
            (json!({"role": "tool", "content": "4"}), "tool"),
            (json!({"role": "system", "content": "s"}), "system"),
        ] {
            let conversation = Conversation::from_value(json!([user, answer, last])).unwrap();
            let error = conversation.check_answer().unwrap_err().to_string();
            let expected = format!(
                "but with messages[2], whose role is {role:?}: a model scores the last answer"
            );
            assert!(error.contains(&expected), "{error}");
        }
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
