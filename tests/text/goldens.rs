//! What `transformers` makes of conversations, against what this crate makes of them. The golden files are written by
//! `tests/fixtures/text/make_text_goldens.py`, whose versions are in their first lines.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use worldpm_ort::export::checkpoint::Backbone;
use worldpm_ort::export::{Checkpoint, ExportOptions};
use worldpm_ort::text::{ChatEncoder, Conversation, LengthRule, TextError, TextOptions};
use worldpm_ort::{Bundle, CheckedExportError, export_checked};

use crate::synthetic;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The rows of a golden file, after the line that says how it was made.
fn golden(name: &str) -> (Value, Vec<Value>) {
    let text = fs::read_to_string(root().join("tests/fixtures/text").join(name)).unwrap();
    let mut rows = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect::<Vec<Value>>();
    let made = rows.remove(0);
    assert!(made["transformers"].is_string() && made["tokenizers"].is_string());
    (made, rows)
}

/// A checkpoint directory with the Qwen2.5 tokenizer, another template and other named tokens; its weights are holes.
fn checkpoint(template: &str, tokens: &Value) -> TempDir {
    let dir = TempDir::new().unwrap();
    synthetic::checkpoint(dir.path(), Backbone::Llama);
    let source = root().join("models/tokenizers/qwen2.5");
    let tokenizer = dir.path().join("tokenizer.json");
    fs::remove_file(&tokenizer).unwrap();
    if fs::hard_link(source.join("tokenizer.json"), &tokenizer).is_err() {
        fs::copy(source.join("tokenizer.json"), &tokenizer).unwrap();
    }
    fs::write(dir.path().join("tokenizer_config.json"), tokens.to_string()).unwrap();
    fs::write(dir.path().join("chat_template.jinja"), template).unwrap();
    dir
}

/// The encoder of the bundle that an export makes of a checkpoint.
fn exported(dir: &Path, options: TextOptions) -> ChatEncoder {
    let bundle = dir.join("bundle");
    let options_of_export = ExportOptions {
        system_marker: Some(options.system_marker),
        ..ExportOptions::default()
    };
    let checkpoint = Checkpoint::open(dir).unwrap();
    export_checked::<CheckedExportError>(&checkpoint, &bundle, &options_of_export, &|_| {}, ())
        .unwrap();
    let files = Bundle::open(&bundle, None).unwrap().text_files().unwrap();
    ChatEncoder::from_files(&files, options).unwrap()
}

fn template_text(name: &str) -> String {
    let path = match name {
        "worldpm" => root().join("models/templates/worldpm.jinja"),
        "qwen2.5" => {
            return qwen_config()["chat_template"].as_str().unwrap().to_owned();
        }
        other => root().join(format!("tests/fixtures/text/templates/{other}.jinja")),
    };
    fs::read_to_string(path).unwrap()
}

fn qwen_config() -> Value {
    let config = root().join("models/tokenizers/qwen2.5/tokenizer_config.json");
    serde_json::from_slice(&fs::read(config).unwrap()).unwrap()
}

fn plain(now: Option<i64>) -> TextOptions {
    TextOptions::default()
        .with_system_marker(false)
        .with_now(now)
}

#[test]
fn token_ids_equal_those_of_transformers() {
    let (_, rows) = golden("token_ids.jsonl");
    assert!(rows.len() >= 300, "{} conversations", rows.len());
    let worldpm = checkpoint(&template_text("worldpm"), &json!({}));
    let qwen = checkpoint(&template_text("qwen2.5"), &qwen_config());
    let encoders = BTreeMap::from([
        ("worldpm", exported(worldpm.path(), TextOptions::default())),
        ("qwen2.5", exported(qwen.path(), TextOptions::default())),
    ]);
    let end = encoders["worldpm"].token_id("<|endoftext|>").unwrap();
    for row in &rows {
        let template = row["template"].as_str().unwrap();
        let conversation = Conversation::from_value(row["messages"].clone()).unwrap();
        let ids = encoders[template].conversation_ids(&conversation).unwrap();
        let expected: Vec<u32> = serde_json::from_value(row["ids"].clone()).unwrap();
        assert_eq!(ids, expected, "{template}, {}", row["name"]);
        if template == "worldpm" {
            assert_eq!(ids.last(), Some(&end), "{}", row["name"]);
        }
    }
}

#[test]
fn batches_encode_to_the_same_ids() {
    let (_, rows) = golden("token_ids.jsonl");
    let worldpm = checkpoint(&template_text("worldpm"), &json!({}));
    let encoder = exported(worldpm.path(), TextOptions::default());
    let rows: Vec<_> = rows
        .iter()
        .filter(|row| row["template"] == "worldpm")
        .collect();
    let conversations: Vec<_> = rows
        .iter()
        .map(|row| Conversation::from_value(row["messages"].clone()).unwrap())
        .collect();
    let batch = encoder.ids_within_batch(&conversations, &LengthRule::refuse(100_000));
    assert_eq!(batch.len(), rows.len());
    for (row, ids) in rows.iter().zip(batch) {
        let expected: Vec<u32> = serde_json::from_value(row["ids"].clone()).unwrap();
        assert_eq!(ids.unwrap().ids, expected, "{}", row["name"]);
    }
}

/// One difference from a golden row, or none.
fn difference(expected: &Value, found: Result<String, TextError>) -> Option<String> {
    match (
        expected["text"].as_str(),
        expected["raises"].as_str(),
        expected["fails"].as_str(),
        found,
    ) {
        (Some(text), _, _, Ok(found)) if text == found => None,
        (_, Some(raised), _, Err(TextError::TemplateRaised { message, .. }))
            if raised == message =>
        {
            None
        }
        (_, _, Some(_), Err(TextError::TemplateFailed { .. })) => None,
        (_, _, _, found) => {
            let found = found.map_err(|error| error.to_string());
            Some(format!("expected {expected:#}\nfound {found:?}"))
        }
    }
}

#[test]
fn templates_render_as_in_transformers() {
    let (made, rows) = golden("renderings.jsonl");
    let mut encoders = BTreeMap::new();
    let mut raised = 0;
    for row in &rows {
        let template = row["template"].as_str().unwrap();
        let encoder = encoders.entry(template).or_insert_with(|| {
            let dir = checkpoint(&template_text(template), &row["tokens"]);
            exported(dir.path(), plain(made["now"].as_i64()))
        });
        let conversation = Conversation::from_value(row.clone()).unwrap();
        let difference = difference(row, encoder.render(&conversation));
        assert!(difference.is_none(), "{}", difference.unwrap());
        raised += usize::from(row["raises"].is_string());
    }
    assert!(encoders.len() >= 10 && rows.len() >= 200 && raised >= 10);
}

#[test]
fn the_template_language_is_that_of_transformers() {
    let (made, mut rows) = golden("snippets.jsonl");
    let given = rows.remove(0);
    let conversation = Conversation::from_value(given.clone()).unwrap();
    let mut differences = Vec::new();
    for row in &rows {
        let dir = TempDir::new().unwrap();
        // These render text only, so the smallest tokenizer will do.
        let tokenizer = r#"{"version": "1.0", "added_tokens": [], "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}"#;
        fs::write(dir.path().join("tokenizer.json"), tokenizer).unwrap();
        fs::write(
            dir.path().join("tokenizer_config.json"),
            given["tokens"].to_string(),
        )
        .unwrap();
        fs::write(
            dir.path().join("chat_template.jinja"),
            row["template"].as_str().unwrap(),
        )
        .unwrap();
        let found = ChatEncoder::open_with(dir.path(), plain(made["now"].as_i64()))
            .and_then(|encoder| encoder.render(&conversation));
        let difference = match (row["fails"].as_str(), found) {
            // What Python finds only while running may already be found while compiling, and the reverse.
            (Some(_), Err(TextError::TemplateSyntax { .. })) => None,
            (_, found) => difference(row, found),
        };
        differences.extend(difference);
    }
    assert!(
        differences.is_empty(),
        "{} of {} differ:\n{}",
        differences.len(),
        rows.len(),
        differences.join("\n")
    );
}
