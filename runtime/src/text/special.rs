//! Special tokens as the classes of `transformers` 5 collect them from a checkpoint's files, and the order in which
//! they are added to the tokenizer, on which the ids of new ones depend.

mod token;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};
use tokenizers::AddedToken;
use worldpm_ort_bundle::text_files::{
    ADDED_TOKENS, SPECIAL_TOKENS_MAP, TOKENIZER_CONFIG, TextFiles, TokenizerClass,
};

use self::token::{Token, added_token};
use super::{error::TextError, files::object};

/// The names that every class knows, in the order in which they are added.
const NAMED: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];
const EXTRA: &str = "extra_special_tokens";
const ADDITIONAL: &str = "additional_special_tokens";
const MODEL_SPECIFIC: &str = "model_specific_special_tokens";

/// What `tokenizer.json` says that matters here.
pub(super) struct Given {
    /// Its added tokens, by id.
    pub(super) added: BTreeMap<u32, AddedToken>,
    /// The token that it pads with.
    pub(super) padding: Option<String>,
}

/// A token to add.
pub(super) struct Addition {
    pub(super) token: AddedToken,
    /// Whether it is normalised, where that is said.
    normalized: Option<bool>,
    /// The id that a file gives it, and where: it must get it.
    pub(super) expected: Option<(u32, PathBuf, String)>,
}

impl Addition {
    fn new(token: AddedToken) -> Self {
        Self {
            token,
            normalized: None,
            expected: None,
        }
    }
}

/// The special tokens of a checkpoint.
#[derive(Default)]
pub(super) struct SpecialTokens {
    /// `bos_token`, `eos_token`, … and their text, for templates.
    pub(super) variables: Vec<(String, String)>,
    /// What is added to the tokenizer, in this order.
    pub(super) additions: Vec<Addition>,
}

/// Names and their tokens, in the order in which names first came.
#[derive(Default)]
struct Named(Vec<(String, Token)>);

impl Named {
    fn set(&mut self, name: &str, token: Token) {
        match self.0.iter_mut().find(|(own, _)| own == name) {
            Some((_, place)) => *place = token,
            None => self.0.push((name.to_owned(), token)),
        }
    }
}

impl SpecialTokens {
    /// Collects them. `config` is `tokenizer_config.json`.
    ///
    /// # Errors
    ///
    /// [`TextError::Config`] for a field that is not of the known form, [`TextError::Json`] for a file that is not JSON.
    pub(super) fn read(
        files: &TextFiles,
        mut config: Map<String, Value>,
        given: &Given,
    ) -> Result<Self, TextError> {
        let path = files.dir().join(TOKENIZER_CONFIG);
        let mut listed = listed_tokens(&path, config.get("added_tokens_decoder"))?;
        let early = early_tokens(&mut config);
        if !config.contains_key("added_tokens_decoder") {
            // Checkpoints older than that field keep their special tokens in files of their own.
            merge_map(
                &mut config,
                object(files, SPECIAL_TOKENS_MAP)?.unwrap_or_default(),
            );
        }
        let class = files.class();
        for (name, text) in class.defaults() {
            let token = || Value::String((*text).to_owned());
            config.entry(*name).or_insert_with(token);
        }
        if let Some(padding) = &given.padding {
            let token = || Value::String(padding.clone());
            config.entry("pad_token").or_insert_with(token);
        }
        let named = named_tokens(&path, &config, early)?;
        let extra = extra_tokens(&path, &config)?;
        if !config.contains_key("added_tokens_decoder") {
            let is_special = |text: &str| {
                let standard = named
                    .iter()
                    .filter(|(name, _)| NAMED.contains(&name.as_str()));
                let mut all = standard.map(|(_, token)| token).chain(&extra);
                all.any(|token| token.text() == text)
            };
            listed.extend(added_tokens_file(files, is_special)?);
        }
        if !config.contains_key("added_tokens_decoder") {
            // Then those of `tokenizer.json` are part of the list.
            let own = given.added.values().cloned().map(|token| Addition {
                normalized: Some(token.normalized),
                ..Addition::new(token)
            });
            listed.extend(own);
        }
        // A token of the list that is also a named one is special.
        for entry in &mut listed {
            let is_named = named
                .iter()
                .any(|(_, token)| token.text() == entry.token.content);
            if is_named && !entry.token.special {
                entry.token = Token::Object(entry.token.clone(), entry.normalized).special();
            }
        }

        let variables = named
            .iter()
            .map(|(name, token)| (name.clone(), token.text().to_owned()))
            .collect();
        let known: Vec<&str> = given
            .added
            .values()
            .chain(listed.iter().map(|addition| &addition.token))
            .map(|token| token.content.as_str())
            .collect();
        let mut seen: Vec<&Token> = Vec::new();
        let mut additions = Vec::new();
        for (i, token) in named
            .iter()
            .map(|(_, token)| token)
            .chain(&extra)
            .enumerate()
        {
            // One text may come as two tokens, and the later one then counts.
            if known.contains(&token.text()) || seen.contains(&token) {
                continue;
            }
            seen.push(token);
            let is_named =
                i < named.len() || named.iter().any(|(_, own)| own.text() == token.text());
            let token = if is_named {
                token.special()
            } else {
                token.listed()
            };
            additions.push(Addition::new(token));
        }
        let mut all = listed;
        all.append(&mut additions);
        if class == TokenizerClass::Qwen2Tokenizer {
            // It adds them once more, as special tokens that nothing normalises.
            let tokens = named.iter().map(|(_, token)| token).chain(&extra);
            all.extend(tokens.map(|token| Addition::new(AddedToken::from(token.text(), true))));
        }
        Ok(Self {
            variables,
            additions: all,
        })
    }
}

/// Takes out of `config` what is settled before the other files are read: tokens with names of their own, and the older
/// name of the list.
fn early_tokens(config: &mut Map<String, Value>) -> Map<String, Value> {
    let filled = |value: Option<&Value>| match value {
        None | Some(Value::Null) => false,
        Some(Value::Array(tokens)) => !tokens.is_empty(),
        Some(Value::Object(tokens)) => !tokens.is_empty(),
        Some(_) => true,
    };
    if !filled(config.get(EXTRA))
        && let Some(additional) = config.remove(ADDITIONAL)
    {
        config.insert(EXTRA.to_owned(), additional);
    }
    let mut early = Map::new();
    let is_own = |name: &str, value: &Value| {
        name.ends_with("_token") && !NAMED.contains(&name) && value.is_string()
    };
    for (name, value) in config.iter().filter(|(name, value)| is_own(name, value)) {
        early.insert(name.clone(), value.clone());
    }
    if config.get(EXTRA).is_some_and(Value::is_object)
        && let Some(Value::Object(tokens)) = config.remove(EXTRA)
    {
        early.extend(tokens);
    }
    config.retain(|name, value| !is_own(name, value));
    match config.remove(MODEL_SPECIFIC) {
        Some(Value::Object(tokens)) if early.is_empty() => tokens,
        _ => early,
    }
}

/// Takes over the fields of `special_tokens_map.json`, which win.
fn merge_map(config: &mut Map<String, Value>, map: Map<String, Value>) {
    for (name, value) in map {
        let value = match (name.as_str(), value) {
            (EXTRA, Value::Array(more)) => {
                let mut all = match config.get(EXTRA) {
                    Some(Value::Array(own)) => own.clone(),
                    _ => Vec::new(),
                };
                for token in more.into_iter().map(special_object) {
                    if !all.contains(&token) {
                        all.push(token);
                    }
                }
                Value::Array(all)
            }
            (EXTRA, value) => value,
            (_, value) => special_object(value),
        };
        config.insert(name, value);
    }
}

/// A token of `special_tokens_map.json` is special, whatever its object says.
fn special_object(mut value: Value) -> Value {
    if let Value::Object(fields) = &mut value {
        fields.insert("special".to_owned(), Value::Bool(true));
        fields.insert("__type".to_owned(), Value::String("AddedToken".to_owned()));
    }
    value
}

/// The tokens with names, those that every class knows first.
fn named_tokens(
    path: &Path,
    config: &Map<String, Value>,
    early: Map<String, Value>,
) -> Result<Vec<(String, Token)>, TextError> {
    let read = |name: &str, value: &Value| {
        Token::read(value).ok_or_else(|| TextError::Config {
            path: path.to_owned(),
            field: name.to_owned(),
            problem: "must be a token: its text, or an object with `content`".to_owned(),
        })
    };
    let mut named = Named::default();
    for name in NAMED {
        match config.get(name) {
            None | Some(Value::Null) => {}
            Some(value) => named.set(name, read(name, value)?),
        }
    }
    // Objects count only where they say that they are tokens.
    let is_own = |name: &str, value: &Value| {
        let counts = value.is_string() || is_token_object(value);
        name.ends_with("_token") && !NAMED.contains(&name) && counts
    };
    let late = config.iter().filter(|(name, value)| is_own(name, value));
    let of_map = config.get(EXTRA).and_then(Value::as_object);
    let all = late.chain(&early).chain(of_map.into_iter().flatten());
    for (name, value) in all {
        named.set(name, read(name, value)?);
    }
    Ok(named.0)
}

fn is_token_object(value: &Value) -> bool {
    value.get("__type").and_then(Value::as_str) == Some("AddedToken")
}

/// The tokens without names.
fn extra_tokens(path: &Path, config: &Map<String, Value>) -> Result<Vec<Token>, TextError> {
    // The older name only counts where the newer one is not there as a list.
    let newer = config.get(EXTRA).is_some_and(|value| !value.is_object());
    let field = if newer { EXTRA } else { ADDITIONAL };
    let bad = |field: String, problem: &str| TextError::Config {
        path: path.to_owned(),
        field,
        problem: problem.to_owned(),
    };
    match config.get(field) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(tokens)) => tokens
            .iter()
            .enumerate()
            .map(|(i, value)| {
                Token::read(value).ok_or_else(|| {
                    let problem = "must be a token: its text, or an object with `content`";
                    bad(format!("{field}[{i}]"), problem)
                })
            })
            .collect(),
        Some(_) => Err(bad(field.to_owned(), "must be a list of tokens")),
    }
}

/// The tokens of `added_tokens_decoder`, by id.
fn listed_tokens(path: &Path, field: Option<&Value>) -> Result<Vec<Addition>, TextError> {
    let bad = |field: String, problem: &str| TextError::Config {
        path: path.to_owned(),
        field,
        problem: problem.to_owned(),
    };
    let tokens = match field {
        None => return Ok(Vec::new()),
        Some(Value::Object(tokens)) => tokens,
        Some(_) => {
            let field = "added_tokens_decoder".to_owned();
            return Err(bad(field, "must be an object from token id to token"));
        }
    };
    let mut by_id = BTreeMap::new();
    for (id, token) in tokens {
        let field = format!("added_tokens_decoder.{id}");
        let Ok(number) = id.parse::<u32>() else {
            return Err(bad(field, "its name must be a token id"));
        };
        let normalized = token.get("normalized").and_then(Value::as_bool);
        let Some(token) = added_token(token) else {
            return Err(bad(field, "must be an object with `content`"));
        };
        let entry = Addition {
            token,
            normalized,
            expected: Some((number, path.to_owned(), field)),
        };
        by_id.insert(number, entry);
    }
    Ok(by_id.into_values().collect())
}

/// The tokens of `added_tokens.json`, by id.
fn added_tokens_file(
    files: &TextFiles,
    is_special: impl Fn(&str) -> bool,
) -> Result<Vec<Addition>, TextError> {
    let path = files.dir().join(ADDED_TOKENS);
    let mut by_id = BTreeMap::new();
    for (text, id) in object(files, ADDED_TOKENS)?.unwrap_or_default() {
        let number = id.as_u64().and_then(|id| u32::try_from(id).ok());
        let Some(number) = number else {
            return Err(TextError::Config {
                path,
                field: text,
                problem: format!("must be a token id, not {id}"),
            });
        };
        let special = is_special(&text);
        let token = AddedToken::from(text.as_str(), special).normalized(!special);
        let entry = Addition {
            token,
            normalized: Some(!special),
            expected: Some((number, path.clone(), text)),
        };
        by_id.insert(number, entry);
    }
    Ok(by_id.into_values().collect())
}
