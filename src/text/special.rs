//! Special tokens as the classes of `transformers` 5 collect them from a checkpoint's files, and the order in which
//! they are added to the tokenizer, on which the ids of new ones depend.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tokenizers::AddedToken;
use worldpm_ort_export::text_files::{
    ADDED_TOKENS, SPECIAL_TOKENS_MAP, TOKENIZER_CONFIG, TextFiles, TokenizerClass,
};

use super::config::object;
use super::error::TextError;

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

/// A token as a file gives it.
#[derive(Clone)]
enum Token {
    Text(String),
    /// With whether it is normalised, where that is said: else it is when it is not special.
    Object(AddedToken, Option<bool>),
}

impl Token {
    fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Object(token, _) => &token.content,
        }
    }

    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(Self::Text(text.clone())),
            value => {
                let normalized = value.get("normalized").and_then(Value::as_bool);
                Some(Self::Object(added_token(value)?, normalized))
            }
        }
    }

    /// As it is added when it stands under a name.
    fn special(&self) -> AddedToken {
        match self {
            Self::Text(text) => AddedToken::from(text.as_str(), true),
            Self::Object(token, normalized) => {
                let mut token = token.clone();
                token.special = true;
                token.normalized(normalized.unwrap_or(false))
            }
        }
    }

    /// As it is added when it stands in a list.
    fn listed(&self) -> AddedToken {
        match self {
            Self::Text(text) => AddedToken::from(text.as_str(), true),
            Self::Object(token, _) => token.clone(),
        }
    }
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
        let named = named_tokens(&path, &config)?;
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
        // A token of these lists that is also a named one is special.
        for entry in &mut listed {
            let is_named = named
                .iter()
                .any(|(_, token)| token.text() == entry.token.content);
            let is_known = given.added.values().any(|token| *token == entry.token);
            if is_named && !is_known && !entry.token.special {
                entry.token = Token::Object(entry.token.clone(), entry.normalized).special();
            }
        }
        let flags = |text: &str| {
            let own = given.added.values().find(|token| token.content == text);
            own.or_else(|| {
                let mut tokens = listed.iter().map(|addition| &addition.token);
                tokens.find(|token| token.content == text)
            })
        };

        let variables = named
            .iter()
            .map(|(name, token)| (name.clone(), token.text().to_owned()))
            .collect();
        let mut additions = Vec::new();
        let mut known: Vec<String> = given.added.values().map(|t| t.content.clone()).collect();
        known.extend(listed.iter().map(|addition| addition.token.content.clone()));
        let mut add = |token: AddedToken| {
            if !known.contains(&token.content) {
                known.push(token.content.clone());
                additions.push(Addition::new(token));
            }
        };
        for (name, token) in &named {
            let own = flags(token.text()).filter(|_| NAMED.contains(&name.as_str()));
            add(own.map_or_else(|| token.special(), Clone::clone));
        }
        extra.iter().for_each(|token| add(token.listed()));
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
) -> Result<Vec<(String, Token)>, TextError> {
    let bad = |field: &str| TextError::Config {
        path: path.to_owned(),
        field: field.to_owned(),
        problem: "must be a token: its text, or an object with `content`".to_owned(),
    };
    let mut named = Named::default();
    for name in NAMED {
        match config.get(name) {
            None | Some(Value::Null) => {}
            Some(value) => named.set(name, Token::read(value).ok_or_else(|| bad(name))?),
        }
    }
    let own = |name: &str| name.ends_with("_token") && !NAMED.contains(&name);
    // Objects count only where they say that they are tokens, and then come first.
    let objects = config
        .iter()
        .filter(|(name, value)| own(name) && is_token_object(value));
    let texts = config
        .iter()
        .filter(|(name, value)| own(name) && value.is_string());
    for (name, value) in objects.chain(texts) {
        if let Some(token) = Token::read(value) {
            named.set(name, token);
        }
    }
    for field in [EXTRA, MODEL_SPECIFIC] {
        let Some(Value::Object(tokens)) = config.get(field) else {
            continue;
        };
        for (name, value) in tokens {
            let token = Token::read(value).ok_or_else(|| bad(&format!("{field}.{name}")))?;
            named.set(name, token);
        }
    }
    Ok(named.0)
}

fn is_token_object(value: &Value) -> bool {
    value.get("__type").and_then(Value::as_str) == Some("AddedToken")
}

/// The tokens without names.
fn extra_tokens(path: &Path, config: &Map<String, Value>) -> Result<Vec<Token>, TextError> {
    let filled = |field: &&str| match config.get(*field) {
        None | Some(Value::Null) => false,
        Some(Value::Array(tokens)) => !tokens.is_empty(),
        Some(Value::Object(tokens)) => *field == ADDITIONAL || !tokens.is_empty(),
        Some(_) => true,
    };
    // The older field only counts where the newer one does not hold a list.
    let newer = filled(&EXTRA) && !config.get(EXTRA).is_some_and(Value::is_object);
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

/// A token that is an object.
fn added_token(value: &Value) -> Option<AddedToken> {
    let content = value.get("content").and_then(Value::as_str)?;
    let flag = |name: &str| value.get(name).and_then(Value::as_bool);
    let special = flag("special").unwrap_or(false);
    Some(
        AddedToken::from(content, special)
            .single_word(flag("single_word").unwrap_or(false))
            .lstrip(flag("lstrip").unwrap_or(false))
            .rstrip(flag("rstrip").unwrap_or(false))
            .normalized(flag("normalized").unwrap_or(!special)),
    )
}
