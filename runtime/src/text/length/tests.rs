#![allow(clippy::unwrap_used)]

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
