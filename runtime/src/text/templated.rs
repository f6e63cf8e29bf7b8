//! Texts that a chat template made elsewhere, such as those that trainers send.

use super::{
    conversation::{Conversation, Message},
    encoder::ChatEncoder,
};

/// What becomes of a default system prompt that a template wrote into a text, and that the model was not trained with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum SystemDefault {
    /// It is scored with the rest of the text.
    #[default]
    Keep,
    /// What the model was trained with takes its place.
    Strip,
}

/// How a text begins whose conversation has no system message, by the template alone and as the model was trained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SystemBlocks {
    foreign: String,
    trained: String,
}

impl SystemBlocks {
    /// The text as the model was trained with it, where it begins with the template's own default.
    pub(crate) fn replaced(&self, text: &str) -> Option<String> {
        let rest = text.strip_prefix(&self.foreign)?;
        Some(format!("{}{rest}", self.trained))
    }
}

impl ChatEncoder {
    /// The system blocks of the template, where they differ: for models that were trained with an empty system message,
    /// whose template writes a default where there is none. Clients that send no system message send the default.
    pub(crate) fn system_blocks(&self) -> Option<SystemBlocks> {
        if !self.options().system_marker {
            return None;
        }
        // What comes before the role of the first message, or before its content where only a user may begin.
        let beginnings = |encoder: &Self| {
            let begin = |role: &str, content: &str| {
                let first = Conversation::new(vec![Message::new(role, content)]);
                encoder.render(&first).ok()
            };
            let one = begin("user", "x")?;
            let other = begin("assistant", "x").or_else(|| begin("user", "y"))?;
            Some(common(&one, &other).to_owned())
        };
        let trained = beginnings(self)?;
        let foreign = beginnings(&self.clone().with_system_marker(false))?;
        let differ = foreign.len() > trained.len() && !foreign.starts_with(&trained);
        differ.then_some(SystemBlocks { foreign, trained })
    }
}

/// How two texts begin alike.
fn common<'a>(one: &'a str, other: &str) -> &'a str {
    let both = one.char_indices().zip(other.chars());
    let parted = both.into_iter().find(|((_, a), b)| a != b);
    parted.map_or(one, |((at, _), _)| &one[..at])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::text::TextOptions;

    fn encoder(options: TextOptions) -> ChatEncoder {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tokenizers/qwen2.5");
        ChatEncoder::open_with(dir, options).unwrap()
    }

    #[test]
    fn qwens_default_is_found_in_its_template() {
        let encoder = encoder(TextOptions::default());
        let blocks = encoder.system_blocks().unwrap();
        assert!(blocks.foreign.contains("You are") && blocks.foreign.contains("assistant"));
        let plain = encoder.clone().with_system_marker(false);
        let exchange = Conversation::exchange("q", "a");
        let (ours, theirs) = (
            encoder.render(&exchange).unwrap(),
            plain.render(&exchange).unwrap(),
        );
        assert_ne!(ours, theirs);
        assert_eq!(blocks.replaced(&theirs).as_deref(), Some(ours.as_str()));
        assert_eq!(blocks.replaced(&ours), None);
        // A system prompt that somebody wrote stays, even one that begins like the default.
        let said = blocks.foreign.split("system\n").nth(1).unwrap();
        let said = said.split("<|im_end|>").next().unwrap();
        for system in ["Be kind.", &format!("{said} Be kind.")] {
            let mut own = exchange.clone();
            own.messages.insert(0, Message::new("system", system));
            assert_eq!(
                blocks.replaced(&plain.render(&own).unwrap()),
                None,
                "{system}"
            );
        }
    }

    #[test]
    fn models_that_were_trained_with_the_default_have_no_other() {
        let encoder = encoder(TextOptions::default().with_system_marker(false));
        assert_eq!(encoder.system_blocks(), None);
    }
}
