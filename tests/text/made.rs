//! A checkpoint with text files of one's choice, and its export.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use worldpm_ort::{
    Bundle, CheckedExportError, Conversation, Exported,
    export::{Checkpoint, ExportOptions, checkpoint::Backbone},
    export_checked,
    text::{ChatEncoder, TextOptions},
};

use crate::synthetic;

/// Every text file that a checkpoint of `synth` may have.
const TEXT: [&str; 3] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
];
pub(crate) const TEMPLATE: &str =
    "{{ bos_token }}{% for m in messages %} {{ m.content }}{% endfor %}{{ eos_token }}";

pub(crate) struct Made {
    pub(crate) place: TempDir,
}

impl Made {
    pub(crate) fn new(backbone: Backbone) -> Self {
        let place = TempDir::new().unwrap();
        synthetic::checkpoint(&place.path().join("checkpoint"), backbone);
        Self { place }
    }

    /// A Llama checkpoint with these text files and no others.
    pub(crate) fn with(files: &[(&str, Value)]) -> Self {
        let made = Self::new(Backbone::Llama);
        made.set(files);
        made
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.place.path().join("checkpoint")
    }

    pub(crate) fn bundle(&self) -> PathBuf {
        self.place.path().join("bundle")
    }

    /// Puts these text files in place of all others. A text is written as it is.
    pub(crate) fn set(&self, files: &[(&str, Value)]) {
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

    pub(crate) fn export_with(
        &self,
        options: &ExportOptions,
    ) -> Result<Exported, CheckedExportError> {
        let checkpoint = Checkpoint::open(&self.dir())?;
        export_checked(&checkpoint, &self.bundle(), options, &|_| {}, ())
    }

    pub(crate) fn export(&self) -> Result<Exported, CheckedExportError> {
        self.export_with(&ExportOptions::default())
    }

    pub(crate) fn encoder(&self) -> ChatEncoder {
        let bundle = Bundle::open(&self.bundle(), None).unwrap();
        let marker = bundle.manifest().text.system_marker;
        let options = TextOptions::default().with_system_marker(marker);
        ChatEncoder::from_files(&bundle.text_files().unwrap(), options).unwrap()
    }

    /// The export must be refused, leave nothing, and say each of `parts`.
    pub(crate) fn refused(&self, parts: &[&str]) {
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

pub(crate) fn put(dir: &Path, name: &str, value: &Value) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let text = value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned);
    fs::write(path, text).unwrap();
}

/// A tokenizer of a few words.
pub(crate) fn words() -> Value {
    let special = |id: u32, content: &str| json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true});
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [special(1, "<s>"), special(2, "</s>")],
        "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "<s>": 1, "</s>": 2, "hi": 3, "yes": 4, "TOOLS": 5, "[PAD]x": 6, "7": 7}, "unk_token": "[UNK]"}
    })
}

pub(crate) fn fast(more: Value) -> Value {
    let mut config = json!({"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "chat_template": TEMPLATE});
    config
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    config
}

pub(crate) fn exchange(prompt: &str) -> Conversation {
    Conversation::exchange(prompt, "yes")
}
