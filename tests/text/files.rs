//! The files that say how a conversation becomes tokens, from a checkpoint through export to what is scored.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;
use worldpm_ort::{
    Bundle,
    export::{Checkpoint, ExportOptions, Layout, TextFrom, WeightsMode},
    text::ChatEncoder,
};

use crate::made::{Made, TEMPLATE, exchange, fast, put, words};

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
