//! The text of special tokens, looked for where it may stand and where it must not.

use aho_corasick::{AhoCorasick, MatchKind};
use tokenizers::{AddedToken, Tokenizer};

use super::conversation::{Conversation, Message};
use crate::json::{Json, Object};

/// The tokens that only a template may write: those that the tokenizer calls special, the one that ends steps, and added
/// tokens that the template writes for one message after another.
#[derive(Debug)]
pub(super) struct Guard {
    /// By id.
    tokens: Vec<Guarded>,
    /// Finds each of them, also where two share characters.
    each: AhoCorasick,
    /// Divides a text at added tokens, as the tokenizer does.
    split: AhoCorasick,
    /// For each pattern of `split`, its place in `tokens`.
    of_split: Vec<Option<usize>>,
    /// What they begin with.
    firsts: Vec<char>,
    /// Characters without any of which no text is one of them, or part of one that says much.
    signs: Vec<char>,
}

#[derive(Debug)]
pub(super) struct Guarded {
    pub(super) id: u32,
    pub(super) token: AddedToken,
}

impl Guard {
    /// Those of a tokenizer. `probe` is what the template makes of two exchanges.
    ///
    /// # Errors
    ///
    /// For more tokens than can be looked for.
    pub(super) fn of(
        tokenizer: &Tokenizer,
        step_token: Option<&str>,
        probe: Option<&str>,
    ) -> Result<Self, String> {
        let mut added: Vec<(u32, AddedToken)> = tokenizer
            .get_added_tokens_decoder()
            .into_iter()
            .filter(|(_, token)| !token.content.is_empty())
            .collect();
        added.sort_unstable_by_key(|(id, _)| *id);
        let search = |kind, texts: &[&str]| {
            AhoCorasick::builder()
                .match_kind(kind)
                .build(texts)
                .map_err(|error| format!("those of the tokenizer cannot be looked for: {error}"))
        };
        let texts: Vec<&str> = added.iter().map(|(_, token)| &*token.content).collect();
        let split = search(MatchKind::LeftmostLongest, &texts)?;
        let mut written = vec![0_usize; added.len()];
        for found in split.find_iter(probe.unwrap_or_default()) {
            written[found.pattern().as_usize()] += 1;
        }
        let are_split = tokenizer.get_encode_special_tokens();
        let mut tokens = Vec::new();
        let mut of_split = Vec::with_capacity(added.len());
        for ((id, token), written) in added.iter().zip(written) {
            let is_written = written > 1 && !token.content.trim().is_empty();
            let is_guarded = (token.special && !are_split)
                || (!token.special && is_written)
                || step_token == Some(&token.content);
            of_split.push(is_guarded.then_some(tokens.len()));
            if is_guarded {
                let (id, token) = (*id, token.clone());
                tokens.push(Guarded { id, token });
            }
        }
        let texts: Vec<&str> = tokens.iter().map(Guarded::text).collect();
        let each = search(MatchKind::Standard, &texts)?;
        let mut firsts: Vec<char> = texts
            .iter()
            .filter_map(|text| text.chars().next())
            .collect();
        let marks = texts.iter().flat_map(|text| text.chars());
        let marks = marks.filter(|c| !c.is_alphanumeric() && !c.is_whitespace());
        let mut signs: Vec<char> = marks.chain(firsts.iter().copied()).collect();
        for chars in [&mut firsts, &mut signs] {
            chars.sort_unstable();
            chars.dedup();
        }
        Ok(Self {
            tokens,
            each,
            split,
            of_split,
            firsts,
            signs,
        })
    }

    /// The tokens, by id.
    pub(super) fn tokens(&self) -> &[Guarded] {
        &self.tokens
    }

    /// The characters that they begin with, ascending.
    pub(super) fn firsts(&self) -> &[char] {
        &self.firsts
    }

    /// A text that has no part in any token.
    pub(super) fn without_signs(&self, text: &str) -> Option<String> {
        let replace = || text.replace(&self.signs[..], "\u{10FFFD}");
        text.contains(&self.signs[..]).then(replace)
    }

    /// Where a text spells one of the tokens, from its first place on.
    pub(super) fn spelled<'a>(
        &'a self,
        text: &'a str,
    ) -> impl Iterator<Item = (usize, &'a str)> + 'a {
        let found = self.each.is_match(text).then(|| {
            let all = self.each.find_overlapping_iter(text);
            all.map(|found| {
                (
                    found.start(),
                    self.tokens[found.pattern().as_usize()].text(),
                )
            })
        });
        found.into_iter().flatten()
    }

    /// The first string of a conversation that spells a token other than `except`, and the token.
    pub(super) fn find(
        &self,
        conversation: &Conversation,
        except: Option<&str>,
    ) -> Option<(String, &str)> {
        let spelled = |text: &str| {
            let mut tokens = self
                .each
                .is_match(text)
                .then(|| self.each.find_overlapping_iter(text))
                .into_iter()
                .flatten()
                .map(|found| self.tokens[found.pattern().as_usize()].text());
            tokens.find(|token| Some(*token) != except)
        };
        find(conversation, &spelled)
    }

    /// Whether a string of a conversation could have a part in a token.
    pub(super) fn may_stand_in(&self, conversation: &Conversation) -> bool {
        let could = |text: &str| text.contains(&self.signs[..]).then_some(());
        find(conversation, &could).is_some()
    }

    /// Divides a text at the tokens, as the tokenizer does: what stands before each, its place in
    /// [`tokens`](Self::tokens), and at last the rest.
    pub(super) fn split<'a>(&self, text: &'a str) -> (Vec<(&'a str, usize)>, &'a str) {
        let mut parts = Vec::new();
        let mut rest = 0;
        for found in self.split.find_iter(text) {
            if let Some(token) = self.of_split[found.pattern().as_usize()] {
                parts.push((text.get(rest..found.start()).unwrap_or_default(), token));
                rest = found.end();
            }
        }
        (parts, text.get(rest..).unwrap_or_default())
    }

    /// The tokens of a text but for `except`, by their places in [`tokens`](Self::tokens).
    pub(super) fn sequence(&self, text: &str, except: Option<&str>) -> Vec<usize> {
        let (parts, _) = self.split(text);
        let tokens = parts.into_iter().map(|(_, token)| token);
        tokens
            .filter(|token| Some(self.tokens[*token].text()) != except)
            .collect()
    }
}

impl Guarded {
    pub(super) fn text(&self) -> &str {
        &self.token.content
    }
}

/// The first string of a conversation at which `test` finds something: its message and field, or its tool. Names of nested
/// fields are among the strings; roles are not.
pub(super) fn find<R>(
    conversation: &Conversation,
    test: &impl Fn(&str) -> Option<R>,
) -> Option<(String, R)> {
    for (index, message) in conversation.messages.iter().enumerate() {
        for (name, value) in message.fields().iter() {
            if name == "role" {
                continue;
            }
            if let Some(found) = test(name).or_else(|| find_in(value, test)) {
                return Some((format!("messages[{index}].{name}"), found));
            }
        }
    }
    let tools = conversation.tools.iter().flatten().enumerate();
    let mut found = tools.filter_map(|(index, tool)| {
        let found = find_in(tool, test)?;
        Some((format!("tools[{index}]"), found))
    });
    found.next()
}

fn find_in<R>(value: &Json, test: &impl Fn(&str) -> Option<R>) -> Option<R> {
    match value {
        Json::String(text) => test(text),
        Json::Array(items) => items.iter().find_map(|item| find_in(item, test)),
        Json::Object(fields) => fields
            .iter()
            .find_map(|(name, value)| test(name).or_else(|| find_in(value, test))),
        Json::Null | Json::Bool(_) | Json::Number(_) => None,
    }
}

/// A conversation with all strings but the roles changed where `change` gives another.
pub(super) fn changed(
    conversation: &Conversation,
    change: &impl Fn(&str) -> Option<String>,
) -> Conversation {
    let message = |fields: &Object| {
        let fields = fields.iter().map(|(name, value)| match name.as_str() {
            "role" => (name.clone(), value.clone()),
            _ => changed_field(name, value, change),
        });
        Message::from_fields(fields.collect::<Object>())
    };
    let messages = conversation.messages.iter();
    let tools = conversation.tools.as_ref();
    Conversation {
        messages: messages.map(|one| message(one.fields())).collect(),
        tools: tools.map(|tools| tools.iter().map(|tool| changed_in(tool, change)).collect()),
    }
}

fn changed_field(
    name: &str,
    value: &Json,
    change: &impl Fn(&str) -> Option<String>,
) -> (String, Json) {
    let name = change(name).unwrap_or_else(|| name.to_owned());
    (name, changed_in(value, change))
}

fn changed_in(value: &Json, change: &impl Fn(&str) -> Option<String>) -> Json {
    match value {
        Json::String(text) => change(text).map_or_else(|| value.clone(), Json::from),
        Json::Array(items) => {
            let items = items.iter().map(|item| changed_in(item, change));
            Json::from(items.collect::<Vec<_>>())
        }
        Json::Object(fields) => {
            let fields = fields.iter();
            let fields = fields.map(|(name, value)| changed_field(name, value, change));
            Json::Object(fields.collect())
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => value.clone(),
    }
}
