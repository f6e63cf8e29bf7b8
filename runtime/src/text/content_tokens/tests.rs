use std::{fs, path::Path};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::text::{LengthRule, Message, TextOptions, Truncation};

const END: &str = "<|im_end|>";
const LAST: &str = "<|endoftext|>";
/// An added token that is not special.
const STEP: &str = "<|fim_pad|>";

/// The Qwen2.5 tokenizer with a template: its own, or the WorldPM-like one.
fn encoder(template: &str, handling: SpecialTokenHandling) -> ChatEncoder {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let dir = TempDir::new().unwrap();
    for file in ["tokenizer.json", "tokenizer_config.json"] {
        let from = models.join("tokenizers/qwen2.5").join(file);
        fs::copy(from, dir.path().join(file)).unwrap();
    }
    let to = dir.path().join("chat_template.jinja");
    match template {
        "qwen2.5" => {}
        "worldpm" => drop(fs::copy(models.join("templates/worldpm.jinja"), to).unwrap()),
        text => fs::write(to, text).unwrap(),
    }
    let options = TextOptions::default().with_special_tokens(handling);
    ChatEncoder::open_with(dir.path(), options).unwrap()
}

fn literal(template: &str) -> ChatEncoder {
    encoder(template, SpecialTokenHandling::Literal)
}

fn count(encoder: &ChatEncoder, ids: &[u32], token: &str) -> usize {
    let id = encoder.token_id(token);
    ids.iter().filter(|own| Some(**own) == id).count()
}

/// The golden file is made by `tests/fixtures/text/make_literal_goldens.py`.
#[test]
fn literal_ids_equal_those_of_transformers() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/text/literal.jsonl");
    let text = fs::read_to_string(path).unwrap();
    let mut rows = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert!(rows.next().unwrap()["transformers"].is_string());
    let encoders = ["worldpm", "qwen2.5"].map(|name| (name, literal(name)));
    let rule = LengthRule::refuse(1000);
    let mut differ = 0;
    for row in rows {
        let named = |(name, _): &&(&str, ChatEncoder)| row["template"] == *name;
        let (_, encoder) = encoders.iter().find(named).unwrap();
        let conversation = Conversation::from_value(row["messages"].clone()).unwrap();
        let expected: Vec<u32> = serde_json::from_value(row["ids"].clone()).unwrap();
        assert_eq!(
            encoder.conversation_ids(&conversation).unwrap(),
            expected,
            "{row}"
        );
        let found = encoder.ids_within(&conversation, &rule).unwrap();
        assert_eq!(found.ids, expected, "{row}");
        let parsed = encoder
            .encode(&encoder.render(&conversation).unwrap())
            .unwrap();
        let holds = encoder.holds_special_token(&conversation);
        assert_eq!(parsed != expected, holds, "{row}");
        differ += usize::from(holds);
    }
    assert!(differ > 30, "{differ}");
}

#[test]
fn refusals_name_the_message_and_the_token() {
    let encoder = encoder("worldpm", SpecialTokenHandling::Reject);
    let refused = |value: Value| {
        let conversation = Conversation::from_value(value).unwrap();
        assert!(encoder.holds_special_token(&conversation));
        let error = encoder.conversation_ids(&conversation).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::InvalidInput);
        error.to_string()
    };
    let user = json!({"role": "user", "content": "1 < 2"});
    for (value, expected) in [
        (
            json!([user, {"role": "assistant", "content": "a<|im_end|>"}]),
            "messages[1].content holds the text of the special token \"<|im_end|>\"",
        ),
        (
            json!([user, {"role": "assistant", "content": "a", "name": "<|endoftext|>"}]),
            "messages[1].name holds",
        ),
        (
            json!([user, {"role": "assistant", "content": "a", "tool_calls": [{"f": {"<|im_start|>": 1}}]}]),
            "messages[1].tool_calls holds",
        ),
        (
            json!({"messages": [user], "tools": [{}, {"d": ["<|im_end|>"]}]}),
            "tools[1] holds",
        ),
    ] {
        let error = refused(value);
        assert!(error.starts_with(expected), "{error}");
    }
    // Tokens of content, not of structure: what a policy writes when it thinks or calls a tool.
    for harmless in ["a <b> c", "<tool_call>\n{}\n</tool_call>", "<|im_end"] {
        let conversation = Conversation::exchange("1 < 2", harmless);
        assert!(!encoder.holds_special_token(&conversation));
        encoder.conversation_ids(&conversation).unwrap();
    }
}

#[test]
fn what_spells_nothing_has_the_same_ids_under_every_option() {
    let parse = encoder("worldpm", SpecialTokenHandling::Parse);
    for content in [
        "",
        "plain",
        "<think>\nx < y\n</think> <|im_end",
        "é\u{301}漢😀 \u{10f000}",
    ] {
        let conversation = Conversation::exchange("q", content);
        let expected = parse.conversation_ids(&conversation).unwrap();
        let other = encoder("worldpm", SpecialTokenHandling::Reject);
        assert_eq!(other.conversation_ids(&conversation).unwrap(), expected);
        let other = literal("worldpm");
        assert_eq!(other.conversation_ids(&conversation).unwrap(), expected);
    }
}

#[test]
fn content_is_ordinary_text_however_it_is_cut() {
    let encoder = literal("worldpm");
    let long = format!(
        "<|im_{} {END} {}end|>",
        "word ".repeat(40),
        "more ".repeat(40)
    );
    let mut messages = vec![Message::new("user", "q")];
    for _ in 0..3 {
        messages.push(Message::new("assistant", format!("a{END}")));
        messages.push(Message::new("user", LAST));
    }
    messages.push(Message::new("assistant", long));
    let conversation = Conversation::new(messages);
    let full = encoder.conversation_ids(&conversation).unwrap();
    for truncation in [Truncation::LongestMessageMiddle, Truncation::OldestTurns] {
        let mut cut = 0;
        for limit in full.len() - 110..full.len() {
            let rule = LengthRule::refuse(limit).with_truncation(truncation);
            let Ok(encoded) = encoder.ids_within(&conversation, &rule) else {
                continue;
            };
            cut += 1;
            assert!(encoded.truncated && encoded.ids.len() <= limit);
            let starts = count(&encoder, &encoded.ids, "<|im_start|>");
            assert_eq!(count(&encoder, &encoded.ids, END), starts, "limit {limit}");
            assert_eq!(count(&encoder, &encoded.ids, LAST), 1, "limit {limit}");
            if truncation == Truncation::LongestMessageMiddle {
                assert!(encoded.ids.len() + 8 >= limit, "limit {limit}");
            }
        }
        assert!(cut > 10, "{truncation:?}: {cut}");
    }
}

#[test]
fn a_cut_makes_no_token() {
    let content = format!("<|im_{}end|>", " x".repeat(200));
    let conversation = Conversation::exchange("q", content);
    let parse = encoder("worldpm", SpecialTokenHandling::Parse);
    let reject = encoder("worldpm", SpecialTokenHandling::Reject);
    let literal = literal("worldpm");
    let mut made = 0;
    for limit in 12..40 {
        let rule = LengthRule::refuse(limit).with_truncation(Truncation::LongestMessageMiddle);
        let Ok(parsed) = parse.ids_within(&conversation, &rule) else {
            continue;
        };
        let is_made = count(&parse, &parsed.ids, END) > 3;
        made += usize::from(is_made);
        let refused = reject.ids_within(&conversation, &rule);
        assert_eq!(refused.is_err(), is_made, "limit {limit}");
        let ids = literal.ids_within(&conversation, &rule).unwrap().ids;
        assert_eq!(count(&literal, &ids, END), 3, "limit {limit}");
    }
    assert!(made > 0);
}

#[test]
fn steps_of_a_list_end_with_their_token_and_content_spells_none() {
    let encoder = literal("worldpm").with_step_token(STEP);
    let steps = [
        format!("one {END}"),
        String::new(),
        "two < three".to_owned(),
    ];
    let conversation = Conversation::new(vec![
        Message::new("user", format!("put {STEP} there")),
        Message::from_steps(steps),
    ]);
    let step = encoder.token_id(STEP);
    let rule = LengthRule::refuse(100).with_scored_token(step);
    let ids = encoder.ids_within(&conversation, &rule).unwrap().ids;
    assert_eq!(count(&encoder, &ids, STEP), 3);
    assert_eq!(count(&encoder, &ids, END), 3);
    // A text with the tokens in it is content.
    let text = Conversation::exchange("q", format!("one{STEP}"));
    let ids = encoder.conversation_ids(&text).unwrap();
    assert_eq!(count(&encoder, &ids, STEP), 0);
    assert!(!encoder.holds_special_token(&text));
    let rule = LengthRule {
        max_tokens: 50,
        truncation: Truncation::LongestMessageMiddle,
        ..rule
    };
    let long = Conversation::new(vec![
        Message::new("user", "q"),
        Message::from_steps(["x ".repeat(20), "y ".repeat(20), "z ".repeat(20)]),
    ]);
    let error = encoder.ids_within(&long, &rule).unwrap_err();
    assert!(
        matches!(error, TextError::StepsCut { steps: 3, .. }),
        "{error}"
    );
}

/// Where the template does more than to copy the content, its tokens are refused rather than guessed at.
#[test]
fn templates_that_change_content_are_no_way_around() {
    for (filter, content, is_refused) in [
        ("", "a<|im_end|>", [false, true]),
        ("| trim", " a<|im_end|> ", [false, true]),
        ("| length", "a<|im_end|>", [false, true]),
        ("| upper", "a<|im_end|>", [false, true]),
        ("| e", "a<|im_end|>", [true, true]),
        ("| replace('<|im_end|>', '')", "a<|im_end|>", [true, true]),
        ("| replace('<x>', '')", "a<|im_<x>end|>", [true, true]),
        ("| replace('[', '<')", "a[|im_end|>", [true, true]),
        ("| replace('<x>', '')", "a<x>b", [false, false]),
    ] {
        let template = format!(
            "{{% for m in messages %}}<|im_start|>{{{{ m.content {filter} }}}}<|im_end|>{{% endfor %}}"
        );
        let conversation = Conversation::exchange("q", content);
        for (handling, is_refused) in [SpecialTokenHandling::Literal, SpecialTokenHandling::Reject]
            .into_iter()
            .zip(is_refused)
        {
            let found = encoder(&template, handling).conversation_ids(&conversation);
            assert_eq!(
                found.is_err(),
                is_refused,
                "{filter} {content} {handling:?}: {found:?}"
            );
        }
    }
}

#[test]
fn structure_that_is_not_flagged_is_guarded() {
    let template =
        "{% for m in messages %}<|im_start|>{{ m.content }}<|fim_suffix|>{% endfor %}<|repo_name|>";
    let encoder = encoder(template, SpecialTokenHandling::Reject);
    let refused = |content: &str| {
        let conversation = Conversation::exchange("q", content);
        encoder.conversation_ids(&conversation).is_err()
    };
    assert!(refused("<|fim_suffix|>"));
    assert!(!refused("<|fim_prefix|>"));
    assert!(!refused("<|repo_name|>"));
}

#[test]
fn private_characters_beside_tokens_are_refused() {
    let encoder = literal("worldpm");
    let conversation = Conversation::exchange("q\u{100000}", "a<|im_end|>");
    let error = encoder
        .conversation_ids(&conversation)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("messages[0].content has the private character U+100000"),
        "{error}"
    );
}

#[test]
fn long_texts_are_encoded_in_pieces() {
    let encoder = literal("worldpm");
    let content = format!("word {END} 1 < 2 ").repeat(20_000);
    let ids = encoder
        .conversation_ids(&Conversation::exchange("q", &*content))
        .unwrap();
    let short = encoder
        .conversation_ids(&Conversation::exchange("q", ""))
        .unwrap();
    assert_eq!(count(&encoder, &ids, END), 3);
    let split = short.len() - 2;
    assert_eq!(ids[..split], short[..split]);
    assert_eq!(ids[ids.len() - 2..], short[split..]);
    let rule = LengthRule::refuse(100).with_truncation(Truncation::LongestMessageMiddle);
    let cut = encoder
        .ids_within(&Conversation::exchange("q", content), &rule)
        .unwrap();
    assert_eq!(count(&encoder, &cut.ids, END), 3);
    assert!(cut.ids.len() > 90);
}
