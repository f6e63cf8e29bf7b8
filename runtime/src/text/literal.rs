//! Conversations whose content may spell special tokens, which are then ordinary text.
//!
//! Where the content spells a token, its first character is replaced by a private one before the template runs, and put
//! back after. The special tokens of the text are then the template's alone. Each is replaced by a private character that
//! the tokenizer's copy here knows as a token with the same properties, and it knows none of the special ones. So a text
//! is encoded in one go, by the tokenizer's own rules, whatever they are.

use std::sync::Arc;

use tokenizers::{AddedToken, Tokenizer};

use super::{
    conversation::Conversation,
    error::TextError,
    guard::{Guard, changed, find},
    template::ChatTemplates,
};

/// Private characters that stand for special tokens, from this one on.
const STAND_INS: u32 = 0x10_0000;
/// Private characters that stand for first characters, from this one on; the last plane ends some 4000 after it.
const MARKS: u32 = 0x10_F000;
const MAX_MARKS: usize = 0xFFE;

/// What stands for what.
#[derive(Debug)]
pub(super) struct Literal {
    guard: Arc<Guard>,
    /// The id that each stand-in has in the tokenizer's copy.
    ids: Vec<u32>,
    step_token: Option<String>,
}

impl Literal {
    /// Makes the tokenizer's copy, too.
    ///
    /// # Errors
    ///
    /// For more tokens than there are private characters, and for tokenizers that have tokens of these.
    pub(super) fn of(
        tokenizer: &Tokenizer,
        guard: Arc<Guard>,
        step_token: Option<&str>,
    ) -> Result<(Tokenizer, Self), String> {
        let tokens = guard.tokens();
        if tokens.len() > (MARKS - STAND_INS) as usize || guard.firsts().len() > MAX_MARKS {
            return Err(format!(
                "the tokenizer has {} of them, too many to be told from ordinary text",
                tokens.len()
            ));
        }
        let mut copy = tokenizer.clone();
        let special = tokens.iter().map(|guarded| AddedToken {
            special: true,
            ..guarded.token.clone()
        });
        let stand_ins = tokens
            .iter()
            .enumerate()
            .map(|(index, guarded)| AddedToken {
                content: stand_in(index).into(),
                special: false,
                ..guarded.token.clone()
            });
        let all: Vec<_> = special.chain(stand_ins).collect();
        copy.add_tokens(all)
            .map_err(|error| format!("the tokenizer cannot be copied: {error}"))?;
        copy.set_encode_special_tokens(true);
        let ids = (0..tokens.len()).map(|index| copy.token_to_id(&stand_in(index).to_string()));
        let ids = ids
            .collect::<Option<Vec<u32>>>()
            .filter(|ids| {
                ids.is_sorted()
                    && ids
                        .first()
                        .is_none_or(|id| tokenizer.id_to_token(*id).is_none())
            })
            .ok_or("the tokenizer has tokens of private characters, which it cannot have here")?;
        let literal = Self {
            guard,
            ids,
            step_token: step_token.map(str::to_owned),
        };
        Ok((copy, literal))
    }

    /// What stands for the token that ends steps.
    pub(super) fn step(&self) -> Option<char> {
        let tokens = self.guard.tokens().iter();
        let step = self.step_token.as_deref()?;
        let place = tokens
            .map(|token| token.text())
            .position(|token| token == step);
        place.map(stand_in)
    }

    /// What a token is in the texts to encode.
    pub(super) fn spelling(&self, id: u32) -> Option<String> {
        let mut tokens = self.guard.tokens().iter();
        let place = tokens.position(|token| token.id == id)?;
        Some(stand_in(place).into())
    }

    /// Refuses a conversation that has private characters which stand for something here.
    ///
    /// # Errors
    ///
    /// [`TextError::SpecialTokens`], with the place.
    pub(super) fn check(&self, conversation: &Conversation) -> Result<(), TextError> {
        let last = MARKS + self.guard.firsts().len() as u32;
        let private = |text: &str| {
            text.chars()
                .find(|c| (STAND_INS..last).contains(&u32::from(*c)))
        };
        match find(conversation, &private) {
            Some((place, c)) => Err(TextError::SpecialTokens {
                problem: format!(
                    "{place} has the private character U+{:X}, which stands for one of them here: take it out",
                    u32::from(c)
                ),
            }),
            None => Ok(()),
        }
    }

    /// The text to encode of a conversation, whose steps end with [`step`](Self::step).
    ///
    /// # Errors
    ///
    /// Those of the template; [`TextError::SpecialTokens`] where it does more with the content than to copy it, so that
    /// private characters would change the text or hide its tokens.
    pub(super) fn render(
        &self,
        templates: &ChatTemplates,
        conversation: &Conversation,
        system_marker: bool,
    ) -> Result<String, TextError> {
        let with_steps = |text: &str| self.step().and_then(|step| self.unmarked(text, Some(step)));
        let plain = templates.render(&changed(conversation, &with_steps), system_marker)?;
        let mixed = || {
            TextError::SpecialTokens {
            problem: "the chat template does not copy the content unchanged, so those in it cannot be told from the \
                      template's own: take them out of the content"
                .to_owned(),
        }
        };
        let render = |change: &dyn Fn(&str) -> Option<String>| {
            let marked = changed(conversation, &change);
            templates
                .render(&marked, system_marker)
                .map_err(|_| mixed())
        };
        let marked = render(&|text| self.marked(text))?;
        if self
            .unmarked(&marked, self.step())
            .as_deref()
            .unwrap_or(&marked)
            != plain
        {
            return Err(mixed());
        }
        let all = render(&|text| self.guard.without_signs(text))?;
        if self.guard.sequence(&all, None) != self.guard.sequence(&marked, None) {
            return Err(mixed());
        }
        let (parts, rest) = self.guard.split(&marked);
        let mut text = String::with_capacity(plain.len());
        let mut push = |part: &str| match self.unmarked(part, None) {
            Some(part) => text.push_str(&part),
            None => text.push_str(part),
        };
        for (part, token) in parts {
            push(part);
            push(stand_in(token).encode_utf8(&mut [0; 4]));
        }
        push(rest);
        Ok(text)
    }

    /// The ids of the model, of ids of the tokenizer's copy.
    pub(super) fn restored(&self, ids: &[u32]) -> Vec<u32> {
        ids.iter()
            .map(|id| self.restore(*id).unwrap_or(*id))
            .collect()
    }

    fn restore(&self, id: u32) -> Option<u32> {
        // New tokens have the highest ids, in their order.
        let place = self.ids.binary_search(&id).ok()?;
        Some(self.guard.tokens()[place].id)
    }

    /// Whether the tokenizer's copy found just the special tokens of a text that [`render`](Self::render) made. `found` are
    /// those of its ids for which [`is_special`](Self::is_special) holds.
    ///
    /// # Errors
    ///
    /// [`TextError::SpecialTokens`] when it did not.
    pub(super) fn check_found(&self, text: &str, found: &[u32]) -> Result<(), TextError> {
        let wanted = text.chars().filter_map(|c| {
            let place = u32::from(c).checked_sub(STAND_INS)?;
            self.ids.get(place as usize).copied()
        });
        let stand_ins = found.iter().filter(|id| self.restore(**id).is_some());
        let is_spelled = |id: &u32| {
            let mut tokens = self.guard.tokens().iter();
            tokens.any(|token| token.id == *id && text.contains(token.text()))
        };
        if !wanted.eq(stand_ins.copied()) || found.iter().any(is_spelled) {
            return Err(TextError::SpecialTokens {
                problem: "this tokenizer takes some of them for others where they stand: take them out of the content"
                    .to_owned(),
            });
        }
        Ok(())
    }

    /// Whether an id of the tokenizer's copy is that of a special token or stands for one.
    pub(super) fn is_special(&self, id: u32) -> bool {
        let tokens = self.guard.tokens();
        self.restore(id).is_some() || tokens.binary_search_by_key(&id, |token| token.id).is_ok()
    }

    /// A text with the first character of each special token that it spells replaced.
    fn marked(&self, text: &str) -> Option<String> {
        let mut starts: Vec<usize> = self.guard.spelled(text).map(|(start, _)| start).collect();
        starts.sort_unstable();
        let replace = |(at, c)| match starts.binary_search(&at) {
            Ok(_) => self.mark(c).unwrap_or(c),
            Err(_) => c,
        };
        (!starts.is_empty()).then(|| text.char_indices().map(replace).collect())
    }

    fn mark(&self, c: char) -> Option<char> {
        let place = self.guard.firsts().binary_search(&c).ok()?;
        char::from_u32(MARKS + place as u32)
    }

    /// The same text without what [`marked`](Self::marked) put there, and with the step token for what stands for it.
    fn unmarked(&self, text: &str, step: Option<char>) -> Option<String> {
        let original = |c: char| {
            let place = u32::from(c).checked_sub(MARKS)?;
            self.guard.firsts().get(place as usize).copied()
        };
        let is_changed = |c: char| Some(c) == step || original(c).is_some();
        text.contains(is_changed).then(|| {
            let mut plain = String::with_capacity(text.len());
            for c in text.chars() {
                match original(c) {
                    _ if Some(c) == step => {
                        plain.push_str(self.step_token.as_deref().unwrap_or_default());
                    }
                    Some(original) => plain.push(original),
                    None => plain.push(c),
                }
            }
            plain
        })
    }
}

/// What stands for the special token of this place.
fn stand_in(place: usize) -> char {
    let code = u32::try_from(place)
        .ok()
        .and_then(|place| STAND_INS.checked_add(place));
    code.and_then(char::from_u32)
        .unwrap_or(char::REPLACEMENT_CHARACTER)
}
