//! The default system prompt that a chat template writes in, of a model that was trained without it.

use super::{
    conversation::{Conversation, Message},
    encoder::ChatEncoder,
};
use crate::json::Json;

/// How texts begin that a client made without an empty system message, and how they should.
#[derive(Debug, Default)]
pub(crate) struct ForeignSystem(Vec<Beginning>);

#[derive(Debug, PartialEq)]
struct Beginning {
    foreign: String,
    own: String,
}

impl ForeignSystem {
    /// Those of an encoder that puts an empty system message in front, found by rendering conversations with and without
    /// it; none for another encoder, and for a template that has no default.
    pub(crate) fn of(encoder: &ChatEncoder) -> Self {
        if !encoder.options().system_marker {
            return Self::default();
        }
        let bare = encoder.clone().with_system_marker(false);
        let beginnings = probes().into_iter().filter_map(|probes| {
            let foreign = beginning(&bare, &probes)?;
            let own = beginning(encoder, &probes)?;
            // Without a default there is nothing in front that the other has not.
            (!own.ends_with(&foreign)).then_some(Beginning { foreign, own })
        });
        Self(beginnings.collect())
    }

    /// The part of `text` that is foreign, and what should be in its place.
    pub(crate) fn find<'a>(&'a self, text: &str) -> Option<(usize, &'a str)> {
        let found = self.0.iter().find(|known| text.starts_with(&known.foreign));
        found.map(|known| (known.foreign.len(), known.own.as_str()))
    }
}

/// Pairs of conversations that are alike but for what comes first after the system prompt.
fn probes() -> [[Conversation; 2]; 3] {
    let exchange = |prompt| Conversation::exchange(prompt, "c");
    let answer = |text| Conversation::new(vec![Message::new("assistant", text)]);
    let tools = |name: &str| {
        let tool = [(name.to_owned(), Json::from("c"))].into_iter().collect();
        let tools = Some(vec![Json::Object(tool)]);
        Conversation {
            tools,
            ..exchange("c")
        }
    };
    [
        ["a", "b"].map(exchange),
        ["a", "b"].map(answer),
        ["a", "b"].map(tools),
    ]
}

/// What the texts of both begin with; `None` where the template refuses one, or takes no notice of the difference.
fn beginning(encoder: &ChatEncoder, probes: &[Conversation; 2]) -> Option<String> {
    let [one, other] = probes.each_ref().map(|probe| encoder.render(probe));
    let (one, other) = (one.ok()?, other.ok()?);
    let both = one.chars().zip(other.chars());
    let alike = both.take_while(|(a, b)| a == b).map(|(a, _)| a);
    let beginning: String = alike.collect();
    (!beginning.is_empty() && beginning.len() < one.len()).then_some(beginning)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{fs, path::Path};

    use tempfile::TempDir;

    use super::*;
    use crate::text::TextOptions;

    fn of(template: Option<&str>, marker: bool) -> ForeignSystem {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tokenizers/qwen2.5");
        let dir = TempDir::new().unwrap();
        for file in ["tokenizer.json", "tokenizer_config.json"] {
            fs::copy(models.join(file), dir.path().join(file)).unwrap();
        }
        if let Some(template) = template {
            fs::write(dir.path().join("chat_template.jinja"), template).unwrap();
        }
        let options = TextOptions::default().with_system_marker(marker);
        ForeignSystem::of(&ChatEncoder::open_with(dir.path(), options).unwrap())
    }

    #[test]
    fn qwens_default_is_found_from_its_template() {
        let found = of(None, true);
        let system = "<|im_start|>system\n";
        let default = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.";
        for (after, rest) in [
            ("<|im_end|>\n<|im_start|>user\n", "Hi<|im_end|>\n"),
            ("<|im_end|>\n<|im_start|>assistant\n", "Hi<|im_end|>\n"),
            (
                "\n\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided \
                 with function signatures within <tools></tools> XML tags:\n<tools>\n{\"",
                "type\": \"function\"}",
            ),
        ] {
            let text = format!("{system}{default}{after}{rest}");
            let (bytes, own) = found.find(&text).unwrap();
            assert_eq!(&text[bytes..], rest);
            assert_eq!(own, format!("{system}{after}"));
        }
        for other in [
            format!("{system}<|im_end|>\n<|im_start|>user\nHi"),
            format!("{system}{default} Be brief.<|im_end|>\n<|im_start|>user\nHi"),
            "<|im_start|>user\nHi".to_owned(),
            String::new(),
        ] {
            assert_eq!(found.find(&other), None, "{other}");
        }
    }

    #[test]
    fn other_models_have_none() {
        assert_eq!(of(None, false).0, []);
        let plain = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}<|endoftext|>";
        assert_eq!(of(Some(plain), true).0, []);
        assert_eq!(of(Some("fixed"), true).0, []);
    }
}
