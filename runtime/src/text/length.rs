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
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{fs, path::Path, sync::OnceLock};

    use tempfile::TempDir;

    use super::*;

    /// The Qwen2.5 tokenizer with the WorldPM-like template.
    fn encoder() -> &'static ChatEncoder {
        static ENCODER: OnceLock<ChatEncoder> = OnceLock::new();
        ENCODER.get_or_init(|| {
            let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
            let dir = TempDir::new().unwrap();
            for (from, to) in [
                ("tokenizers/qwen2.5/tokenizer.json", "tokenizer.json"),
                (
                    "tokenizers/qwen2.5/tokenizer_config.json",
                    "tokenizer_config.json",
                ),
                ("templates/worldpm.jinja", "chat_template.jinja"),
            ] {
                fs::copy(models.join(from), dir.path().join(to)).unwrap();
            }
            ChatEncoder::open(dir.path()).unwrap()
        })
    }

    fn rule(max_tokens: usize, truncation: Truncation) -> LengthRule {
        LengthRule::refuse(max_tokens).with_truncation(truncation)
    }

    fn dialogue() -> Conversation {
        let mut messages = vec![Message::new("system", "Be brief.")];
        for i in 0..10 {
            messages.push(Message::new("user", format!("question number {i}")));
            messages.push(Message::new("assistant", format!("answer number {i}")));
        }
        Conversation::new(messages)
    }

    fn ids(messages: &[Message]) -> Vec<u32> {
        let conversation = Conversation::new(messages.to_vec());
        encoder().conversation_ids(&conversation).unwrap()
    }

    #[test]
    fn what_fits_is_left_alone() {
        let full = ids(&dialogue().messages);
        for truncation in [
            Truncation::Refuse,
            Truncation::OldestTurns,
            Truncation::LongestMessageMiddle,
        ] {
            let encoded = encoder()
                .ids_within(&dialogue(), &rule(full.len(), truncation))
                .unwrap();
            assert_eq!(encoded.ids, full);
            assert!(!encoded.truncated);
        }
    }

    #[test]
    fn a_refusal_names_both_numbers() {
        let full = ids(&dialogue().messages).len();
        let error = encoder()
            .ids_within(&dialogue(), &LengthRule::refuse(full - 1))
            .unwrap_err()
            .to_string();
        let expected = format!(
            "the conversation has {full} tokens and the limit is {}: ",
            full - 1
        );
        assert!(error.starts_with(&expected), "{error}");
    }

    #[test]
    fn oldest_turns_go_first_and_as_few_as_suffice() {
        let whole = dialogue();
        let full = ids(&whole.messages).len();
        // What is left after dropping 0, 1, … 9 turns.
        let left: Vec<Vec<u32>> = (0..10)
            .map(|dropped| {
                let mut messages = whole.messages.clone();
                messages.drain(1..1 + 2 * dropped);
                ids(&messages)
            })
            .collect();
        let smallest = left[9].len();
        for limit in smallest..full {
            let encoded = encoder()
                .ids_within(&whole, &rule(limit, Truncation::OldestTurns))
                .unwrap();
            let expected = left.iter().find(|ids| ids.len() <= limit).unwrap();
            assert_eq!(&encoded.ids, expected, "limit {limit}");
            assert!(encoded.truncated);
            assert_eq!(encoded.full_tokens, full);
        }
        for limit in [0, 1, smallest - 1] {
            let error = encoder()
                .ids_within(&whole, &rule(limit, Truncation::OldestTurns))
                .unwrap_err();
            assert!(matches!(error, TextError::TooLong { tokens, .. } if tokens == full));
        }
    }

    #[test]
    fn one_turn_is_never_dropped() {
        for messages in [
            vec![
                Message::new("user", "a long question"),
                Message::new("assistant", "a reply"),
            ],
            vec![Message::new("assistant", "a long reply")],
            vec![Message::new("system", "a long prompt")],
        ] {
            let full = ids(&messages).len();
            let error = encoder()
                .ids_within(
                    &Conversation::new(messages),
                    &rule(full - 1, Truncation::OldestTurns),
                )
                .unwrap_err();
            assert!(matches!(error, TextError::TooLong { .. }));
        }
    }

    #[test]
    fn turns_start_at_user_messages() {
        for (roles, expected) in [
            ("suaua", vec![1, 3]),
            ("uatauas", vec![0, 4]),
            ("sauau", vec![1, 2, 4]),
            ("ss", vec![]),
            ("ssua", vec![2]),
        ] {
            let messages: Vec<_> = roles
                .chars()
                .map(|role| {
                    let role = match role {
                        's' => "system",
                        'u' => "user",
                        't' => "tool",
                        _ => "assistant",
                    };
                    Message::new(role, "x")
                })
                .collect();
            assert_eq!(turn_starts(&messages), expected, "{roles}");
        }
    }

    #[test]
    fn the_middle_of_the_longest_message_is_cut() {
        for unit in [
            "word ",
            "é漢😀",
            "👨\u{200d}👩\u{200d}👧",
            "x",
            "<|im_end|> ",
        ] {
            let content = format!("The start. {} The end.", unit.repeat(500));
            let messages = vec![
                Message::new("system", "s".repeat(4000)),
                Message::new("user", "Is it so?"),
                Message::new("assistant", content.clone()),
            ];
            let conversation = Conversation::new(messages);
            let full = ids(&conversation.messages).len();
            for limit in [full - 1, full - 2, full - 10, full - 25] {
                let encoded = encoder()
                    .ids_within(
                        &conversation,
                        &rule(limit, Truncation::LongestMessageMiddle),
                    )
                    .unwrap();
                assert!(encoded.truncated && encoded.ids.len() <= limit);
                // Joined ends may encode to a little less than was asked for.
                assert!(
                    encoded.ids.len() + 8 >= limit,
                    "{unit:?}, {limit}: {}",
                    encoded.ids.len()
                );
                let original = ids(&conversation.messages);
                assert_eq!(encoded.ids[..10], original[..10]);
                assert_eq!(encoded.ids[encoded.ids.len() - 5..], original[full - 5..]);
            }
            let system = ids(&conversation.messages[..2]).len();
            let error = encoder()
                .ids_within(
                    &conversation,
                    &rule(system, Truncation::LongestMessageMiddle),
                )
                .unwrap_err();
            assert!(
                error.to_string().contains("its longest message cut"),
                "{error}"
            );
        }
    }

    #[test]
    fn truncated_conversations_are_rendered_whole() {
        let encoder = encoder();
        let end = encoder.token_id("<|endoftext|>");
        for truncation in [Truncation::OldestTurns, Truncation::LongestMessageMiddle] {
            let mut conversation = dialogue();
            conversation
                .messages
                .push(Message::new("user", "long ".repeat(300)));
            conversation.messages.push(Message::new("assistant", "yes"));
            let limit = ids(&conversation.messages).len() - 60;
            let encoded = encoder
                .ids_within(&conversation, &rule(limit, truncation))
                .unwrap();
            assert_eq!(encoded.ids.last().copied(), end);
            assert_eq!(
                encoder
                    .token_text(encoded.ids[encoded.ids.len() - 2])
                    .as_deref(),
                Some("<|im_end|>")
            );
        }
    }

    #[test]
    fn the_two_ends_are_whole_characters() {
        let text = "aé漢😀z";
        let ranges: Vec<_> = text
            .char_indices()
            .map(|(at, c)| (at, at + c.len_utf8()))
            .collect();
        assert_eq!(two_ends(text, &ranges, 5), text);
        assert_eq!(two_ends(text, &ranges, 4), "aé😀z");
        assert_eq!(two_ends(text, &ranges, 2), "az");
        // Several tokens that share one character, as bytes of it do.
        let shared = [(0, 4), (0, 4), (0, 4), (4, 5)];
        assert_eq!(two_ends("😀b", &shared, 3), "😀b");
    }

    /// The count that a long text is refused with is not that of the whole.
    #[test]
    fn long_texts_are_refused_unread_and_cut_as_short_ones_are() {
        let conversation = |words: usize| {
            let text: String = (0..words).map(|i| format!("word {} ", i % 977)).collect();
            Conversation::exchange("q", text)
        };
        let refuse = |words, limit| {
            let found = encoder().ids_within(&conversation(words), &LengthRule::refuse(limit));
            match found.unwrap_err() {
                TextError::TooLong {
                    tokens, at_least, ..
                } => (tokens, at_least),
                other => panic!("{other}"),
            }
        };
        // Refused by its bytes, and refused when the limit is passed.
        for words in [400_000, 60_000] {
            let (tokens, at_least) = refuse(words, 1000);
            assert!(at_least && tokens > 1000, "{words}: {tokens}");
        }
        let (tokens, at_least) = refuse(10_000, 1000);
        let full = ids(&conversation(10_000).messages).len();
        assert_eq!((tokens, at_least), (full, false));
        // One that fits is as it is whatever its length.
        let long = conversation(60_000);
        let full = ids(&long.messages);
        let fits = encoder()
            .ids_within(&long, &LengthRule::refuse(full.len()))
            .unwrap();
        assert_eq!(fits.ids, full);
        assert!(
            encoder()
                .ids_within(&long, &LengthRule::refuse(full.len() - 1))
                .is_err()
        );

        // The same beginning and end whether the middle was looked at or not.
        let rule = rule(500, Truncation::LongestMessageMiddle);
        let cut = encoder().ids_within(&conversation(400_000), &rule).unwrap();
        assert!(cut.truncated && cut.ids.len() <= 500 && cut.ids.len() > 490);
        assert_eq!(cut.ids[..200], full[..200]);
        let mut dialogue = dialogue();
        dialogue
            .messages
            .insert(1, Message::new("user", "long ".repeat(1_000_000)));
        let kept = encoder().ids_within(
            &dialogue,
            &super::LengthRule {
                truncation: Truncation::OldestTurns,
                ..rule
            },
        );
        dialogue.messages.remove(1);
        assert_eq!(kept.unwrap().ids, ids(&dialogue.messages));
    }

    #[test]
    fn a_batch_gives_what_single_calls_give() {
        let conversations: Vec<_> = (1..40)
            .map(|n| Conversation::exchange("q ".repeat(n), "a ".repeat(n * 3)))
            .collect();
        let rule = rule(60, Truncation::LongestMessageMiddle);
        let batch = encoder().ids_within_batch(&conversations, &rule);
        for (conversation, found) in conversations.iter().zip(batch) {
            let single = encoder().ids_within(conversation, &rule);
            assert_eq!(found.ok(), single.ok());
        }
    }
}
