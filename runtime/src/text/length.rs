use std::borrow::Cow;

use super::{
    conversation::{Conversation, Message},
    encoder::ChatEncoder,
    error::TextError,
    long,
    parallel::in_parallel,
    truncation::Truncation,
};

/// How long a conversation may be, and what happens past that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LengthRule {
    /// The most tokens a rendered conversation may have, its markers included. At most the model's
    /// `max_position_embeddings`.
    pub max_tokens: usize,
    /// What happens past that. Default: [`Truncation::Refuse`].
    pub truncation: Truncation,
    /// A token that truncation must not leave out: every one of them is scored. Default: none.
    pub scored_token: Option<u32>,
}

impl LengthRule {
    /// Refuses conversations of more than `max_tokens` tokens.
    pub fn refuse(max_tokens: usize) -> Self {
        Self {
            max_tokens,
            truncation: Truncation::Refuse,
            scored_token: None,
        }
    }

    /// Sets [`LengthRule::truncation`].
    #[must_use]
    pub fn with_truncation(mut self, truncation: Truncation) -> Self {
        self.truncation = truncation;
        self
    }

    /// Sets [`LengthRule::scored_token`].
    #[must_use]
    pub fn with_scored_token(mut self, token: Option<u32>) -> Self {
        self.scored_token = token;
        self
    }

    /// How many tokens a conversation has that must stay.
    fn scored_tokens(&self, ids: &[u32]) -> usize {
        ids.iter()
            .filter(|&&id| Some(id) == self.scored_token)
            .count()
    }
}

/// The token ids of a conversation that keeps a [`LengthRule`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The token ids, at most [`LengthRule::max_tokens`].
    pub ids: Vec<u32>,
    /// Whether something was left out.
    pub truncated: bool,
    /// Tokens of the whole conversation; more than `ids` when it was truncated. Of a long text that is far past the limit,
    /// so many at least: it is not encoded whole.
    pub full_tokens: usize,
}

impl ChatEncoder {
    /// The token ids of a conversation, or of what the rule leaves of it.
    ///
    /// A truncated conversation is rendered and encoded anew, so the template's markers, the final ones above all, are
    /// always whole.
    ///
    /// # Errors
    ///
    /// [`TextError::TooLong`] when it is too long and the rule does not make it fit, [`TextError::StepsCut`] when it
    /// would fit without some of its scored tokens; else as [`ChatEncoder::conversation_ids`].
    pub fn ids_within(
        &self,
        conversation: &Conversation,
        rule: &LengthRule,
    ) -> Result<Encoded, TextError> {
        let encoder = self.of_content(conversation)?.unwrap_or(self);
        encoder.ids_of_content(conversation, rule)
    }

    fn ids_of_content(
        &self,
        conversation: &Conversation,
        rule: &LengthRule,
    ) -> Result<Encoded, TextError> {
        let _turn = self.turn_of(conversation);
        let conversation = self.prepare(conversation)?;
        let text = self.text_of(&conversation)?;
        let full = match self.ids_up_to(&text, rule)? {
            UpTo::Ids(ids) => {
                let full_tokens = ids.len();
                return Ok(Encoded {
                    ids,
                    truncated: false,
                    full_tokens,
                });
            }
            UpTo::More(full) => full,
        };
        drop(text);
        let shorter = match rule.truncation {
            Truncation::Refuse => None,
            Truncation::OldestTurns => self.without_oldest_turns(&conversation, rule)?,
            Truncation::LongestMessageMiddle => self.without_middle(&conversation, rule, full)?,
        };
        let kept = shorter.as_deref().map(|ids| rule.scored_tokens(ids));
        if let Some(kept) = kept.filter(|&kept| kept != full.scored) {
            return Err(TextError::StepsCut {
                tokens: full.tokens,
                limit: rule.max_tokens,
                steps: full.scored,
                kept,
            });
        }
        match shorter {
            Some(ids) => Ok(Encoded {
                ids,
                truncated: true,
                full_tokens: full.tokens,
            }),
            None => Err(TextError::TooLong {
                tokens: full.tokens,
                at_least: full.at_least,
                limit: rule.max_tokens,
                truncation: rule.truncation,
            }),
        }
    }

    /// The ids of a text that has at most as many as the rule allows. Of a long text, no more is encoded than it takes to
    /// know.
    fn ids_up_to(&self, text: &str, rule: &LengthRule) -> Result<UpTo, TextError> {
        let most = rule.max_tokens;
        if text.len() > long::PIECE_BYTES {
            let tokens = self.long().least_tokens(text);
            if tokens > most {
                return Ok(UpTo::More(self.at_least(tokens, text, rule)));
            }
        }
        let mut ids = Vec::new();
        self.encode_while(text, |piece| {
            ids.extend_from_slice(piece);
            ids.len() <= most
        })?;
        let tokens = ids.len();
        if tokens <= most {
            return Ok(UpTo::Ids(ids));
        }
        if text.len() > long::PIECE_BYTES {
            return Ok(UpTo::More(self.at_least(tokens, text, rule)));
        }
        Ok(UpTo::More(Full {
            tokens,
            at_least: false,
            scored: rule.scored_tokens(&ids),
        }))
    }

    /// What is known of a text that is not encoded whole.
    fn at_least(&self, tokens: usize, text: &str, rule: &LengthRule) -> Full {
        let scored = rule.scored_token.and_then(|id| match self.literal() {
            Some(literal) => literal.spelling(id),
            None => self.token_text(id),
        });
        Full {
            tokens,
            at_least: true,
            // The text of a special token becomes that token wherever it stands.
            scored: scored.map_or(0, |token| text.matches(&token).count()),
        }
    }

    /// [`ids_within`](Self::ids_within) of many conversations, in their order, on all cores.
    pub fn ids_within_batch(
        &self,
        conversations: &[Conversation],
        rule: &LengthRule,
    ) -> Vec<Result<Encoded, TextError>> {
        in_parallel(conversations, |conversation| {
            self.ids_within(conversation, rule)
        })
    }

    /// Drops as few of the oldest turns as make it fit; `None` when no number does.
    fn without_oldest_turns(
        &self,
        conversation: &Conversation,
        rule: &LengthRule,
    ) -> Result<Option<Vec<u32>>, TextError> {
        let starts = turn_starts(&conversation.messages);
        let Some(last) = starts.len().checked_sub(1) else {
            return Ok(None);
        };
        // Fewer turns are fewer tokens, so the smallest number to drop is found by halving.
        let (mut too_few, mut enough, mut found) = (0, last + 1, None);
        while enough - too_few > 1 {
            let dropped = if found.is_none() && enough > last {
                // Whether dropping all but the last turn helps at all comes first.
                last
            } else {
                too_few + (enough - too_few) / 2
            };
            if dropped == 0 {
                break;
            }
            let start = starts.get(dropped).copied().unwrap_or(0);
            let kept = conversation.messages.iter().enumerate();
            let messages = kept
                .filter(|(i, message)| *i >= start || message.role() == "system")
                .map(|(_, message)| message.clone())
                .collect();
            let shorter = Conversation {
                messages,
                tools: conversation.tools.clone(),
            };
            if let UpTo::Ids(ids) = self.ids_up_to(&self.text_of(&shorter)?, rule)? {
                enough = dropped;
                found = Some(ids);
            } else if dropped == last {
                break;
            } else {
                too_few = dropped;
            }
        }
        Ok(found)
    }

    /// Cuts the middle out of the longest message; `None` when even its two ends alone do not fit.
    fn without_middle(
        &self,
        conversation: &Conversation,
        rule: &LengthRule,
        full: Full,
    ) -> Result<Option<Vec<u32>>, TextError> {
        let limit = rule.max_tokens;
        let longest = conversation
            .messages
            .iter()
            .enumerate()
            .filter(|(_, message)| message.role() != "system")
            .max_by_key(|(i, message)| (message.content().map_or(0, str::len), usize::MAX - i));
        let Some((index, content)) = longest.and_then(|(i, message)| Some((i, message.content()?)))
        else {
            return Ok(None);
        };
        let mut shorter = conversation.clone();
        let mut set = |content: Cow<'_, str>| {
            if let Some(message) = shorter.messages.get_mut(index) {
                message.set_content(content);
            }
            self.text_of(&shorter)
        };
        let (content, mut cut) = if full.at_least {
            // No more of it can be left than the limit has tokens, so what is in between need not be encoded.
            let without = set(Cow::Borrowed(""))?;
            if let UpTo::More(_) = self.ids_up_to(&without, rule)? {
                return Ok(None);
            }
            let content = self.long().two_ends(content, limit);
            let tokens = self.count(&set(Cow::Borrowed(&content))?)?;
            (content, tokens.saturating_sub(limit))
        } else {
            (Cow::Borrowed(content), full.tokens.saturating_sub(limit))
        };
        let ranges = self.token_ranges(&content)?;
        // A cut joins two texts that may not encode as they did apart, so a second round may be needed; each cuts more.
        while let Some(kept) = ranges.len().checked_sub(cut).filter(|kept| *kept >= 2) {
            let text = set(two_ends(&content, &ranges, kept))?;
            let ids = self.encode(&text)?;
            match ids.len().checked_sub(limit) {
                None | Some(0) => return Ok(Some(ids)),
                Some(excess) => cut += excess,
            }
        }
        Ok(None)
    }

    /// How many tokens a text has.
    fn count(&self, text: &str) -> Result<usize, TextError> {
        let mut tokens = 0;
        self.encode_while(text, |piece| {
            tokens += piece.len();
            true
        })?;
        Ok(tokens)
    }
}

/// The ids of a text, or how many it has at least where those are too many.
enum UpTo {
    Ids(Vec<u32>),
    More(Full),
}

/// Tokens of a whole text.
#[derive(Clone, Copy)]
struct Full {
    tokens: usize,
    /// Whether it may have more.
    at_least: bool,
    /// How many of them are scored.
    scored: usize,
}

/// Where each turn starts: at each user message, the first turn at the first message that is not a system message.
fn turn_starts(messages: &[Message]) -> Vec<usize> {
    let first = messages
        .iter()
        .position(|message| message.role() != "system");
    let users = messages
        .iter()
        .enumerate()
        .filter(|(_, message)| message.role() == "user")
        .map(|(i, _)| i);
    let mut starts: Vec<usize> = first.into_iter().chain(users).collect();
    starts.dedup();
    starts
}

/// The first and the last tokens of a text, `kept` of them together, cut at whole characters.
fn two_ends<'a>(text: &'a str, ranges: &[(usize, usize)], kept: usize) -> Cow<'a, str> {
    let head = kept.div_ceil(2);
    let tail = ranges.len().saturating_sub(kept / 2);
    let end = head
        .checked_sub(1)
        .and_then(|last| ranges.get(last))
        .map_or(0, |range| range.1);
    let start = ranges.get(tail).map_or(text.len(), |range| range.0);
    if start <= end {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(end);
    let start = text.ceil_char_boundary(start);
    let head = text.get(..end).unwrap_or("");
    Cow::Owned(format!("{head}{}", text.get(start..).unwrap_or("")))
}

#[cfg(test)]
mod tests;
