//! The files that say how a conversation becomes tokens, from a checkpoint through export to what is scored: settings of
//! tokenizers against `transformers` (`tests/fixtures/text/make_tokenizer_goldens.py`), and files that are not what they
//! should be.
#![allow(clippy::unwrap_used)]

#[path = "support/synthetic.rs"]
mod synthetic;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use worldpm_ort::export::checkpoint::Backbone;
use worldpm_ort::export::{Checkpoint, ExportOptions, Layout, TextFrom, WeightsMode};
use worldpm_ort::text::{ChatEncoder, TextOptions};
use worldpm_ort::{Bundle, CheckedExportError, Conversation, Exported, Message, export_checked};

/// Every text file that a checkpoint of `synth` may have.
const TEXT: [&str; 3] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
];
const TEMPLATE: &str =
    "{{ bos_token }}{% for m in messages %} {{ m.content }}{% endfor %}{{ eos_token }}";

struct Made {
    place: TempDir,
}

impl Made {
    fn new(backbone: Backbone) -> Self {
        let place = TempDir::new().unwrap();
        synthetic::checkpoint(&place.path().join("checkpoint"), backbone);
        Self { place }
    }

    /// A Llama checkpoint with these text files and no others.
    fn with(files: &[(&str, Value)]) -> Self {
        let made = Self::new(Backbone::Llama);
        made.set(files);
        made
    }

    fn dir(&self) -> PathBuf {
        self.place.path().join("checkpoint")
    }

    fn bundle(&self) -> PathBuf {
        self.place.path().join("bundle")
    }

    /// Puts these text files in place of all others. A text is written as it is.
    fn set(&self, files: &[(&str, Value)]) {
        let dir = self.dir();
        for name in TEXT {
            let _ = fs::remove_file(dir.join(name));
        }
        let _ = fs::remove_file(dir.join("special_tokens_map.json"));
        let _ = fs::remove_file(dir.join("added_tokens.json"));
        for (name, value) in files {
            put(&dir, name, value);
        }
    }

    fn export_with(&self, options: &ExportOptions) -> Result<Exported, CheckedExportError> {
        let checkpoint = Checkpoint::open(&self.dir())?;
        export_checked(&checkpoint, &self.bundle(), options, &|_| {}, |_, _, _| {
            Ok::<(), CheckedExportError>(())
        })
    }

    fn export(&self) -> Result<Exported, CheckedExportError> {
        self.export_with(&ExportOptions::default())
    }

    fn encoder(&self) -> ChatEncoder {
        let bundle = Bundle::open(&self.bundle(), None).unwrap();
        let marker = bundle.manifest().text.system_marker;
        let options = TextOptions::default().with_system_marker(marker);
        ChatEncoder::from_files(&bundle.text_files().unwrap(), options).unwrap()
    }

    /// The export must be refused, leave nothing, and say each of `parts`.
    fn refused(&self, parts: &[&str]) {
        let error = self.export().unwrap_err();
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        for part in parts {
            assert!(text.contains(part), "{part:?} is not in: {text}");
        }
        let left: Vec<_> = fs::read_dir(self.place.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }
}

fn put(dir: &Path, name: &str, value: &Value) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let text = value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned);
    fs::write(path, text).unwrap();
}

/// A tokenizer of a few words.
fn words() -> Value {
    let special = |id: u32, content: &str| json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true});
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [special(1, "<s>"), special(2, "</s>")],
        "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "<s>": 1, "</s>": 2, "hi": 3, "yes": 4, "TOOLS": 5, "[PAD]x": 6, "7": 7}, "unk_token": "[UNK]"}
    })
}

fn fast(more: Value) -> Value {
    let mut config = json!({"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "chat_template": TEMPLATE});
    config
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    config
}

fn exchange(prompt: &str) -> Conversation {
    Conversation::exchange(prompt, "yes")
}

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
fn the_template_for_tools_is_in_a_folder() {
    for layout in [Layout::Plain, Layout::Triton, Layout::Kserve] {
        let made = Made::with(&[
            ("tokenizer.json", words()),
            (
                "tokenizer_config.json",
                fast(json!({"chat_template": null})),
            ),
            ("chat_template.jinja", json!(TEMPLATE)),
            (
                "additional_chat_templates/tool_use.jinja",
                json!(format!("TOOLS {TEMPLATE}")),
            ),
        ]);
        let mut options = ExportOptions {
            layout,
            ..ExportOptions::default()
        };
        if layout != Layout::Plain {
            options.weights = WeightsMode::Copy;
            options.interface = worldpm_ort::export::Interface::Padded;
            options.layout_options.model_name = "model".to_owned();
        }
        made.export_with(&options).unwrap();
        let encoder = made.encoder();
        let mut conversation = exchange("hi");
        assert_eq!(
            encoder.conversation_ids(&conversation).unwrap(),
            [1, 3, 4, 2]
        );
        conversation.tools = Some(vec![
            json!({"type": "function", "function": {"name": "f", "parameters": {}}}).into(),
        ]);
        assert_eq!(
            encoder.conversation_ids(&conversation).unwrap(),
            [5, 1, 3, 4, 2]
        );
        // To Triton every folder of its repository is a model.
        let folder = made.bundle().join("additional_chat_templates");
        assert_eq!(folder.exists(), layout != Layout::Triton);
    }
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
fn pointers_of_git_lfs_are_refused_by_name() {
    let pointer = json!("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n");
    for name in [
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "chat_template.jinja",
        "additional_chat_templates/rag.jinja",
    ] {
        let made = Made::with(&[
            ("tokenizer.json", words()),
            ("tokenizer_config.json", fast(json!({}))),
        ]);
        put(&made.dir(), name, &pointer);
        made.refused(&[name, "git lfs pull"]);
    }
}

#[cfg(unix)]
#[test]
fn links_stay_within_the_checkpoint_or_a_cache() {
    use std::os::unix::fs::symlink;
    let secret = TempDir::new().unwrap();
    fs::write(secret.path().join("secret"), "a secret").unwrap();
    for name in [
        "chat_template.jinja",
        "tokenizer_config.json",
        "additional_chat_templates/x.jinja",
    ] {
        let made = Made::with(&[
            ("tokenizer.json", words()),
            ("tokenizer_config.json", fast(json!({}))),
        ]);
        put(&made.dir(), name, &json!(""));
        fs::remove_file(made.dir().join(name)).unwrap();
        symlink(secret.path().join("secret"), made.dir().join(name)).unwrap();
        made.refused(&[name, "outside of the checkpoint"]);
    }

    // Within the directory, and in both layouts of a cache.
    let place = TempDir::new().unwrap();
    let cache = place.path().join("cache");
    let repository = cache.join("models--o--n");
    let snapshot = repository.join("snapshots").join("0".repeat(40));
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(repository.join("blobs")).unwrap();
    fs::create_dir_all(cache.join("blobs/ab")).unwrap();
    fs::write(repository.join("blobs/1"), words().to_string()).unwrap();
    fs::write(cache.join("blobs/ab/2"), fast(json!({})).to_string()).unwrap();
    symlink("../../blobs/ab/2", repository.join("blobs/2")).unwrap();
    symlink("../../blobs/1", snapshot.join("tokenizer.json")).unwrap();
    symlink("../../blobs/2", snapshot.join("tokenizer_config.json")).unwrap();
    ChatEncoder::open(&snapshot).unwrap();
    let linked = place.path().join("linked");
    symlink(&snapshot, &linked).unwrap();
    ChatEncoder::open(&linked).unwrap();
    let own = place.path().join("own");
    fs::create_dir(&own).unwrap();
    symlink(snapshot.join("tokenizer.json"), own.join("tokenizer.json")).unwrap();
    fs::write(own.join("config"), fast(json!({})).to_string()).unwrap();
    symlink("config", own.join("tokenizer_config.json")).unwrap();
    ChatEncoder::open(&own).unwrap();
}

#[test]
fn a_bundle_reads_what_its_manifest_lists() {
    let made = Made::with(&[
        ("tokenizer.json", words()),
        ("tokenizer_config.json", fast(json!({}))),
    ]);
    made.export().unwrap();
    let ids = made.encoder().conversation_ids(&exchange("hi")).unwrap();
    for name in [
        "chat_template.jinja",
        "additional_chat_templates/tool_use.jinja",
    ] {
        put(&made.bundle(), name, &json!("{{ messages[-1].content }}"));
    }
    put(
        &made.bundle(),
        "special_tokens_map.json",
        &json!({"bos_token": "hi"}),
    );
    assert_eq!(
        made.encoder().conversation_ids(&exchange("hi")).unwrap(),
        ids
    );

    put(
        &made.bundle(),
        "tokenizer_config.json",
        &fast(json!({"a": 1})),
    );
    let error = Bundle::open(&made.bundle(), None).unwrap_err().to_string();
    assert!(
        error.contains("tokenizer_config.json") && error.contains("SHA-256"),
        "{error}"
    );
    fs::remove_file(made.bundle().join("tokenizer_config.json")).unwrap();
    let error = Bundle::open(&made.bundle(), None).unwrap_err().to_string();
    assert!(error.contains("tokenizer_config.json"), "{error}");
    let manifest = made.bundle().join("manifest.json");
    let mut value: Value = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    value["text"]["files"][0]["name"] = json!("../checkpoint/config.json");
    fs::write(&manifest, value.to_string()).unwrap();
    Bundle::open(&made.bundle(), None).unwrap_err();
}

#[test]
fn what_cannot_be_scored_is_found_at_export() {
    let refused = |config: Value, parts: &[&str]| {
        let made = Made::with(&[
            ("tokenizer.json", words()),
            ("tokenizer_config.json", config),
        ]);
        made.refused(parts);
    };
    refused(
        fast(json!({"chat_template": "{% if %}"})),
        &["chat_template", "does not compile"],
    );
    refused(fast(json!({"chat_template": ""})), &["no tokens"]);
    refused(
        fast(json!({"split_special_tokens": "yes"})),
        &["split_special_tokens", "true or false"],
    );
    let made = Made::with(&[
        ("tokenizer.json", words()),
        ("tokenizer_config.json", fast(json!({}))),
        ("chat_template.jinja", json!(TEMPLATE)),
        ("additional_chat_templates/rag.jinja", json!("{% endfor %}")),
    ]);
    made.refused(&["rag.jinja", "does not compile"]);
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

#[test]
fn an_adapter_may_have_text_files_of_its_own() {
    let made = Made::with(&[
        ("tokenizer.json", words()),
        ("tokenizer_config.json", fast(json!({}))),
    ]);
    let checkpoint = Checkpoint::open(&made.dir()).unwrap();
    let adapter = made.place.path().join("adapter");
    let chosen = |from: Option<TextFrom>| {
        let options = ExportOptions {
            adapter: Some(adapter.clone()),
            text_from: from,
            ..ExportOptions::default()
        };
        worldpm_ort::export::text_files(&checkpoint, &options)
            .map(|files| (files.dir().to_owned(), files.notes().join(" ")))
            .map_err(|error| error.to_string())
    };
    fs::create_dir(&adapter).unwrap();
    assert_eq!(chosen(None).unwrap().0, made.dir());
    assert!(
        chosen(Some(TextFrom::Adapter))
            .unwrap_err()
            .contains("has no tokenizer.json")
    );
    // The same as the checkpoint's.
    put(&adapter, "tokenizer.json", &words());
    assert_eq!(chosen(None).unwrap(), (made.dir(), String::new()));
    // Others are used, and named.
    put(
        &adapter,
        "tokenizer_config.json",
        &fast(json!({"pad_token": "[PAD]"})),
    );
    let (dir, note) = chosen(None).unwrap();
    assert!(
        dir == adapter && note.contains("unlike the checkpoint's: tokenizer_config.json"),
        "{note}"
    );
    assert_eq!(
        chosen(Some(TextFrom::Base)).unwrap(),
        (made.dir(), String::new())
    );
    // Only some of them are no tokenizer.
    fs::remove_file(adapter.join("tokenizer.json")).unwrap();
    let error = chosen(None).unwrap_err();
    assert!(
        error.contains("tokenizer_config.json of its own") && error.contains("--text-from base"),
        "{error}"
    );
    assert_eq!(chosen(Some(TextFrom::Base)).unwrap().0, made.dir());
    let options = ExportOptions {
        text_from: Some(TextFrom::Adapter),
        ..ExportOptions::default()
    };
    let error = worldpm_ort::export::text_files(&checkpoint, &options).unwrap_err();
    assert!(error.to_string().contains("no adapter is given"), "{error}");
}
