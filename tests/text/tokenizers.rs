//! Settings of tokenizers against `transformers` (`tests/fixtures/text/make_tokenizer_goldens.py`), and tokenizers that
//! cannot be used.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Value, json};
use tempfile::TempDir;
use worldpm_ort::{
    Conversation, Message,
    export::{ExportOptions, checkpoint::Backbone},
    text::ChatEncoder,
};

use crate::made::{Made, TEMPLATE, exchange, fast, put, words};

#[test]
fn settings_of_tokenizers_are_those_of_transformers() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/text/tokenizer_settings.jsonl");
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let head = lines.next().unwrap();
    let made: BTreeMap<&str, Made> = [
        ("llama", Backbone::Llama),
        ("mistral", Backbone::Mistral),
        ("qwen2", Backbone::Qwen2),
        ("qwen3", Backbone::Qwen3),
        ("gemma2", Backbone::Gemma2),
    ]
    .into_iter()
    .map(|(name, backbone)| (name, Made::new(backbone)))
    .collect();

    let (mut equal, mut refused, mut differences) = (0, 0, Vec::new());
    for row in lines {
        let made = &made[row["model_type"].as_str().unwrap()];
        let mut tokenizer = head["bases"][row["base"].as_str().unwrap()].clone();
        for (field, value) in row["changed"].as_object().unwrap() {
            tokenizer[field] = value.clone();
        }
        let mut config = row["config"].clone();
        let mut files = vec![("tokenizer.json", tokenizer)];
        if !config.is_null() {
            config["chat_template"] = head["template"].clone();
            files.push(("tokenizer_config.json", config));
        } else if row["files"]["special_tokens_map.json"]["chat_template"].is_null() {
            files.push(("chat_template.jinja", head["template"].clone()));
        }
        for (name, value) in row["files"].as_object().unwrap() {
            files.push((name, value.clone()));
        }
        made.set(&files);
        let outcome = made.export().map(|_| {
            let message = Message::new("user", row["text"].as_str().unwrap());
            let encoder = made.encoder();
            let rendered = encoder.render(&Conversation::new(vec![message])).unwrap();
            let ids = encoder.encode(&rendered).unwrap();
            json!({"rendered": rendered, "ids": ids})
        });
        match (row.get("fails"), outcome) {
            (Some(_), Err(_)) => refused += 1,
            (None, Ok(found))
                if found["rendered"] == row["rendered"] && found["ids"] == row["ids"] =>
            {
                equal += 1
            }
            (_, outcome) => {
                differences.push(format!("{}: {outcome:?}\nexpected {row}", row["name"]))
            }
        }
    }
    assert!(
        differences.is_empty(),
        "{} differ:\n{}",
        differences.len(),
        differences.join("\n")
    );
    assert!(
        equal > 250 && refused == 2,
        "{equal} equal, {refused} refused"
    );
}

#[test]
fn tokens_that_only_a_map_names() {
    let mut config = fast(json!({}));
    for name in ["bos_token", "eos_token"] {
        config.as_object_mut().unwrap().remove(name);
    }
    let made = Made::with(&[
        ("tokenizer.json", words()),
        ("tokenizer_config.json", config),
        (
            "special_tokens_map.json",
            json!({"bos_token": "<s>", "eos_token": "</s>"}),
        ),
    ]);
    made.export().unwrap();
    assert_eq!(
        made.encoder().conversation_ids(&exchange("hi")).unwrap(),
        [1, 3, 4, 2]
    );
}

#[test]
fn special_tokens_that_are_split() {
    let template = "{{ bos_token }}{% for m in messages %}{{ m.content }} {% endfor %}";
    let made = Made::with(&[
        ("tokenizer.json", words()),
        (
            "tokenizer_config.json",
            fast(json!({"split_special_tokens": true, "chat_template": template})),
        ),
    ]);
    made.export().unwrap();
    assert_eq!(
        made.encoder().conversation_ids(&exchange("hi")).unwrap(),
        [0, 4]
    );
}

#[test]
fn a_padding_token_that_is_only_named() {
    let made = Made::with(&[
        ("tokenizer.json", words()),
        ("tokenizer_config.json", fast(json!({"pad_token": "[PAD]"}))),
    ]);
    made.export().unwrap();
    assert_eq!(
        made.encoder()
            .conversation_ids(&exchange("hi[PAD]"))
            .unwrap(),
        [1, 3, 8, 4, 2]
    );
    // The id that it gets there is also known to the option that names it.
    let template = format!("{TEMPLATE}{{{{ pad_token }}}}");
    made.set(&[
        ("tokenizer.json", words()),
        (
            "tokenizer_config.json",
            fast(json!({"pad_token": "[PAD]", "chat_template": template})),
        ),
    ]);
    let options = ExportOptions {
        end_token: Some("[PAD]".to_owned()),
        ..ExportOptions::default()
    };
    let exported = made.export_with(&options).unwrap();
    assert_eq!(exported.manifest.end_token.unwrap().id, 8);
}

#[test]
fn tokens_beyond_the_embedding_are_named_and_refused() {
    let mut tokenizer = words();
    tokenizer["model"]["vocab"]["<big>"] = json!(151_936);
    let named = json!({"extra_special_tokens": ["<big>"]});
    let made = Made::with(&[
        ("tokenizer.json", tokenizer.clone()),
        ("tokenizer_config.json", fast(named)),
    ]);
    let notes = made.export().unwrap().notes;
    assert!(
        notes.iter().any(|note| note.contains("<big> (151936)")),
        "{notes:?}"
    );
    let every = fast(json!({
        "extra_special_tokens": ["<big>"],
        "chat_template": "{{ messages[0].content }}<big>",
    }));
    let made = Made::with(&[
        ("tokenizer.json", tokenizer),
        ("tokenizer_config.json", every),
    ]);
    made.refused(&["token id 151936", "vocabulary of 151936"]);
}

#[test]
fn dropout_is_off_and_said() {
    let mut tokenizer: Value = serde_json::from_slice(
        &fs::read(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tokenizers/qwen2.5/tokenizer.json"),
        )
        .unwrap(),
    )
    .unwrap();
    let text = "Tips for better sleep? Keep a regular bedtime.";
    let mut seen = Vec::new();
    for dropout in [json!(null), json!(0.0), json!(0.5)] {
        tokenizer["model"]["dropout"] = dropout.clone();
        let dir = TempDir::new().unwrap();
        put(dir.path(), "tokenizer.json", &tokenizer);
        put(dir.path(), "tokenizer_config.json", &fast(json!({})));
        let encoder = ChatEncoder::open(dir.path()).unwrap();
        seen.extend((0..3).map(|_| encoder.encode(text).unwrap()));
        let said = encoder.notes().iter().any(|note| note.contains("dropout"));
        assert_eq!(said, dropout == json!(0.5), "{:?}", encoder.notes());
    }
    assert!(seen.windows(2).all(|two| two[0] == two[1]));
}

#[test]
fn tokenizers_that_would_abort_are_refused() {
    for (field, value, parts) in [
        (
            "normalizer",
            json!({"type": "Precompiled"}),
            ["tokenizer.json", "precompiled_charsmap"],
        ),
        (
            "normalizer",
            json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
            ["tokenizer.json", "precompiled_charsmap"],
        ),
        (
            "normalizer",
            json!({"type": "Precompiled", "precompiled_charsmap": "/////////////////////w=="}),
            ["tokenizer.json", "precompiled_charsmap"],
        ),
        (
            "normalizer",
            json!({"type": "Replace", "pattern": {"String": ""}, "content": "xx"}),
            ["tokenizer.json", "empty pattern"],
        ),
        (
            "pre_tokenizer",
            json!({"type": "Split", "pattern": {"String": ""}, "behavior": "Isolated", "invert": false}),
            ["tokenizer.json", "empty pattern"],
        ),
        (
            "decoder",
            json!("text"),
            ["tokenizer.json", "is not a tokenizer"],
        ),
        (
            "model",
            json!({"type": "Unigram", "unk_id": 9, "vocab": [["a", 0.0]]}),
            ["tokenizer.json", ""],
        ),
    ] {
        let mut tokenizer = words();
        tokenizer[field] = value;
        let made = Made::with(&[
            ("tokenizer.json", tokenizer),
            ("tokenizer_config.json", fast(json!({}))),
        ]);
        made.refused(&parts);
    }
    // A lone surrogate is no text; here JSON itself says so.
    let text = words()
        .to_string()
        .replace("\"decoder\":null", "\"decoder\":\"\\ud800\"");
    let made = Made::with(&[
        ("tokenizer.json", json!(text)),
        ("tokenizer_config.json", fast(json!({}))),
    ]);
    made.refused(&["tokenizer.json"]);
}
