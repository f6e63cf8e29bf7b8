use std::borrow::Cow;

use super::conversation::{Conversation, Message};
use super::encoder::{ChatEncoder, in_parallel};
use super::error::TextError;

/// What happens to a conversation with more tokens than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Truncation {
    /// It is refused.
    #[default]
    Refuse,
    /// Turns are dropped from the oldest on, as few as suffice. A turn is a user message and all that follows it up to
    /// the next user message. System messages and the last turn always stay.
    OldestTurns,
    /// Tokens are cut from the middle of the longest message that is not a system message. The two ends stay, and the
    /// other messages are not touched.
    LongestMessageMiddle,
}

/// How long a conversation may be, and what happens past that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LengthRule {
    /// The most tokens a rendered conversation may have, its markers included. At most the model's
    /// `max_position_embeddings`.
    pub max_tokens: usize,
    /// What happens past that. Default: [`Truncation::Refuse`].
    pub truncation: Truncation,
}

impl LengthRule {
    /// Refuses conversations of more than `max_tokens` tokens.
    pub fn refuse(max_tokens: usize) -> Self {
        Self {
            max_tokens,
            truncation: Truncation::Refuse,
        }
    }

    /// Sets [`LengthRule::truncation`].
    #[must_use]
    pub fn with_truncation(mut self, truncation: Truncation) -> Self {
        self.truncation = truncation;
        self
    }
}

/// The token ids of a conversation that keeps a [`LengthRule`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The token ids, at most [`LengthRule::max_tokens`].
    pub ids: Vec<u32>,
    /// Whether something was left out.
    pub truncated: bool,
    /// Tokens of the whole conversation; more than `ids` when it was truncated.
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
    /// [`TextError::TooLong`] when it is too long and the rule does not make it fit; else as
    /// [`ChatEncoder::conversation_ids`].
    pub fn ids_within(
        &self,
        conversation: &Conversation,
        rule: &LengthRule,
    ) -> Result<Encoded, TextError> {
        let ids = self.conversation_ids(conversation)?;
        let full_tokens = ids.len();
        if full_tokens <= rule.max_tokens {
            return Ok(Encoded {
                ids,
                truncated: false,
                full_tokens,
            });
        }
        let shorter = match rule.truncation {
            Truncation::Refuse => None,
            Truncation::OldestTurns => self.without_oldest_turns(conversation, rule.max_tokens)?,
            Truncation::LongestMessageMiddle => {
                self.without_middle(conversation, rule.max_tokens, full_tokens)?
            }
        };
        match shorter {
            Some(ids) => Ok(Encoded {
                ids,
                truncated: true,
                full_tokens,
            }),
            None => Err(TextError::TooLong {
                tokens: full_tokens,
                limit: rule.max_tokens,
                truncation: rule.truncation,
            }),
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
        limit: usize,
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
            let ids = self.conversation_ids(&Conversation {
                messages,
                tools: conversation.tools.clone(),
            })?;
            if ids.len() <= limit {
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
        limit: usize,
        full_tokens: usize,
    ) -> Result<Option<Vec<u32>>, TextError> {
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
        let ranges = self.token_ranges(content)?;
        let mut shorter = conversation.clone();
        let mut cut = full_tokens.saturating_sub(limit);
        // A cut joins two texts that may not encode as they did apart, so a second round may be needed; each cuts more.
        while let Some(kept) = ranges.len().checked_sub(cut).filter(|kept| *kept >= 2) {
            let text = two_ends(content, &ranges, kept);
            if let Some(message) = shorter.messages.get_mut(index) {
                message.set_content(text);
            }
            let ids = self.conversation_ids(&shorter)?;
            match ids.len().checked_sub(limit) {
                None | Some(0) => return Ok(Some(ids)),
                Some(excess) => cut += excess,
            }
        }
        Ok(None)
    }
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
