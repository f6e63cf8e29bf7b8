//! What a checkpoint's files say about its templates and special tokens.

use serde_json::Value;
use worldpm_ort_bundle::text_files::{
    CHAT_TEMPLATE, SPECIAL_TOKENS_MAP, TOKENIZER_CONFIG, TextFiles,
};

use super::{
    error::TextError,
    files::object,
    special::{Given, SpecialTokens},
    template::TemplateSource,
};

/// The part of a checkpoint's tokenizer configuration that matters for scoring.
pub(super) struct TokenizerConfig {
    /// The chat templates, one of them named `default`.
    pub(super) templates: Vec<TemplateSource>,
    /// Special tokens: for templates, and to be added to the tokenizer.
    pub(super) special: SpecialTokens,
    /// Whether the text of special tokens is encoded as any other.
    pub(super) split_special_tokens: bool,
}

/// A file that must be there.
///
/// # Errors
///
/// [`TextError::FileMissing`].
pub(super) fn required<'a>(files: &'a TextFiles, name: &str) -> Result<&'a [u8], TextError> {
    files.get(name).ok_or_else(|| TextError::FileMissing {
        path: files.dir().join(name),
    })
}

impl TokenizerConfig {
    /// Reads `tokenizer_config.json`, which may be missing, and the template files of a checkpoint.
    ///
    /// # Errors
    ///
    /// A file that is missing or not of the known form, and a checkpoint without a template.
    pub(super) fn read(files: &TextFiles, given: &Given) -> Result<Self, TextError> {
        let path = files.dir().join(TOKENIZER_CONFIG);
        let config = object(files, TOKENIZER_CONFIG)?.unwrap_or_default();
        let mut templates = template_files(files)?;
        if templates.is_empty() {
            let mut field = config.get("chat_template").cloned();
            if !config.contains_key("added_tokens_decoder") {
                // The older file's fields win over those of the newer one.
                let map = object(files, SPECIAL_TOKENS_MAP)?;
                field = map
                    .and_then(|map| map.get("chat_template").cloned())
                    .or(field);
            }
            templates = template_field(&path, field.as_ref())?;
        }
        if !templates.iter().any(|source| source.name == "default") {
            return Err(TextError::TemplateMissing {
                dir: files.dir().to_owned(),
                names: templates.into_iter().map(|source| source.name).collect(),
            });
        }
        let split_special_tokens = match config.get("split_special_tokens") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(split)) => *split,
            Some(other) => {
                return Err(TextError::Config {
                    path,
                    field: "split_special_tokens".to_owned(),
                    problem: format!("must be true or false, not {other}"),
                });
            }
        };
        Ok(Self {
            templates,
            special: SpecialTokens::read(files, config, given)?,
            split_special_tokens,
        })
    }
}

/// The templates that are files. Where there are any, the field of the configuration does not count.
fn template_files(files: &TextFiles) -> Result<Vec<TemplateSource>, TextError> {
    let mut templates: Vec<TemplateSource> = Vec::new();
    let default = files
        .get(CHAT_TEMPLATE)
        .map(|bytes| ("default", CHAT_TEMPLATE, bytes));
    for (name, file, bytes) in default.into_iter().chain(files.named_templates()) {
        let path = files.dir().join(file);
        let text = std::str::from_utf8(bytes).map_err(|error| TextError::FileUnreadable {
            path: path.clone(),
            source: std::io::Error::new(std::io::ErrorKind::InvalidData, error),
        })?;
        templates.retain(|source| source.name != name);
        templates.push(TemplateSource {
            name: name.to_owned(),
            origin: path.display().to_string(),
            text: text.to_owned(),
        });
    }
    Ok(templates)
}

/// The templates of the configuration: one text, or a list of named ones.
fn template_field(
    path: &std::path::Path,
    field: Option<&Value>,
) -> Result<Vec<TemplateSource>, TextError> {
    let source = |name: &str, field: &str, text: &str| TemplateSource {
        name: name.to_owned(),
        origin: format!("{}, field `{field}`", path.display()),
        text: text.to_owned(),
    };
    let bad = |field: String| TextError::Config {
        path: path.to_owned(),
        field,
        problem: "must be a template, or a list of {\"name\", \"template\"} objects".to_owned(),
    };
    match field {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![source("default", "chat_template", text)]),
        Some(Value::Array(named)) => named
            .iter()
            .enumerate()
            .map(|(i, entry)| {
                let field = format!("chat_template[{i}]");
                let name = entry.get("name").and_then(Value::as_str);
                let text = entry.get("template").and_then(Value::as_str);
                match (name, text) {
                    (Some(name), Some(text)) => Ok(source(name, &field, text)),
                    _ => Err(bad(field)),
                }
            })
            .collect(),
        Some(_) => Err(bad("chat_template".to_owned())),
    }
}
