#![allow(clippy::unwrap_used)]

use std::{fs, path::PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::text::{LengthRule, Message};

fn tokenizer_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tokenizers/qwen2.5")
}

/// A copy of the Qwen2.5 tokenizer's files, to break.
fn copy() -> TempDir {
    let dir = TempDir::new().unwrap();
    for file in ["tokenizer.json", "tokenizer_config.json"] {
        fs::copy(tokenizer_dir().join(file), dir.path().join(file)).unwrap();
    }
    dir
}

fn config_with(dir: &TempDir, field: &str, value: Value) {
    let path = dir.path().join("tokenizer_config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config[field] = value;
    fs::write(path, config.to_string()).unwrap();
}

fn open_error(dir: &TempDir) -> String {
    ChatEncoder::open(dir.path()).unwrap_err().to_string()
}

#[test]
fn missing_and_broken_files_are_named() {
    for file in ["tokenizer.json", "tokenizer_config.json"] {
        let dir = copy();
        let path = dir.path().join(file);
        fs::remove_file(&path).unwrap();
        let expected = match file {
            "tokenizer.json" => format!("{} is missing: copy it", path.display()),
            // It may be missing, but the template was in it.
            _ => format!("{} has no chat template", dir.path().display()),
        };
        let error = open_error(&dir);
        assert!(error.starts_with(&expected), "{error}");

        fs::write(&path, "{\n\"truncated\": [").unwrap();
        let expected = format!("{} is not valid JSON: EOF", path.display());
        let error = open_error(&dir);
        assert!(error.starts_with(&expected), "{error}");
        assert!(error.contains("line 2"), "{error}");
    }
    let dir = copy();
    fs::write(dir.path().join("tokenizer.json"), "{\"model\": {}}").unwrap();
    let error = open_error(&dir);
    assert!(
        error.contains("is not a tokenizer that can be loaded"),
        "{error}"
    );
    fs::write(dir.path().join("tokenizer.json"), b"\xff\xfe").unwrap();
    assert!(open_error(&dir).contains("tokenizer.json is not valid JSON"));
}

#[test]
fn unusable_templates_and_tokens_are_named() {
    for (field, value, expected) in [
        ("chat_template", json!(null), "has no chat template"),
        (
            "chat_template",
            json!(7),
            "field `chat_template`: must be a template",
        ),
        (
            "chat_template",
            json!([{"name": "rag"}]),
            "field `chat_template[0]`: must be",
        ),
        (
            "chat_template",
            json!([{"name": "rag", "template": ""}]),
            "there are templates named rag, but none is named default",
        ),
        (
            "chat_template",
            json!("{% if %}"),
            "tokenizer_config.json, field `chat_template` does not compile: line 1",
        ),
        (
            "added_tokens_decoder",
            json!([]),
            "field `added_tokens_decoder`: must be",
        ),
        (
            "added_tokens_decoder",
            json!({"x": {}}),
            "field `added_tokens_decoder.x`: its name must be a token id",
        ),
        (
            "added_tokens_decoder",
            json!({"3": {}}),
            "field `added_tokens_decoder.3`: must be an object with `content`",
        ),
        (
            "added_tokens_decoder",
            json!({"3": {"content": "<|im_end|>"}}),
            "token \"<|im_end|>\" has id 151645 in tokenizer.json",
        ),
    ] {
        let dir = copy();
        config_with(&dir, field, value);
        let error = open_error(&dir);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_template_file_comes_before_the_field() {
    let dir = copy();
    let list = json!([
        {"name": "tool_use", "template": "tools"},
        {"name": "default", "template": "{{ eos_token }}{{ pad_token }}{{ bos_token }}."},
    ]);
    config_with(&dir, "chat_template", list);
    config_with(
        &dir,
        "pad_token",
        json!({"content": "<pad>", "lstrip": false}),
    );
    let exchange = Conversation::exchange("q", "a");
    let render = |conversation| ChatEncoder::open(dir.path())?.render(conversation);
    assert_eq!(render(&exchange).unwrap(), "<|im_end|><pad>.");

    fs::write(dir.path().join("chat_template.jinja"), "file\r\n").unwrap();
    assert_eq!(render(&exchange).unwrap(), "file");

    let mut with_tools = exchange.clone();
    with_tools.tools = Some(vec![json!({}).into()]);
    assert_eq!(render(&with_tools).unwrap(), "file");
    let more = dir.path().join("additional_chat_templates");
    fs::create_dir(&more).unwrap();
    fs::write(more.join("tool_use.jinja"), "file for tools").unwrap();
    assert_eq!(render(&with_tools).unwrap(), "file for tools");
}

#[test]
fn the_empty_marker_stops_the_default_system_prompt() {
    let exchange = Conversation::exchange("q", "a");
    let options = TextOptions::default().with_system_marker(true);
    let text = ChatEncoder::open_with(tokenizer_dir(), options)
        .unwrap()
        .render(&exchange)
        .unwrap();
    assert!(
        text.starts_with("<|im_start|>system\n<|im_end|>\n"),
        "{text}"
    );
    let options = TextOptions::default().with_system_marker(false);
    let text = ChatEncoder::open_with(tokenizer_dir(), options)
        .unwrap()
        .render(&exchange)
        .unwrap();
    assert!(
        text.starts_with("<|im_start|>system\nYou are Qwen"),
        "{text}"
    );
}

#[test]
fn tokens_have_names_and_ids() {
    let encoder = ChatEncoder::open(tokenizer_dir()).unwrap();
    assert_eq!(encoder.token_id("<|endoftext|>"), Some(151643));
    assert_eq!(encoder.token_text(151645).as_deref(), Some("<|im_end|>"));
    assert_eq!(encoder.token_text(999_999), None);
    assert_eq!(encoder.token_id("no such token"), None);
    assert_eq!(encoder.encode("").unwrap(), Vec::<u32>::new());
}

#[test]
fn megabytes_of_one_character_are_encoded() {
    let encoder = ChatEncoder::open(tokenizer_dir()).unwrap();
    for unit in [
        "a",
        "ab",
        " ",
        "\n",
        "漢",
        "e\u{301}",
        "!",
        "7",
        "\u{200b}",
        "<|im_end|>",
        "<",
    ] {
        let text = unit.repeat((1 << 20) / unit.len());
        let ids = encoder.encode(&text).unwrap();
        // The tokenizer composes letters and marks (NFC), and loses nothing else.
        let decoded = encoder.parts.tokenizer.decode(&ids, false).unwrap();
        assert!(decoded == text.replace("e\u{301}", "\u{e9}"), "{unit:?}");
    }
}

#[test]
fn a_text_that_the_tokenizer_gives_up_on_is_an_error() {
    let encoder = ChatEncoder::open(tokenizer_dir()).unwrap();
    let error = encoder.encode(&" ".repeat(12_000_000)).unwrap_err();
    assert!(error.to_string().contains("12000000 bytes"), "{error}");
    assert_eq!(encoder.encode("still works").unwrap().len(), 2);
}

#[test]
fn a_batch_keeps_order_and_errors() {
    let encoder = ChatEncoder::open(tokenizer_dir()).unwrap();
    let conversations: Vec<_> = (0..100)
        .map(|i| match i % 10 {
            3 => Conversation::new(vec![]),
            _ => Conversation::new(vec![Message::new("user", format!("number {i}"))]),
        })
        .collect();
    let batch = encoder.ids_within_batch(&conversations, &LengthRule::refuse(1000));
    assert_eq!(batch.len(), 100);
    for (conversation, ids) in conversations.iter().zip(batch) {
        match encoder.conversation_ids(conversation) {
            Ok(expected) => assert_eq!(ids.unwrap().ids, expected),
            Err(error) => assert_eq!(ids.unwrap_err().to_string(), error.to_string()),
        }
    }
}

#[test]
fn encoders_are_shared_between_threads() {
    fn shared<T: Send + Sync + Clone>() {}
    shared::<ChatEncoder>();
}
