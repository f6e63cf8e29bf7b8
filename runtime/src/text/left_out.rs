//! Messages that a chat template would leave out for their role.

use super::{
    conversation::Conversation, conversation_error::ConversationError, error::TextError,
    roles::TEMPLATE_ROLES, template::ChatTemplates,
};

/// Refuses a message with one of [`TEMPLATE_ROLES`] of which the template writes nothing. That is found by rendering the
/// conversation with other content in its place.
pub(super) fn check(
    templates: &ChatTemplates,
    conversation: &Conversation,
    marker: bool,
) -> Result<(), TextError> {
    let messages = conversation.messages.iter().enumerate();
    let asked: Vec<usize> = messages
        .filter(|(_, message)| TEMPLATE_ROLES.contains(&message.role()))
        .map(|(index, _)| index)
        .collect();
    if asked.is_empty() {
        return Ok(());
    }
    let mut marked = conversation.clone();
    for &index in &asked {
        marked.messages[index].set_content(mark(index));
    }
    // What is wrong with a conversation that the template refuses, its own rendering says.
    let Ok(text) = templates.render(&marked, marker) else {
        return Ok(());
    };
    match asked
        .into_iter()
        .find(|&index| !text.contains(&mark(index)))
    {
        None => Ok(()),
        Some(index) => {
            let role = conversation.messages[index].role().to_owned();
            Err(ConversationError::RoleLeftOut { index, role }.into())
        }
    }
}

/// A text that no template has, and that is no part of another one.
fn mark(index: usize) -> String {
    format!("<message {index} of the conversation>")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{fs, path::Path};

    use serde_json::{Value, json};
    use tempfile::TempDir;

    use crate::text::{ChatEncoder, Conversation};

    /// The Qwen2.5 tokenizer, with its own template or another.
    fn encoder(template: Option<&str>) -> (TempDir, ChatEncoder) {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tokenizers/qwen2.5");
        let dir = TempDir::new().unwrap();
        for file in ["tokenizer.json", "tokenizer_config.json"] {
            fs::copy(models.join(file), dir.path().join(file)).unwrap();
        }
        if let Some(template) = template {
            fs::write(dir.path().join("chat_template.jinja"), template).unwrap();
        }
        let encoder = ChatEncoder::open(dir.path()).unwrap();
        (dir, encoder)
    }

    fn conversation(role: &str) -> Conversation {
        let message = |role: &str, content: &str| json!({"role": role, "content": content});
        let all: Value = json!([
            message("user", "q"),
            message("assistant", "c"),
            message(role, ""),
            message("assistant", "a")
        ]);
        Conversation::from_value(all).unwrap()
    }

    /// Every role under its own name, and one that is only known as the first.
    const ANY: &str = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}";
    const NAMED: &str = "{% for m in messages %}{% if m.role in ['system', 'user', 'assistant', 'ipython'] or \
                         (m.role == 'developer' and loop.first) %}<{{ m.role }}>{{ m.content }}{% endif %}{% endfor %}";
    const STRICT: &str = "{% for m in messages %}{% if m.role == 'function' %}{{ raise_exception('no functions') }}{% endif %}\
         <{{ m.role }}>{{ m.content }}{% endfor %}";

    #[test]
    fn roles_are_those_that_the_template_writes() {
        let left_out = |role: &str| {
            Some(format!(
                "messages[2].role is {role:?}, and the model's chat template leaves such a message out: use one of \
                 system, user, assistant, tool"
            ))
        };
        for (template, role, expected) in [
            (None, "tool", None),
            (None, "developer", left_out("developer")),
            (None, "ipython", left_out("ipython")),
            (None, "function", left_out("function")),
            (Some(ANY), "developer", None),
            (Some(ANY), "function", None),
            (Some(NAMED), "ipython", None),
            (Some(NAMED), "function", left_out("function")),
            (Some(NAMED), "developer", left_out("developer")),
        ] {
            let (_dir, encoder) = encoder(template);
            let conversation = conversation(role);
            let rendered = encoder
                .render(&conversation)
                .map_err(|error| error.to_string());
            let ids = encoder
                .conversation_ids(&conversation)
                .map_err(|error| error.to_string());
            match expected {
                None => assert!(rendered.is_ok() && ids.is_ok(), "{role}: {rendered:?}"),
                Some(expected) => {
                    assert_eq!(rendered.unwrap_err(), expected);
                    assert_eq!(ids.unwrap_err(), expected);
                }
            }
        }
        let (_dir, encoder) = encoder(Some(STRICT));
        let error = encoder
            .render(&conversation("function"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("no functions"), "{error}");
        let first = json!([{"role": "developer", "content": "d"}, {"role": "user", "content": "q"},
                           {"role": "assistant", "content": "a"}]);
        let first = Conversation::from_value(first).unwrap();
        let (_dir, encoder) = self::encoder(Some(NAMED));
        let bare = encoder.with_system_marker(false);
        assert_eq!(
            bare.render(&first).unwrap(),
            "<developer>d<user>q<assistant>a"
        );
    }
}
