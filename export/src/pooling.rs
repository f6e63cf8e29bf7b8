//! Which tokens are scored, what makes rewards of them, and how a rendered conversation has to end.
//!
//! The classes say it ([`Architecture`](crate::checkpoint::Architecture)), as their published code has it.
//! `*ForSequenceClassification` in `transformers` scores the rightmost token that is not padding, or the last one when
//! there is no `pad_token_id`; classes with code of their own may score the token before the first padding token, or
//! each token that ends a step. Some have a token with which conversations should end; the user may name another.

use std::collections::BTreeMap;

use serde::Deserialize;
use worldpm_ort_bundle::{
    Activation, Error as BundleError, Interface, Pooling,
    manifest::Token,
    text_files::{TOKENIZER, TOKENIZER_CONFIG, TextFiles},
};

use crate::{
    arch::Scored,
    checkpoint::Checkpoint,
    error::{Error, Result},
    options::ExportOptions,
};

/// How an export is scored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scoring {
    pub(crate) pooling: Pooling,
    pub(crate) activation: Activation,
    pub(crate) end_token: Option<Token>,
    /// The token behind every step, for a model that scores steps.
    pub(crate) step_token: Option<Token>,
}

/// The pooling rule, the activation and the end token of an export.
pub(crate) fn resolve(
    checkpoint: &Checkpoint,
    text_files: &TextFiles,
    options: &ExportOptions,
) -> Result<Scoring> {
    let config = checkpoint.config();
    let step_token = step_token(checkpoint, text_files, options)?;
    let class = config.architecture.class();
    let (pooling, activation) = match (&step_token, class.scored) {
        (Some(token), Scored::Steps { label, .. }) => (
            Pooling::EachToken { token_id: token.id },
            Activation::Softmax { label },
        ),
        _ => (one_token(checkpoint, options)?, Activation::None),
    };
    let text = match &options.end_token {
        Some(text) if text.is_empty() => None,
        Some(text) => Some(text.as_str()),
        None => class.end_token,
    };
    let end_token = text
        .map(|text| {
            let needed = "with which conversations should end; name the right one with --end-token \
                          (or \"\" for any)";
            special_token(text_files, options, text, needed)
        })
        .transpose()?;
    Ok(Scoring {
        pooling,
        activation,
        end_token,
        step_token,
    })
}

/// The token behind every step, for a model that scores steps.
fn step_token(
    checkpoint: &Checkpoint,
    text_files: &TextFiles,
    options: &ExportOptions,
) -> Result<Option<Token>> {
    let Scored::Steps { token: step, .. } = checkpoint.config().architecture.class().scored else {
        return Ok(None);
    };
    if options.pooling.is_some() {
        return Err(Error::Option {
            option: "pooling".into(),
            problem: format!(
                "{} is scored at every step token and has no other rule; leave the option out",
                checkpoint.config().architecture
            ),
        });
    }
    if options.interface == Interface::Padded {
        return Err(Error::Unsupported {
            what: format!(
                "the padded interface for {}",
                checkpoint.config().architecture
            ),
            hint:
                "its graphs score one token of a conversation, and this model is scored at every \
                   step; take --interface packed"
                    .into(),
        });
    }
    let text = options.step_token.as_deref().unwrap_or(step);
    let needed = "which should stand behind every step; name the right one with --step-token";
    special_token(text_files, options, text, needed).map(Some)
}

/// The rule for a model that scores one token of a conversation.
fn one_token(checkpoint: &Checkpoint, options: &ExportOptions) -> Result<Pooling> {
    let config = checkpoint.config();
    let not_for = |option: &str| Error::Option {
        option: option.into(),
        problem: format!(
            "{} gives one score for a conversation, and none for its steps; leave the option out",
            config.architecture
        ),
    };
    if options.step_token.is_some() {
        return Err(not_for("step_token"));
    }
    match options.pooling {
        Some(Pooling::EachToken { .. }) => Err(not_for("pooling")),
        Some(rule) => Ok(rule),
        None => Ok(default_rule(
            config.architecture.class().scored,
            config.pad_token_id,
        )),
    }
}

fn default_rule(scored: Scored, pad_token_id: Option<u32>) -> Pooling {
    match (scored, pad_token_id) {
        (_, None) => Pooling::Last,
        (Scored::BeforeFirstPad, Some(pad_token_id)) => Pooling::BeforeFirstPad { pad_token_id },
        (_, Some(pad_token_id)) => Pooling::LastNonPad { pad_token_id },
    }
}

#[derive(Default, Deserialize)]
struct AddedTokens {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    /// `tokenizer_config.json` may add tokens to those of `tokenizer.json`; here their ids are the keys.
    #[serde(default)]
    added_tokens_decoder: BTreeMap<String, AddedToken>,
}

#[derive(Deserialize)]
struct AddedToken {
    id: Option<u32>,
    content: String,
}

impl AddedTokens {
    fn read(files: &TextFiles, name: &str) -> Result<Self> {
        let Some(bytes) = files.get(name) else {
            return Ok(Self::default());
        };
        serde_json::from_slice(bytes).map_err(|error| {
            Error::Bundle(BundleError::Tokenizer {
                path: files.dir().join(name),
                problem: format!("is not a tokenizer: {error}"),
            })
        })
    }

    fn id_of(&self, text: &str) -> Option<u32> {
        let listed = self.added_tokens.iter().find(|t| t.content == text);
        let keyed = || {
            self.added_tokens_decoder
                .iter()
                .find(|t| t.1.content == text)
        };
        listed
            .and_then(|token| token.id)
            .or_else(|| keyed().and_then(|(id, _)| id.parse().ok()))
    }
}

/// The special token with this text. `needed` says in an error what it is for, and what to do.
fn special_token(
    files: &TextFiles,
    options: &ExportOptions,
    text: &str,
    needed: &str,
) -> Result<Token> {
    let listed = [TOKENIZER, TOKENIZER_CONFIG].into_iter().map(|name| {
        let tokens = AddedTokens::read(files, name)?;
        Ok(tokens.id_of(text))
    });
    let ids = listed.collect::<Result<Vec<_>>>()?;
    let id = ids.into_iter().flatten().next();
    id.or_else(|| options.token_ids.get(text).copied())
        .map(|id| Token {
            id,
            text: text.to_owned(),
        })
        .ok_or_else(|| {
            Error::Bundle(BundleError::Tokenizer {
                path: files.dir().join(TOKENIZER),
                problem: format!("has no special token {text}, {needed}"),
            })
        })
}
