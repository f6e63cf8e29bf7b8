//! What a checkpoint's files say about its templates and special tokens.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use worldpm_ort_export::files;

use super::error::TextError;
use super::template::TemplateSource;

const CONFIG: &str = "tokenizer_config.json";
const SPECIAL_TOKENS_MAP: &str = "special_tokens_map.json";
const TEMPLATE: &str = "chat_template.jinja";
const MORE_TEMPLATES: &str = "additional_chat_templates";

/// The part of a checkpoint's tokenizer configuration that matters for scoring.
pub(super) struct TokenizerConfig {
    /// The chat templates, one of them named `default`.
    pub(super) templates: Vec<TemplateSource>,
    /// `bos_token`, `eos_token`, … and their text, for templates.
    pub(super) special_tokens: Vec<(String, String)>,
    /// Tokens that `tokenizer_config.json` adds to those of `tokenizer.json`, by id.
    pub(super) added_tokens: BTreeMap<u32, tokenizers::AddedToken>,
    /// The file that `added_tokens` comes from.
    pub(super) path: PathBuf,
}

/// Reads a file that must be there.
///
/// # Errors
///
/// [`TextError::FileMissing`] and [`TextError::FileUnreadable`].
pub(super) fn read(path: &Path) -> Result<Vec<u8>, TextError> {
    files::read_limited(path, files::MAX_TEXT_BYTES).map_err(|source| {
        let path = path.to_owned();
        match source.kind() {
            ErrorKind::NotFound => TextError::FileMissing { path },
            _ => TextError::FileUnreadable { path, source },
        }
    })
}

fn read_optional(path: &Path) -> Result<Option<Vec<u8>>, TextError> {
    match read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(TextError::FileMissing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_text(path: &Path) -> Result<Option<String>, TextError> {
    let Some(bytes) = read_optional(path)? else {
        return Ok(None);
    };
    let text = String::from_utf8(bytes).map_err(|error| TextError::FileUnreadable {
        path: path.to_owned(),
        source: std::io::Error::new(ErrorKind::InvalidData, error.utf8_error()),
    })?;
    Ok(Some(text))
}

fn parse_object(path: &Path, bytes: &[u8]) -> Result<Map<String, Value>, TextError> {
    serde_json::from_slice(bytes).map_err(|source| TextError::Json {
        path: path.to_owned(),
        source,
    })
}

impl TokenizerConfig {
    /// Reads `tokenizer_config.json` and the template files of a checkpoint.
    ///
    /// # Errors
    ///
    /// A file that is missing, unreadable or not of the known form, and a checkpoint without a template.
    pub(super) fn open(dir: &Path) -> Result<Self, TextError> {
        let path = dir.join(CONFIG);
        let mut config = parse_object(&path, &read(&path)?)?;
        if !config.contains_key("added_tokens_decoder") {
            // Checkpoints older than that field keep their special tokens in a file of their own, which then wins.
            let map = dir.join(SPECIAL_TOKENS_MAP);
            if let Some(bytes) = read_optional(&map)? {
                config.extend(parse_object(&map, &bytes)?);
            }
        }
        let mut templates = template_files(dir)?;
        if templates.is_empty() {
            templates = template_field(&path, config.get("chat_template"))?;
        }
        if !templates.iter().any(|source| source.name == "default") {
            return Err(TextError::TemplateMissing {
                dir: dir.to_owned(),
                names: templates.into_iter().map(|source| source.name).collect(),
            });
        }
        Ok(Self {
            templates,
            special_tokens: special_tokens(&config),
            added_tokens: added_tokens(&path, config.get("added_tokens_decoder"))?,
            path,
        })
    }
}

/// The templates that are files. Where there are any, the field of the configuration does not count.
fn template_files(dir: &Path) -> Result<Vec<TemplateSource>, TextError> {
    let mut templates = Vec::new();
    let path = dir.join(TEMPLATE);
    if let Some(text) = read_text(&path)? {
        templates.push(TemplateSource {
            name: "default".to_owned(),
            origin: path.display().to_string(),
            text,
        });
    }
    let more = dir.join(MORE_TEMPLATES);
    let entries = match fs::read_dir(&more) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(templates),
        Err(source) => return Err(TextError::FileUnreadable { path: more, source }),
    };
    for entry in entries {
        let path = match entry {
            Ok(entry) => entry.path(),
            Err(source) => return Err(TextError::FileUnreadable { path: more, source }),
        };
        let file = path.file_name().map(|name| name.to_string_lossy());
        let Some(name) = file.as_deref().and_then(|name| name.strip_suffix(".jinja")) else {
            continue;
        };
        let name = name.to_owned();
        if let Some(text) = read_text(&path)? {
            templates.retain(|source| source.name != name);
            let origin = path.display().to_string();
            templates.push(TemplateSource { name, origin, text });
        }
    }
    Ok(templates)
}

/// The templates of the configuration: one text, or a list of named ones.
fn template_field(path: &Path, field: Option<&Value>) -> Result<Vec<TemplateSource>, TextError> {
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

/// All `*_token` fields that hold a token, as text or as an object with `content`, and those with names of their own.
fn special_tokens(config: &Map<String, Value>) -> Vec<(String, String)> {
    let extra = ["extra_special_tokens", "model_specific_special_tokens"]
        .into_iter()
        .filter_map(|name| config.get(name)?.as_object())
        .flatten();
    config
        .iter()
        .filter(|(name, _)| name.ends_with("_token"))
        .chain(extra)
        .filter_map(|(name, value)| {
            let token = value.as_str().or_else(|| value.get("content")?.as_str())?;
            Some((name.clone(), token.to_owned()))
        })
        .collect()
}

fn added_tokens(
    path: &Path,
    field: Option<&Value>,
) -> Result<BTreeMap<u32, tokenizers::AddedToken>, TextError> {
    let bad = |field: String, problem: &str| TextError::Config {
        path: path.to_owned(),
        field,
        problem: problem.to_owned(),
    };
    let tokens = match field {
        None => return Ok(BTreeMap::new()),
        Some(Value::Object(tokens)) => tokens,
        Some(_) => {
            let field = "added_tokens_decoder".to_owned();
            return Err(bad(field, "must be an object from token id to token"));
        }
    };
    tokens
        .iter()
        .map(|(id, token)| {
            let field = format!("added_tokens_decoder.{id}");
            let Ok(number) = id.parse() else {
                return Err(bad(field, "its name must be a token id"));
            };
            let Some(content) = token.get("content").and_then(Value::as_str) else {
                return Err(bad(field, "must be an object with `content`"));
            };
            let special = flag(token, "special", false);
            let token = tokenizers::AddedToken::from(content, special)
                .single_word(flag(token, "single_word", false))
                .lstrip(flag(token, "lstrip", false))
                .rstrip(flag(token, "rstrip", false))
                .normalized(flag(token, "normalized", !special));
            Ok((number, token))
        })
        .collect()
}

fn flag(token: &Value, name: &str, default: bool) -> bool {
    token.get(name).and_then(Value::as_bool).unwrap_or(default)
}
