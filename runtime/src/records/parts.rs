//! Content that is given in parts, as clients of models that take images write it.

use crate::{
    json::{Json, Object},
    text::ConversationError,
};

/// Puts one text in the place of a message's list of parts. A template that takes such lists writes the texts one after
/// another; others take no lists.
pub(super) fn join(index: usize, message: &mut Json) -> Result<(), ConversationError> {
    let Json::Object(fields) = message else {
        return Ok(());
    };
    let Some(Json::Array(parts)) = fields.get("content") else {
        return Ok(());
    };
    // Strings are the steps of an answer, and what is neither is refused later.
    if parts.is_empty() || !parts.iter().all(|part| part.as_object().is_some()) {
        return Ok(());
    }
    let mut texts = Vec::with_capacity(parts.len());
    for (part, fields) in parts.iter().filter_map(Json::as_object).enumerate() {
        texts.push(
            text(fields).map_err(|found| ConversationError::PartNotText { index, part, found })?,
        );
    }
    let content = match texts.as_slice() {
        [one] => Json::String((*one).clone()),
        several => several
            .iter()
            .map(|text| &***text)
            .collect::<String>()
            .into(),
    };
    fields.insert("content", content);
    Ok(())
}

/// Whether the content of a message is this text, given as one or in parts.
pub(super) fn say(message: &Json, text: &str) -> bool {
    match message.get("content") {
        Some(Json::String(content)) => **content == *text,
        Some(Json::Array(parts)) => {
            let mut rest = Some(text);
            for part in parts {
                let own = part.get("text").and_then(Json::as_str);
                rest = rest.zip(own).and_then(|(rest, own)| rest.strip_prefix(own));
            }
            rest == Some("")
        }
        _ => false,
    }
}

/// The text of a part, or what it is instead.
fn text(part: &Object) -> Result<&std::sync::Arc<str>, String> {
    match (&part["type"], &part["text"]) {
        (Json::String(kind), Json::String(text)) if &**kind == "text" => Ok(text),
        (Json::String(kind), text) if &**kind == "text" => Err(match text {
            Json::Null => "a part of type \"text\" without a `text`".to_owned(),
            other => format!("a part of type \"text\" whose `text` is {}", other.kind()),
        }),
        (Json::String(kind), _) => Err(format!("a part of type {kind:?}")),
        (Json::Null, _) => Err("a part without a `type`".to_owned()),
        (other, _) => Err(format!("a part whose `type` is {}", other.kind())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use crate::records::{Body, Record};

    fn content(content: Value) -> Result<Value, String> {
        let messages = json!([{"role": "user", "content": content, "name": "n"},
                              {"role": "assistant", "content": [{"type": "text", "text": "a"}]}]);
        let record = Record::from_value(json!({"messages": messages})).unwrap();
        let Body::Single(raw) = record.body else {
            panic!("one conversation was given");
        };
        let conversation = raw.into_conversation().map_err(|error| error.to_string())?;
        assert_eq!(conversation.messages[1].content(), Some("a"));
        assert_eq!(conversation.messages[0].fields().len(), 3);
        Ok(conversation.messages[0].content().unwrap().into())
    }

    #[test]
    fn texts_are_put_together() {
        let text = |text: &str| json!({"type": "text", "text": text});
        for (parts, expected) in [
            (json!([text("one")]), "one"),
            (json!([text("one "), text(""), text("two")]), "one two"),
            (
                json!([{"text": "x", "image_url": null, "type": "text"}]),
                "x",
            ),
        ] {
            assert_eq!(content(parts), Ok(expected.into()));
        }
    }

    #[test]
    fn other_parts_are_refused() {
        let text = json!({"type": "text", "text": "x"});
        for (parts, expected) in [
            (
                json!([text, {"type": "image_url", "image_url": {"url": "u"}}]),
                "messages[0].content[1] is a part of type \"image_url\": only parts of type \"text\" are scored",
            ),
            (
                json!([{"text": "x"}]),
                "messages[0].content[0] is a part without a `type`: only parts of type \"text\" are scored",
            ),
            (
                json!([{"type": "text", "text": 1}]),
                "messages[0].content[0] is a part of type \"text\" whose `text` is a number: only parts of type \
                 \"text\" are scored",
            ),
            (
                json!([{"type": "text", "text": null}]),
                "messages[0].content[0] is a part of type \"text\" without a `text`: only parts of type \"text\" are \
                 scored",
            ),
            (
                json!([{"type": 1, "text": "x"}]),
                "messages[0].content[0] is a part whose `type` is a number: only parts of type \"text\" are scored",
            ),
            (
                json!([text, "x"]),
                "messages[0].content is a list: it must be a string (only text is scored)",
            ),
            (
                json!([]),
                "messages[0].content is a list: it must be a string (only text is scored)",
            ),
        ] {
            assert_eq!(content(parts), Err(expected.to_owned()));
        }
    }
}
