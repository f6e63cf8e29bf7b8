//! The texts of special tokens in what messages say. `transformers` makes tokens of them, as it does of those that the template
//! writes, so that whoever writes a message can end it, or say something as somebody else.

use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, MatchKind};
use tokenizers::Tokenizer;

use crate::json::{Json, Object};

/// What the text of a special token in a message becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum SpecialTokens {
    /// That token, as in `transformers`.
    #[default]
    Parse,
    /// Text like any other. The template's own special tokens are not touched.
    Literal,
    /// The conversation is refused.
    Reject,
}

/// Finds special tokens, and encodes texts without them.
pub(super) struct Spellings {
    finder: Option<AhoCorasick>,
    tokens: Vec<String>,
    ids: Vec<u32>,
    literal: OnceLock<Tokenizer>,
}

impl Spellings {
    /// Whether a token is special.
    pub(super) fn has(&self, id: u32) -> bool {
        self.ids.contains(&id)
    }

    /// The tokenizer without special tokens: a copy of `tokenizer`, made when it is first needed.
    pub(super) fn literal(&self, tokenizer: &Tokenizer) -> &Tokenizer {
        self.literal.get_or_init(|| {
            let mut tokenizer = tokenizer.clone();
            tokenizer.set_encode_special_tokens(true);
            tokenizer
        })
    }

    pub(super) fn of(tokenizer: &Tokenizer) -> Self {
        let added = tokenizer.get_added_tokens_decoder().into_iter();
        let special = added.filter(|(_, token)| token.special && !token.content.is_empty());
        let (ids, tokens): (Vec<u32>, Vec<String>) =
            special.map(|(id, token)| (id, token.content)).unzip();
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(&tokens);
        Self {
            // Without one, nothing is found: it fails for gigabytes of tokens only.
            finder: finder.ok().filter(|_| !tokens.is_empty()),
            tokens,
            ids,
            literal: OnceLock::new(),
        }
    }

    /// The places of special tokens in a text, but for the one that stands for steps.
    fn places<'a>(
        &'a self,
        text: &'a str,
        step_token: Option<&'a str>,
    ) -> impl Iterator<Item = (usize, &'a str)> {
        let found = self.finder.iter().flat_map(move |f| f.find_iter(text));
        let named = found.map(|found| (found.start(), self.tokens[found.pattern()].as_str()));
        named.filter(move |(_, token)| Some(*token) != step_token)
    }

    /// The first one that a value spells.
    pub(super) fn first<'a>(
        &'a self,
        value: &'a Json,
        step_token: Option<&'a str>,
    ) -> Option<&'a str> {
        let in_text = |text: &'a str| self.places(text, step_token).next().map(|(_, token)| token);
        match value {
            Json::String(text) => in_text(text),
            Json::Array(items) => items.iter().find_map(|item| self.first(item, step_token)),
            Json::Object(fields) => fields
                .iter()
                .find_map(|(name, value)| in_text(name).or_else(|| self.first(value, step_token))),
            Json::Null | Json::Bool(_) | Json::Number(_) => None,
        }
    }

    /// The value with a mark behind the first character of each.
    pub(super) fn marked(&self, value: &Json, step_token: Option<&str>, mark: char) -> Json {
        let again = |value: &Json| self.marked(value, step_token, mark);
        match value {
            Json::String(text) => {
                let mut marked = String::with_capacity(text.len() + 8);
                let mut done = 0;
                for (start, token) in self.places(text, step_token) {
                    let first = token.chars().next().map_or(0, char::len_utf8);
                    marked.push_str(&text[done..start + first]);
                    marked.push(mark);
                    done = start + first;
                }
                marked.push_str(&text[done..]);
                marked.into()
            }
            Json::Array(items) => items.iter().map(again).collect::<Vec<_>>().into(),
            Json::Object(fields) => {
                let marked = fields
                    .iter()
                    .map(|(name, value)| (name.clone(), again(value)));
                marked.collect::<Object>().into()
            }
            other => other.clone(),
        }
    }
}
